"""What happened: the inputs of ``decide``.

Time, randomness and everything from outside come in here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from fsm_saga.core.program import Program
from fsm_saga.core.states import Direction


class Event(Struct, frozen=True, kw_only=True):
    """Base of all events; ``at`` is the wall clock in seconds since 1970."""

    at: float


class Submitted(Event, frozen=True, kw_only=True):
    """A plan was accepted as a saga; it starts at once if it has a step.

    ``run_key`` tells this run from another of the same task_id; whoever submits draws it.
    """

    plan: Mapping[str, Any]
    tools: Mapping[str, Any]
    undo_of: str | None = None
    undoes: Mapping[str, str] | None = None
    run_key: str = ""


class CallEvent(Event, frozen=True, kw_only=True):
    """Base of what a call came to.

    ``req_id`` says which call, and ``attempt`` which try of it; None stands for the latest. A
    reply to another call is ignored, and so is a failure of another attempt.
    """

    step: int
    direction: Direction
    req_id: str
    attempt: int | None = None


class CallSucceeded(CallEvent, frozen=True, kw_only=True):
    """The tool did it and answered usably. A check's answer comes as its output."""

    output: Any


class CallSucceededBadly(CallEvent, frozen=True, kw_only=True):
    """The tool did it, but what it answered cannot be used."""

    error: str


class CallRejected(CallEvent, frozen=True, kw_only=True):
    """The tool refused: this call certainly has no effect. ``jitter`` is in [0, 1).

    ``was_sent`` is False if nothing of this req_id ever left: it did not fit the tool, and will
    not fit it the next time either.
    """

    error: str
    jitter: float
    was_sent: bool = True


class CallUnknown(CallEvent, frozen=True, kw_only=True):
    """Whether the call took effect is not known. ``jitter`` is in [0, 1)."""

    error: str
    jitter: float


class TimePassed(Event, frozen=True, kw_only=True):
    """It is ``at`` now; whatever is due by then is due.

    ``waited_for`` is the time of the ``WakeAt`` that is over, for the clock may have been set back
    meanwhile: what waits for that very time is due as well.
    """

    waited_for: float = 0.0


class Resumed(Event, frozen=True, kw_only=True):
    """A coordinator took the saga up from its journal; calls in flight were interrupted."""


class CancelAsked(Event, frozen=True, kw_only=True):
    """Somebody wants the saga stopped and undone."""

    by: str
    note: str = ""


class ApprovalAnswered(Event, frozen=True, kw_only=True):
    """A person answered for a step; ``digest`` is what they saw, or None for the current one."""

    step: int
    is_granted: bool
    by: str
    note: str = ""
    digest: str | None = None


class HumanAnswer(Event, frozen=True, kw_only=True):
    """Base of a person's answers to NEEDS_HUMAN; ``position`` guards against a stale view."""

    step: int
    by: str
    note: str
    position: int | None = None


class RetryAsked(HumanAnswer, frozen=True, kw_only=True):
    """Try the open call of this step again."""


class SettledByHuman(HumanAnswer, frozen=True, kw_only=True):
    """The person vouches for the step: it needs no more doing or undoing."""


class OutputSupplied(HumanAnswer, frozen=True, kw_only=True):
    """The person vouches that the effect exists and gives its output."""

    output: Any


class CallsOffered(HumanAnswer, frozen=True, kw_only=True):
    """The calls that make good for the step; checked like a plan before they come here."""

    calls: tuple[Mapping[str, Any], ...]
    tools: Mapping[str, Any]


class PlanGrown(Event, frozen=True, kw_only=True):
    """Steps were appended; ``program`` is compiled from the whole new plan.

    ``base_hash`` is the hash of the plan that they were appended to, or None if nothing else can
    have grown it.
    """

    program: Program
    plan: Mapping[str, Any]
    tools: Mapping[str, Any]
    base_hash: str | None = None


class PlanCloseAsked(Event, frozen=True, kw_only=True):
    """Nothing more will be appended; ``program`` is the closed one."""

    program: Program
