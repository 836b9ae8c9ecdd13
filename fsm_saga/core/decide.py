"""``decide``: one saga, one event, one decision. The heart of the engine.

    event --> what it means for one step --> ``advance``: what that means for the saga

It is pure: no clock, no chance, no input or output. The same function runs in production, in
the exhaustive checker and in the simulator. What it returns is carried out in a fixed order:
first the records are made durable, then the effects are carried out (INV-1, INV-4).

Reading order: ``decide`` says which handler takes which event; ``advance`` drives the saga
machine to rest; ``forward``, ``backward`` and ``people`` judge single steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from fsm_saga.core import events as e
from fsm_saga.core import records as r
from fsm_saga.core.backward import (
    start_undos,
    undo_failed,
    undo_of,
    undo_succeeded,
)
from fsm_saga.core.draft import Draft
from fsm_saga.core.due import (
    do_what_is_due,
    is_in_flight,
    note_deadline,
    resume_action,
    resume_check,
    resume_undo,
    wake_for_deadline,
    wake_for_the_rest,
)
from fsm_saga.core.fold import fold  # registers the rules of the fold
from fsm_saga.core.forward import (
    action_rejected,
    action_succeeded,
    action_unknown,
    check_answered,
    check_failed,
    launch_ready,
    settle_before_turning,
)
from fsm_saga.core.guards import WayBack
from fsm_saga.core.invariants import broken, check
from fsm_saga.core.people import approval_answered, human_answered
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Direction, Phase, SagaEvent, StepStatus
from fsm_saga.core.table import VerdictKind
from fsm_saga.core.work import Decision, Work, bits
from fsm_saga.errors import EventRefusedError

__all__ = ["Decision", "advance", "decide", "fold"]


def decide(saga: Saga, event: e.Event) -> Decision:
    """Return what follows from ``event`` for ``saga``.

    A decision without records changes nothing; its ``note`` says why. Late and repeated
    replies, and timers that fire early or twice, are such cases.

    Raises:
        EventRefusedError: If somebody asked for what the saga's state does not accept.
        InvariantBrokenError: If the saga is in a state that cannot be.
    """
    work = Work(saga, event.at)
    handler = _HANDLERS.get(type(event))
    if handler is None:
        broken(f"no rule to decide a {type(event).__name__}")
    handler(work, event)
    advance(work)
    return work.decision()


def advance(work: Work) -> None:
    """Drive the saga machine until it rests: launch, turn round, undo, or call a person."""
    draft = work.draft
    # A round does all that can be done in one phase; another is due only if the saga has moved, or
    # if a step failed at once. The bound is generous: a bug shall stop instead of spinning.
    for _round in range(4 * len(draft.steps) + 8):
        before = draft.state.phase, draft.failing
        match draft.state.phase:
            case Phase.EXECUTING:
                _advance_forward(work)
            case Phase.COMPENSATING:
                _advance_backward(work)
            case _:
                return
        if (draft.state.phase, draft.failing) == before:
            return
    broken(f"saga {draft.saga_id!r} does not come to rest in {draft.state}")


def _advance_forward(work: Work) -> None:
    draft = work.draft
    if not draft.failing and draft.stop is None:
        launch_ready(work, range(len(draft.steps)) if work.candidates is None else work.candidates)
        return
    match draft.way_back():
        case WayBack.OPEN:
            # Asked before siblings are settled, which are then failures as well, but not the cause.
            event, cause = _turning_event(work), _cause(work)
            settle_before_turning(work)
            work.move(event, cause=cause)
        case WayBack.CLOSED:
            launch_ready(work, range(len(draft.steps)))
            if draft.failing:
                work.move(SagaEvent.FORWARD_EXHAUSTED, cause=_cause(work))
        case WayBack.UNDECIDED:  # pragma: no branch
            # An irrevocable step is under way: its outcome decides which way is left.
            return


def _advance_backward(work: Work) -> None:
    start_undos(work)
    draft = work.draft
    if not (draft.running or draft.undoing) and draft.uncleared:
        work.move(SagaEvent.NOTHING_LEFT_TO_TRY, cause=draft.cause)


def _turning_event(work: Work) -> SagaEvent:
    if work.draft.failing or work.draft.stop is None:
        return SagaEvent.STEP_FAILED
    return work.draft.stop


def _cause(work: Work) -> str:
    draft = work.draft
    for index in bits(draft.failing):
        spec, step = work.spec(index), draft.steps[index]
        return f"step {str(spec.step_id)!r} ({spec.name}): {step.error or step.status}"
    if draft.stop is SagaEvent.DEADLINE_PASSED:
        return "the saga's deadline passed"
    return "cancelled"


def _submitted(work: Work, event: e.Submitted) -> None:
    draft = work.draft
    check(draft.position == 0, f"saga {draft.saga_id!r} was submitted before")
    work.write(
        r.SagaSubmitted(
            at=work.at,
            saga_id=draft.saga_id,
            plan_hash=draft.program.plan_hash,
            plan=event.plan,
            tools=event.tools,
            is_open=draft.program.is_open,
            undo_of=event.undo_of,
            undoes=event.undoes,
            run_key=event.run_key,
        )
    )
    if draft.steps:
        _start(work)


def _start(work: Work) -> None:
    if work.move(SagaEvent.START).kind is VerdictKind.MOVE:
        wake_for_deadline(work)


def _is_current(work: Work, event: e.CallEvent) -> bool:
    """True when the reply answers a call that is still open; else it is kept as evidence."""
    step = work.step(event.step)
    match event.direction:
        case Direction.DO:
            is_open = step.status is StepStatus.RUNNING and step.req_id == event.req_id
            # A late answer to an attempt that timed out counts: it is the same call.
            is_open = is_open and (
                step.awaited is Direction.DO or isinstance(event, e.CallSucceeded)
            )
        case Direction.CHECK:
            is_open = step.status is StepStatus.RUNNING and step.awaited is Direction.CHECK
        case Direction.UNDO:  # pragma: no branch
            undo = undo_of(work, event.step)
            is_open = step.status is StepStatus.COMPENSATING and undo.req_id == event.req_id
    if not is_open:
        _ignore_reply(work, event)
    return is_open


def _ignore_reply(work: Work, event: e.CallEvent) -> None:
    detail = str(getattr(event, "error", "")) or "a success"
    work.note = f"a reply that is no longer awaited: {detail}"
    work.write(
        r.ReplyIgnored(
            at=work.at,
            step=event.step,
            direction=event.direction,
            outcome=type(event).__name__,
            detail=detail[:300],
        )
    )


def _call_succeeded(work: Work, event: e.CallSucceeded) -> None:
    if not _is_current(work, event):
        return
    match event.direction:
        case Direction.DO:
            action_succeeded(work, event.step, event.output)
        case Direction.CHECK:
            check_answered(work, event.step, event.output)
        case Direction.UNDO:  # pragma: no branch
            undo_succeeded(work, event.step)


def _call_succeeded_badly(work: Work, event: e.CallSucceededBadly) -> None:
    if not _is_current(work, event):
        return
    match event.direction:
        case Direction.DO if work.spec(event.step).is_effectful:
            work.write(r.ActionSucceededBadly(at=work.at, step=event.step, error=event.error))
        case Direction.DO:
            work.write(r.ActionRejected(at=work.at, step=event.step, error=event.error))
        case Direction.CHECK if event.attempt in (None, work.step(event.step).check_attempts):
            check_failed(work, event.step, event.error, 0.0)
        case Direction.CHECK:
            _ignore_reply(work, event)
        case Direction.UNDO:  # pragma: no branch
            # What an undo says about itself is of no use to anybody; that it succeeded is.
            undo_succeeded(work, event.step)


def _call_rejected(work: Work, event: e.CallRejected) -> None:
    if not _is_current(work, event) or _is_stale(work, event):
        return
    match event.direction:
        case Direction.DO:
            action_rejected(work, event.step, event.error, event.jitter, was_sent=event.was_sent)
        case Direction.CHECK:
            check_failed(work, event.step, event.error, event.jitter)
        case Direction.UNDO:  # pragma: no branch
            undo_failed(
                work,
                event.step,
                event.error,
                event.jitter,
                is_unknown=False,
                was_sent=event.was_sent,
            )


def _call_unknown(work: Work, event: e.CallUnknown) -> None:
    if not _is_current(work, event) or _is_stale(work, event):
        return
    match event.direction:
        case Direction.DO:
            action_unknown(work, event.step, event.error, event.jitter)
        case Direction.CHECK:
            check_failed(work, event.step, event.error, event.jitter)
        case Direction.UNDO:  # pragma: no branch
            undo_failed(work, event.step, event.error, event.jitter, is_unknown=True)


def _is_stale(work: Work, event: e.CallEvent) -> bool:
    """True for the failure of an attempt that was already counted: it says nothing of a later one.

    A success does: the effect is there, whichever copy brought it about.
    """
    step = work.step(event.step)
    match event.direction:
        case Direction.DO:
            retry_at, attempt = step.retry_at, step.attempts
        case Direction.CHECK:
            retry_at, attempt = step.retry_at, step.check_attempts
        case Direction.UNDO:  # pragma: no branch
            undo = undo_of(work, event.step)
            retry_at, attempt = undo.retry_at, undo.attempts
    is_stale = retry_at is not None or event.attempt not in (None, attempt)
    if is_stale:
        _ignore_reply(work, event)
    return is_stale


def _time_passed(work: Work, event: e.TimePassed) -> None:
    work.waited_for = event.waited_for
    _turn_if_overdue(work)
    do_what_is_due(work)


def _turn_if_overdue(work: Work) -> None:
    """Turn the saga round if its own time is over, before anything else that is due is sent."""
    note_deadline(work)
    if work.draft.stop is not None:
        advance(work)


def _resumed(work: Work, event: e.Resumed) -> None:
    """Take up where the journal ends: whatever was in flight is sent again or left in doubt.

    Sending the same bytes under the same req_id again is the attempt that was already
    counted, so a crash loop uses up no budget.
    """
    draft = work.draft
    in_flight = [
        index for index in bits(draft.running | draft.undoing) if is_in_flight(work, index)
    ]
    _turn_if_overdue(work)
    for index in in_flight:
        if draft.steps[index].status is StepStatus.COMPENSATING:
            resume_undo(work, index)
        elif draft.steps[index].awaited is Direction.CHECK:
            resume_check(work, index)
        else:
            resume_action(work, index)
    do_what_is_due(work)
    wake_for_the_rest(work)


_STOPS = {
    SagaEvent.CANCELLED: "a cancellation was asked for before",
    SagaEvent.DEADLINE_PASSED: "the saga's deadline has passed before",
}


def _cancel_asked(work: Work, event: e.CancelAsked) -> None:
    draft = work.draft
    verdict = draft.program.table.verdict(draft.state, SagaEvent.CANCELLED, draft.facts())
    is_undecided = draft.state.phase is Phase.EXECUTING and draft.way_back() is WayBack.UNDECIDED
    if verdict.kind is VerdictKind.REFUSE and not is_undecided:
        raise EventRefusedError(
            f"Saga {draft.saga_id!r} in state {draft.state} cannot be cancelled: "
            f"{verdict.reason}. Nothing was changed.",
            saga_id=draft.saga_id,
            state=str(draft.state),
        )
    if is_undecided and draft.stop is not None:
        work.note = f"{_STOPS[draft.stop]}; the step that cannot be undone and is under way decides"
        return
    if draft.stop is not None or draft.state.phase is Phase.COMPENSATING:
        work.note = verdict.reason or "the saga was already asked to stop"
        return
    if draft.state.phase is Phase.NEEDS_HUMAN and _is_going_back_for_good(draft):
        work.note = "the saga is already going back, and waits for what a person is asked"
        return
    work.write(r.CancelRequested(at=work.at, by=event.by, note=event.note))
    if is_undecided:
        work.note = "a step that cannot be undone is under way; its outcome decides"
    elif draft.state.phase is Phase.PENDING:
        work.move(SagaEvent.CANCELLED, cause="cancelled")


def _is_going_back_for_good(draft: Draft) -> bool:
    """True when no answer of a person lets the saga go forward again: only a doubt can be lifted.

    Asked while a person is asked and the way back is open.
    """
    if draft.was_undone or draft.stuck:
        return True
    return any(
        draft.steps[index].status is not StepStatus.DOUBTFUL for index in bits(draft.failing)
    )


def _plan_grown(work: Work, event: e.PlanGrown) -> None:
    draft = work.draft
    verdict = draft.program.table.verdict(draft.state, SagaEvent.STEP_APPENDED, draft.facts())
    if verdict.kind is VerdictKind.REFUSE:
        raise EventRefusedError(
            f"Saga {draft.saga_id!r} in state {draft.state} takes no more steps: "
            f"{verdict.reason}. Nothing was changed.",
            saga_id=draft.saga_id,
            state=str(draft.state),
        )
    _check_base(work, event.base_hash)
    work.write(
        r.StepsAppended(
            at=work.at,
            plan_hash=event.program.plan_hash,
            plan=event.plan,
            tools=event.tools,
        ),
        event.program,
    )
    if draft.state.phase is Phase.PENDING:
        _start(work)


def _plan_close_asked(work: Work, event: e.PlanCloseAsked) -> None:
    draft = work.draft
    if not draft.program.is_open:
        work.note = "the plan is closed already"
        return
    verdict = draft.program.table.verdict(draft.state, SagaEvent.PLAN_CLOSED, draft.facts())
    if verdict.kind is VerdictKind.REFUSE:
        raise EventRefusedError(
            f"Saga {draft.saga_id!r} in state {draft.state} cannot be closed: "
            f"{verdict.reason}. Nothing was changed.",
            saga_id=draft.saga_id,
            state=str(draft.state),
        )
    _check_base(work, event.program.plan_hash)
    # The open machine makes the move; the closed one has no state behind its last step.
    work.move(SagaEvent.PLAN_CLOSED)
    work.write(r.PlanClosed(at=work.at), event.program)


def _check_base(work: Work, base_hash: str | None) -> None:
    """Refuse a plan that was made from an older one: it lacks steps that may have started."""
    draft = work.draft
    if base_hash not in (None, draft.program.plan_hash):
        raise EventRefusedError(
            f"Saga {draft.saga_id!r} in state {draft.state} refused this: its plan has grown since "
            "it was read. Nothing was changed; look at it again.",
            saga_id=draft.saga_id,
            state=str(draft.state),
        )


def _human_answered(work: Work, event: e.HumanAnswer) -> None:
    human_answered(work, event)
    # While a person is asked the deadline changes nothing, and a crash forgets its timer.
    note_deadline(work)
    wake_for_deadline(work)


_Handler = Callable[[Work, e.Event], None]
_HANDLERS: dict[type[e.Event], _Handler] = {
    e.Submitted: cast(_Handler, _submitted),
    e.CallSucceeded: cast(_Handler, _call_succeeded),
    e.CallSucceededBadly: cast(_Handler, _call_succeeded_badly),
    e.CallRejected: cast(_Handler, _call_rejected),
    e.CallUnknown: cast(_Handler, _call_unknown),
    e.TimePassed: cast(_Handler, _time_passed),
    e.Resumed: cast(_Handler, _resumed),
    e.CancelAsked: cast(_Handler, _cancel_asked),
    e.ApprovalAnswered: cast(_Handler, approval_answered),
    e.RetryAsked: cast(_Handler, _human_answered),
    e.SettledByHuman: cast(_Handler, _human_answered),
    e.OutputSupplied: cast(_Handler, _human_answered),
    e.CallsOffered: cast(_Handler, _human_answered),
    e.PlanGrown: cast(_Handler, _plan_grown),
    e.PlanCloseAsked: cast(_Handler, _plan_close_asked),
}
