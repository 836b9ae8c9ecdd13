"""The rules of a plan, and the functions that take a planner's text to a checked plan.

Each rule has a code of its own, says where the fault is and what to write instead, and all rules
speak in one answer: a model that repairs a plan should need one round, not ten. To that end a
rule keeps silent where another one has told the cause.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from fsm_saga.core.limits import LIMITS, Limits
from fsm_saga.core.references import ReferenceRefused
from fsm_saga.errors import PlanError, Problem
from fsm_saga.plan.calls import CallRules
from fsm_saga.plan.graph import PlanGraph
from fsm_saga.plan.model import (
    Plan,
    Rollback,
    Step,
    calls_of_reading,
    parts_of_reading,
    plan_of_reading,
    too_many_steps,
)
from fsm_saga.plan.order import note_late_reference, order_problems
from fsm_saga.plan.problems import Path, Problems
from fsm_saga.plan.read import read_json
from fsm_saga.plan.references import (
    StepUses,
    Use,
    collect,
    collect_step,
    references_in,
)
from fsm_saga.plan.way_back import Catalogue, pivot_problems, step_way_back_problems


def lint(
    plan: Plan,
    catalogue: Catalogue,
    *,
    allowed: Collection[str] | None = None,
    is_open: bool = False,
    limits: Limits = LIMITS,
) -> tuple[Problem, ...]:
    """Return everything that is wrong with a plan, given the tools at hand.

    Args:
        plan: A plan of sound shape.
        catalogue: The tools, by name.
        allowed: Names of the tools that this caller may use; None allows all.
        is_open: The plan will grow, so it may have no steps yet.
        limits: Bounds on the plan.
    """
    problems = Problems(limits)
    _lint(plan, catalogue, allowed, is_open, problems, limits)
    return problems.as_tuple()


def check_plan(
    plan: Plan,
    catalogue: Catalogue,
    *,
    allowed: Collection[str] | None = None,
    is_open: bool = False,
    limits: Limits = LIMITS,
) -> PlanGraph:
    """Return the graph of a plan that has nothing wrong with it.

    Raises:
        PlanError: With every problem that `lint` finds.
    """
    return checked(plan, catalogue, allowed=allowed, is_open=is_open, limits=limits).graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What the checks of a sound plan found out that is of use afterwards.

    Attributes:
        graph: The order of its steps.
        input_uses: Its references to inputs.
    """

    graph: PlanGraph
    input_uses: tuple[Use, ...]


def checked(
    plan: Plan,
    catalogue: Catalogue,
    *,
    allowed: Collection[str] | None = None,
    is_open: bool = False,
    limits: Limits = LIMITS,
) -> Checked:
    """Return what is known of a plan that has nothing wrong with it.

    Raises:
        PlanError: With every problem that `lint` finds.
    """
    problems = Problems(limits)
    found = _lint(plan, catalogue, allowed, is_open, problems, limits)
    if problems or found is None:
        raise PlanError(problems)
    return found


def read_plan(
    text: str | bytes,
    catalogue: Catalogue,
    *,
    allowed: Collection[str] | None = None,
    limits: Limits = LIMITS,
) -> tuple[Plan, PlanGraph]:
    """Return the plan in a text and its graph, if nothing is wrong with either.

    Unlike `Plan.read` followed by `check_plan`, all problems come at once: those of the text, those
    of the shape, and, for the parts whose shape is sound, those of the rules.

    Raises:
        PlanError: With every problem.
    """
    reading = read_json(text, limits=limits)
    plan, problems = plan_of_reading(reading, limits)
    found: Checked | None = None
    rules = Problems(limits)
    if plan is not None:
        found = _lint(plan, catalogue, allowed, False, rules, limits)
    else:
        repaired, steps = parts_of_reading(reading)
        if repaired is not None:
            _lint(repaired, catalogue, allowed, False, rules, limits)
        else:
            calls = CallRules(catalogue, allowed, rules)
            for position, step in steps:
                _lint_step(step, position, collect_step(step, position), calls, rules)
    problems.extend_elsewhere(rules)
    if problems or plan is None or found is None:
        raise PlanError(problems)
    return plan, found.graph


