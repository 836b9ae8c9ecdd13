"""Bugs of what is decided: in ``decide`` and the functions that it is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from fsm_saga.coordinator import driver as driver_module
from fsm_saga.core import backward, due, forward, ids, people
from fsm_saga.core import decide as decide_module
from fsm_saga.core import draft as draft_module
from fsm_saga.core import events as e
from fsm_saga.core import records as r
from fsm_saga.core.contract import ToolContract
from fsm_saga.core.decide import Decision, decide
from fsm_saga.core.draft import APPLY, Draft
from fsm_saga.core.effects import CallTool, Effect
from fsm_saga.core.guards import WayBack
from fsm_saga.core.program import CallSpec, Program
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Direction, DoubtExit, Phase, StepStatus
from fsm_saga.core.work import Work, bits
from fsm_saga.machine import compile as compile_module
from fsm_saga.machine.kept import Kept
from tests.simulation.zoo.bug import Plant, bugs

Patch = pytest.MonkeyPatch


def _set(patch: Patch, table: Any, key: Any, value: Any) -> None:  # any table
    patch.setitem(table, key, value)


def _decides(change: Callable[[Saga, e.Event], Decision]) -> Plant:
    return lambda patch: patch.setattr(driver_module, "decide", change)


def _hears(change: Callable[[Any], e.Event]) -> Plant:
    return _decides(lambda saga, event: decide(saga, change(event)))


def _calls(change: Callable[[CallTool], list[Effect]]) -> Plant:
    def decided(saga: Saga, event: e.Event) -> Decision:
        decision = decide(saga, event)
        effects: list[Effect] = []
        for effect in decision.effects:
            effects += change(effect) if isinstance(effect, CallTool) else [effect]
        return replace(decision, effects=tuple(effects))

    return _decides(decided)


# What a reply is taken for.


def _of(event: e.CallEvent) -> dict[str, Any]:
    return {
        "at": event.at,
        "step": event.step,
        "direction": event.direction,
        "req_id": event.req_id,
    }


def _bad_output_is_a_failure(event: e.Event) -> e.Event:
    if isinstance(event, e.CallSucceededBadly) and event.direction is Direction.DO:
        return e.CallRejected(**_of(event), error="bad output", jitter=0.0)
    return event


def _time_out_is_a_failure(event: e.Event) -> e.Event:
    if isinstance(event, e.CallUnknown) and event.direction is Direction.DO:
        return e.CallRejected(**_of(event), error="time-out", jitter=event.jitter)
    return event


def _time_out_is_a_success(event: e.Event) -> e.Event:
    if isinstance(event, e.CallUnknown) and event.direction is Direction.DO:
        return e.CallSucceeded(**_of(event), output={"id": "x", "n": 0})
    return event


def _lost_undo_is_done(event: e.Event) -> e.Event:
    if isinstance(event, e.CallUnknown) and event.direction is Direction.UNDO:
        return e.CallSucceeded(**_of(event), output=None)
    return event


def _refused_undo_is_done(event: e.Event) -> e.Event:
    if isinstance(event, e.CallRejected) and event.direction is Direction.UNDO:
        return e.CallSucceeded(**_of(event), output=None)
    return event


def _absent_is_refused(event: e.Event) -> e.Event:
    is_check = isinstance(event, e.CallSucceeded) and event.direction is Direction.CHECK
    if is_check and event.output == {"status": "absent"}:  # type: ignore[attr-defined]
        return replace(event, output={"status": "refused"})
    return event


# What is sent.


def _id_per_attempt(call: CallTool) -> list[Effect]:
    return [replace(call, req_id=f"{call.req_id}-{call.attempt}")]


def _params_made_anew(call: CallTool) -> list[Effect]:
    return [replace(call, params={**call.params, "attempt": call.attempt})]


def _undoes_itself(call: CallTool) -> list[Effect]:
    return [replace(call, undoes=call.req_id) if call.undoes else call]


def _no_end_of_time(call: CallTool) -> list[Effect]:
    return [replace(call, not_after=None)]


def _id_by_clock(patch: Patch) -> None:
    """The id is drawn when it is needed, so that each coordinator draws another."""
    counts: dict[str, int] = {}
    real = ids.req_id

    def drawn(scope: str, step: int, direction: Direction, revision: int, call: int = 0) -> str:
        rid = real(scope, step, direction, revision, call)
        if direction is Direction.UNDO:
            counts[rid] = counts.get(rid, 0) + 1
            return f"{rid}-{counts[rid]}"
        return rid

    patch.setattr(ids, "req_id", drawn)


def _id_without_the_run(patch: Patch) -> None:
    real = ids.req_id
    patch.setattr(ids, "req_id", lambda scope, *rest: real("one for all", *rest))


def _id_without_direction(patch: Patch) -> None:
    real = ids.req_id
    patch.setattr(
        ids, "req_id", lambda scope, step, way, *rest: real(scope, step, Direction.DO, *rest)
    )


# What is started.


def _undo_forward(work: Work) -> None:
    """First done, first undone."""
    draft = work.draft
    if draft.running or draft.undoing:
        return
    for index in bits(draft.uncleared & ~draft.stuck):
        if not draft.undoing:
            backward._start_undo(work, index)


def _undo_all_at_once(work: Work) -> None:
    draft = work.draft
    if not draft.running:
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


def _launch_in_spite_of_failures(work: Work, candidates: object) -> None:
    draft = work.draft
    for index, step in enumerate(draft.steps):
        needs = draft.program.steps[index].needs
        if step.status is StepStatus.WAITING and not needs & ~draft.succeeded:
            forward._launch(work, index)


def _forward_in_spite_of_failures(patch: Patch) -> None:
    real = decide_module._advance_forward

    def advance(work: Work) -> None:
        _launch_in_spite_of_failures(work, None)
        real(work)

    patch.setattr(decide_module, "_advance_forward", advance)


def _silence_is_consent(saga: Saga, event: e.Event) -> Decision:
    """What nobody approved in time runs."""
    if isinstance(event, e.TimePassed):
        for index, step in enumerate(saga.steps):
            expires_at = step.expires_at
            is_asked = step.status is StepStatus.AWAITING_APPROVAL
            if is_asked and expires_at is not None and expires_at <= event.at:
                at = expires_at - 0.001
                return decide(
                    saga, e.ApprovalAnswered(at=at, step=index, is_granted=True, by="nobody")
                )
    return decide(saga, event)


# What is believed.


def _any_reply_counts(work: Work, event: e.CallEvent) -> bool:
    """It goes by the step, not by the req_id, and not by what is awaited."""
    step = work.step(event.step)
    if event.direction is Direction.UNDO:
        return step.status is StepStatus.COMPENSATING
    return step.status in (StepStatus.RUNNING, StepStatus.SUCCEEDED, StepStatus.COMPENSATED)


def _timers_are_always_due(patch: Patch) -> None:
    """Whenever one timer fires, all of them count as due."""
    real = due.do_what_is_due

    def due_now(work: Work) -> None:
        draft = work.draft
        for index in bits(draft.running):
            step = draft.steps[index]
            if step.retry_at is not None:
                due._retry_step(work, index)
            elif step.wait_until is not None:
                work.write(r.ActionDoubted(at=work.at, step=index, error="over"))
        real(work)

    patch.setattr(decide_module, "do_what_is_due", due_now)


def _timers_are_lost(saga: Saga, event: e.Event) -> Decision:
    return Decision(saga, (), ()) if isinstance(event, e.TimePassed) else decide(saga, event)


def _nothing_is_resumed(patch: Patch) -> None:
    patch.setattr(decide_module, "is_in_flight", lambda work, index: False)


def _resumed_as_failed(patch: Patch) -> None:
    def resume(work: Work, index: int) -> None:
        work.write(r.ActionRejected(at=work.at, step=index, error="the coordinator stopped"))

    patch.setattr(decide_module, "resume_action", resume)


def _timers_forgotten_in_a_crash(patch: Patch) -> None:
    patch.setattr(decide_module, "wake_for_the_rest", lambda work: None)


def _retry_for_ever(patch: Patch) -> None:
    def unknown(work: Work, index: int, error: str, jitter: float) -> None:
        forward._retry(work, index, outcome="unknown", error=error, jitter=jitter)

    patch.setattr(decide_module, "action_unknown", unknown)


def _attempts_not_counted(patch: Patch) -> None:
    real = APPLY[r.AttemptStarted]

    def apply(draft: Draft, record: r.AttemptStarted) -> None:
        before = draft.steps[record.step]
        real(draft, record)
        after = draft.steps[record.step]
        draft.steps[record.step] = replace(after, attempts=before.attempts)

    _set(patch, APPLY, r.AttemptStarted, apply)


def _state_beside_the_journal(saga: Saga, event: e.Event) -> Decision:
    decision = decide(saga, event)
    return replace(decision, saga=replace(decision.saga, is_settled=True))


def _cancelled_for_good(saga: Saga, event: e.Event) -> Decision:
    """Whatever is in flight or done stays where it is."""
    if not isinstance(event, e.CancelAsked) or saga.state.phase is not Phase.EXECUTING:
        return decide(saga, event)
    work = Work(saga, event.at)
    work.write(r.CancelRequested(at=event.at, by=event.by))
    work.write(
        r.SagaMoved(at=event.at, event="cancelled", state="FAILED", outcome="nothing_happened")
    )
    return work.decision()


def _forget_programs(patch: Patch) -> None:
    """Compile everything anew, as the bug has it."""
    patch.setattr(compile_module, "_SHARED", Kept(compile_module.PROGRAMS_KEPT))


def _always(exit_: DoubtExit) -> Plant:
    def plant(patch: Patch) -> None:
        def choose(contract: Any, *, is_effectful: bool, can_undo_blind: bool) -> DoubtExit:
            if not is_effectful:
                return DoubtExit.NO_EFFECT
            return exit_ if can_undo_blind else DoubtExit.RESEND

        patch.setattr(compile_module, "choose_exit", choose)
        _forget_programs(patch)

    return plant


def _skew_is_forgotten(patch: Patch) -> None:
    patch.setattr(compile_module, "CLOCK_SKEW_S", -4.0)
    _forget_programs(patch)


def _sent_however_late(patch: Patch) -> None:
    """Nobody looks at the clock between the intent and the call."""
    patch.setattr(forward, "forgotten_at", lambda contract, started_at: None)


def _everything_is_remembered(patch: Patch) -> None:
    """Both looks at the clock are gone: one alone hides that the other is missing."""
    _sent_however_late(patch)
    patch.setattr(forward, "is_remembered", lambda contract, started_at, now: True)


def _margin_on_the_wrong_side(patch: Patch) -> None:
    """A tool is counted on for longer than it promises to remember."""
    real = forward.margin_s

    def margin_s(program: Program, call: CallSpec, contract: ToolContract) -> float:
        return -real(program, call, contract)

    patch.setattr(forward, "margin_s", margin_s)


def _stale_answers_count(patch: Patch) -> None:
    real = decide_module._HANDLERS[e.SettledByHuman]

    def answered(work: Work, event: e.HumanAnswer) -> None:
        real(work, replace(event, position=None))

    for kind in (e.RetryAsked, e.SettledByHuman, e.OutputSupplied, e.CallsOffered):
        _set(patch, decide_module._HANDLERS, kind, answered)


def _digest_is_ignored(patch: Patch) -> None:
    real = decide_module._HANDLERS[e.ApprovalAnswered]

    def answered(work: Work, event: Any) -> None:  # as the table has it
        real(work, replace(event, digest=None))

    _set(patch, decide_module._HANDLERS, e.ApprovalAnswered, answered)


def _doubt_gets_a_new_id(patch: Patch) -> None:
    """A person's retry of an undo whose outcome is unknown is a new call."""

    def retried(work: Work, event: Any) -> None:  # as above
        index, step = event.step, work.step(event.step)
        work.write(r.HumanRetried(at=work.at, step=index, by=event.by, note=event.note))
        if step.status is StepStatus.STUCK:
            undo = backward.undo_of(work, index)
            tool, params = undo.calls[undo.call]
            revision = undo.revision + 1
            backward.start_undo_call(work, index, tool, params, call=undo.call, revision=revision)
            return
        params, undo_params = step.params or {}, step.undo_params
        forward.start_action(work, index, params, undo_params, revision=step.revision + 1)

    real = people._ANSWERS[e.RetryAsked]
    _set(patch, people._ANSWERS, e.RetryAsked, (real[0], real[1], retried))


