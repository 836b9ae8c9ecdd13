"""Plan -> Program: every choice that the engine will need, made once and frozen.

Compiling is a pure function of the plan and of what its tools declare. Both are written into
the journal, so that a saga compiles to the same program wherever and whenever it is read, with
or without the tools at hand.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Hashable, Mapping
from typing import Any

import orjson

from fsm_saga.core.backward import UNDO_RETRY, UNDO_TIMEOUT_S
from fsm_saga.core.contract import ToolContract, ToolFacts
from fsm_saga.core.program import CallSpec, Program, RetryRule, Shape, StepSpec
from fsm_saga.core.references import Template, name_keys
from fsm_saga.core.states import DoubtExit, StepKind
from fsm_saga.machine.flatten import saga_table, step_table
from fsm_saga.machine.kept import Kept
from fsm_saga.plan.fields import ALREADY_READ
from fsm_saga.plan.graph import PlanGraph, build_graph
from fsm_saga.plan.model import Plan, Retry, Rollback, Semantic, Step
from fsm_saga.plan.way_back import derive_undo

ACTION_TIMEOUT_S = 30.0
APPROVAL_EXPIRES_S = 86_400.0
CLOCK_SKEW_S = 5.0
# A refusal is definite and sticky, so it is not repeated unless the plan says so; a lost
# answer is, because the repeat gets the first answer.
ACTION_RETRY = RetryRule(attempt_max=1, doubt_attempt_max=3, delay_s=0.5, delay_s_max=30.0)
RETRIABLE_RETRY = RetryRule(attempt_max=10, doubt_attempt_max=10, delay_s=0.5, delay_s_max=30.0)
PROGRAMS_KEPT = 512
_UNDECLARED = ToolContract()

Declared = Mapping[str, Any]
"""What the tools of a plan declared: ``contracts`` by tool, ``rollbacks`` by step index."""


_SHARED: Kept[Hashable, Program] = Kept(PROGRAMS_KEPT)


def declare(plan: Plan, catalogue: Mapping[str, ToolFacts]) -> Declared:
    """Return what a linted plan's tools declare, as the JSON that goes into the journal.

    ``contracts`` has, for each tool that the plan can call, what differs from an undeclared
    tool; ``rollbacks`` the undo calls that tools declare for steps whose plan has none.
    """
    names: set[str] = set()
    rollbacks: dict[str, Any] = {}
    for index, step in enumerate(plan.steps):
        facts = catalogue[step.tool]
        names.add(step.tool)
        if facts.contract.check is not None:
            names.add(facts.contract.check)
        if isinstance(step.rollback, Rollback):
            names.add(step.rollback.tool)
        elif (
            step.rollback is None
            and facts.undo is not None
            and _kind(step, facts.contract)
            in (
                StepKind.COMPENSATABLE,
                StepKind.RETRIABLE,
            )
        ):
            params = derive_undo(step, facts, catalogue[facts.undo])
            if params is not None:
                names.add(facts.undo)
                rollbacks[str(index)] = {"tool": facts.undo, "params": params}
    contracts = {name: contract_as_json(catalogue[name].contract) for name in sorted(names)}
    # Derived parameters are parts of the plan's own, which may be changed by whoever holds it.
    own = orjson.loads(orjson.dumps(rollbacks)) if rollbacks else rollbacks
    return {"contracts": contracts, "rollbacks": own}


def contract_as_json(contract: ToolContract) -> dict[str, Any]:
    """Return what the contract says beyond an undeclared tool's."""
    return {
        field.name: value
        for field in dataclasses.fields(ToolContract)
        if (value := getattr(contract, field.name)) != getattr(_UNDECLARED, field.name)
    }


def compile_plan(
    plan: Plan,
    declared: Declared,
    *,
    is_open: bool = False,
    undoes: Mapping[str, str] | None = None,
) -> Program:
    """Return the program of a plan that passed the checks.

    Sagas whose plans differ only in task, goal and inputs share everything but those.
    """
    shared = compile_shared(plan, declared, is_open=is_open, undoes=undoes)
    return program_of(shared, plan)


def program_of(shared: Program, plan: Plan) -> Program:
    """Return the program of a plan, made of one that plans of its structure share."""
    return dataclasses.replace(
        shared, plan_hash=plan.content_hash(), goal=plan.goal, inputs=plan.inputs
    )


