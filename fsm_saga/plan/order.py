"""Rules about ids, dependencies and the order that references need."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from fsm_saga.core.references import STEP_PREFIX, ReferenceText, name_key, name_keys
from fsm_saga.errors import Problem
from fsm_saga.plan.graph import PlanGraph, declared_needs, graph_of, with_references
from fsm_saga.plan.model import Plan
from fsm_saga.plan.problems import Path, Problems, listed, shown
from fsm_saga.plan.references import Use, Uses, index_by_id, index_of
from fsm_saga.plan.schemas import lacks
from fsm_saga.plan.way_back import Catalogue

# Steps of a circle that a problem names at its beginning and at its end.
CYCLE_SHOWN_MAX = 6


def order_problems(
    plan: Plan, catalogue: Catalogue, uses: Uses, problems: Problems
) -> PlanGraph | None:
    """Note what is wrong with ids, dependencies and references; return the graph of the rest.

    None means that no order can be told from this plan, so that no rule about order applies.
    """
    is_clear = _note_duplicate_ids(plan, problems)
    is_clear &= _note_bad_dependencies(plan, uses, problems)
    for use in uses.all:
        _note_unknown_name(plan, uses, use, problems)
        _note_missing_path(plan, catalogue, uses, use, problems)
    declared = graph_of(declared_needs(plan, uses))
    if declared.cycles or not is_clear:
        _note_cycles(plan, declared, uses, problems)
        return None
    sound, unsound = _sorted_by_order(plan, declared, uses)
    needs = with_references(declared.needs, uses, sound)
    # Mostly a reference says nothing new: it is to a step that was waited for anyway.
    graph = declared if needs == declared.needs else graph_of(needs)
    _note_cycles(plan, graph, uses, problems)
    in_circle = _note_circles_of_references(plan, uses, unsound, problems)
    for use, source in unsound:
        if (use.step, source) not in in_circle:
            _note_not_before(plan, declared, use, source, problems)
    return None if graph.cycles else graph


def _note_duplicate_ids(plan: Plan, problems: Problems) -> bool:
    """Note each id that could be taken for an earlier one; return whether there was none."""
    first: dict[str, int] = {}
    is_clear = True
    for position, step in enumerate(plan.steps):
        keys = name_keys(step.step_id)
        other = next((first[key] for key in keys if key in first), None)
        if other is not None:
            is_clear = False
            problems.add(
                "duplicate-id",
                ("steps", position, "step_id"),
                f"The step_id {shown(step.step_id)} could be taken for "
                f"{shown(plan.steps[other].step_id)} of /steps/{other}: ids are compared as "
                "texts, and 'step_1' answers to '1' too.",
                "Give each step an id of its own.",
            )
        for key in keys:
            first.setdefault(key, position)
    return is_clear


def _note_bad_dependencies(plan: Plan, uses: Uses, problems: Problems) -> bool:
    """Note each name in a ``depends_on`` that is no other step; return whether there was none."""
    is_clear = True
    for position, step in enumerate(plan.steps):
        for place, name in enumerate(step.depends_on or ()):
            at = ("steps", position, "depends_on", place)
            key = name_key(name)
            mine = shown(step.step_id)
            if key == name_key(step.step_id):
                why = f"Step {mine} depends on itself."
                problems.add("self-dependency", at, why, "Leave it out.")
            elif key not in uses.by_id:
                why = f"Step {mine} depends on {shown(name)}, which is no step."
                problems.add("unknown-dependency", at, why, _step_hint(key, uses, problems))
            else:
                continue
            is_clear = False
    return is_clear


def _step_hint(name: str, uses: Uses, problems: Problems) -> str:
    """Return which step may have been meant by a wrong name."""
    short = name.removeprefix(STEP_PREFIX)
    if short in uses.by_id:
        return f"Write the step_id as it is: {shown(short)}."
    otherwise = f"The plan has the steps {listed(uses.by_id)}."
    return problems.near.hint(name, uses.by_id, otherwise=otherwise)


def _note_unknown_name(
    plan: Plan, uses: Uses, use: Use, problems: Problems, *, at: Path | None = None
) -> None:
    name = use.names.name
    if use.names.kind == "input" and name not in plan.inputs:
        otherwise = "Add it to 'inputs', or write the value here."
        problems.add(
            "unknown-input",
            at or use.at,
            f"{shown(use.text)} names the input {shown(name)}, which the plan does not give.",
            problems.near.hint(name, plan.inputs, otherwise=otherwise),
        )
    elif use.names.kind == "output" and name not in uses.index:
        problems.add(
            "unknown-step-reference",
            at or use.at,
            f"{shown(use.text)} names the step {shown(name)}, which the plan does not have.",
            _step_hint(name, uses, problems),
        )


def _note_missing_path(
    plan: Plan,
    catalogue: Catalogue,
    uses: Uses,
    use: Use,
    problems: Problems,
    *,
    at: Path | None = None,
) -> None:
    source = uses.source(use)
    tool = None if source is None else plan.steps[source].tool
    if use.names.kind == "input":
        why = _input_lacks(plan, use)
    elif tool is not None and tool in catalogue:
        why = lacks(catalogue[tool], use.names.path)
    else:
        return
    if why is not None:
        named = tool if tool is not None else use.names.name
        whose = f"the {'input' if tool is None else 'output of'} {shown(named)}"
        problems.add(
            "unknown-path",
            at or use.at,
            f"{shown(use.text)} leads nowhere in {whose}: {why}.",
            "Use a path that is there.",
        )


def _input_lacks(plan: Plan, use: Use) -> str | None:
    """Return why a path certainly leads nowhere in the plan's own inputs."""
    if use.names.name not in plan.inputs:
        return None
    value = plan.inputs[use.names.name]
    for segment in use.names.path:
        if isinstance(value, dict) and segment in value:
            value = value[segment]
        elif isinstance(value, list) and _is_index(segment) and int(segment) < len(value):
            value = value[int(segment)]
        else:
            return f"{shown(value)} has no {shown(segment)}"
    return None


