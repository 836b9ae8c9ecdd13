"""What is written down: the records of a saga's journal.

A journal is append-only; a saga's state is the fold of its records and of nothing else (INV-6).
``at`` is the wall clock in seconds since 1970 as the event brought it; no decision that matters
for safety reads it. A record says what happened in words that hold for ever: changing the
meaning of a field needs a new record type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from fsm_saga.core.states import Direction


class Record(Struct, frozen=True, kw_only=True):
    """Base of all records."""

    at: float


class SagaSubmitted(Record, frozen=True, kw_only=True):
    """A checked plan became a saga. Always the first record, at position 0.

    ``plan`` is the canonical plan, ``tools`` what each of its tools had declared; together they
    compile to the same program for ever. ``undo_of`` names the saga that this one takes back,
    ``undoes`` maps a step's index to the req_id that the step undoes. ``run_key`` goes into every
    req_id, so that a task_id which comes again, in a new store or after a clean-up, is not
    answered with the results of its former life.
    """

    saga_id: str
    plan_hash: str
    plan: Mapping[str, Any]
    tools: Mapping[str, Any]
    is_open: bool = False
    undo_of: str | None = None
    undoes: Mapping[str, str] | None = None
    run_key: str = ""


class SagaMoved(Record, frozen=True, kw_only=True):
    """The saga machine made a transition.

    ``cause`` says why in words when the saga turned round or called a person; ``outcome`` is
    set when it came to rest.
    """

    event: str
    state: str
    outcome: str | None = None
    cause: str | None = None


class StepsAppended(Record, frozen=True, kw_only=True):
    """The plan grew. ``plan`` is the whole new plan; what had started is unchanged in it."""

    plan_hash: str
    plan: Mapping[str, Any]
    tools: Mapping[str, Any]


class PlanClosed(Record, frozen=True, kw_only=True):
    """No step will be appended any more."""


class ApprovalRequested(Record, frozen=True, kw_only=True):
    """A step waits for a person, who is shown exactly these params.

    ``digest`` binds the approval to them: what runs is what was shown.
    """

    step: int
    params: Mapping[str, Any]
    digest: str
    expires_at: float


class ApprovalGiven(Record, frozen=True, kw_only=True):
    """A person let the step run, once, with the params of this digest."""

    step: int
    digest: str
    by: str
    note: str = ""


class ApprovalDenied(Record, frozen=True, kw_only=True):
    """A person said no, or nobody said anything in time; the call was never made."""

    step: int
    by: str
    note: str = ""


class ActionStarted(Record, frozen=True, kw_only=True):
    """The intent to call a step's tool. Durable before the call is sent (INV-1).

    It is itself the obligation to undo. Every resend uses exactly these params (INV-3).
    ``undo_params`` is there when the undo does not need the step's output.
    """

    step: int
    req_id: str
    revision: int
    params: Mapping[str, Any]
    undo_params: Mapping[str, Any] | None = None
    not_after: float | None = None


class AttemptFailed(Record, frozen=True, kw_only=True):
    """A call ended without settling its step and is tried again at ``retry_at``.

    ``attempt`` is the one that ended; the next one has the same req_id and the same params.
    """

    step: int
    direction: Direction
    attempt: int
    outcome: str
    error: str
    retry_at: float


class AttemptStarted(Record, frozen=True, kw_only=True):
    """The intent to send a call again. Durable before it is sent, so no crash resets a count."""

    step: int
    direction: Direction
    attempt: int


class CallInterrupted(Record, frozen=True, kw_only=True):
    """The coordinator stopped while a call was in flight: whether it arrived is unknown."""

    step: int
    direction: Direction


class CallResent(Record, frozen=True, kw_only=True):
    """The intent to send a call again that was under way when its coordinator ended.

    It uses up no attempt. ``interruption`` counts such ends of this attempt; durable before the
    call is sent, so that a call which ends its process each time is found out.
    """

    step: int
    direction: Direction
    interruption: int


class ActionSucceeded(Record, frozen=True, kw_only=True):
    """The effect exists and its output is usable.

    ``undo_params`` are the undo call's, resolved now so that going back depends on nothing
    later; ``undo_error`` says why they could not be.
    """

    step: int
    output: Any
    undo_params: Mapping[str, Any] | None = None
    undo_error: str | None = None


class ActionSucceededBadly(Record, frozen=True, kw_only=True):
    """The effect exists but its output cannot be used; it has to be undone."""

    step: int
    error: str


class ActionRejected(Record, frozen=True, kw_only=True):
    """The step certainly has no effect. ``was_sent`` is False when no call was ever made."""

    step: int
    error: str
    was_sent: bool = True


class ActionDoubted(Record, frozen=True, kw_only=True):
    """The step may have had its effect; retries are used up or of no use."""

    step: int
    error: str


class CheckStarted(Record, frozen=True, kw_only=True):
    """The intent to ask the tool what became of a doubtful call."""

    step: int
    attempt: int


class WaitStarted(Record, frozen=True, kw_only=True):
    """Nothing more is sent: the tool refuses the call after ``until``, then it can be undone."""

    step: int
    until: float
    error: str


class CancelRequested(Record, frozen=True, kw_only=True):
    """Somebody asked to stop and undo."""

    by: str
    note: str = ""


class DeadlinePassed(Record, frozen=True, kw_only=True):
    """The saga's own time is over."""


