"""The tools that plans may call: what is not here, or not allowed, does not exist for them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType, ModuleType
from typing import Any

from fsm_saga.core.contract import ToolFacts
from fsm_saga.errors import ToolsError
from fsm_saga.tools.certificates import Certificates
from fsm_saga.tools.loading import load_tools, tools_of_module
from fsm_saga.tools.python import Tool

__all__ = ["Registry", "load_tools"]


class Registry:
    """Tools by name, in the order in which they were given. Never changes once it is made.

    A tool that was given as another's undo or check comes with it. ``allow`` narrows what plans
    may call; a tool outside of it is as good as missing, also as somebody's undo.

    Args:
        tools: Functions decorated with ``@tool``, or modules that hold some.
        allow: The names that may be called, or None for all of them.
        certificates: What is known of whether they keep their contracts, or None.

    Raises:
        ToolsError: If something is no tool, two tools share a name, or the annotations of one
            cannot be resolved.

    Example:
        >>> from fsm_saga.tools import tool
        >>> @tool(read_only=True)
        ... def look_up(flight: str) -> int: ...
        >>> list(Registry([look_up]).catalogue)
        ['look_up']
    """

    def __init__(
        self,
        tools: Iterable[Tool[..., Any] | ModuleType] = (),
        *,
        allow: Collection[str] | None = None,
        certificates: Certificates | None = None,
    ) -> None:
        if isinstance(allow, str):
            raise ToolsError(f"allow={allow!r} was refused: it is one text, not a list of names.")
        known: dict[str, Tool[..., Any]] = {}
        for tool in _unfolded(tools):
            other = known.setdefault(tool.name, tool)
            if other is not tool:
                raise ToolsError(
                    f"Two tools are called {tool.name!r}: one of {other.where}, one of "
                    f"{tool.where}. Nothing was registered; give one of them @tool(name=...)."
                )
        self._known = known
        self._tools = {n: tool for n, tool in known.items() if allow is None or n in allow}
        self._catalogue: Mapping[str, ToolFacts] = MappingProxyType(
            {
                name: tool.facts if certificates is None else certificates.judged(tool.facts, known)
                for name, tool in self._tools.items()
            }
        )

    @property
    def known(self) -> Mapping[str, Tool[..., Any]]:
        """Every tool by name, those that are not allowed included."""
        return MappingProxyType(self._known)

    @property
    def catalogue(self) -> Mapping[str, ToolFacts]:
        """What the checks and the compiler may know of each tool that is allowed, by name."""
        return self._catalogue

    def get(self, name: str) -> Tool[..., Any] | None:
        """Return the tool of this name, or None where there is none or it is not allowed."""
        return self._tools.get(name)

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def __iter__(self) -> Iterator[Tool[..., Any]]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def check_complete(self, *, elsewhere: Collection[str] = ()) -> None:
        """Refuse tools whose undo or check cannot be called.

        Args:
            elsewhere: Names of tools that others run, over HTTP for example.

        Raises:
            ToolsError: With all that is missing. Nothing was called.
        """
        missing = [
            why
            for tool in self
            for role, name in (("undo", tool.undo), ("check", tool.contract.check))
            if name is not None and name not in elsewhere
            for why in self._problems(tool, role, name)
        ]
        if missing:
            raise ToolsError(
                f"The tools were refused: {'; '.join(missing)}. Nothing was called; register what "
                "is missing, or correct the name."
            )

    def _problems(self, tool: Tool[..., Any], role: str, name: str) -> Iterator[str]:
        of = f"{role} {name!r} of {tool.name!r}"
        other = self._tools.get(name)
        if other is None:
            yield f"{of} is {'not allowed' if name in self._known else 'no registered tool'}"
        elif role == "check":
            if other.signature.context_name is None:
                yield f"{of} has no parameter of type CallContext, so it cannot know what is asked"
            if other.signature.params_schema.get("required"):
                yield f"{of} has params of its own, but a check is given none"


def _unfolded(tools: Iterable[Any]) -> Iterator[Tool[..., Any]]:
    """Yield every tool, those of modules and those that came as an undo or a check included."""
    for given in tools:
        if isinstance(given, Tool):
            yield from _with_related(given)
        elif isinstance(given, ModuleType):
            for tool in tools_of_module(given):
                yield from _with_related(tool)
        else:
            hint = "decorate the function with @tool" if callable(given) else "load it first"
            raise ToolsError(
                f"{given!r} was refused as a tool: it is a {type(given).__name__} and declares "
                f"nothing. Nothing was registered; {hint}."
            )


def _with_related(tool: Tool[..., Any]) -> Iterator[Tool[..., Any]]:
    yield tool
    for related in tool.related:
        yield from _with_related(related)
