"""Whether everything that can fail leaves a way back: kinds, undo calls and the pivot.

A step that has an effect must be undone when a later one fails. So a step without a way back is
a point of no return: whatever is not certainly done before it must be sure to succeed. One such
point is allowed, written as ``kind: pivot`` or implied by a last step without a rollback, and after
it only retriable steps may come.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fsm_saga.core.contract import ToolFacts
from fsm_saga.core.references import ReferenceText, name_keys
from fsm_saga.core.states import StepKind
from fsm_saga.errors import Problem
from fsm_saga.plan.graph import PlanGraph, indexes
from fsm_saga.plan.model import Plan, Rollback, Step
from fsm_saga.plan.problems import Near, listed, pointer, shown
from fsm_saga.plan.references import references_in
from fsm_saga.plan.schemas import (
    output_is_single,
    output_properties,
    params_mismatches,
    required_params,
)

Catalogue = Mapping[str, ToolFacts]


def effective_kind(step: Step, facts: ToolFacts | None) -> StepKind:
    """Return what a step is to the way back, given what its tool declared."""
    if step.kind is not None:
        return StepKind(step.kind)
    if facts is not None and facts.contract.read_only:
        return StepKind.READ_ONLY
    return StepKind.COMPENSATABLE


def derive_undo(step: Step, facts: ToolFacts, undo_facts: ToolFacts) -> dict[str, Any] | None:
    """Return the parameters of the undo that a step's tool declares, or None.

    Each parameter of the undo tool is taken by name: from the fields of the action's output, else
    from the action's own parameters. If the output is declared to be a single value, it may
    fill the one needed parameter that is left; if its fields are not declared, those that are
    left are looked for in it by name. Optional parameters are filled only where a source is
    declared.

    Args:
        step: The step, which has no rollback of its own.
        facts: Its tool.
        undo_facts: The tool that undoes it.

    Returns:
        A template that may hold references to the step's own output.
    """
    own_output = f"$output.step_{step.step_id}"
    fields = output_properties(facts)
    params: dict[str, Any] = {}
    unfilled: list[str] = []
    for name in required_params(undo_facts):
        if fields is not None and name in fields:
            params[name] = f"{own_output}.{name}"
        elif name in step.params:
            params[name] = step.params[name]
        else:
            unfilled.append(name)
    if len(unfilled) == 1 and output_is_single(facts):
        params[unfilled[0]] = own_output
    elif unfilled and (fields is not None or output_is_single(facts)):
        return None
    else:
        params |= {name: f"{own_output}.{name}" for name in unfilled}
    for name in undo_facts.params_schema.get("properties", {}):
        if name not in params and fields is not None and name in fields:
            params[name] = f"{own_output}.{name}"
        elif name not in params and name in step.params:
            params[name] = step.params[name]
    places = tuple(path for path, _, _ in references_in(params))
    if next(params_mismatches(undo_facts, params, places, Near()), None) is not None:
        return None
    return params


def derived_undo(step: Step, catalogue: Catalogue) -> dict[str, Any] | None:
    """Return the parameters with which a tool's declared undo stands in for a rollback, or None.

    None where the step has a rollback, where it is never undone, or where nothing is declared.
    """
    facts = catalogue.get(step.tool)
    if step.rollback is not None or facts is None or facts.undo is None:
        return None
    if effective_kind(step, facts) in (StepKind.PIVOT, StepKind.READ_ONLY):
        return None
    undo_facts = catalogue.get(facts.undo)
    return None if undo_facts is None else derive_undo(step, facts, undo_facts)


def is_irrevocable(step: Step, catalogue: Catalogue) -> bool:
    """Return whether a step, once done, cannot be taken back."""
    kind = effective_kind(step, catalogue.get(step.tool))
    if kind is StepKind.PIVOT:
        return True
    if kind is StepKind.READ_ONLY or step.rollback is not None:
        return False
    return derived_undo(step, catalogue) is None


def find_pivot(plan: Plan, catalogue: Catalogue) -> int | None:
    """Return the index of the plan's point of no return, written or implied, or None.

    Retriable steps without a way back are none: nothing that can fail comes after them.
    """
    for position, step in enumerate(plan.steps):
        kind = effective_kind(step, catalogue.get(step.tool))
        if kind is not StepKind.RETRIABLE and is_irrevocable(step, catalogue):
            return position
    return None


def step_way_back_problems(step: Step, position: int, catalogue: Catalogue) -> Iterator[Problem]:
    """Yield what one step's kind, rollback and tool say against each other."""
    facts = catalogue.get(step.tool)
    kind = effective_kind(step, facts)
    if kind is StepKind.READ_ONLY:
        yield from _read_only_problems(step, position, facts)
        return
    if kind is StepKind.PIVOT and step.rollback is not None:
        yield Problem(
            code="pivot-with-rollback",
            pointer=pointer("steps", position, "rollback"),
            message=f"Step {shown(step.step_id)} is a pivot, so it is never undone.",
            hint="Leave the rollback out, or leave 'kind' out and keep the rollback.",
        )
    if facts is None:
        return
    if isinstance(step.rollback, Rollback):
        yield from _rollback_problems(step, step.rollback, position, catalogue)
    elif step.rollback is None and facts.undo is not None and kind is not StepKind.PIVOT:
        yield from _derived_problems(step, position, facts, facts.undo, catalogue)


