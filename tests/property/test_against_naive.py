"""Two opinions of what a saga is, the engine's and a naive one, agree over any history."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fsm_saga.core import due
from fsm_saga.core import events as e
from fsm_saga.core.decide import Decision, decide
from fsm_saga.core.effects import CallTool
from fsm_saga.core.limits import LIMITS
from fsm_saga.core.people import choices
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Direction
from fsm_saga.errors import EventRefusedError
from tests.property.histories import STEPS, WAITS, Recipe, events, recipes, submitted
from tests.property.naive import Refused
from tests.property.naive_people import NaiveWithPeople

_SAID = {
    e.CallSucceeded: "ok",
    e.CallSucceededBadly: "bad",
    e.CallRejected: "no",
    e.CallUnknown: "lost",
}
_ANSWERED = {
    e.RetryAsked: "retry",
    e.SettledByHuman: "settled",
    e.OutputSupplied: "output",
    e.CallsOffered: "calls",
}


@pytest.fixture(scope="module", autouse=True)
def _few_ends_are_too_many() -> Iterator[None]:
    """Let two ends of the process be too many for one call, or no history would get there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(due, "LIMITS", dataclasses.replace(LIMITS, interruption_max=2))
        patch.setattr(NaiveWithPeople, "ends_max", 2)
        yield


def naive_of(recipe: Recipe) -> NaiveWithPeople:
    steps = [STEPS[name] for name in recipe.steps]
    return NaiveWithPeople(steps, recipe.needs, recipe.deadline_s, recipe.is_open)


def tell(naive: NaiveWithPeople, saga: Saga, event: e.Event) -> None:
    """Tell the naive saga the same; ``saga`` only says which calls are known under which id."""
    naive.now = event.at
    match event:
        case e.CallEvent():
            _tell_reply(naive, saga, event)
        case e.TimePassed():
            naive.tick(event.at)
        case e.Resumed():
            naive.resume()
        case e.CancelAsked():
            naive.cancel()
        case e.PlanCloseAsked():
            naive.close()
        case e.ApprovalAnswered():
            if event.digest is not None:
                raise Refused
            naive.approve(event.step, is_granted=event.is_granted)
        case e.HumanAnswer():
            _tell_answer(naive, saga, event)
        case _:
            raise AssertionError(event)


def _tell_reply(naive: NaiveWithPeople, saga: Saga, event: e.CallEvent) -> None:
    step = saga.steps[event.step]
    if event.direction is Direction.UNDO:
        is_known = step.undo is not None and step.undo.req_id == event.req_id
    else:
        is_known = event.direction is Direction.CHECK or step.req_id == event.req_id
    naive.calls = []
    if is_known:
        output = getattr(event, "output", None)
        was_sent = not isinstance(event, e.CallRejected) or event.was_sent
        said = _SAID[type(event)] if was_sent else "unsent"
        naive.told(event.step, event.direction.value, said, output)


def _tell_answer(naive: NaiveWithPeople, saga: Saga, event: e.HumanAnswer) -> None:
    detail: Any = getattr(event, "output", None)
    if event.position is not None and event.position != saga.position:
        raise Refused
    if isinstance(event, e.CallsOffered):
        if not event.calls:
            raise Refused
        detail = (len(event.calls), not event.tools)
    naive.answer(event.step, _ANSWERED[type(event)], detail)


def compare(naive: NaiveWithPeople, decision: Decision) -> None:
    saga = decision.saga
    assert naive.state == str(saga.state)
    assert naive.outcome == saga.outcome
    assert [step["status"] for step in naive.steps] == [step.status for step in saga.steps]
    ordered = Counter(
        (effect.step, effect.direction.value)
        for effect in decision.effects
        if isinstance(effect, CallTool)
    )
    assert Counter(naive.calls) == ordered
    for index in range(len(saga.steps)):
        assert naive.choices(index) == set(choices(saga, index, at=naive.now))


@given(recipes(), st.data())
def test_engine_and_naive_saga_agree_after_every_event(recipe: Recipe, data: st.DataObject) -> None:
    naive, decision, at = naive_of(recipe), submitted(recipe.program()), 0.0
    compare(naive, decision)
    for _event in range(data.draw(st.integers(0, 30))):
        saga = decision.saga
        at += data.draw(st.sampled_from(WAITS))
        event = data.draw(events(saga, at))
        if isinstance(event, e.PlanGrown):
            continue
        if isinstance(event, e.CallRejected | e.CallUnknown):
            event = replace(event, jitter=0.0)
        try:
            decision, is_refused = decide(saga, event), False
        except EventRefusedError:
            is_refused = True
        try:
            tell(naive, saga, event)
        except Refused:
            assert is_refused, f"the engine takes {event}"
        else:
            assert not is_refused, f"the engine refuses {event}"
            compare(naive, decision)