def _is_index(segment: str) -> bool:
    return segment.isascii() and segment.isdigit() and len(segment) < 10


def _sorted_by_order(
    plan: Plan, declared: PlanGraph, uses: Uses
) -> tuple[list[Use], list[tuple[Use, int]]]:
    """Return the references that may order steps, and those whose step is not certainly before.

    A step without ``depends_on`` also comes after every step whose output it uses. A step with one
    has said what it waits for, and a reference beyond that is a slip: two accounts of one order.
    """
    sound: list[Use] = []
    unsound: list[tuple[Use, int]] = []
    for use in uses.all:
        source = uses.source(use)
        if source is None or (source == use.step and use.place == "rollback"):
            continue
        has_said = plan.steps[use.step].depends_on is not None
        if source != use.step and (
            declared.is_before(source, use.step)
            or not (has_said or declared.is_before(use.step, source))
        ):
            sound.append(use)
        else:
            unsound.append((use, source))
    return sound, unsound


def _note_circles_of_references(
    plan: Plan, uses: Uses, unsound: list[tuple[Use, int]], problems: Problems
) -> set[tuple[int, int]]:
    """Note the steps that need each other's outputs; return who needs whom in these circles.

    No order of such steps helps, so a hint to add one to the other's ``depends_on`` would mislead.
    """
    found: set[tuple[int, int]] = set()
    if not unsound:
        return found
    wrong = {(use.step, source) for use, source in unsound}
    forward = [use for use in uses.all if use.place != "rollback"]
    graph = graph_of(with_references(((),) * len(plan.steps), uses, forward))
    for cycle in graph.cycles:
        pairs = set(zip(cycle, (*cycle[1:], cycle[0]), strict=True))
        if pairs & wrong:  # one of sound references alone was noted before
            _note_cycle(plan, cycle, uses, problems)
            found |= pairs
    return found