def _read_only_problems(step: Step, position: int, facts: ToolFacts | None) -> Iterator[Problem]:
    if step.rollback is not None:
        yield Problem(
            code="read-only-with-undo",
            pointer=pointer("steps", position, "rollback"),
            message=f"Step {shown(step.step_id)} only reads, and yet it has a rollback.",
            hint="Leave the rollback out, or leave 'kind' out if the step changes something.",
        )
    elif step.kind == "read_only" and facts is not None and facts.undo is not None:
        yield Problem(
            code="read-only-with-undo",
            pointer=pointer("steps", position, "kind"),
            message=(
                f"Step {shown(step.step_id)} is called read-only, but its tool "
                f"{shown(step.tool)} declares an undo, so it changes something."
            ),
            hint="Leave 'kind' out.",
        )


def _rollback_problems(
    step: Step, rollback: Rollback, position: int, catalogue: Catalogue
) -> Iterator[Problem]:
    undo_facts = catalogue.get(rollback.tool)
    if undo_facts is None:
        return  # told elsewhere
    if undo_facts.contract.read_only:
        yield Problem(
            code="rollback-without-effect",
            pointer=pointer("steps", position, "rollback", "tool"),
            message=f"The rollback tool {shown(rollback.tool)} only reads: it undoes nothing.",
            hint="Name a tool that takes the effect back, or leave the rollback out.",
        )
    next_undo = undo_facts.undo
    is_pair = rollback.tool in (step.tool, catalogue[step.tool].undo) or next_undo == step.tool
    if next_undo is not None and not is_pair:
        yield Problem(
            code="rollback-needs-undo",
            pointer=pointer("steps", position, "rollback", "tool"),
            message=(
                f"The rollback tool {shown(rollback.tool)} has an effect that "
                f"{shown(next_undo)} would have to undo, and a rollback is never undone."
            ),
            hint=f"Name the tool that takes back what {shown(step.tool)} does, and no more.",
        )
    yield from _needs_output_problems(step, position, rollback.params, catalogue[step.tool])


def _derived_problems(
    step: Step, position: int, facts: ToolFacts, undo: str, catalogue: Catalogue
) -> Iterator[Problem]:
    undo_facts = catalogue.get(undo)
    if undo_facts is None:
        yield Problem(
            code="unknown-undo-tool",
            pointer=pointer("steps", position, "tool"),
            message=(
                f"The tool {shown(step.tool)} declares the undo {shown(undo)}, "
                "and there is no such tool."
            ),
            hint="Write a rollback for this step, or mend the tool's declaration.",
        )
        return
    params = derive_undo(step, facts, undo_facts)
    if params is not None:
        yield from _needs_output_problems(step, position, params, facts)
    elif effective_kind(step, facts) is StepKind.COMPENSATABLE:
        needed = required_params(undo_facts)
        yield Problem(
            code="undo-not-derivable",
            pointer=pointer("steps", position, "tool"),
            message=(
                f"The undo {shown(undo)} of {shown(step.tool)} needs "
                f"{listed(needed) or 'other parameters'}, and not all of it can be taken by name "
                "from the step's parameters and output."
            ),
            hint="Write a rollback for this step, with its parameters.",
        )


def _needs_output_problems(
    step: Step, position: int, params: dict[str, Any], facts: ToolFacts
) -> Iterator[Problem]:
    """Yield a problem if the undo needs an output that a lost reply would hide for good."""
    if facts.contract.dedupe or facts.contract.check is not None:
        return
    for path, _, names in references_in(params):
        if isinstance(names, ReferenceText) and (
            names.kind == "output" and names.name in name_keys(step.step_id)
        ):
            place = ("rollback", "params", *path) if step.rollback is not None else ("tool",)
            yield Problem(
                code="undo-needs-output",
                pointer=pointer("steps", position, *place),
                message=(
                    f"The undo of step {shown(step.step_id)} needs the step's output, but if the "
                    f"reply of {shown(step.tool)} is lost, that output can never be learnt: "
                    "the tool neither repeats its answer nor can be asked."
                ),
                hint="Undo by something known before the call, such as one of its parameters.",
            )
            return