def _lint(
    plan: Plan,
    catalogue: Catalogue,
    allowed: Collection[str] | None,
    is_open: bool,
    problems: Problems,
    limits: Limits,
) -> Checked | None:
    """Note everything that is wrong with a plan; return the rest if the steps have an order."""
    if not plan.steps and not is_open:
        problems.add("no-steps", "/steps", "The plan has no steps.", "Write at least one step.")
    if len(plan.steps) > limits.step_max:
        problems.extend([too_many_steps(len(plan.steps), limits)])
        return None
    uses = collect(plan)
    rules = CallRules(catalogue, allowed, problems)
    for position, step in enumerate(plan.steps):
        _lint_step(step, position, uses.steps[position], rules, problems)
    graph = order_problems(plan, catalogue, uses, problems)
    if graph is None:
        return None
    problems.extend(pivot_problems(plan, catalogue, graph))
    return Checked(graph=graph, input_uses=uses.of_inputs)


def _lint_step(
    step: Step, position: int, uses: StepUses, rules: CallRules, problems: Problems
) -> None:
    """Note what is wrong with one step on its own: its tools, its parameters, its undo."""
    if problems.is_full:
        return
    here: Path = ("steps", position)
    facts = rules.tool_at(step.tool, (*here, "tool"))
    if facts is not None:
        rules.promises_at(step, facts, (*here, "tool"))
    rules.params_at(facts, step.params, uses.params_places, (*here, "params"))
    if isinstance(step.rollback, Rollback):
        undo = rules.tool_at(step.rollback.tool, (*here, "rollback", "tool"))
        place = (*here, "rollback", "params")
        rules.params_at(undo, step.rollback.params, uses.rollback_places, place)
    problems.extend(uses.problems)
    problems.extend(step_way_back_problems(step, position, rules.catalogue))


# --- compensations that are decided late --------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One checked tool call of a late compensation; its parameters are a template."""

    tool: str
    params: dict[str, Any]


def check_calls(
    text: str | bytes,
    plan: Plan,
    catalogue: Catalogue,
    *,
    allowed: Collection[str] | None = None,
    available: Collection[int] | None = None,
    limits: Limits = LIMITS,
) -> tuple[Call, ...]:
    """Return the calls of a compensation that was decided when it was needed.

    The text is ``{"calls": [{"tool": ..., "params": {...}}, ...]}`` and is read and checked like a
    plan; the calls are made one after the other. Their parameters may refer to the outputs
    and inputs of the saga, but not to each other.

    Args:
        text: What a planner or a person proposes.
        plan: The plan of the saga that is to be made good.
        catalogue: The tools, by name.
        allowed: Names of the tools that may be used for this; None allows all.
        available: Indexes of the steps whose output is recorded; None stands for all.
        limits: Bounds on the text and on the number of calls.

    Raises:
        PlanError: With every problem.
    """
    reading = read_json(text, limits=limits)
    proposed, problems = calls_of_reading(reading, limits)
    if proposed is None:
        raise PlanError(problems)
    if not proposed:
        hint = "Write at least one call; if nothing is to be done, a person can settle the step."
        problems.add("no-calls", "/calls", "There are no calls.", hint)
    if len(proposed) > limits.call_max:
        why = f"There are {len(proposed)} calls; {limits.call_max} are allowed."
        problems.add("too-many-calls", "/calls", why, "Make good with fewer calls.")
        raise PlanError(problems)
    found = Problems(limits)
    rules = CallRules(catalogue, allowed, found)
    for position, call in enumerate(proposed):
        here: Path = ("calls", position)
        facts = rules.tool_at(call.tool, (*here, "tool"))
        inside = list(references_in(call.params))
        places = tuple(path for path, _, _ in inside)
        rules.params_at(facts, call.params, places, (*here, "params"))
        for path, written, names in inside:
            at = (*here, "params", *path)
            if isinstance(names, ReferenceRefused):
                found.add(names.code, at, names.why, names.hint)
            else:
                note_late_reference(plan, catalogue, (written, names), at, available, found)
    problems.extend_elsewhere(found)
    if problems:
        raise PlanError(problems)
    return tuple(Call(tool=call.tool, params=call.params) for call in proposed)
