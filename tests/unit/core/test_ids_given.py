"""Which ids the engine gives: a tool remembers a call by one, a person approves by the other."""

from __future__ import annotations

from fsm_saga.core import records as r
from fsm_saga.core.draft import Draft
from fsm_saga.core.ids import approval_digest, req_id
from fsm_saga.core.states import Direction
from tests.support.play import UNDO, Play


def scope_of(play: Play) -> str:
    return Draft.of(play.saga).call_scope


def test_a_call_and_its_undo_go_out_under_the_ids_that_are_theirs() -> None:
    """INV-2."""
    play = Play("1 a / ua\n2 b / ub")
    scope = scope_of(play)
    assert play.call(1).req_id == req_id(scope, 0, Direction.DO, 0)
    play.ok(1)
    assert play.call(2).req_id == req_id(scope, 1, Direction.DO, 0)
    play.rejected(2)
    assert play.call(1, UNDO).req_id == req_id(scope, 0, Direction.UNDO, 0)
    assert "s" in scope


def test_an_approval_is_bound_to_the_saga_the_step_the_tool_and_its_params() -> None:
    play = Play("1 a / ua\n2 pay sum=100 who=$input.who ; approval=yes kind=pivot\ninput who=Ann")
    play.ok(1)
    asked = play.journal[-1]
    assert isinstance(asked, r.ApprovalRequested)
    params = {"sum": 100, "who": "Ann"}
    assert asked.digest == approval_digest("s", 1, "pay", params)
    assert asked.params == params


def test_the_same_step_of_another_saga_has_another_digest_and_other_ids() -> None:
    text = "1 pay sum=100 ; approval=yes kind=pivot"
    one, two = Play(text, saga_id="s"), Play(text, saga_id="t")
    assert one.step(1).digest != two.step(1).digest
    one.approve(1, digest=one.step(1).digest)
    two.approve(1, digest=two.step(1).digest)
    assert one.call(1).req_id != two.call(1).req_id
