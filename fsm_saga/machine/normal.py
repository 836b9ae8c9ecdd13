"""Sagas without what no decision depends on: so that a finite search sees each of them once.

Dropped are texts, positions, and what a step no longer needs once it is settled. A time is kept
only as far as decisions tell it apart: not yet, or over. Revisions of a req_id start anew, since
the engine treats all alike. How often a call was interrupted is dropped as well: one that is given
up for that is left in the very state in which lost answers leave it. ``Normaliser`` keeps the saga
itself normal, so that ``decide`` takes it like any other; a test decides about normal and full
sagas side by side and compares.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec.structs import replace

from fsm_saga.core import ids
from fsm_saga.core.backward import UNDO_RETRY
from fsm_saga.core.program import CallSpec, StepSpec
from fsm_saga.core.saga import Saga, StepState, UndoState
from fsm_saga.core.states import Direction, Phase, SagaEvent, StepStatus
from fsm_saga.core.work import bits

SAGA_ID = "verify"
NOW = 0.0
LATER = 1.0
"""A timer that has not fired."""
FAR = 1e9
"""A time limit that is not reached."""
JUST_OVER = -0.001
"""A time limit that the engine's clock has passed, and the tool's perhaps not."""
LONG_OVER = -1e12
"""A time limit, or a retention, that every clock has passed."""

VALUES_KEPT = 50_000
"""Values whose number is known by identity; a bound on memory, nothing else."""

BARE = {
    status: StepState(status=status)
    for status in (StepStatus.WAITING, StepStatus.SKIPPED, StepStatus.COMPENSATED)
}


class Key(NamedTuple):
    """What distinguishes two sagas of one program: the saga's own facts, and a key per step."""

    shared: tuple[Hashable, ...]
    steps: tuple[int, ...]


class Normaliser:
    """Makes sagas of one program normal and gives equal ones equal keys."""

    def __init__(self) -> None:
        self._values: dict[bytes, int] = {}
        self._by_identity: dict[int, tuple[object, int]] = {}
        self._step_keys: dict[Hashable, int] = {}
        self.step_of_key: list[StepState] = []

    def normal(self, saga: Saga) -> tuple[Saga, Key]:
        """Return the normal saga and its key."""
        specs = saga.program.steps
        steps = [_normal_step(step, spec) for step, spec in zip(saga.steps, specs, strict=True)]
        normal = _normal_facts(saga, steps)
        keys = [
            self.key_of_step(step, bool(normal.failing >> index & 1))
            for index, step in enumerate(steps)
        ]
        return normal, Key(shared_key(normal), tuple(keys))

    def normal_after(self, saga: Saga, before: Saga, key: Key) -> tuple[Saga, Key]:
        """Return the same, for a saga that was decided from a normal one of that key.

        Only what differs between the two is looked at.
        """
        steps, keys = list(before.steps), list(key.steps)
        changed = changed_steps(before, saga)
        for index in changed:
            steps[index] = _normal_step(saga.steps[index], saga.program.steps[index])
        normal = _normal_facts(saga, steps)
        for index in {*changed, *bits(normal.failing ^ before.failing)}:
            keys[index] = self.key_of_step(steps[index], bool(normal.failing >> index & 1))
        return normal, Key(shared_key(normal), tuple(keys))

    def key_of_step(self, step: StepState, is_failing: bool) -> int:
        """Return the number that normal steps share which differ in nothing."""
        undo = step.undo
        undo_key = None
        if undo is not None:
            calls = tuple((tool, self.token(params)) for tool, params in undo.calls)
            undo_key = replace(undo, calls=calls, tools=self.token(undo.tools), req_id=None)
        key = (
            is_failing,
            step.status.value,
            step.awaited and step.awaited.value,
            undo_key,
            self.token(step.params),
            self.token(step.output),
            self.token(step.undo_params),
            step.attempts,
            step.check_attempts,
            step.is_doubted,
            step.was_refused,
            step.has_bad_output,
            step.retry_at,
            step.wait_until,
            step.started_at,
            step.not_after,
            step.expires_at,
            step.approved_by,
        )
        found = self._step_keys.get(key)
        if found is None:
            found = self._step_keys[key] = len(self.step_of_key)
            self.step_of_key.append(step)
        return found

    def token(self, value: object) -> Any:
        """Return the number that equal JSON values share; None stays None."""
        if value is None:
            return None
        known = self._by_identity.get(id(value))
        if known is None:
            text = ids.canonical_json(value)
            if len(self._by_identity) >= VALUES_KEPT:
                self._by_identity.clear()
            # The value is kept, so that its identity cannot be given to another.
            known = (value, self._values.setdefault(text, len(self._values)))
            self._by_identity[id(value)] = known
        return known[1]


