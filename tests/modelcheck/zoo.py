"""Planted bugs: engines that are wrong in one way each, for the search to find.

Most are deciders that wrap the real one and spoil what goes in or what comes out. The rest break
a function of the core, by way of pytest's monkeypatch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from fsm_saga.core import backward, forward, people
from fsm_saga.core import decide as decide_module
from fsm_saga.core import events as e
from fsm_saga.core import records as r
from fsm_saga.core.decide import Decision, decide
from fsm_saga.core.draft import APPLY, Draft
from fsm_saga.core.effects import CallTool, Effect
from fsm_saga.core.guards import WayBack
from fsm_saga.core.invariants import check
from fsm_saga.core.program import Program
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import (
    FAILED,
    Direction,
    DoubtExit,
    Outcome,
    Phase,
    StepStatus,
    compensating,
)
from fsm_saga.core.work import Work, bits
from fsm_saga.errors import EventRefusedError
from fsm_saga.machine.explore import Decide

Patch = Callable[[pytest.MonkeyPatch], None]


def _on_input(change: Callable[[e.Event], e.Event]) -> Decide:
    return lambda saga, event: decide(saga, change(event))


def _on_calls(change: Callable[[Saga, CallTool], list[Effect]]) -> Decide:
    def decider(saga: Saga, event: e.Event) -> Decision:
        decision = decide(saga, event)
        effects: list[Effect] = []
        for effect in decision.effects:
            is_call = isinstance(effect, CallTool)
            effects += change(saga, effect) if is_call else [effect]  # type: ignore[arg-type]
        return replace(decision, effects=tuple(effects))

    return decider


# What a reply means.


def _bad_output_is_a_failure(event: e.Event) -> e.Event:
    if isinstance(event, e.CallSucceededBadly) and event.direction is Direction.DO:
        return _rejected(event)
    return event


def _time_out_is_a_failure(event: e.Event) -> e.Event:
    if isinstance(event, e.CallUnknown) and event.direction is Direction.DO:
        return _rejected(event)
    return event


def _lost_undo_is_done(event: e.Event) -> e.Event:
    if isinstance(event, e.CallUnknown) and event.direction is Direction.UNDO:
        return e.CallSucceeded(
            at=event.at,
            step=event.step,
            direction=event.direction,
            req_id=event.req_id,
            output=None,
        )
    return event


def _absent_is_refused(event: e.Event) -> e.Event:
    is_check = isinstance(event, e.CallSucceeded) and event.direction is Direction.CHECK
    if is_check and event.output == {"status": "absent"}:  # type: ignore[attr-defined]
        return replace(event, output={"status": "refused"})
    return event


def _refusal_is_done(event: e.Event) -> e.Event:
    if isinstance(event, e.CallRejected) and event.direction is Direction.DO:
        return e.CallSucceeded(
            at=event.at,
            step=event.step,
            direction=event.direction,
            req_id=event.req_id,
            output="output",
        )
    return event


def _rejected(event: e.CallEvent) -> e.CallRejected:
    return e.CallRejected(
        at=event.at,
        step=event.step,
        direction=event.direction,
        req_id=event.req_id,
        error="failed",
        jitter=0.0,
    )


# What is sent.


def _id_per_attempt(saga: Saga, call: CallTool) -> list[Effect]:
    return [replace(call, req_id=f"{call.req_id}-{call.attempt}")]


def _params_made_anew(saga: Saga, call: CallTool) -> list[Effect]:
    return [replace(call, params={**call.params, "attempt": call.attempt})]


def _sent_twice(saga: Saga, call: CallTool) -> list[Effect]:
    return [call, call]


def _retries_lost(saga: Saga, call: CallTool) -> list[Effect]:
    return [] if call.attempt > 1 else [call]


def _undoes_itself(saga: Saga, call: CallTool) -> list[Effect]:
    return [replace(call, undoes=call.req_id) if call.undoes else call]


# What is decided.


def _timers_ignored(saga: Saga, event: e.Event) -> Decision:
    return Decision(saga, (), ()) if isinstance(event, e.TimePassed) else decide(saga, event)


def _state_beside_the_journal(saga: Saga, event: e.Event) -> Decision:
    decision = decide(saga, event)
    return replace(decision, saga=replace(decision.saga, is_settled=True))


def _cancelled_for_good(saga: Saga, event: e.Event) -> Decision:
    decision = decide(saga, event)
    if isinstance(event, e.CancelAsked):
        return replace(decision, saga=replace(decision.saga, state=FAILED))
    return decision


def _one_too_many(saga: Saga, event: e.Event) -> Decision:
    decision = decide(saga, event)
    state = decision.saga.state
    if state.phase is Phase.COMPENSATING:
        state = compensating(state.count + 1)
    return replace(decision, saga=replace(decision.saga, state=state))


def _breaks(saga: Saga, event: e.Event) -> Decision:
    check(not isinstance(event, e.Resumed), "this cannot be")
    return decide(saga, event)


def _refuses_approvals(saga: Saga, event: e.Event) -> Decision:
    if isinstance(event, e.ApprovalAnswered):
        raise EventRefusedError("not now")
    return decide(saga, event)


def _ends_reopened(saga: Saga, event: e.Event) -> Decision:
    decision = decide(saga, event)
    if saga.state.is_final and isinstance(event, e.Resumed):
        return replace(decision, saga=replace(decision.saga, state=FAILED))
    return decision


DECIDERS: dict[str, Decide] = {
    "bad output is a failure": _on_input(_bad_output_is_a_failure),
    "time-out is a failure": _on_input(_time_out_is_a_failure),
    "lost undo is done": _on_input(_lost_undo_is_done),
    "absent is refused": _on_input(_absent_is_refused),
    "id per attempt": _on_calls(_id_per_attempt),
    "params made anew": _on_calls(_params_made_anew),
    "sent twice": _on_calls(_sent_twice),
    "retries lost": _on_calls(_retries_lost),
    "undoes itself": _on_calls(_undoes_itself),
    "timers ignored": _timers_ignored,
    "state beside the journal": _state_beside_the_journal,
    "cancelled for good": _cancelled_for_good,
    "ends reopened": _ends_reopened,
    "refusal is done": _on_input(_refusal_is_done),
    "one too many": _one_too_many,
    "breaks": _breaks,
    "refuses approvals": _refuses_approvals,
}


# What is broken in the core.


def _undo_in_any_order(work: Work) -> None:
    draft = work.draft
    if draft.running:
        return
    for index in bits(draft.uncleared & ~(draft.undoing | draft.stuck)):
        backward._start_undo(work, index)


def _undo_beside_siblings(work: Work) -> None:
    draft = work.draft
    for index in draft.program.undo_order:
        left = draft.uncleared & ~(draft.undoing | draft.stuck | draft.running)
        if left >> index & 1 and not draft.program.steps[index].descendants & draft.uncleared:
            backward._start_undo(work, index)


def _launch_without_needs(work: Work, candidates: object) -> None:
    for index, step in enumerate(work.draft.steps):
        if step.status is StepStatus.WAITING:
            forward._launch(work, index)


def _always_compensated(work: Work, target: object) -> Outcome | None:
    return Outcome.COMPENSATED if target == FAILED else _OUTCOME(work, target)  # type: ignore[arg-type]


_OUTCOME = Work._outcome
_INTERRUPTED: type[r.Record] = r.CallInterrupted


def _no_answers(draft: Draft, index: int, at: float) -> tuple[str, ...]:
    return ()


def _retry_for_ever(work: Work, index: int, error: str, jitter: float) -> None:
    forward._retry(work, index, outcome="unknown", error=error, jitter=jitter)


PATCHES: dict[str, Patch] = {
    "undo in any order": lambda m: m.setattr(decide_module, "start_undos", _undo_in_any_order),
    "undo beside siblings": lambda m: m.setattr(
        decide_module, "start_undos", _undo_beside_siblings
    ),
    "launch without needs": lambda m: m.setattr(
        decide_module, "launch_ready", _launch_without_needs
    ),
    "way back is always open": lambda m: m.setattr(Draft, "way_back", lambda self: WayBack.OPEN),
    "always compensated": lambda m: m.setattr(Work, "_outcome", _always_compensated),
    "refusals trusted": lambda m: m.setattr(
        forward, "refusal_settles", lambda step, contract: True
    ),
    "crash in an undo leaves no trace": lambda m: m.setitem(
        APPLY, _INTERRUPTED, lambda draft, record: None
    ),
    "everything is remembered": lambda m: m.setattr(
        forward, "is_remembered", lambda contract, started_at, now: True
    ),
    "people have no answer": lambda m: m.setattr(people, "_choices", _no_answers),
    "retry for ever": lambda m: m.setattr(decide_module, "action_unknown", _retry_for_ever),
}


def with_exit(program: Program, exit_: DoubtExit) -> Program:
    """Return the program as a compiler would make it that chooses this exit for every step."""
    steps = tuple(dataclasses.replace(spec, exit=exit_) for spec in program.steps)
    return dataclasses.replace(program, steps=steps)
