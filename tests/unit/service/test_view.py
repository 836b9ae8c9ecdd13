"""What is shown of a saga, in the form in which programs read it."""

from __future__ import annotations

import json

import pytest

from fsm_saga.core.states import Phase
from fsm_saga.service.view import view_of
from tests.support.play import UNDO, Play


def test_a_view_says_where_the_saga_stands() -> None:
    play = Play("1 a x=1 / ua\n2 b / ub\ngoal Go there.")
    play.ok(1, {"id": "A"})
    view = view_of(play.saga)
    assert (view.saga_id, view.state, view.outcome, view.cause) == ("s", "EXECUTING(2)", None, None)
    assert (view.phase, view.is_done, view.position) == (Phase.EXECUTING, False, play.saga.position)
    assert repr(view) == "SagaView('s', EXECUTING(2), outcome=None)"
    assert view.output("1") == view.step(1).output == {"id": "A"}
    with pytest.raises(KeyError):
        view.step(9)
    play.ok(2)
    assert view_of(play.saga).is_done


def test_the_json_of_a_view_has_what_the_contract_promises() -> None:
    play = Play("1 a / ua ; retry=1\n2 b / ub")
    play.unknown(1)
    shown = json.loads(json.dumps(view_of(play.saga).as_json()))
    assert {"saga_id", "state", "outcome", "steps", "needs", "cause"} <= set(shown)
    step = shown["steps"][0]
    assert {"step_id", "name", "status", "attempts", "req_id", "output", "error"} <= set(step)
    assert shown["needs"] == [
        {
            "step_id": 1,
            "name": "a",
            "why": "DOUBTFUL: lost",
            "choices": ["retry", "output", "settled", "calls"],
        }
    ]
    assert shown["waits_for"] == "person"


def test_a_step_that_waits_for_approval_shows_what_would_run() -> None:
    play = Play("1 pay sum=100 / refund ; approval=60")
    view = view_of(play.saga)
    assert view.needs[0]["choices"] == ["approve", "reject"]
    assert view.step(1).approval == {
        "digest": play.step(1).digest,
        "params": {"sum": 100},
        "expires_at": 60.0,
        "approved_by": None,
    }
    assert view.as_json()["waits_for"] == "approval"


def test_an_undo_under_way_is_shown_with_its_calls() -> None:
    play = Play("1 a / ua x=1 ; undo-retry=1\n2 b / ub")
    play.ok(1)
    play.rejected(2)
    play.rejected(1, "too late", UNDO)
    view = view_of(play.saga)
    undo = view.step(1).undo
    assert undo is not None
    assert undo["calls"] == [{"tool": "ua", "params": {"x": 1}}]
    assert (undo["decided_by"], undo["stuck"], undo["error"]) == ("plan", "rejected", "too late")
    assert view.needs[0]["why"] == "STUCK: too late"
    play.offer(1, "phone", "write")
    undo = view_of(play.saga).step(1).undo
    assert undo is not None
    assert [call["tool"] for call in undo["calls"]] == ["phone", "write"]
    assert undo["decided_by"] == "person"
