"""What must hold, each with its name: judged on every transition and in every configuration.

``judge_transition`` looks at one decision: what the saga was, what it became, what was written
and what was ordered. ``judge_claims`` compares what the saga says of a step with what the tools'
ledgers hold. That the end stays in reach is judged on the whole graph, in ``search.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from fsm_saga.core import ids, people
from fsm_saga.core import records as r
from fsm_saga.core.decide import Decision
from fsm_saga.core.draft import Draft
from fsm_saga.core.effects import CallTool
from fsm_saga.core.events import PlanCloseAsked
from fsm_saga.core.guards import WayBack
from fsm_saga.core.program import Program
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Direction, Outcome, Phase, StepStatus
from fsm_saga.core.work import bits
from fsm_saga.machine.ledger import Ledger, Word
from fsm_saga.machine.moves import Move, is_out
from fsm_saga.machine.normal import NOW, SAGA_ID, changed_steps

PROPERTIES: Mapping[str, str] = {
    "TOTAL": "every event is decided, and what the engine must accept it accepts",
    "INV-2": "one call has one req_id, the same on every send (X2)",
    "INV-3": "every send of a req_id carries the same parameters (P7)",
    "INV-5": "an action starts only going forward, when all that it needs has succeeded (X3)",
    "INV-6": "the state is the fold of the records (W6)",
    "INV-7": "no undo starts while a call of the saga is in flight (C5)",
    "INV-8": "a step is undone only after all that depends on it is cleared (C6)",
    "INV-9": "nothing is undone that certainly never ran, or that may still arrive (C4, U1)",
    "INV-10": "the number in the state's name is the count of what it counts",
    "INV-11": "DONE means every step succeeded, FAILED that no step is left to undo",
    "INV-12": "after the point of no return nothing is undone (C12)",
    "X1": "no call takes effect twice, and no effect is undone twice (C8)",
    "C1": "DONE means that every effect is in the world exactly once",
    "C2": "FAILED means that no effect is left but what a person settled or made good",
    "C3": "what the saga says of a step is what its tool's ledger holds",
    "C11": "nothing leaves DONE and FAILED",
    "SENT": "every call that is awaited was sent, once; every call that is sent is awaited",
    "ASKED": "in NEEDS_HUMAN some step has an answer that a person may give",
    "OUTCOME": "the outcome says what is left in the world",
    "END": "from everywhere an end can be reached, by the engine or by a person's answer (V1)",
    "REST": "between two answers of people every run comes to rest (V6)",
}


DIRECTIONS = tuple(Direction)


class Finding(NamedTuple):
    """One broken property, with what broke it."""

    code: str
    message: str


def judge_transition(before: Saga, move: Move, decision: Decision) -> Iterator[Finding]:
    """Yield what is wrong with one decision."""
    after = decision.saga
    calls = [effect for effect in decision.effects if isinstance(effect, CallTool)]
    draft = Draft.of(move.saga)
    for record in decision.records:
        if isinstance(record, r.ActionStarted):
            yield from _judge_action(draft, after, record.step)
        elif isinstance(record, r.UndoStarted):
            yield from _judge_undo(draft, after, record.step)
        draft.apply(record, _program_of(move, record))
    if draft.freeze() != after:
        yield Finding("INV-6", "folding the records gives another state than was decided")
    if before.state.is_final and after.state != before.state:
        yield Finding("C11", f"{before.state} became {after.state}")
    for call in calls:
        yield from _judge_call(before, after, call)
    yield from _judge_sent(before, move, after, calls)


def _program_of(move: Move, record: r.Record) -> Program | None:
    if isinstance(record, r.PlanClosed) and isinstance(move.event, PlanCloseAsked):
        return move.event.program
    return None


def _judge_action(draft: Draft, after: Saga, index: int) -> Iterator[Finding]:
    """Judge the first send of an action by the saga as it was when it was ordered."""
    if after.state.phase is not Phase.EXECUTING:
        yield Finding("INV-5", f"step {index} started in {after.state}")
    if after.program.steps[index].needs & ~draft.succeeded:
        yield Finding("INV-5", f"step {index} started before what it needs")
    is_turning = draft.failing & ~(1 << index) or draft.stop is not None
    if is_turning and draft.way_back() is not WayBack.CLOSED:
        yield Finding("INV-5", f"step {index} started although the saga goes back")


def _judge_undo(draft: Draft, after: Saga, index: int) -> Iterator[Finding]:
    """Judge the start of an undo by the step as it was when it was ordered."""
    spec, step = after.program.steps[index], draft.steps[index]
    if after.running:
        names = ", ".join(str(other) for other in bits(after.running))
        yield Finding("INV-7", f"the undo of step {index} started while {names} was in flight")
    if spec.descendants & after.uncleared:
        names = ", ".join(str(other) for other in bits(spec.descendants & after.uncleared))
        yield Finding("INV-8", f"the undo of step {index} started before {names} was cleared")
    gone = (StepStatus.WAITING, StepStatus.AWAITING_APPROVAL, StepStatus.REJECTED)
    if step.status in gone or not spec.is_effectful:
        yield Finding("INV-9", f"step {index} was {step.status} and is undone")
    undo = after.steps[index].undo
    is_planned = undo is None or undo.source == "plan"
    contract = spec.action.contract
    keeps_out = contract.fenced_compensation or (contract.deadline and step.not_after is not None)
    if step.status is StepStatus.DOUBTFUL and is_planned and not keeps_out:
        yield Finding("INV-9", f"step {index} may still arrive, and its undo keeps nothing out")
    done = (StepStatus.SUCCEEDED, StepStatus.DOUBTFUL)
    passed = [i for i in bits(after.program.irrevocable) if after.steps[i].status in done]
    if passed:
        yield Finding("INV-12", f"step {index} is undone after step {passed[0]} was done")


def _judge_call(before: Saga, after: Saga, call: CallTool) -> Iterator[Finding]:
    step, old = after.steps[call.step], before.steps[call.step]
    name = f"the {call.direction} call of step {call.step}"
    match call.direction:
        case Direction.DO:
            revision, req_id, params = step.revision, step.req_id, step.params
            is_same = old.params is not None and old.revision == revision
            was = old.params if is_same and old.req_id == req_id else params
        case Direction.UNDO:
            undo = step.undo
            if undo is None or not undo.calls:
                yield Finding("SENT", f"{name} was sent without an undo under way")
                return
            revision, req_id, params = undo.revision, undo.req_id, undo.calls[undo.call][1]
            was = params
            if old.undo is not None and old.undo.req_id == req_id and old.undo.calls:
                was = old.undo.calls[old.undo.call][1]
            if call.undoes != step.req_id:
                yield Finding("INV-2", f"{name} undoes another call than the step's")
        case _:
            revision, req_id, params, was = step.revision, None, call.params, call.params
    wanted = ids.req_id(SAGA_ID, call.step, call.direction, revision, call.call)
    if call.req_id != wanted or (req_id is not None and req_id != wanted):
        yield Finding("INV-2", f"{name} went out under a req_id of its own")
    if call.params != (params or {}) or call.params != (was or {}):
        yield Finding("INV-3", f"{name} went out with other parameters than its intent")


def _judge_sent(before: Saga, move: Move, after: Saga, calls: list[CallTool]) -> Iterator[Finding]:
    sent = [(call.step, call.direction) for call in calls]
    if len(set(sent)) < len(sent):
        yield Finding("SENT", "one call was sent twice in one decision")
    touched = {*changed_steps(before, after), *(step for step, _direction in sent)}
    if move.step >= 0:
        touched.add(move.step)
    for index in sorted(touched):
        old, step = before.steps[index], after.steps[index]
        for direction in DIRECTIONS:
            was_sent = (index, direction) in sent
            is_awaited = is_out(step, direction)
            if was_sent and not is_awaited:
                yield Finding("SENT", f"the {direction} call of step {index} is not awaited")
            if is_awaited and not was_sent:
                is_answered = move.replies is direction and move.step == index
                if is_answered or not is_out(old, direction):
                    yield Finding("SENT", f"the {direction} call of step {index} was never sent")


def judge_state(saga: Saga) -> Iterator[Finding]:
    """Yield what is wrong with a saga by itself."""
    masks = dict.fromkeys(("running", "succeeded", "uncleared", "undoing", "awaiting", "stuck"), 0)
    for index, step in enumerate(saga.steps):
        for name in _MASKS.get(step.status, ()):
            masks[name] |= 1 << index
        if step.status is StepStatus.SUCCEEDED:
            if not step.has_bad_output:
                masks["succeeded"] |= 1 << index
            masks["uncleared"] |= 1 << index & saga.program.effectful
    for name, mask in masks.items():
        if getattr(saga, name) != mask:
            yield Finding("INV-10", f"{name} is {getattr(saga, name):b}, the steps say {mask:b}")
    phase, count = saga.state.phase, saga.state.count
    succeeded, uncleared = saga.succeeded.bit_count(), saga.uncleared.bit_count()
    if phase is Phase.EXECUTING and count != succeeded + 1:
        yield Finding("INV-10", f"{saga.state} with {succeeded} steps succeeded")
    if phase is Phase.COMPENSATING and count != uncleared:
        yield Finding("INV-10", f"{saga.state} with {uncleared} effects left")
    if phase is Phase.DONE and succeeded != len(saga.steps):
        yield Finding("INV-11", f"DONE with {succeeded} of {len(saga.steps)} steps succeeded")
    if phase is Phase.FAILED and uncleared:
        yield Finding("INV-11", f"FAILED with {uncleared} steps not cleared")
    if phase is Phase.NEEDS_HUMAN and not any(
        people.choices(saga, index, at=NOW) for index in range(len(saga.steps))
    ):
        yield Finding("ASKED", "a person is needed, and no step takes any answer")


_MASKS: Mapping[StepStatus, tuple[str, ...]] = {
    StepStatus.RUNNING: ("running", "uncleared"),
    StepStatus.DOUBTFUL: ("uncleared",),
    StepStatus.COMPENSATING: ("undoing", "uncleared"),
    StepStatus.STUCK: ("stuck", "uncleared"),
    StepStatus.AWAITING_APPROVAL: ("awaiting",),
}


def judge_claim(status: StepStatus, ledger: Ledger) -> str | None:
    """Return what is wrong between a step's status and its ledger, or None.

    A doubtful or stuck step claims nothing, a step that is in flight neither; what a person
    vouched for is the person's word.
    """
    if ledger.effects > 1:
        return "it took effect twice"
    if ledger.undone > 1 or ledger.undone > ledger.effects:
        return "it was undone twice"
    if ledger.is_accepted or ledger.is_vouched or ledger.is_amended:
        return None
    match status:
        case StepStatus.SUCCEEDED if ledger.left != 1:
            return "it is called succeeded, and its effect is not there"
        case StepStatus.REJECTED if ledger.effects:
            return "it is called rejected, and its effect is there"
        case StepStatus.COMPENSATED if ledger.left:
            return "it is called compensated, and its effect is there"
        case StepStatus.WAITING | StepStatus.AWAITING_APPROVAL | StepStatus.SKIPPED if (
            ledger.effects
        ):
            return "it never started, and its effect is there"
        case _:
            return None


def code_of_claim(phase: Phase, message: str) -> str:
    """Return which property a wrong claim breaks in this phase."""
    if "twice" in message:
        return "X1"
    return {Phase.DONE: "C1", Phase.FAILED: "C2"}.get(phase, "C3")


def judge_outcome(saga: Saga, word: Word) -> str | None:
    """Return how the outcome of a saga at rest lies, or None.

    Args:
        saga: The saga.
        word: The strongest that the ledgers of its steps have to say.
    """
    took_effect = word is not Word.NOTHING
    accepted, amended = word is Word.ACCEPTED, word is Word.AMENDED
    match saga.outcome:
        case Outcome.COMMITTED:
            is_true = saga.state.phase is Phase.DONE
        case Outcome.NOTHING_HAPPENED:
            is_true = saga.state.phase is Phase.FAILED and not (took_effect or accepted or amended)
        case Outcome.COMPENSATED:
            is_true = saga.state.phase is Phase.FAILED and not (accepted or amended)
        case Outcome.AMENDED:
            is_true = saga.state.phase is Phase.FAILED and amended and not accepted
        case Outcome.PARTLY_COMPENSATED:
            is_true = saga.state.phase is Phase.FAILED and accepted
        case Outcome.UNKNOWN:
            is_true = saga.state.phase is Phase.NEEDS_HUMAN
        case None:
            is_true = saga.state.phase in (Phase.PENDING, Phase.EXECUTING, Phase.COMPENSATING)
    return None if is_true else f"the outcome of {saga.state} is called {saga.outcome}"
