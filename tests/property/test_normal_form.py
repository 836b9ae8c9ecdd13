"""A saga without what no decision depends on decides as the full one does.

The search knows normal sagas only. Here both are told the same, and what they become is the same.
Left out are calls that a person supplies, whose budget the search uses up at once, and clocks that
run over a call, which it makes moves of their own.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fsm_saga.core import events as e
from fsm_saga.core.decide import decide
from fsm_saga.core.saga import Saga, StepState
from fsm_saga.core.states import Direction
from fsm_saga.errors import EventRefusedError
from fsm_saga.machine.normal import NOW, SAGA_ID, Normaliser, plain_req_id
from tests.property.histories import STEPS, WAITS, Recipe, events, recipes, submitted

TIMELESS = tuple(
    name
    for name, step in STEPS.items()
    if step.deadline_s is None
    and step.contract.retention_s is None
    and step.undo_contract.retention_s is None
)


def due(full: StepState, normal: StepState, at: float) -> StepState:
    """Return the normal step with those timers due that are due in the full one."""
    if full.retry_at is not None and full.retry_at <= at:
        normal = replace(normal, retry_at=NOW)
    if full.expires_at is not None and full.expires_at <= at and normal.expires_at is not None:
        normal = replace(normal, expires_at=NOW)
    undo = full.undo
    if undo is not None and undo.retry_at is not None and undo.retry_at <= at:
        assert normal.undo is not None
        normal = replace(normal, undo=replace(normal.undo, retry_at=NOW))
    return normal


def normal_at(full: Saga, normal: Saga, at: float) -> Saga:
    steps = tuple(due(a, b, at) for a, b in zip(full.steps, normal.steps, strict=True))
    deadline_at = normal.deadline_at
    if full.deadline_at is not None and full.deadline_at <= at and deadline_at is not None:
        deadline_at = NOW
    return replace(normal, steps=steps, deadline_at=deadline_at)


def told_to_normal(event: e.Event, full: Saga) -> e.Event:
    """Return the event in the words of the normal saga: its time and its req_ids."""
    changes: dict[str, Any] = {"at": NOW}
    if isinstance(event, e.CallEvent):
        step = full.steps[event.step]
        if event.direction is Direction.UNDO and step.undo is not None:
            is_known = event.req_id == step.undo.req_id
            plain = plain_req_id(event.step, Direction.UNDO, step.undo.call)
        else:
            is_known = event.req_id == step.req_id
            plain = plain_req_id(event.step, Direction.DO)
        changes["req_id"] = plain if is_known else "another"
    if isinstance(event, e.HumanAnswer):
        changes["position"] = None
    if isinstance(event, e.ApprovalAnswered):
        changes["digest"] = None
    return replace(event, **changes)


def is_left_out(event: e.Event) -> bool:
    if isinstance(event, e.CallsOffered | e.PlanGrown):
        return True
    is_stale = isinstance(event, e.HumanAnswer) and event.position is not None
    return is_stale or (isinstance(event, e.ApprovalAnswered) and event.digest is not None)


@given(recipes(names=TIMELESS), st.data())
def test_a_normal_saga_decides_as_the_full_one(recipe: Recipe, data: st.DataObject) -> None:
    names = Normaliser()
    full, at = submitted(recipe.program(), SAGA_ID).saga, 0.0
    normal, key = names.normal(full)
    for _event in range(data.draw(st.integers(0, 30))):
        at += data.draw(st.sampled_from(WAITS))
        event = data.draw(events(full, at))
        if is_left_out(event):
            continue
        told = told_to_normal(event, full)
        start = normal_at(full, normal, at)
        try:
            after = decide(full, event)
        except EventRefusedError:
            try:
                decide(start, told)
            except EventRefusedError:
                continue
            raise AssertionError(f"only the full saga refuses {event}") from None
        same = decide(start, told)
        full = after.saga
        kinds = [(type(effect), getattr(effect, "step", None)) for effect in after.effects]
        assert [(type(each), getattr(each, "step", None)) for each in same.effects] == kinds
        expected, expected_key = names.normal(full)
        normal, key = names.normal_after(same.saga, normal, key)
        assert key == expected_key
        # What the key leaves out is what a normal saga has not.
        assert replace(normal, program=expected.program) == expected
