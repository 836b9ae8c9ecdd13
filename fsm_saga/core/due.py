"""Time and restarts: what is due, and what was in flight when a coordinator stopped."""

from __future__ import annotations

from fsm_saga.core import records as r
from fsm_saga.core.backward import may_send_undo, send_undo, undo_call_spec, undo_failed, undo_of
from fsm_saga.core.forward import (
    action_unknown,
    can_check,
    leave_in_doubt,
    may_resend,
    send_action,
    send_check,
)
from fsm_saga.core.guards import WayBack
from fsm_saga.core.limits import LIMITS
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Direction, DoubtExit, Phase, StepStatus
from fsm_saga.core.work import Work, bits

_FORGOTTEN = "it is so long ago that the tool no longer remembers the call"


def do_what_is_due(work: Work) -> None:
    """Send, deny or give up whatever has become due by now."""
    draft, at = work.draft, work.at
    for index in bits(draft.running | draft.undoing | draft.awaiting):
        step = draft.steps[index]
        if step.status is StepStatus.AWAITING_APPROVAL:
            if work.is_over(step.expires_at):
                note = "nobody approved in time"
                work.write(r.ApprovalDenied(at=at, step=index, by="expiry", note=note))
        elif step.status is StepStatus.COMPENSATING:
            _retry_undo_if_due(work, index)
        elif work.is_over(step.retry_at):
            _retry_step(work, index)
        elif step.wait_until is not None and step.wait_until <= at:
            # The tool goes by its own clock: only ours can tell, and may only be late.
            error = step.error or "the tool's deadline passed without an answer"
            work.write(r.ActionDoubted(at=at, step=index, error=error))


def note_deadline(work: Work) -> None:
    """Write down that the saga's own time is over, if it is and if that still counts."""
    draft = work.draft
    counts = draft.stop is None and draft.state.phase is Phase.EXECUTING
    if work.is_over(draft.deadline_at) and counts and draft.way_back() is not WayBack.CLOSED:
        work.write(r.DeadlinePassed(at=work.at))


def _retry_undo_if_due(work: Work, index: int) -> None:
    undo = undo_of(work, index)
    if not work.is_over(undo.retry_at):
        return
    if not may_send_undo(work.draft, index, work.at):
        work.write(r.UndoStuck(at=work.at, step=index, reason="expired", error=_FORGOTTEN))
        return
    work.write(
        r.AttemptStarted(
            at=work.at, step=index, direction=Direction.UNDO, attempt=undo.attempts + 1
        )
    )
    send_undo(work, index, since=None if undo.is_doubted else work.at)


def _retry_step(work: Work, index: int) -> None:
    step, call = work.step(index), work.spec(index).action
    asks = step.awaited is Direction.CHECK
    # What may have happened is not sent again once its tool would take it for a new call.
    can_repeat = not step.is_doubted or may_resend(
        work.draft.program, call, step.started_at, work.at
    )
    if not (can_check(work, index) if asks else can_repeat):
        work.write(r.ActionDoubted(at=work.at, step=index, error=_FORGOTTEN))
        return
    if asks:
        attempt = step.check_attempts + 1
        work.write(
            r.AttemptStarted(at=work.at, step=index, direction=Direction.CHECK, attempt=attempt)
        )
        send_check(work, index)
        return
    work.write(
        r.AttemptStarted(at=work.at, step=index, direction=Direction.DO, attempt=step.attempts + 1)
    )
    send_action(work, index, since=None if step.is_doubted else work.at)


def is_in_flight(work: Work, index: int) -> bool:
    """True for a step with a call out there, not one that waits for a timer."""
    step = work.step(index)
    if step.status is StepStatus.COMPENSATING:
        return undo_of(work, index).retry_at is None
    return step.retry_at is None and step.wait_until is None


def wake_for_deadline(work: Work) -> None:
    """Ask for a wake at the saga's own deadline, if it has one and that still counts."""
    draft = work.draft
    if draft.state.phase is Phase.EXECUTING:
        work.wake(draft.deadline_at, wait_s_max=draft.program.deadline_s)


