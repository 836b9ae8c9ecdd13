"""``decide`` answers every event in every state: it decides or it refuses, and nothing else."""

from __future__ import annotations

import copy

from hypothesis import given
from hypothesis import strategies as st

from fsm_saga.core import events as e
from fsm_saga.core import records as r
from fsm_saga.core.decide import Decision, decide
from fsm_saga.core.draft import Draft
from fsm_saga.core.effects import CallTool
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Direction
from fsm_saga.machine.properties import judge_state
from tests.property.histories import Recipe, play, recipes

# What may be refused; whatever else comes is taken, or noted as too late.
ASKED = (
    e.CancelAsked,
    e.ApprovalAnswered,
    e.HumanAnswer,
    e.PlanCloseAsked,
    e.PlanGrown,
)


def refolded(saga: Saga, event: e.Event, decision: Decision) -> Saga:
    draft = Draft.of(saga)
    for record in decision.records:
        program = None
        if isinstance(event, e.PlanCloseAsked) and isinstance(record, r.PlanClosed):
            program = event.program
        if isinstance(event, e.PlanGrown) and isinstance(record, r.StepsAppended):
            program = event.program
        draft.apply(record, program)
    return draft.freeze()


@given(recipes(), st.data())
def test_every_event_is_decided_or_refused_in_every_saga(
    recipe: Recipe, data: st.DataObject
) -> None:
    for saga, event, decision in play(data, recipe):
        before = copy.copy(saga)
        if decision is None:
            assert isinstance(event, ASKED), f"{event} was refused"
            assert saga == before
            continue
        assert saga == before, "a decision changed the saga that it was made from"
        assert decision.saga.position == saga.position + len(decision.records)
        assert refolded(saga, event, decision) == decision.saga
        assert list(judge_state(decision.saga)) == []
        if not decision.records:
            assert decision.saga == saga


@given(recipes(), st.data())
def test_the_same_event_is_decided_alike(recipe: Recipe, data: st.DataObject) -> None:
    for saga, event, decision in play(data, recipe):
        if decision is not None:
            assert decide(saga, event) == decision


@given(recipes(), st.data())
def test_an_end_absorbs_everything(recipe: Recipe, data: st.DataObject) -> None:
    """C11: what comes after the end is at most written down."""
    for saga, event, decision in play(data, recipe, length_max=40):
        if not saga.state.is_final or decision is None:
            continue
        assert decision.saga.state == saga.state
        assert decision.saga.outcome == saga.outcome
        assert decision.saga.steps == saga.steps
        assert not any(isinstance(effect, CallTool) for effect in decision.effects)
        assert all(isinstance(record, r.ReplyIgnored) for record in decision.records), event


@given(recipes(), st.data())
def test_a_req_id_goes_out_with_the_same_bytes_for_ever(
    recipe: Recipe, data: st.DataObject
) -> None:
    """INV-2, INV-3: over any history, crashes and people's answers included."""
    sent: dict[str, tuple[int, Direction, str, str]] = {}
    for _saga, _event, decision in play(data, recipe, length_max=40):
        for call in () if decision is None else decision.effects:
            if isinstance(call, CallTool):
                what = (call.step, call.direction, call.tool, repr(call.params))
                assert sent.setdefault(call.req_id, what) == what
