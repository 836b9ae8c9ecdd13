"""The words of the two machines: phases, saga states, step statuses, outcomes."""

from __future__ import annotations

import enum
import re
from functools import lru_cache
from typing import NamedTuple


class Phase(enum.StrEnum):
    """Where a saga stands, without the count."""

    PENDING = "PENDING"
    EXECUTING = "EXECUTING"
    COMPENSATING = "COMPENSATING"
    DONE = "DONE"
    FAILED = "FAILED"
    NEEDS_HUMAN = "NEEDS_HUMAN"


COUNTED_PHASES = frozenset({Phase.EXECUTING, Phase.COMPENSATING})
FINAL_PHASES = frozenset({Phase.DONE, Phase.FAILED})

_STATE_TEXT = re.compile(r"([A-Z_]+)(?:\((\d+)\))?")


class SagaState(NamedTuple):
    """A state of the saga machine: a phase and, for two of the phases, a count.

    ``EXECUTING(n)``: n-1 steps have succeeded and the n-th success is awaited.
    ``COMPENSATING(k)``: the effects of k steps are, or may be, in the world.

    Example:
        >>> str(SagaState(Phase.EXECUTING, 2)), str(SagaState(Phase.DONE))
        ('EXECUTING(2)', 'DONE')
        >>> SagaState.parse("COMPENSATING(1)").count
        1
    """

    phase: Phase
    count: int = 0  # type: ignore[assignment]  # hides tuple.count, which nothing calls

    def __str__(self) -> str:
        return _state_text(self)

    @property
    def is_final(self) -> bool:
        """True for DONE and FAILED, which nothing leaves."""
        return self.phase in FINAL_PHASES

    @staticmethod
    def parse(text: str) -> SagaState:
        """Return the state that ``str()`` wrote.

        Raises:
            ValueError: If the text names no state.
        """
        return _parse_state(text)


@lru_cache(maxsize=4096)
def _state_text(state: SagaState) -> str:
    phase = state.phase
    return f"{phase}({state.count})" if phase in COUNTED_PHASES else str(phase)


@lru_cache(maxsize=4096)
def _parse_state(text: str) -> SagaState:
    match = _STATE_TEXT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} names no saga state")
    phase = Phase(match[1])
    if (phase in COUNTED_PHASES) != (match[2] is not None):
        raise ValueError(f"{text!r} names no saga state: a count goes with EXECUTING, COMPENSATING")
    return SagaState(phase, int(match[2] or 0))


PENDING = SagaState(Phase.PENDING)
DONE = SagaState(Phase.DONE)
FAILED = SagaState(Phase.FAILED)
NEEDS_HUMAN = SagaState(Phase.NEEDS_HUMAN)


def executing(count: int) -> SagaState:
    """Return EXECUTING(count)."""
    return SagaState(Phase.EXECUTING, count)


def compensating(count: int) -> SagaState:
    """Return COMPENSATING(count)."""
    return SagaState(Phase.COMPENSATING, count)


class SagaEvent(enum.StrEnum):
    """What can happen to a saga as a whole; the columns of the saga table."""

    START = "start"
    STEP_SUCCEEDED = "step_succeeded"
    STEP_FAILED = "step_failed"
    CANCELLED = "cancelled"
    DEADLINE_PASSED = "deadline_passed"
    FORWARD_EXHAUSTED = "forward_exhausted"
    EFFECT_CLEARED = "effect_cleared"
    NOTHING_LEFT_TO_TRY = "nothing_left_to_try"
    HUMAN_RETRIES = "human_retries"
    HUMAN_SETTLES = "human_settles"
    HUMAN_SUPPLIES_OUTPUT = "human_supplies_output"
    HUMAN_SUPPLIES_CALLS = "human_supplies_calls"
    STEP_APPENDED = "step_appended"
    PLAN_CLOSED = "plan_closed"


class StepStatus(enum.StrEnum):
    """Where one step stands; the states of the step machine."""

    WAITING = "WAITING"
    AWAITING_APPROVAL = "AWAITING_APPROVAL"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    REJECTED = "REJECTED"
    DOUBTFUL = "DOUBTFUL"
    COMPENSATING = "COMPENSATING"
    COMPENSATED = "COMPENSATED"
    STUCK = "STUCK"
    SKIPPED = "SKIPPED"


class StepEvent(enum.StrEnum):
    """What can happen to one step; the columns of the step table."""

    APPROVAL_ASKED = "approval_asked"
    APPROVAL_WITHDRAWN = "approval_withdrawn"
    LAUNCHED = "launched"
    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    DOUBTED = "doubted"
    UNDO_STARTED = "undo_started"
    UNDONE = "undone"
    GOT_STUCK = "got_stuck"
    RESENT = "resent"
    OUTPUT_SUPPLIED = "output_supplied"
    SETTLED_AS_DONE = "settled_as_done"
    SETTLED_AS_GONE = "settled_as_gone"
    SKIPPED = "skipped"


class Outcome(enum.StrEnum):
    """What a saga left in the world; a vocabulary that cannot lie."""

    COMMITTED = "committed"
    NOTHING_HAPPENED = "nothing_happened"
    COMPENSATED = "compensated"
    AMENDED = "amended"
    PARTLY_COMPENSATED = "partly_compensated"
    UNKNOWN = "unknown"


class Direction(enum.StrEnum):
    """What a call is for: to do a step, to undo it, or to ask what became of it."""

    DO = "do"
    UNDO = "undo"
    CHECK = "check"


class StepKind(enum.StrEnum):
    """What a step is to the way back."""

    COMPENSATABLE = "compensatable"
    READ_ONLY = "read_only"
    PIVOT = "pivot"
    RETRIABLE = "retriable"


class DoubtExit(enum.StrEnum):
    """How the compiler settles a call of a step whose outcome stays unknown."""

    NO_EFFECT = "no_effect"
    COMPENSATE_NOW = "compensate_now"
    RESEND = "resend"
    CHECK = "check"
    WAIT_DEADLINE = "wait_deadline"
    PERSON = "person"
