"""From a plan's text to its program, for commands that look at a plan without running it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fsm_saga.cli.options import load_all, read_input
from fsm_saga.cli.output import note
from fsm_saga.core.contract import Standing, ToolFacts
from fsm_saga.core.program import Program
from fsm_saga.drawing.plain import plain_text
from fsm_saga.machine.compile import compile_plan, declare
from fsm_saga.plan.assumed import AssumedTools as AssumedTools
from fsm_saga.plan.lint import read_plan
from fsm_saga.plan.model import Plan
from fsm_saga.tools.certificates import Certificates
from fsm_saga.tools.registry import Registry


class Planned(NamedTuple):
    """A plan's program, and what is known of the word of its tools.

    ``standings`` has the tools that the steps call; None where no certificates are at hand.
    """

    program: Program
    standings: Mapping[str, Standing] | None


def planned_of_file(
    path: str,
    specs: Sequence[str],
    *,
    is_assumed: bool,
    is_open: bool = False,
    certificates: Certificates | None = None,
) -> Planned:
    """Return the program of the plan in a file, checked as ``run`` checks it.

    Args:
        path: The file, or ``-`` for stdin.
        specs: What ``--tools`` named.
        is_assumed: Take every tool that the plan names as there, and undeclared.
        is_open: The plan will grow.
        certificates: What is known of the tools.

    Raises:
        CommandError: If the file cannot be read.
        PlanError: With everything that is wrong with the plan.
        ToolsError: If the tools cannot be used.
    """
    plan, catalogue = plan_of_file(path, specs, is_assumed=is_assumed, certificates=certificates)
    program = compile_plan(plan, declare(plan, catalogue), is_open=is_open)
    standings = {step.action.tool: catalogue[step.action.tool].standing for step in program.steps}
    return Planned(program, None if certificates is None else standings)


def plan_of_file(
    path: str, specs: Sequence[str], *, is_assumed: bool, certificates: Certificates | None = None
) -> tuple[Plan, Mapping[str, ToolFacts]]:
    """Return the plan in a file, checked, and what its tools declare. See ``planned_of_file``."""
    catalogue: Mapping[str, ToolFacts] = (
        AssumedTools()
        if is_assumed
        else Registry(load_all(specs), certificates=certificates).catalogue
    )
    plan, _graph = read_plan(read_input(path, "Plan"), catalogue)
    note_outdated(plan, catalogue)
    note_short_memory(plan, catalogue)
    return plan, catalogue


def note_outdated(plan: Plan, catalogue: Mapping[str, ToolFacts]) -> None:
    """Warn, on stderr, of tools that have changed since they were certified."""
    names = dict.fromkeys(step.tool for step in plan.steps)
    outdated = [name for name in names if catalogue[name].standing is Standing.OUTDATED]
    if outdated:
        note(
            f"Changed since certified, so believed only: {', '.join(map(plain_text, outdated))}. "
            "`fsm-saga certify` tries them again."
        )


def note_short_memory(plan: Plan, catalogue: Mapping[str, ToolFacts]) -> None:
    """Warn, on stderr, of tools that may have forgotten a call while a copy of it is on its way."""
    program = compile_plan(plan, declare(plan, catalogue))
    needs: dict[str, float] = {}
    for step in program.steps:
        for call in (step.action, step.undo):
            if call is None or call.contract.retention_s is None or call.contract.read_only:
                continue
            # See ``core.forward.margin_s``: half of a memory is counted on in any case.
            need_s = 2 * (call.timeout_s + program.clock_skew_s)
            if call.contract.retention_s < need_s:
                needs[call.tool] = max(need_s, needs.get(call.tool, 0.0))
    for name, need_s in needs.items():
        kept_s = catalogue[name].contract.retention_s
        note(
            f"{plain_text(name)} promises to remember a call for {kept_s:g} s: a copy that comes "
            "late may act again. With the timeout_s that it has here, retention_s should be "
            f"{need_s:g} s or more."
        )


def program_of_file(
    path: str, specs: Sequence[str], *, is_assumed: bool, is_open: bool = False
) -> Program:
    """Return the program alone. See ``planned_of_file``."""
    return planned_of_file(path, specs, is_assumed=is_assumed, is_open=is_open).program
