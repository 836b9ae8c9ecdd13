"""From a plan's text to its program, for commands that look at a plan without running it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fsm_saga.cli.options import load_all, read_input
from fsm_saga.core.contract import ToolFacts
from fsm_saga.core.program import Program
from fsm_saga.machine.compile import compile_plan, declare
from fsm_saga.plan.lint import read_plan
from fsm_saga.tools.registry import Registry


class AssumedTools(Mapping[str, ToolFacts]):
    """A catalogue that has every tool it is asked for, each with the promises of an undeclared one.

    Example:
        >>> AssumedTools()["book_flight"].contract.dedupe
        True
    """

    def __getitem__(self, name: str) -> ToolFacts:
        return ToolFacts(name=name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def program_of_file(
    path: str, specs: Sequence[str], *, is_assumed: bool, is_open: bool = False
) -> Program:
    """Return the program of the plan in a file, checked as ``run`` checks it.

    Args:
        path: The file, or ``-`` for stdin.
        specs: What ``--tools`` named.
        is_assumed: Take every tool that the plan names as there, and undeclared.
        is_open: The plan will grow.

    Raises:
        CommandError: If the file cannot be read.
        PlanError: With everything that is wrong with the plan.
        ToolsError: If the tools cannot be used.
    """
    catalogue: Mapping[str, ToolFacts] = (
        AssumedTools() if is_assumed else Registry(load_all(specs)).catalogue
    )
    plan, _graph = read_plan(read_input(path, "Plan"), catalogue)
    return compile_plan(plan, declare(plan, catalogue), is_open=is_open)
