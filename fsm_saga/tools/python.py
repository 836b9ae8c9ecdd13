"""``@tool``: a Python function that plans may call."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Mapping
from functools import partial, update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

from pydantic import ValidationError

from fsm_saga.core.contract import ToolContract, ToolFacts
from fsm_saga.errors import ToolsError
from fsm_saga.tools.signature import Signature, json_bytes, read_signature
from fsm_saga.tools.wording import validation_line

P = ParamSpec("P")
R = TypeVar("R")

NAME_CHARS_MAX = 128

_ErrorClasses = tuple[type[BaseException], ...]


class Tool(Generic[P, R]):
    """A function, and what plans may know of it. Calling it calls the function.

    Made by :func:`tool`. Two tools are never equal; a registry refuses two of the same name.

    Attributes:
        name: What a plan calls it by.
        contract: What it promises of repeated, late and undone calls.
        undo: The name of the tool that undoes it, or None.
        related: The tools that were given as its undo and its check, instead of their names.
        unknown: Exceptions of it that leave open whether the effect happened.
        rejected: Exceptions of it that say that the effect certainly did not happen.
        is_async: Whether it runs on the event loop; if not, it runs in a thread.
        where: The file and line of the function, for messages.
    """

    __name__: str
    __qualname__: str
    __wrapped__: Callable[P, R]

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        contract: ToolContract,
        undo: str | None = None,
        related: tuple[Tool[..., Any], ...] = (),
        unknown: _ErrorClasses = (),
        rejected: _ErrorClasses = (),
        local_names: Mapping[str, Any] | None = None,
    ) -> None:
        if not callable(function):
            raise ToolsError(f"{function!r} was refused as a tool: it cannot be called.")
        update_wrapper(self, function, updated=())
        self.function = function
        self.name = _checked_name(name if name is not None else _name_of(function))
        self.contract = _checked_contract(contract, undo, self.name)
        self.undo = undo
        self.related = related
        self.unknown = unknown
        self.rejected = rejected
        self.is_async = _is_async(function)
        self.where = _where(function)
        self._description = description if description is not None else _first_paragraph(function)
        self._local_names = local_names
        self._signature: Signature | None = None
        self._facts: ToolFacts | None = None
        _check_kind(function, self.name)
        try:
            _ = self.signature
        except ToolsError as error:
            # A name that is defined further down in the module is there once it is imported.
            if not isinstance(error.__cause__, NameError):
                raise

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself; no saga is involved."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<tool {self.name!r} of {self.where}>"

    @property
    def signature(self) -> Signature:
        """How it is called with JSON.

        Raises:
            ToolsError: If an annotation still cannot be resolved.
        """
        if self._signature is None:
            self._signature = read_signature(self.function, self.name, self._local_names)
            self._local_names = None
        return self._signature

    def load_output(self, output: Any) -> R:
        """Return a recorded output as what the function returns.

        Raises:
            ToolsError: If it is no longer of the declared type.
        """
        returns = self.signature.returns
        if returns is None:
            return cast("R", output)
        try:
            return cast("R", returns.validate_json(json_bytes(output)))
        except ValidationError as error:
            raise ToolsError(
                f"What {self.name!r} returned cannot be given back as what it declares: "
                f"{validation_line(error, may_quote=False)}. It is in the journal; the saga is "
                "not affected."
            ) from error

    @property
    def facts(self) -> ToolFacts:
        """What the checks and the compiler may know.

        Raises:
            ToolsError: If an annotation still cannot be resolved.
        """
        if self._facts is None:
            self._facts = ToolFacts(
                name=self.name,
                description=self._description,
                params_schema=self.signature.params_schema,
                output_schema=self.signature.output_schema,
                contract=self.contract,
                undo=self.undo,
                wants_context=self.signature.context_name is not None,
            )
        return self._facts


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    undo: str | Callable[..., Any] | None = None,
    check: str | Callable[..., Any] | None = None,
    contract: ToolContract | None = None,
    check_fences: bool = False,
    dedupe: bool = True,
    sticky_failures: bool = True,
    fenced_compensation: bool = False,
    deadline: bool = False,
    retention_s: float | None = None,
    read_only: bool = False,
    unknown: _ErrorClasses = (),
    rejected: _ErrorClasses = (),
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    undo: str | Callable[..., Any] | None = None,
    check: str | Callable[..., Any] | None = None,
    contract: ToolContract | None = None,
    unknown: _ErrorClasses = (),
    rejected: _ErrorClasses = (),
    **promises: Any,
) -> Any:
    """Make a tool of a function, sync or async; the function stays callable as before.

    Its parameters become a JSON Schema; one that is annotated :class:`CallContext` receives
    that and is no part of it. The first paragraph of the docstring is the description.

    Args:
        function: When used without arguments, as ``@tool``.
        name: What plans call it by; the function's own name if not given.
        description: What it does, for whoever writes plans.
        undo: The tool that undoes it, by name or as the function itself.
        check: The tool that tells what became of a call, by name or as the function itself; it
            has no params but a ``CallContext`` and returns a :class:`CheckAnswer`.
        contract: Its promises as one value, such as a fence gives; those named beside it count
            instead of the contract's.
        unknown: Exceptions after which the effect may have happened, beside the usual ones.
        rejected: Exceptions after which it certainly has not, in spite of the usual rules.
        **promises: ``check_fences``, ``dedupe``, ``sticky_failures``, ``fenced_compensation``,
            ``deadline``, ``retention_s``, ``read_only``: see :class:`ToolContract`.

    Raises:
        ToolsError: If the declaration contradicts itself or the function cannot be called with
            JSON.

    Example:
        >>> @tool(undo="cancel_flight")
        ... def book_flight(flight: str, date: str) -> str:
        ...     "Book a seat."
        ...     return f"{flight} on {date}"
        >>> book_flight("CA1234", "2026-02-01"), book_flight.facts.undo
        ('CA1234 on 2026-02-01', 'cancel_flight')
    """

    def decorate(decorated: Callable[..., Any], depth: int = 1) -> Tool[..., Any]:
        names = _names_around(depth + 1)
        undo_name, undo_tools = _resolved(undo, names)
        check_name, check_tools = _resolved(check, names)
        return Tool(
            decorated.function if isinstance(decorated, Tool) else decorated,
            name=name,
            description=description,
            contract=_contract(contract, check_name, promises),
            undo=undo_name,
            related=undo_tools + check_tools,
            unknown=_checked_errors("unknown", unknown),
            rejected=_checked_errors("rejected", rejected),
            local_names=names,
        )

    return decorate if function is None else decorate(function, depth=2)


def _contract(
    given: ToolContract | None, check: str | None, promises: dict[str, Any]
) -> ToolContract:
    if given is not None:
        known = {name: getattr(given, name) for name in ToolContract.__annotations__}
        promises = known | promises
    if check is not None or given is None:
        promises = promises | {"check": check}
    try:
        return ToolContract(**promises)
    except TypeError as error:
        raise ToolsError(f"@tool was refused: {str(error).split(') ')[-1]}.") from error


def _resolved(
    named: str | Callable[..., Any] | None, names: Mapping[str, Any] | None
) -> tuple[str | None, tuple[Tool[..., Any], ...]]:
    if named is None or isinstance(named, str):
        return named, ()
    if not isinstance(named, Tool):
        named = Tool(named, contract=ToolContract(), local_names=names)
    return named.name, (named,)


def _names_around(depth: int) -> Mapping[str, Any] | None:
    """Return the local names where the decorator stands; None at the top of a module."""
    frame = sys._getframe(depth)
    return None if frame.f_locals is frame.f_globals else frame.f_locals


def _name_of(function: Callable[..., Any]) -> str:
    while isinstance(function, partial):
        function = function.func
    name = getattr(function, "__name__", None)
    if not isinstance(name, str) or name == "<lambda>":
        raise ToolsError(f"{function!r} was refused as a tool: it has no name; give it name=...")
    return name


def _checked_name(name: str) -> str:
    is_good = (
        isinstance(name, str)
        and 0 < len(name) <= NAME_CHARS_MAX
        and name.isprintable()
        and not any(character.isspace() for character in name)
    )
    if not is_good:
        raise ToolsError(
            f"Tool name {name!r} was refused: a name has 1 to {NAME_CHARS_MAX} visible characters "
            "and no space."
        )
    return name


def _checked_contract(contract: ToolContract, undo: str | None, name: str) -> ToolContract:
    why = None
    retention_s = contract.retention_s
    if contract.read_only and undo is not None:
        why = f"it is read_only, so there is nothing that {undo!r} could undo"
    elif contract.check_fences and contract.check is None:
        why = "check_fences is about the answer of a check, and it has none: name check=..."
    elif retention_s is not None and not _is_time(retention_s):
        why = f"retention_s={retention_s!r} is no time above 0; None is for ever"
    elif undo == name:
        why = "it cannot be its own undo"
    if why is not None:
        raise ToolsError(f"Tool {name!r} was refused: {why}.")
    return contract


def _is_time(seconds: Any) -> bool:
    return isinstance(seconds, int | float) and math.isfinite(seconds) and seconds > 0


def _checked_errors(which: str, errors: Any) -> _ErrorClasses:
    classes = (errors,) if isinstance(errors, type) else tuple(errors)
    for kind in classes:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise ToolsError(f"@tool was refused: {which}={kind!r} is not an exception class.")
    return classes


def _check_kind(function: Callable[..., Any], name: str) -> None:
    target = _runs(function)
    if inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
        raise ToolsError(f"Tool {name!r} was refused: it yields; return a list instead.")
    if isinstance(function, type):
        raise ToolsError(f"Tool {name!r} was refused: it is a class; make a tool of a function.")


def _is_async(function: Callable[..., Any]) -> bool:
    # A sync wrapper around an async function counts as sync: it may well run a loop of its own.
    return inspect.iscoroutinefunction(_runs(function))


def _runs(function: Callable[..., Any]) -> Any:
    """Return what Python runs: the function itself, or the ``__call__`` of an object."""
    while isinstance(function, partial):
        function = function.func
    return function if inspect.isroutine(function) else type(function).__call__


def _where(function: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(_runs(function)), "__code__", None)
    if code is None:
        return getattr(function, "__module__", None) or "an unknown place"
    return f"{code.co_filename}:{code.co_firstlineno}"


def _first_paragraph(function: Callable[..., Any]) -> str:
    text = inspect.getdoc(function if inspect.isroutine(function) else _runs(function)) or ""
    return " ".join(text.split("\n\n", 1)[0].split())