def wake_for_the_rest(work: Work) -> None:
    """Ask for a wake at every time that the saga waits for; a crash forgot its timers."""
    draft = work.draft
    wake_for_deadline(work)
    for index in bits(draft.running | draft.undoing | draft.awaiting):
        step, spec = draft.steps[index], work.spec(index)
        if step.status is StepStatus.AWAITING_APPROVAL:
            work.wake(step.expires_at, wait_s_max=spec.approval_expires_s)
        elif step.status is StepStatus.COMPENSATING:
            retry = undo_call_spec(draft, index).retry
            work.wake(undo_of(work, index).retry_at, wait_s_max=retry.delay_s_max)
        elif step.retry_at is not None:
            asked = spec.check if step.awaited is Direction.CHECK else None
            retry = spec.action.retry if asked is None else asked.retry
            work.wake(step.retry_at, wait_s_max=retry.delay_s_max)
        else:
            work.wake(step.wait_until, wait_s_max=None)


def resume_action(work: Work, index: int) -> None:
    """Send an interrupted action again, or leave it in doubt."""
    spec, step = work.spec(index), work.step(index)
    interruption = step.interruptions + 1
    if interruption >= LIMITS.interruption_max:
        leave_in_doubt(work, index, _ended_too_often(interruption))
        return
    if not spec.action.contract.sticky_failures and spec.exit is not DoubtExit.NO_EFFECT:
        work.write(r.CallInterrupted(at=work.at, step=index, direction=Direction.DO))
    if may_resend(work.draft.program, spec.action, step.started_at, work.at):
        _note_resend(work, index, Direction.DO, interruption)
        send_action(work, index)
    else:
        action_unknown(work, index, "the coordinator stopped while the call was in flight", 0.0)


def resume_check(work: Work, index: int) -> None:
    """Ask again what became of a doubtful call."""
    interruption = work.step(index).interruptions + 1
    is_suspect = interruption >= LIMITS.interruption_max
    if can_check(work, index) and not is_suspect:
        _note_resend(work, index, Direction.CHECK, interruption)
        send_check(work, index)
    else:
        error = _ended_too_often(interruption) if is_suspect else _FORGOTTEN
        work.write(r.ActionDoubted(at=work.at, step=index, error=error))


def resume_undo(work: Work, index: int) -> None:
    """Send an interrupted undo again, or leave it in doubt."""
    undo, call = undo_of(work, index), undo_call_spec(work.draft, index)
    interruption = undo.interruptions + 1
    if interruption >= LIMITS.interruption_max:
        error = _ended_too_often(interruption)
        work.write(r.UndoStuck(at=work.at, step=index, reason="unknown", error=error))
        return
    if not call.contract.sticky_failures:
        work.write(r.CallInterrupted(at=work.at, step=index, direction=Direction.UNDO))
    can_repeat = may_resend(work.draft.program, call, undo.started_at, work.at)
    if can_repeat and may_send_undo(work.draft, index, work.at):
        _note_resend(work, index, Direction.UNDO, interruption)
        send_undo(work, index, is_repeat=True)
    else:
        error = "the coordinator stopped while the undo was in flight"
        undo_failed(work, index, error, 0.0, is_unknown=True)


def _note_resend(work: Work, index: int, direction: Direction, interruption: int) -> None:
    record = r.CallResent(at=work.at, step=index, direction=direction, interruption=interruption)
    work.write(record)


def _ended_too_often(times: int) -> str:
    return f"the process ended {times} times while this call was under way"


def interruptions(saga: Saga) -> int:
    """Return the most ends of the process that a call which is in flight now has been through.

    0 says that each call in flight was first sent by the coordinator of now, or that none is.
    """
    found = 0
    for index in bits(saga.running):
        step = saga.steps[index]
        if step.retry_at is None and step.wait_until is None:
            found = max(found, step.interruptions)
    for index in bits(saga.undoing):
        undo = saga.steps[index].undo
        if undo is not None and undo.retry_at is None:
            found = max(found, undo.interruptions)
    return found
