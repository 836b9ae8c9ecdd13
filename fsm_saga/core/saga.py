"""A saga as folded from its journal.

Nothing here changes once it is built: a decision makes a new saga of the old one, which costs a
fraction of a microsecond. Sets of steps are bitmasks over step indexes, so that every
question a guard asks is one arithmetic operation, however long the plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from fsm_saga.core.program import Program
from fsm_saga.core.states import PENDING, Direction, Outcome, SagaEvent, SagaState, StepStatus


class UndoState(Struct, frozen=True):
    """How far a step's compensation has come.

    ``calls`` is the list of (tool, params) to make in order; ``call`` the index of the one in
    flight or next; ``source`` is ``"plan"`` or ``"person"``. ``attempts`` counts the sends of
    the current call, ``budget_from`` the attempts that do not count against its budget,
    ``interruptions`` the ends of the process since the last attempt began.
    """

    calls: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    tools: Mapping[str, Any] | None = None
    call: int = 0
    source: str = "plan"
    req_id: str | None = None
    revision: int = 0
    attempts: int = 0
    budget_from: int = 0
    is_doubted: bool = False
    was_refused: bool = False
    retry_at: float | None = None
    started_at: float = 0.0
    stuck_reason: str | None = None
    error: str | None = None
    interruptions: int = 0


class StepState(Struct, frozen=True):
    """Where one step stands.

    Attributes:
        params: The resolved params of the action, as written before the first send.
        is_doubted: An earlier copy of the call may have had its effect.
        was_refused: The last definite answer was a refusal.
        retry_at: When the next attempt is due; None while a call is in flight.
        awaited: What is in flight or due: ``DO``, ``CHECK``, or None while waiting for the
            tool's own deadline.
        has_bad_output: The effect exists, its output cannot be used.
        settled_by: The person who vouched for the step, if one did.
        interruptions: Ends of the process since the attempt, or check, in flight began.
    """

    status: StepStatus = StepStatus.WAITING
    attempts: int = 0
    req_id: str | None = None
    revision: int = 0
    params: Mapping[str, Any] | None = None
    output: Any = None
    error: str | None = None
    is_doubted: bool = False
    was_refused: bool = False
    has_bad_output: bool = False
    retry_at: float | None = None
    wait_until: float | None = None
    awaited: Direction | None = None
    check_attempts: int = 0
    budget_from: int = 0
    started_at: float = 0.0
    not_after: float | None = None
    digest: str | None = None
    expires_at: float | None = None
    approved_by: str | None = None
    undo_params: Mapping[str, Any] | None = None
    undo_error: str | None = None
    undo: UndoState | None = None
    settled_by: str | None = None
    interruptions: int = 0


WAITING_STEP = StepState()


class Saga(Struct, frozen=True):
    """One durable run of a program.

    Attributes:
        position: The number of records it was folded from.
        running: Bitmask of steps in status RUNNING.
        succeeded: Bitmask of steps whose success counts forward.
        uncleared: Bitmask of steps whose effect is or may be in the world, in flight included.
        undoing: Bitmask of steps in status COMPENSATING.
        awaiting: Bitmask of steps in status AWAITING_APPROVAL.
        stuck: Bitmask of steps in status STUCK.
        failing: Bitmask of the steps whose failure is not resolved.
        stop: ``CANCELLED`` or ``DEADLINE_PASSED`` once that was recorded.
        was_undone: An undo call was ordered, so forward is no longer possible.
        is_amended: Some step was made good for by calls that were decided late.
        is_settled: A person vouched that nothing is left of some step.
        cause: Why the saga turned round or called a person, in words.
    """

    saga_id: str
    program: Program
    state: SagaState = PENDING
    outcome: Outcome | None = None
    steps: tuple[StepState, ...] = ()
    position: int = 0
    running: int = 0
    succeeded: int = 0
    uncleared: int = 0
    undoing: int = 0
    awaiting: int = 0
    stuck: int = 0
    failing: int = 0
    stop: SagaEvent | None = None
    was_undone: bool = False
    is_amended: bool = False
    is_settled: bool = False
    cause: str | None = None
    deadline_at: float | None = None
    created_at: float = 0.0
    updated_at: float = 0.0
    undo_of: str | None = None
    run_key: str = ""