class UndoStarted(Record, frozen=True, kw_only=True):
    """The intent to make one call of a step's compensation. Durable before the call (INV-1)."""

    step: int
    call: int
    req_id: str
    revision: int
    tool: str
    params: Mapping[str, Any]


class UndoSucceeded(Record, frozen=True, kw_only=True):
    """One call of a step's compensation is done. ``is_last``: the step is undone."""

    step: int
    call: int
    is_last: bool


class UndoStuck(Record, frozen=True, kw_only=True):
    """A compensation cannot go on without a person.

    ``reason`` is one of ``rejected``, ``unknown``, ``unresolvable``, ``semantic``, ``expired``.
    """

    step: int
    reason: str
    error: str


class HumanRetried(Record, frozen=True, kw_only=True):
    """A person ordered the step's open call to be tried again."""

    step: int
    by: str
    note: str


class HumanSettled(Record, frozen=True, kw_only=True):
    """A person vouches for a step: ``as_done`` its effect is there, else nothing of it is."""

    step: int
    as_done: bool
    by: str
    note: str


class HumanSuppliedOutput(Record, frozen=True, kw_only=True):
    """A person vouches that the effect exists and gives its output."""

    step: int
    output: Any
    undo_params: Mapping[str, Any] | None
    undo_error: str | None
    by: str
    note: str


class CallsSupplied(Record, frozen=True, kw_only=True):
    """The calls that make good for a step, decided late; ``calls`` is a list of tool, params.

    ``tools`` is what the tools of these calls had declared.
    """

    step: int
    calls: tuple[Mapping[str, Any], ...]
    tools: Mapping[str, Any]
    by: str
    note: str


class ReplyIgnored(Record, frozen=True, kw_only=True):
    """A reply came that could not count any more: kept as evidence, changes nothing."""

    step: int
    direction: Direction
    outcome: str
    detail: str


RECORD_TYPES: Mapping[str, type[Record]] = {
    record.__name__: record
    for record in (
        SagaSubmitted,
        SagaMoved,
        StepsAppended,
        PlanClosed,
        ApprovalRequested,
        ApprovalGiven,
        ApprovalDenied,
        ActionStarted,
        AttemptFailed,
        AttemptStarted,
        CallInterrupted,
        CallResent,
        ActionSucceeded,
        ActionSucceededBadly,
        ActionRejected,
        ActionDoubted,
        CheckStarted,
        WaitStarted,
        CancelRequested,
        DeadlinePassed,
        UndoStarted,
        UndoSucceeded,
        UndoStuck,
        HumanRetried,
        HumanSettled,
        HumanSuppliedOutput,
        CallsSupplied,
        ReplyIgnored,
    )
}