def _choices_for_all(patch: Patch) -> None:
    patch.setattr(people, "_choices", lambda draft, index, at: ())


IN_CORE = bugs(
    "engine",
    {
        "bad output taken for a failure": ("C2 C3", _hears(_bad_output_is_a_failure)),
        "time-out taken for a failure": ("C3 U1", _hears(_time_out_is_a_failure)),
        "time-out taken for a success": ("C3 C1", _hears(_time_out_is_a_success)),
        "lost undo taken for done": ("C3 C2", _hears(_lost_undo_is_done)),
        "refused undo taken for done": ("C3 C2", _hears(_refused_undo_is_done)),
        "absent taken for refused": ("C3 U1", _hears(_absent_is_refused)),
        "id per attempt": ("W1 X2", _calls(_id_per_attempt)),
        "id per undo order": ("X2 W1", _id_by_clock),
        "id shared by sagas": ("X2", _id_without_the_run),
        "id shared by do and undo": ("X2", _id_without_direction),
        "params made anew": ("P7", _calls(_params_made_anew)),
        "undo names itself": ("C10", _calls(_undoes_itself)),
        "deadline not sent along": ("C10", _calls(_no_end_of_time)),
        "undo in forward order": (
            "C6",
            lambda p: p.setattr(decide_module, "start_undos", _undo_forward),
        ),
        "undo all at once": (
            "C6",
            lambda p: p.setattr(decide_module, "start_undos", _undo_all_at_once),
        ),
        "siblings not settled": (
            "C5",
            lambda p: p.setattr(decide_module, "start_undos", _undo_beside_siblings),
        ),
        "launch without needs": (
            "X3",
            lambda p: p.setattr(decide_module, "launch_ready", _launch_without_needs),
        ),
        "launch in spite of failures": ("X3", _forward_in_spite_of_failures),
        "silence taken for consent": ("H1", _decides(_silence_is_consent)),
        "approval of other params counts": ("H1", _digest_is_ignored),
        "stale answers count": ("O5", _stale_answers_count),
        "way back always open": (
            "C12",
            lambda p: p.setattr(Draft, "way_back", lambda self: WayBack.OPEN),
        ),
        "refusals trusted": (
            "C3 U1",
            lambda p: (
                p.setattr(forward, "refusal_settles", lambda step, contract: True),
                p.setattr(draft_module, "refusal_settles", lambda step, contract: True),
            )[0],
        ),
        "any reply counts": (
            "X6 TOTAL",
            lambda p: p.setattr(decide_module, "_is_current", _any_reply_counts),
        ),
        "timers always due": ("X8 U1", _timers_are_always_due),
        "timers lost": ("V1", _decides(_timers_are_lost)),
        "timers forgotten in a crash": ("V1", _timers_forgotten_in_a_crash),
        "calls in flight forgotten in a crash": ("V1", _nothing_is_resumed),
        "crash taken for a failure": ("C3 U1", _resumed_as_failed),
        "retry for ever": ("R4 V1", _retry_for_ever),
        "lost retry counter": ("R4 V1", _attempts_not_counted),
        "state beside the journal": ("W6", _decides(_state_beside_the_journal)),
        "cancelled for good": ("C2 W6 TOTAL U1", _decides(_cancelled_for_good)),
        "compensate at once without a fence": ("C4 U1", _always(DoubtExit.COMPENSATE_NOW)),
        "clock skew forgotten": ("C3 C2 U1", _skew_is_forgotten),
        "tools remember for ever": ("X1 C3 C8", _everything_is_remembered),
        "margin on the wrong side": ("X1 C3 C8 U1", _margin_on_the_wrong_side),
        "sent however late": ("X1 C8 C3", _sent_however_late),
        "doubt gets a new id": ("X1 C8 C3", _doubt_gets_a_new_id),
        "a person has no answer": ("ASKED", _choices_for_all),
        "crash leaves no trace": (
            "C8 U1 C3",
            lambda p: _set(p, APPLY, r.CallInterrupted, lambda draft, record: None),
        ),
    },
)