def compile_shared(
    plan: Plan,
    declared: Declared,
    *,
    is_open: bool = False,
    undoes: Mapping[str, str] | None = None,
    graph: PlanGraph | None = None,
) -> Program:
    """Return the part of a plan's program that all plans of its structure share.

    Nothing of this plan is in it but its structure, and no part of it belongs to the plan, which
    may be changed by whoever holds it.

    Args:
        plan: The plan, which passed the checks.
        declared: What its tools declare.
        is_open: The plan will grow.
        undoes: For an undo of another saga, the req_id that each step undoes.
        graph: The plan's graph, if it was made already.
    """
    structure = structure_of(orjson.loads(plan.canonical_json()))
    undone = tuple(sorted((undoes or {}).items()))
    key = (hashlib.sha256(structure).digest(), orjson.dumps(declared), is_open, undone)
    program = _SHARED.get(key)
    if program is None:
        own = Plan.model_validate(orjson.loads(structure), context={ALREADY_READ: True})
        program = _compile(own, graph or build_graph(own), orjson.loads(key[1]), is_open, undoes)
        _SHARED.put(key, program)
    return program


def structure_of(body: Mapping[str, Any]) -> bytes:
    """Return what a plan, given as JSON, shares with plans that differ in task, goal and inputs.

    Its own text is a plan again, of a task without a name.
    """
    shared = {key: body[key] for key in body if key not in ("goal", "inputs")}
    return orjson.dumps(shared | {"task_id": "-"}, option=orjson.OPT_SORT_KEYS)


def _compile(
    plan: Plan,
    graph: PlanGraph,
    declared: Declared,
    is_open: bool,
    undoes: Mapping[str, str] | None,
) -> Program:
    index_of = {
        key: index for index, step in enumerate(plan.steps) for key in name_keys(step.step_id)
    }
    contracts = {name: ToolContract(**facts) for name, facts in declared["contracts"].items()}
    params = [Template.compile(step.params, index_of) for step in plan.steps]
    used = frozenset[int]().union(*(each.steps for each in params))
    followers = _followers(graph)
    steps = tuple(
        _compile_step(
            step,
            index=index,
            params=params[index],
            graph=graph,
            followers=followers[index],
            index_of=index_of,
            contracts=contracts,
            derived=declared["rollbacks"].get(str(index)),
            undoes=(undoes or {}).get(str(index)),
            output_is_used=index in used,
        )
        for index, step in enumerate(plan.steps)
    )
    shape = Shape(
        step_count=len(steps),
        width=graph.width,
        read_only_count=sum(not step.is_effectful for step in steps),
        is_open=is_open,
    )
    return Program(
        plan_hash="",
        goal=None,
        steps=steps,
        inputs={},
        deadline_s=plan.deadline_s,
        is_open=is_open,
        shape=shape,
        table=saga_table(shape),
        step_table=step_table(),
        irrevocable=sum(1 << step.index for step in steps if step.is_irrevocable),
        effectful=sum(1 << step.index for step in steps if step.is_effectful),
        undo_order=tuple(reversed(graph.order)),
        clock_skew_s=CLOCK_SKEW_S,
    )


def _followers(graph: PlanGraph) -> list[tuple[int, ...]]:
    found: list[list[int]] = [[] for _ in graph.needs]
    for index, needs in enumerate(graph.needs):
        for need in needs:
            found[need].append(index)
    return [tuple(each) for each in found]


def _compile_step(
    step: Step,
    *,
    index: int,
    params: Template,
    graph: PlanGraph,
    followers: tuple[int, ...],
    index_of: Mapping[str, int],
    contracts: Mapping[str, ToolContract],
    derived: Mapping[str, Any] | None,
    undoes: str | None,
    output_is_used: bool,
) -> StepSpec:
    contract = contracts.get(step.tool, _UNDECLARED)
    kind = _kind(step, contract)
    action = CallSpec(
        tool=step.tool,
        params=params,
        timeout_s=step.timeout_s if step.timeout_s is not None else ACTION_TIMEOUT_S,
        retry=_retry_rule(
            step.retry, RETRIABLE_RETRY if kind is StepKind.RETRIABLE else ACTION_RETRY
        ),
        contract=contract,
    )
    undo = _undo(step, kind, derived, index_of, contracts)
    semantic = step.rollback.semantic if isinstance(step.rollback, Semantic) else None
    is_effectful = kind is not StepKind.READ_ONLY
    undo_needs_output = undo is not None and index in undo.params.steps
    deadline_s = step.deadline_s
    if deadline_s is None and contract.deadline:
        deadline_s = action.timeout_s
    has_way_back = (undo is not None or semantic is not None) and kind is not StepKind.PIVOT
    return StepSpec(
        index=index,
        step_id=step.step_id,
        name=step.name or step.tool,
        kind=kind,
        action=action,
        undo=undo,
        undo_needs_output=undo_needs_output,
        semantic=semantic,
        needs=sum(1 << need for need in graph.needs[index]),
        followers=followers,
        descendants=graph.descendants[index],
        is_effectful=is_effectful,
        is_irrevocable=is_effectful and not has_way_back,
        approval_expires_s=_approval_expires_s(step),
        deadline_s=deadline_s,
        exit=choose_exit(
            contract,
            is_effectful=is_effectful,
            can_undo_blind=undo is not None and not undo_needs_output,
        ),
        check=_check(contract, action, contracts),
        undoes=undoes,
        output_is_used=output_is_used,
    )


