"""Records -> saga: one rule for each type of record.

Nothing here decides; each rule only does to the working copy what the record says. The rules
of the step machine and the counts of the saga are kept by ``Draft.step_event``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar, cast

from msgspec.structs import replace

from fsm_saga.core import records as r
from fsm_saga.core.draft import APPLY, Draft, Handler
from fsm_saga.core.invariants import broken
from fsm_saga.core.program import Program
from fsm_saga.core.saga import WAITING_STEP, Saga, StepState, UndoState
from fsm_saga.core.states import (
    Direction,
    Outcome,
    Phase,
    SagaEvent,
    SagaState,
    StepEvent,
    StepStatus,
)

RecordT = TypeVar("RecordT", bound=r.Record)
ProgramOf = Callable[[r.Record], Program]


def fold(journal: Iterable[r.Record], program_of: ProgramOf) -> Saga:
    """Return the saga that these records describe.

    Args:
        journal: The records in order, the first a ``SagaSubmitted``.
        program_of: Compiles the plan that a ``SagaSubmitted``, ``StepsAppended`` or
            ``PlanClosed`` brings; given the record, returns the program from then on.

    Raises:
        InvariantBrokenError: If the records cannot follow each other.
    """
    draft: Draft | None = None
    for record in journal:
        if draft is None:
            if not isinstance(record, r.SagaSubmitted):
                broken("a journal starts with SagaSubmitted")
            draft = Draft.of(Saga(record.saga_id, program_of(record)))
            draft.apply(record)
        elif isinstance(record, r.StepsAppended | r.PlanClosed):
            draft.apply(record, program_of(record))
        else:
            draft.apply(record)
    if draft is None:
        broken("a journal has at least one record")
    return draft.freeze()


def _folds(record_type: type[RecordT]) -> Callable[[Callable[[Draft, RecordT], None]], Handler]:
    def register(rule: Callable[[Draft, RecordT], None]) -> Handler:
        handler = cast(Handler, rule)
        APPLY[record_type] = handler
        return handler

    return register


@_folds(r.SagaSubmitted)
def _submitted(draft: Draft, record: r.SagaSubmitted) -> None:
    draft.created_at = record.at
    draft.undo_of = record.undo_of
    draft.run_key = record.run_key


@_folds(r.SagaMoved)
def _moved(draft: Draft, record: r.SagaMoved) -> None:
    before = draft.state
    draft.state = SagaState.parse(record.state)
    draft.outcome = Outcome(record.outcome) if record.outcome else None
    if record.cause is not None:
        draft.cause = record.cause
    elif before.phase is Phase.NEEDS_HUMAN and draft.state.phase in (Phase.EXECUTING, Phase.DONE):
        draft.cause = None
    match draft.state.phase:
        case Phase.EXECUTING:
            if before.phase is Phase.PENDING and draft.program.deadline_s is not None:
                draft.deadline_at = record.at + draft.program.deadline_s
        case Phase.COMPENSATING | Phase.NEEDS_HUMAN if draft.awaiting:
            _each(draft, StepStatus.AWAITING_APPROVAL, StepEvent.APPROVAL_WITHDRAWN)
        case Phase.FAILED:
            _each(draft, StepStatus.AWAITING_APPROVAL, StepEvent.SKIPPED)
            _each(draft, StepStatus.WAITING, StepEvent.SKIPPED)
        case _:
            pass


def _each(draft: Draft, status: StepStatus, event: StepEvent) -> None:
    for index, step in enumerate(draft.steps):
        if step.status is status:
            draft.step_event(index, event, replace(step, digest=None, expires_at=None))


@_folds(r.StepsAppended)
def _appended(draft: Draft, record: r.StepsAppended) -> None:
    draft.steps += [WAITING_STEP] * (len(draft.program.steps) - len(draft.steps))


@_folds(r.PlanClosed)
def _closed(draft: Draft, record: r.PlanClosed) -> None:
    """The closed program came in with the record; nothing else changes."""


@_folds(r.ApprovalRequested)
def _approval_requested(draft: Draft, record: r.ApprovalRequested) -> None:
    step = replace(
        draft.steps[record.step],
        params=record.params,
        digest=record.digest,
        expires_at=record.expires_at,
    )
    draft.step_event(record.step, StepEvent.APPROVAL_ASKED, step)


@_folds(r.ApprovalGiven)
def _approval_given(draft: Draft, record: r.ApprovalGiven) -> None:
    draft.steps[record.step] = replace(draft.steps[record.step], approved_by=record.by)


@_folds(r.ApprovalDenied)
def _approval_denied(draft: Draft, record: r.ApprovalDenied) -> None:
    error = f"approval denied by {record.by}" + (f": {record.note}" if record.note else "")
    step = replace(draft.steps[record.step], error=error, expires_at=None)
    draft.step_event(record.step, StepEvent.REJECTED, step)
    draft.failing |= 1 << record.step


@_folds(r.ActionStarted)
def _action_started(draft: Draft, record: r.ActionStarted) -> None:
    """Begin the step anew; of what was before, the attempts are counted and an approval stays."""
    old = draft.steps[record.step]
    step = StepState(
        status=StepStatus.RUNNING,
        attempts=old.attempts + 1,
        req_id=record.req_id,
        revision=record.revision,
        params=record.params,
        awaited=Direction.DO,
        budget_from=old.attempts,
        started_at=record.at,
        not_after=record.not_after,
        digest=old.digest,
        approved_by=old.approved_by,
        undo_params=record.undo_params,
    )
    event = StepEvent.RESENT if old.status is StepStatus.REJECTED else StepEvent.LAUNCHED
    draft.step_event(record.step, event, step)


@_folds(r.AttemptFailed)
def _attempt_failed(draft: Draft, record: r.AttemptFailed) -> None:
    step = draft.steps[record.step]
    is_unknown = record.outcome == "unknown"
    if record.direction is Direction.UNDO:
        undo = replace(_undo_of(draft, record.step), retry_at=record.retry_at, error=record.error)
        undo = _blame_undo(undo, is_unknown=is_unknown)
        draft.steps[record.step] = replace(step, undo=undo)
        return
    step = replace(step, retry_at=record.retry_at, error=record.error)
    if record.direction is Direction.DO:
        step = (
            replace(step, is_doubted=True, was_refused=False)
            if is_unknown
            else replace(step, was_refused=True)
        )
    draft.steps[record.step] = step


@_folds(r.AttemptStarted)
def _attempt_started(draft: Draft, record: r.AttemptStarted) -> None:
    step = draft.steps[record.step]
    match record.direction:
        case Direction.UNDO:
            undo = replace(
                _undo_of(draft, record.step),
                attempts=record.attempt,
                retry_at=None,
                interruptions=0,
            )
            draft.steps[record.step] = replace(step, undo=undo)
        case Direction.CHECK:
            draft.steps[record.step] = replace(
                step, check_attempts=record.attempt, retry_at=None, interruptions=0
            )
        case Direction.DO:  # pragma: no branch
            step = replace(
                step,
                attempts=record.attempt,
                retry_at=None,
                wait_until=None,
                awaited=Direction.DO,
                has_bad_output=False,
                interruptions=0,
            )
            draft.step_event(record.step, StepEvent.RESENT, step)


@_folds(r.CallInterrupted)
def _interrupted(draft: Draft, record: r.CallInterrupted) -> None:
    step = draft.steps[record.step]
    if record.direction is Direction.UNDO:
        undo = _undo_of(draft, record.step)
        draft.steps[record.step] = replace(step, undo=replace(undo, is_doubted=True))
    else:
        draft.steps[record.step] = replace(step, is_doubted=True)


@_folds(r.CallResent)
def _resent(draft: Draft, record: r.CallResent) -> None:
    step = draft.steps[record.step]
    if record.direction is Direction.UNDO:
        undo = replace(_undo_of(draft, record.step), interruptions=record.interruption)
        draft.steps[record.step] = replace(step, undo=undo)
    else:
        draft.steps[record.step] = replace(step, interruptions=record.interruption)


@_folds(r.ActionSucceeded)
def _succeeded(draft: Draft, record: r.ActionSucceeded) -> None:
    old = draft.steps[record.step]
    step = replace(
        old,
        status=StepStatus.SUCCEEDED,
        output=record.output,
        error=None,
        retry_at=None,
        wait_until=None,
        awaited=None,
        has_bad_output=False,
        undo_params=record.undo_params if record.undo_params is not None else old.undo_params,
        undo_error=record.undo_error,
    )
    draft.step_event(record.step, StepEvent.SUCCEEDED, step)
    draft.failing &= ~(1 << record.step)


@_folds(r.ActionSucceededBadly)
def _succeeded_badly(draft: Draft, record: r.ActionSucceededBadly) -> None:
    step = replace(
        draft.steps[record.step],
        status=StepStatus.SUCCEEDED,
        has_bad_output=True,
        error=record.error,
        retry_at=None,
        awaited=None,
    )
    draft.step_event(record.step, StepEvent.SUCCEEDED, step)
    draft.failing |= 1 << record.step


@_folds(r.ActionRejected)
def _rejected(draft: Draft, record: r.ActionRejected) -> None:
    step = replace(
        draft.steps[record.step],
        error=record.error,
        retry_at=None,
        wait_until=None,
        awaited=None,
        was_refused=record.was_sent,
    )
    draft.step_event(record.step, StepEvent.REJECTED, step)
    draft.failing |= 1 << record.step


@_folds(r.ActionDoubted)
def _doubted(draft: Draft, record: r.ActionDoubted) -> None:
    step = replace(
        draft.steps[record.step],
        error=record.error,
        is_doubted=True,
        retry_at=None,
        wait_until=None,
        awaited=None,
    )
    draft.step_event(record.step, StepEvent.DOUBTED, step)
    draft.failing |= 1 << record.step


@_folds(r.CheckStarted)
def _check_started(draft: Draft, record: r.CheckStarted) -> None:
    draft.steps[record.step] = replace(
        draft.steps[record.step],
        check_attempts=record.attempt,
        retry_at=None,
        awaited=Direction.CHECK,
        is_doubted=True,
        interruptions=0,
    )


@_folds(r.WaitStarted)
def _wait_started(draft: Draft, record: r.WaitStarted) -> None:
    draft.steps[record.step] = replace(
        draft.steps[record.step],
        wait_until=record.until,
        retry_at=None,
        awaited=None,
        is_doubted=True,
        error=record.error,
    )


@_folds(r.CancelRequested)
def _cancel_requested(draft: Draft, record: r.CancelRequested) -> None:
    draft.stop = draft.stop or SagaEvent.CANCELLED


@_folds(r.DeadlinePassed)
def _deadline_passed(draft: Draft, record: r.DeadlinePassed) -> None:
    draft.stop = draft.stop or SagaEvent.DEADLINE_PASSED


@_folds(r.UndoStarted)
def _undo_started(draft: Draft, record: r.UndoStarted) -> None:
    step = draft.steps[record.step]
    old = step.undo
    if old is None or not old.calls:
        old = UndoState(calls=((record.tool, record.params),))
    is_same = old.req_id == record.req_id
    undo = replace(
        old,
        call=record.call,
        req_id=record.req_id,
        revision=record.revision,
        attempts=old.attempts + 1 if is_same else 1,
        budget_from=old.attempts if is_same else 0,
        is_doubted=old.is_doubted if is_same else False,
        was_refused=False,
        retry_at=None,
        started_at=old.started_at if is_same else record.at,
        stuck_reason=None,
        error=None,
        interruptions=0,
    )
    draft.step_event(record.step, StepEvent.UNDO_STARTED, replace(step, undo=undo))
    draft.was_undone = True


@_folds(r.UndoSucceeded)
def _undo_succeeded(draft: Draft, record: r.UndoSucceeded) -> None:
    step = draft.steps[record.step]
    undo = replace(_undo_of(draft, record.step), retry_at=None, error=None)
    if not record.is_last:
        draft.steps[record.step] = replace(step, undo=replace(undo, call=record.call + 1))
        return
    if undo.source == "person":
        draft.is_amended = True
    draft.step_event(record.step, StepEvent.UNDONE, replace(step, undo=undo))


@_folds(r.UndoStuck)
def _undo_stuck(draft: Draft, record: r.UndoStuck) -> None:
    step = draft.steps[record.step]
    undo = replace(
        (step.undo or UndoState()), retry_at=None, stuck_reason=record.reason, error=record.error
    )
    if record.reason in ("rejected", "unknown"):
        undo = _blame_undo(undo, is_unknown=record.reason == "unknown")
    draft.step_event(record.step, StepEvent.GOT_STUCK, replace(step, undo=undo))


@_folds(r.HumanRetried)
def _human_retried(draft: Draft, record: r.HumanRetried) -> None:
    step = draft.steps[record.step]
    draft.steps[record.step] = replace(step, budget_from=step.attempts, check_attempts=0)
    draft.failing &= ~(1 << record.step)


@_folds(r.HumanSettled)
def _human_settled(draft: Draft, record: r.HumanSettled) -> None:
    step = replace(draft.steps[record.step], settled_by=record.by)
    bit = 1 << record.step
    if record.as_done:
        step = replace(step, has_bad_output=False, output=None, error=None)
        step = replace(step, status=StepStatus.SUCCEEDED)
        draft.step_event(record.step, StepEvent.SETTLED_AS_DONE, step)
        draft.failing &= ~bit
    else:
        draft.step_event(record.step, StepEvent.SETTLED_AS_GONE, step)
        draft.is_settled = True
        draft.failing |= bit


@_folds(r.HumanSuppliedOutput)
def _human_supplied_output(draft: Draft, record: r.HumanSuppliedOutput) -> None:
    old = draft.steps[record.step]
    step = replace(
        old,
        output=record.output,
        has_bad_output=False,
        error=None,
        settled_by=record.by,
        undo_params=record.undo_params if record.undo_params is not None else old.undo_params,
        undo_error=record.undo_error,
    )
    if old.status is not StepStatus.STUCK:
        step = replace(step, status=StepStatus.SUCCEEDED)
        draft.failing &= ~(1 << record.step)
    draft.step_event(record.step, StepEvent.OUTPUT_SUPPLIED, step)


@_folds(r.CallsSupplied)
def _calls_supplied(draft: Draft, record: r.CallsSupplied) -> None:
    step = draft.steps[record.step]
    old = step.undo or UndoState()
    undo = UndoState(
        calls=tuple((call["tool"], call["params"]) for call in record.calls),
        tools=record.tools,
        source="person",
        revision=old.revision + 1,
        stuck_reason=old.stuck_reason,
    )
    draft.steps[record.step] = replace(step, undo=undo)


@_folds(r.ReplyIgnored)
def _reply_ignored(draft: Draft, record: r.ReplyIgnored) -> None:
    """Evidence only."""


def _undo_of(draft: Draft, index: int) -> UndoState:
    undo = draft.steps[index].undo
    if undo is None:
        broken(f"step {index} of {draft.saga_id!r} has no undo under way")
    return undo


def _blame_undo(undo: UndoState, *, is_unknown: bool) -> UndoState:
    if is_unknown:
        return replace(undo, is_doubted=True, was_refused=False)
    return replace(undo, was_refused=True)