def changed_steps(before: Saga, after: Saga) -> list[int]:
    """Return the steps that are not the very same in both."""
    pairs = enumerate(zip(before.steps, after.steps, strict=True))
    return [index for index, (old, new) in pairs if old is not new]


def is_going_back_for_good(saga: Saga) -> bool:
    """Return whether nothing leads forward any more, whatever a person says."""
    if saga.was_undone or saga.state.phase is Phase.FAILED:
        return True
    is_back = saga.state.phase in (Phase.COMPENSATING, Phase.NEEDS_HUMAN)
    if not is_back or saga.program.irrevocable & saga.uncleared:
        return False
    # A doubt may be resolved; what was refused, useless or given up stays so on the way back.
    ends = (StepStatus.REJECTED, StepStatus.SUCCEEDED, StepStatus.COMPENSATED)
    return saga.stop is not None or any(saga.steps[i].status in ends for i in bits(saga.failing))


def _normal_facts(saga: Saga, steps: list[StepState]) -> Saga:
    """Return the saga with those of its own facts only that a decision can depend on."""
    failing, stop = saga.failing, saga.stop and SagaEvent.CANCELLED
    deadline_at = None if saga.deadline_at is None else LATER
    if saga.state.is_final or is_going_back_for_good(saga):
        # Nothing leads forward any more, so why it does not is of no account.
        failing, stop, deadline_at = 0, SagaEvent.CANCELLED, None
    is_over = saga.state.is_final
    return Saga(
        saga.saga_id,
        saga.program,
        saga.state,
        saga.outcome,
        tuple(steps),
        position=1,
        running=saga.running,
        succeeded=saga.succeeded,
        uncleared=saga.uncleared,
        undoing=saga.undoing,
        awaiting=saga.awaiting,
        stuck=saga.stuck,
        failing=failing,
        stop=stop,
        was_undone=saga.was_undone and not is_over,
        is_amended=saga.is_amended and not saga.is_settled and not is_over,
        is_settled=saga.is_settled and not is_over,
        deadline_at=deadline_at,
    )


def shared_key(saga: Saga) -> tuple[Hashable, ...]:
    """Return what distinguishes normal sagas beside their steps."""
    # Texts instead of enum members: these keys are compared and hashed a million times.
    return (
        saga.state.phase.value,
        saga.state.count,
        None if saga.outcome is None else saga.outcome.value,
        saga.stop is None,
        saga.was_undone,
        saga.is_amended,
        saga.is_settled,
        saga.deadline_at,
        saga.program.is_open,
    )


def _mark(name: str | None) -> str | None:
    return None if name is None else "someone"


def _time(value: float) -> float:
    return LONG_OVER if value == LONG_OVER else NOW


def _limit(value: float | None) -> float | None:
    if value is None:
        return None
    return value if value in (JUST_OVER, LONG_OVER) else FAR


@lru_cache(maxsize=4096)
def plain_req_id(index: int, direction: Direction, call: int = 0) -> str:
    """Return the req_id of a step's call under its first revision."""
    return ids.req_id(SAGA_ID, index, direction, 0, call)


def _normal_step(step: StepState, spec: StepSpec) -> StepState:
    req_id = None if step.req_id is None else plain_req_id(spec.index, Direction.DO)
    match step.status:
        case StepStatus.WAITING | StepStatus.SKIPPED | StepStatus.COMPENSATED:
            return BARE[step.status]
        case StepStatus.AWAITING_APPROVAL:
            return StepState(status=step.status, params=step.params, expires_at=LATER)
        case StepStatus.RUNNING:
            return _running(step, spec, req_id)
        case StepStatus.REJECTED:
            return StepState(
                status=step.status,
                params=step.params,
                approved_by=_mark(step.approved_by),
                undo_params=step.undo_params,
                req_id=req_id,
            )
        case _:
            return _settled(step, spec, req_id)


def _used(attempts: int, call: CallSpec | None) -> int:
    """Return how much of a call's budget is used; all that is beyond it is alike."""
    rule = UNDO_RETRY if call is None else call.retry
    return min(attempts, max(rule.attempt_max, rule.doubt_attempt_max) + 1)


