"""How a function becomes a command, and how a command is imported only when it is used."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, ClassVar, NamedTuple, TypeVar

import typer
import typer.core
import typer.main

CommandFunction = TypeVar("CommandFunction", bound=Callable[..., int])


class Listed(NamedTuple):
    """A command as the list of all commands knows it: its module, and what it does."""

    name: str
    module: str
    summary: str


_registered: dict[str, Any] = {}


def command(name: str, *, examples: str) -> Callable[[CommandFunction], CommandFunction]:
    """Return a decorator that makes a command of a function which returns the exit code.

    Args:
        name: What is typed.
        examples: Lines for the end of ``--help``; ``tests/docs/test_cli_help.py`` tries each.
    """

    def register(function: CommandFunction) -> CommandFunction:
        # Plain help: the same on a terminal, in a pipe and in a bug report.
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        lines = "\n".join(f"  {line}" for line in inspect.cleandoc(examples).splitlines())
        app.command(name, epilog=f"\b\nExamples:\n{lines}")(function)
        _registered[name] = typer.main.get_command(app)
        return function

    return register


def load_command(listed: Listed) -> Any:
    """Return the command that its module registers."""
    import_module(f"fsm_saga.cli.{listed.module}")
    return _registered[listed.name]


class LazyGroup(typer.core.TyperGroup):
    """A group that lists commands by name and summary, and imports the one that is used."""

    listed: ClassVar[dict[str, Listed]] = {}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the name of the command to run, the command, and what is left to parse."""
        name, known, rest = super().resolve_command(ctx, args)
        if name is None or known is None:
            return name, known, rest
        return name, load_command(self.listed[name]), rest


def lazy_app(commands: Iterable[Listed], **settings: Any) -> typer.Typer:
    """Return an app of commands that are not imported yet."""
    listed = {each.name: each for each in commands}
    group = type("Commands", (LazyGroup,), {"listed": listed})
    app = typer.Typer(cls=group, rich_markup_mode=None, **settings)
    for each in listed.values():
        app.command(each.name, help=each.summary)(_stand_in)
    return app


def _stand_in() -> None:
    """Stand for a command in the list; never called."""