def _note_not_before(
    plan: Plan, declared: PlanGraph, use: Use, source: int, problems: Problems
) -> None:
    mine, other = shown(plan.steps[use.step].step_id), shown(plan.steps[source].step_id)
    if source == use.step:
        why = f"Step {mine} uses its own output before there is one."
        hint = "Only the rollback of a step may use the step's own output."
    elif declared.is_before(use.step, source):
        why = f"Step {mine} uses the output of step {other}, which comes after it."
        hint = "Move the step, or use the output of an earlier one."
    else:
        why = f"Step {mine} uses the output of step {other}, which may run at the same time."
        hint = f"Add {other} to its 'depends_on'."
    problems.add("reference-not-before", use.at, why, hint)


def _note_cycles(plan: Plan, graph: PlanGraph, uses: Uses, problems: Problems) -> None:
    for cycle in graph.cycles:
        _note_cycle(plan, cycle, uses, problems)


def _note_cycle(plan: Plan, cycle: tuple[int, ...], uses: Uses, problems: Problems) -> None:
    pairs = list(zip(cycle, (*cycle[1:], cycle[0]), strict=True))
    reasons = [_reason(plan, waiting, awaited, uses) for waiting, awaited in pairs]
    names = [shown(plan.steps[step].step_id) for step in (*cycle, cycle[0])]
    if len(names) > 2 * CYCLE_SHOWN_MAX:
        names[CYCLE_SHOWN_MAX:-CYCLE_SHOWN_MAX] = ["..."]
    told = "; ".join(reason for reason, _ in reasons[:CYCLE_SHOWN_MAX])
    problems.add(
        "cycle",
        next((at for _, at in reasons if at is not None), ("steps", cycle[0])),
        f"Steps wait for each other in a circle: {' -> '.join(names)}. {told}.",
        "Remove one of these dependencies.",
    )


def _reason(plan: Plan, waiting: int, awaited: int, uses: Uses) -> tuple[str, Path | None]:
    """Return why one step waits for another, and where that is written, if it is."""
    step = plan.steps[waiting]
    mine, other = shown(step.step_id), shown(plan.steps[awaited].step_id)
    key = name_key(plan.steps[awaited].step_id)
    for place, name in enumerate(step.depends_on or ()):
        if name_key(name) == key:
            return f"{mine} depends on {other}", ("steps", waiting, "depends_on", place)
    for use in uses.steps[waiting].found:
        if uses.source(use) == awaited:
            return f"{mine} uses the output of {other}", use.at
    return f"{mine} is listed after {other}", None


def input_problems(plan: Plan, uses: Iterable[Use]) -> tuple[Problem, ...]:
    """Return which references to inputs lead nowhere.

    Of all the rules only these depend on the values of the inputs: whoever remembers the
    verdict on a plan for others of its structure has to ask them again.

    Args:
        plan: The plan.
        uses: Its references to inputs.
    """
    problems = Problems()
    for use in uses:
        _note_unknown_name(plan, _NO_STEPS, use, problems)
        _note_missing_path(plan, {}, _NO_STEPS, use, problems)
    return problems.as_tuple()


_NO_STEPS = Uses(steps=(), index={}, by_id={})


def note_late_reference(
    plan: Plan,
    catalogue: Catalogue,
    reference: tuple[str, ReferenceText],
    at: Path,
    available: Collection[int] | None,
    problems: Problems,
) -> None:
    """Note what is wrong with a reference that is made when the saga has already run.

    Args:
        plan: The saga's plan.
        catalogue: The tools, by name.
        reference: The reference as written, and its parts.
        at: Where it stands.
        available: Indexes of the steps whose output is recorded; None stands for all.
        problems: Where to note it.
    """
    text, names = reference
    uses = Uses(steps=(), index=index_of(plan), by_id=index_by_id(plan))
    use = Use(0, "params", (), text, names)
    _note_unknown_name(plan, uses, use, problems, at=at)
    _note_missing_path(plan, catalogue, uses, use, problems, at=at)
    source = uses.source(use)
    if source is not None and available is not None and source not in available:
        problems.add(
            "output-not-recorded",
            at,
            f"Step {shown(plan.steps[source].step_id)} has no recorded output.",
            "Use only outputs that are there, or write the value itself.",
        )