def _running(step: StepState, spec: StepSpec, req_id: str | None) -> StepState:
    """Return a running step; its attempts are counted from where its budget begins."""
    return StepState(
        status=step.status,
        attempts=_used(step.attempts - step.budget_from, spec.action),
        req_id=req_id,
        params=step.params,
        output=step.output,
        is_doubted=step.is_doubted,
        was_refused=step.was_refused and (step.retry_at is not None or spec.check is not None),
        has_bad_output=step.has_bad_output,
        retry_at=None if step.retry_at is None else LATER,
        wait_until=None if step.wait_until is None else LATER,
        awaited=step.awaited,
        check_attempts=_used(step.check_attempts, spec.check),
        started_at=_time(step.started_at),
        not_after=_limit(step.not_after),
        approved_by=_mark(step.approved_by),
        undo_params=step.undo_params,
    )


def _settled(step: StepState, spec: StepSpec, req_id: str | None) -> StepState:
    """Return a step whose effect is or may be there, without the history of its call."""
    undo = None if step.undo is None else _undo(step, step.undo, spec)
    if step.status in (StepStatus.COMPENSATING, StepStatus.STUCK):
        # It is to be undone, whatever became of its call and whatever that returned.
        return StepState(
            status=step.status,
            req_id=req_id,
            params=step.params,
            started_at=_time(step.started_at),
            undo_params=step.undo_params,
            undo=undo,
        )
    is_open_call = step.status is StepStatus.DOUBTFUL or step.has_bad_output
    return StepState(
        status=step.status,
        req_id=req_id,
        params=step.params,
        output=step.output,
        has_bad_output=step.has_bad_output,
        is_doubted=step.is_doubted and is_open_call,
        started_at=_time(step.started_at),
        not_after=_limit(step.not_after) if is_open_call else None,
        approved_by=_mark(step.approved_by),
        undo_params=step.undo_params,
        undo=undo,
    )


def _undo(step: StepState, undo: UndoState, spec: StepSpec) -> UndoState:
    used, is_doubted, reason = undo.attempts - undo.budget_from, undo.is_doubted, None
    if undo.source == "person":
        # Calls that a person supplied have the engine's own budget; how a budget is used up is
        # seen at the planned undo, so here it is used up at once.
        used, is_doubted = UNDO_RETRY.attempt_max, False
    if step.status is StepStatus.STUCK:
        used = 0
        reason = "unresolvable" if undo.stuck_reason == "unresolvable" else "stuck"
    # Only an undo that is stuck is asked how it was refused.
    can_renew = step.status is StepStatus.STUCK and undo.was_refused and not undo.is_doubted
    return UndoState(
        calls=undo.calls,
        tools=undo.tools,
        call=undo.call,
        source=undo.source,
        req_id=None if undo.req_id is None else plain_req_id(spec.index, Direction.UNDO, undo.call),
        attempts=_used(used, spec.undo if undo.source == "plan" else None),
        is_doubted=is_doubted,
        was_refused=can_renew and undo.source == "plan",
        retry_at=None if undo.retry_at is None else LATER,
        started_at=_time(undo.started_at),
        stuck_reason=reason,
    )


def permuted(saga: Saga, key: Key, order: tuple[int, ...], names: Normaliser) -> tuple[Saga, Key]:
    """Return the saga in which step ``order[i]`` has become step ``i``, with its key.

    Only for steps that the program cannot tell apart.
    """
    keys = tuple(key.steps[old] for old in order)
    steps = tuple(_renamed(names.step_of_key[number], index) for index, number in enumerate(keys))

    def moved(mask: int) -> int:
        return sum(1 << new for new, old in enumerate(order) if mask >> old & 1)

    other = replace(
        saga,
        steps=steps,
        running=moved(saga.running),
        succeeded=moved(saga.succeeded),
        uncleared=moved(saga.uncleared),
        undoing=moved(saga.undoing),
        awaiting=moved(saga.awaiting),
        stuck=moved(saga.stuck),
        failing=moved(saga.failing),
    )
    return other, Key(key.shared, keys)


def _renamed(step: StepState, index: int) -> StepState:
    undo = step.undo
    if undo is not None and undo.req_id is not None:
        undo = replace(undo, req_id=plain_req_id(index, Direction.UNDO, undo.call))
    if step.req_id is None:
        return step
    return replace(step, req_id=plain_req_id(index, Direction.DO), undo=undo)