def pivot_problems(plan: Plan, catalogue: Catalogue, graph: PlanGraph) -> Iterator[Problem]:
    """Yield what is wrong with the plan's points of no return, for a plan without cycles."""
    written = [position for position, step in enumerate(plan.steps) if step.kind == "pivot"]
    for position in written[1:]:
        yield Problem(
            code="two-pivots",
            pointer=pointer("steps", position, "kind"),
            message=(
                f"Steps {shown(plan.steps[written[0]].step_id)} and "
                f"{shown(plan.steps[position].step_id)} are both pivots."
            ),
            hint="Keep one pivot; the steps after it are retriable, those before it can be undone.",
        )
    if len(written) == 1:
        yield from _written_pivot_problems(plan, written[0], graph)
    fallible = _fallible(plan, catalogue)
    for position, step in enumerate(plan.steps):
        if step.kind != "pivot" and _lacks_way_back(step, catalogue):
            yield from _no_way_back_problems(plan, position, fallible, graph, written)


def _fallible(plan: Plan, catalogue: Catalogue) -> int:
    """Return the bitmask of the steps that can fail for good: all but the retriable ones."""
    mask = 0
    for position, step in enumerate(plan.steps):
        if effective_kind(step, catalogue.get(step.tool)) is not StepKind.RETRIABLE:
            mask |= 1 << position
    return mask


def _lacks_way_back(step: Step, catalogue: Catalogue) -> bool:
    """Return whether a step is irrevocable, for the purpose of telling it once.

    A declared undo that cannot be used has a problem of its own already.
    """
    facts = catalogue.get(step.tool)
    is_told = (
        facts is not None
        and facts.undo is not None
        and effective_kind(step, facts) is StepKind.COMPENSATABLE
    )
    return not is_told and facts is not None and is_irrevocable(step, catalogue)


def _written_pivot_problems(plan: Plan, pivot: int, graph: PlanGraph) -> Iterator[Problem]:
    name = shown(plan.steps[pivot].step_id)
    for position, step in enumerate(plan.steps):
        if graph.is_parallel(pivot, position):
            yield Problem(
                code="pivot-in-parallel",
                pointer=pointer("steps", position),
                message=(
                    f"Step {shown(step.step_id)} may run at the same time as the pivot {name}, so "
                    "it is unclear whether it could still be undone."
                ),
                hint="Put it before or after the pivot with 'depends_on'.",
            )
        elif graph.is_before(pivot, position) and step.kind != "retriable":
            yield Problem(
                code="after-pivot-must-be-retriable",
                pointer=pointer("steps", position),
                message=(
                    f"Step {shown(step.step_id)} comes after the pivot {name} and can fail, and "
                    "then there is no way forward and none back."
                ),
                hint="Write kind 'retriable' if it can be tried until it succeeds, or move it.",
            )


def _no_way_back_problems(
    plan: Plan, position: int, fallible: int, graph: PlanGraph, written: list[int]
) -> Iterator[Problem]:
    step = plan.steps[position]
    others = ((1 << len(plan.steps)) - 1) & ~(1 << position) & ~graph.ancestors[position]
    # What comes after a written pivot, or beside it, was told in the pivot's name.
    told = any(not graph.is_before(position, pivot) for pivot in written)
    unsure = [plan.steps[each].step_id for each in indexes(others & fallible)]
    if unsure and not told:
        yield Problem(
            code="no-way-back",
            pointer=pointer("steps", position),
            message=(
                f"Step {shown(step.step_id)} cannot be undone, and steps that can fail come after "
                f"it or run beside it: {listed(unsure)}."
            ),
            hint=(
                "Add a rollback to it, or make it the last step, or write kind 'pivot' and let "
                "only retriable steps follow."
            ),
        )
    elif not told and step.kind != "retriable":
        # It is the implied pivot: everything else is before it or retriable. What is retriable
        # must still be clearly before or after.
        beside = [
            other
            for other in indexes(others & ~graph.descendants[position])
            if graph.is_parallel(position, other)
        ]
        for other in beside:
            yield Problem(
                code="pivot-in-parallel",
                pointer=pointer("steps", other),
                message=(
                    f"Step {shown(plan.steps[other].step_id)} may run at the same time as "
                    f"{shown(step.step_id)}, which cannot be undone, so it is unclear whether it "
                    "could still be undone itself."
                ),
                hint="Put it before or after that step with 'depends_on'.",
            )
