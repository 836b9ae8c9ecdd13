"""What people may decide: approvals before a step, and the ways out of NEEDS_HUMAN.

``choices`` says which answers a step accepts now; it is what a person is shown and what an
answer is held against, so the two cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from fsm_saga.core import events as e
from fsm_saga.core import records as r
from fsm_saga.core.backward import (
    is_forgotten,
    may_send_undo,
    start_undo_call,
    undo_of,
)
from fsm_saga.core.draft import Draft
from fsm_saga.core.forward import (
    may_resend,
    resolve_undo,
    send_action,
    start_action,
    undo_known_before,
)
from fsm_saga.core.guards import WayBack
from fsm_saga.core.invariants import broken
from fsm_saga.core.references import ReferenceMissing
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Direction, Phase, SagaEvent, StepStatus
from fsm_saga.core.work import Work
from fsm_saga.errors import EventRefusedError

RETRY = "retry"
SETTLED = "settled"
OUTPUT = "output"
CALLS = "calls"


def choices(saga: Saga, index: int, *, at: float | None = None) -> tuple[str, ...]:
    """Return the answers that a person may give for this step, in order of preference.

    What may be tried again depends on how long tools remember: ``at`` is the time of the answer,
    or None for that of the saga's last record.
    """
    if saga.state.phase is not Phase.NEEDS_HUMAN:
        return ()
    return _choices(Draft.of(saga), index, saga.updated_at if at is None else at)


def _choices(draft: Draft, index: int, at: float) -> tuple[str, ...]:
    step = draft.steps[index]
    spec = draft.program.steps[index]
    match step.status:
        case StepStatus.STUCK:
            undo = step.undo
            found = []
            if undo is not None and undo.calls and may_send_undo(draft, index, at):
                found.append(RETRY)
            found += [SETTLED, CALLS]
            lacks_output = undo is not None and undo.stuck_reason == "unresolvable"
            # An undo that goes by a req_id which its tool has forgotten would be null.
            if lacks_output and spec.undo is not None and not is_forgotten(draft, index, at):
                found.append(OUTPUT)
            return tuple(found)
        case StepStatus.DOUBTFUL:
            if draft.way_back() is not WayBack.CLOSED and not _is_next_to_clear(draft, index):
                return ()
            found = [RETRY] if may_resend(draft.program, spec.action, step.started_at, at) else []
            found.append(OUTPUT)
            if not (_is_settled_as_done(draft, index) and spec.output_is_used):
                found.append(SETTLED)
            if draft.way_back() is not WayBack.CLOSED:
                found.append(CALLS)
            return tuple(found)
        case StepStatus.REJECTED | StepStatus.SUCCEEDED if (
            draft.failing >> index & 1 and draft.way_back() is WayBack.CLOSED
        ):
            return _choices_forward(draft, index, at)
        case _:
            return ()


def _choices_forward(draft: Draft, index: int, at: float) -> tuple[str, ...]:
    """Return the answers for a step that only forward is left for."""
    step, spec = draft.steps[index], draft.program.steps[index]
    # A call that was never made for want of an approval is not made by a retry either.
    was_allowed = spec.approval_expires_s is None or step.approved_by is not None
    can_retry = step.params is not None and was_allowed
    if step.status is StepStatus.SUCCEEDED:
        can_retry = can_retry and may_resend(draft.program, spec.action, step.started_at, at)
    found = (RETRY,) if can_retry else ()
    return (*found, OUTPUT) if spec.output_is_used else (*found, OUTPUT, SETTLED)


def _is_settled_as_done(draft: Draft, index: int) -> bool:
    """Return what a person vouches for who settles the step: its effect, or that none is left."""
    status = draft.steps[index].status
    if status is StepStatus.DOUBTFUL:
        # Past the point of no return the saga needs the step; else it is to be rid of it.
        return bool(draft.program.irrevocable & ~(1 << index) & draft.uncleared)
    return status in (StepStatus.REJECTED, StepStatus.SUCCEEDED)


def _is_next_to_clear(draft: Draft, index: int) -> bool:
    return not draft.program.steps[index].descendants & draft.uncleared


def approval_answered(work: Work, event: e.ApprovalAnswered) -> None:
    """Let the waiting step run, or deny it.

    Raises:
        EventRefusedError: If the step does not wait for approval, what it would do is not
            what the person saw, the time to approve is over, or the saga may be about to go back.
    """
    step = work.step(event.step)
    name = str(work.spec(event.step).step_id)
    if step.status is not StepStatus.AWAITING_APPROVAL:
        raise _refused(work, f"step {name!r} is {step.status} and does not wait for approval")
    if event.digest is not None and event.digest != step.digest:
        raise _refused(
            work, f"the approval for step {name!r} is for other parameters (digest differs)"
        )
    if step.expires_at is not None and event.at >= step.expires_at:
        raise _refused(work, f"the time to approve step {name!r} is over")
    deadline_at = work.draft.deadline_at
    is_over = deadline_at is not None and event.at >= deadline_at
    if event.is_granted and is_over and work.draft.way_back() is not WayBack.CLOSED:
        raise _refused(work, "its deadline has passed")
    is_turning = work.draft.failing or work.draft.stop is not None
    if event.is_granted and is_turning and work.draft.way_back() is not WayBack.CLOSED:
        raise _refused(work, "it may be about to go back, and starts nothing until that is known")
    if not event.is_granted:
        work.write(r.ApprovalDenied(at=work.at, step=event.step, by=event.by, note=event.note))
        return
    params = step.params or {}
    work.write(
        r.ApprovalGiven(
            at=work.at, step=event.step, digest=step.digest or "", by=event.by, note=event.note
        )
    )
    start_action(work, event.step, params, undo_known_before(work, event.step))


def human_answered(work: Work, event: e.HumanAnswer) -> None:
    """Do what a person decided about a step that the saga rests on.

    Raises:
        EventRefusedError: If the saga does not ask, the step does not accept this answer, or
            the saga has changed since the person looked.
    """
    draft = work.draft
    rule = _ANSWERS.get(type(event))
    if rule is None:
        broken(f"no rule for the answer {type(event).__name__}")
    wanted, saga_event, act = rule
    if event.position is not None and event.position != draft.position:
        raise _refused(
            work, f"it has changed since position {event.position} (now {draft.position})"
        )
    if draft.state.phase is not Phase.NEEDS_HUMAN:
        verdict = draft.program.table.verdict(draft.state, saga_event, draft.facts())
        raise _refused(work, verdict.reason)
    found = _choices(draft, event.step, work.at)
    if wanted not in found:
        name = str(work.spec(event.step).step_id)
        accepts = ", ".join(found) or "nothing"
        raise _refused(
            work, f"step {name!r} ({work.step(event.step).status}) accepts {accepts}, not {wanted}"
        )
    act(work, event)
    work.move(saga_event)


def _retried(work: Work, event: e.RetryAsked) -> None:
    index, step = event.step, work.step(event.step)
    work.write(r.HumanRetried(at=work.at, step=index, by=event.by, note=event.note))
    if step.status is StepStatus.STUCK:
        undo = undo_of(work, index)
        # A sticky refusal would only be repeated; since it certainly had no effect, the call
        # may get a new id. A doubtful call keeps its id for ever (INV-2).
        revision = undo.revision + (undo.was_refused and not undo.is_doubted)
        tool, params = undo.calls[undo.call]
        start_undo_call(work, index, tool, params, call=undo.call, revision=revision)
        return
    if step.status is StepStatus.REJECTED:
        undo_params = undo_known_before(work, index)
        start_action(work, index, step.params or {}, undo_params, revision=step.revision + 1)
        return
    work.write(
        r.AttemptStarted(at=work.at, step=index, direction=Direction.DO, attempt=step.attempts + 1)
    )
    send_action(work, index)


def _settled(work: Work, event: e.SettledByHuman) -> None:
    is_done = _is_settled_as_done(work.draft, event.step)
    work.write(
        r.HumanSettled(at=work.at, step=event.step, as_done=is_done, by=event.by, note=event.note)
    )


def _output_supplied(work: Work, event: e.OutputSupplied) -> None:
    index, step = event.step, work.step(event.step)
    undo_params, undo_error = None, None
    try:
        undo_params = resolve_undo(work, index, {index: event.output})
    except ReferenceMissing as missing:
        undo_error = str(missing)
    if undo_params is None and undo_error is not None:
        raise _refused(work, f"this output does not give the rollback what it needs: {undo_error}")
    work.write(
        r.HumanSuppliedOutput(
            at=work.at,
            step=index,
            output=event.output,
            undo_params=undo_params,
            undo_error=undo_error,
            by=event.by,
            note=event.note,
        )
    )
    undo = work.spec(index).undo
    if step.status is StepStatus.STUCK and undo is not None and undo_params is not None:
        start_undo_call(work, index, undo.tool, undo_params, call=0, revision=0)


def _calls_offered(work: Work, event: e.CallsOffered) -> None:
    if not event.calls:
        raise _refused(work, "the list of calls is empty: to leave the rest as it is, settle it")
    index = event.step
    work.write(
        r.CallsSupplied(
            at=work.at,
            step=index,
            calls=event.calls,
            tools=event.tools,
            by=event.by,
            note=event.note,
        )
    )
    undo = undo_of(work, index)
    tool, params = undo.calls[0]
    start_undo_call(work, index, tool, params, call=0, revision=undo.revision)


def _refused(work: Work, why: str) -> EventRefusedError:
    draft = work.draft
    return EventRefusedError(
        f"Saga {draft.saga_id!r} in state {draft.state} refused this: {why}. "
        "Nothing was changed; look at it again with `fsm-saga show`.",
        saga_id=draft.saga_id,
        state=str(draft.state),
    )


_Act = Callable[[Work, e.HumanAnswer], None]
_ANSWERS: Mapping[type[e.HumanAnswer], tuple[str, SagaEvent, _Act]] = {
    e.RetryAsked: (RETRY, SagaEvent.HUMAN_RETRIES, cast(_Act, _retried)),
    e.SettledByHuman: (SETTLED, SagaEvent.HUMAN_SETTLES, cast(_Act, _settled)),
    e.OutputSupplied: (OUTPUT, SagaEvent.HUMAN_SUPPLIES_OUTPUT, cast(_Act, _output_supplied)),
    e.CallsOffered: (CALLS, SagaEvent.HUMAN_SUPPLIES_CALLS, cast(_Act, _calls_offered)),
}