def _kind(step: Step, contract: ToolContract) -> StepKind:
    if step.kind is not None:
        return StepKind(step.kind)
    return StepKind.READ_ONLY if contract.read_only else StepKind.COMPENSATABLE


def choose_exit(contract: ToolContract, *, is_effectful: bool, can_undo_blind: bool) -> DoubtExit:
    """Return how a call is settled whose outcome stays unknown after its retries.

    Only exits that the tool's promises make sound are chosen; time alone is none of them.

    Args:
        contract: What the step's tool promises.
        is_effectful: False for a read-only step, which leaves nothing to settle.
        can_undo_blind: There is an undo call that does not need the action's output.
    """
    if not is_effectful:
        return DoubtExit.NO_EFFECT
    if can_undo_blind and contract.fenced_compensation:
        return DoubtExit.COMPENSATE_NOW
    if contract.check is not None:
        return DoubtExit.CHECK
    if can_undo_blind and contract.deadline:
        return DoubtExit.WAIT_DEADLINE
    if contract.dedupe:
        return DoubtExit.RESEND
    return DoubtExit.PERSON


def _undo(
    step: Step,
    kind: StepKind,
    derived: Mapping[str, Any] | None,
    index_of: Mapping[str, int],
    contracts: Mapping[str, ToolContract],
) -> CallSpec | None:
    if kind is StepKind.READ_ONLY:
        return None
    rule, timeout_s = _undo_retry(step), UNDO_TIMEOUT_S
    if isinstance(step.rollback, Rollback):
        tool, params = step.rollback.tool, step.rollback.params
        if step.rollback.retry is not None:
            rule = _retry_rule(step.rollback.retry, UNDO_RETRY)
        if step.rollback.timeout_s is not None:
            timeout_s = step.rollback.timeout_s
    elif derived is not None and step.rollback is None:
        tool, params = derived["tool"], derived["params"]
    else:
        return None
    return CallSpec(
        tool=tool,
        params=Template.compile(params, index_of),
        timeout_s=timeout_s,
        retry=rule,
        contract=contracts.get(tool, _UNDECLARED),
    )


def _undo_retry(step: Step) -> RetryRule:
    if step.retry is None:
        return UNDO_RETRY
    attempt_max = max(step.retry.attempts, UNDO_RETRY.attempt_max)
    return RetryRule(
        attempt_max=attempt_max,
        doubt_attempt_max=attempt_max,
        delay_s=step.retry.delay_s,
        delay_s_max=step.retry.longest_delay_s,
    )


def _retry_rule(retry: Retry | None, default: RetryRule) -> RetryRule:
    if retry is None:
        return default
    return RetryRule(
        attempt_max=retry.attempts,
        doubt_attempt_max=retry.attempts,
        delay_s=retry.delay_s,
        delay_s_max=retry.longest_delay_s,
    )


def _check(
    contract: ToolContract, action: CallSpec, contracts: Mapping[str, ToolContract]
) -> CallSpec | None:
    if contract.check is None:
        return None
    return CallSpec(
        tool=contract.check,
        params=Template.compile({}, {}),
        timeout_s=action.timeout_s,
        retry=UNDO_RETRY,
        contract=contracts.get(contract.check, _UNDECLARED),
    )


def _approval_expires_s(step: Step) -> float | None:
    if step.approval is None or step.approval is False:
        return None
    if step.approval is True:
        return APPROVAL_EXPIRES_S
    return step.approval.expires_s
