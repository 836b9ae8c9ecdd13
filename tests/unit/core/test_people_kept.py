"""What a person decided, as it is written down, and what is tried again because of it."""

from __future__ import annotations

from fsm_saga.core import events as e
from fsm_saga.core import records as r
from fsm_saga.core.people import choices
from tests.support.play import UNDO, Play

APPROVED = "1 a / ua\n2 pay x=$output.step_1.id / refund ; approval=60"


def waiting() -> Play:
    play = Play(APPROVED)
    play.ok(1)
    return play


def stuck() -> Play:
    play = Play("1 a / ua ; undo-retry=1\n2 b / ub")
    play.ok(1)
    play.rejected(2)
    play.rejected(1, direction=UNDO)
    return play


def passed(rest: str) -> Play:
    """Return a saga whose second step was refused for good after the pivot."""
    play = Play(f"1 pay ; kind=pivot\n{rest}")
    play.ok(1)
    play.rejected(2)
    return play


def test_what_a_person_said_is_kept_with_the_approval_and_with_the_denial() -> None:
    for is_granted, kind in ((True, r.ApprovalGiven), (False, r.ApprovalDenied)):
        play = waiting()
        digest = play.step(2).digest
        play.give(
            e.ApprovalAnswered(
                at=0.0, step=1, is_granted=is_granted, by="ann", digest=None, note="as agreed"
            )
        )
        record = play.last.records[0]
        assert isinstance(record, kind)
        assert (record.by, record.note) == ("ann", "as agreed")
        if isinstance(record, r.ApprovalGiven):
            assert record.digest == digest


def test_an_undo_that_was_lost_and_then_refused_keeps_its_id() -> None:
    """INV-2: the lost copy may still take effect, and a new id would let it happen twice."""
    play = Play("1 a / ua ; undo-retry=2*1\n2 b / ub")
    play.ok(1)
    play.rejected(2)
    play.unknown(1, direction=UNDO)
    play.tick()
    play.rejected(1, direction=UNDO)
    assert play.state == "NEEDS_HUMAN"
    undo, first = play.step(1).undo, play.call(1, UNDO)
    assert undo is not None
    assert (undo.was_refused, undo.is_doubted) == (False, True)
    play.retry(1)
    assert play.call(1, UNDO).req_id == first.req_id


def test_an_undo_in_doubt_is_no_longer_taken_for_refused() -> None:
    play = Play("1 a / ua ; undo-retry=3*1\n2 b / ub")
    play.ok(1)
    play.rejected(2)
    play.rejected(1, direction=UNDO)
    undo = play.step(1).undo
    assert undo is not None
    assert (undo.was_refused, undo.is_doubted) == (True, False)
    play.tick()
    play.unknown(1, direction=UNDO)
    undo = play.step(1).undo
    assert undo is not None
    assert (undo.was_refused, undo.is_doubted) == (False, True)


def test_past_the_pivot_a_bad_output_is_asked_for_again_while_its_tool_remembers() -> None:
    play = Play("1 pay ; kind=pivot\n2 b ; kind=retriable", "b retention=95")
    play.at = 100.0
    play.ok(1)
    play.bad(2)
    assert choices(play.saga, 1, at=160.0) == ("retry", "output", "settled")
    assert choices(play.saga, 1, at=161.0) == ("output", "settled")


def test_a_compensation_of_three_calls_makes_them_in_order() -> None:
    play = stuck()
    play.offer(1, "one", "two", "three")
    made, written = [], []
    while play.state != "FAILED":
        made += play.ordered
        written += [each.tool for each in play.last.records if isinstance(each, r.UndoStarted)]
        play.ok(1, direction=UNDO)
    assert made == written == ["one", "two", "three"]


def test_the_waits_after_a_person_tries_again_begin_anew() -> None:
    play = Play("1 a / ua ; retry=2*10..80\n2 b / ub")
    play.unknown(1)
    play.tick()
    play.unknown(1)
    assert play.state == "NEEDS_HUMAN"
    play.retry(1)
    at = play.at
    play.rejected(1)
    assert play.written == ["AttemptFailed"], "a refusal, too, has its budget again"
    assert play.wakes[-1] == at + 10.0
    play = Play("1 a / ua ; undo-retry=2*10..80\n2 b / ub")
    play.ok(1)
    play.rejected(2)
    for _ in range(2):
        play.unknown(1, direction=UNDO)
        play.tick()
    assert play.state == "NEEDS_HUMAN"
    play.retry(1)
    at = play.at
    play.unknown(1, direction=UNDO)
    assert play.written == ["AttemptFailed"]
    assert play.wakes[-1] == at + 10.0


def test_the_undo_of_an_approved_call_is_known_before_it_runs() -> None:
    play = Play("1 a / ua id=7 ; approval=60\n2 b / ub")
    play.approve(1)
    play.ok(1)
    play.rejected(2)
    assert (play.ordered, play.call(1, UNDO).params) == (["ua"], {"id": 7})


def test_what_was_never_a_success_of_its_own_is_ordered_anew_with_its_undo() -> None:
    play = passed("2 b / ub id=7 ; kind=retriable retry=1")
    play.retry(2)
    (started,) = (each for each in play.last.records if isinstance(each, r.ActionStarted))
    assert started.undo_params == {"id": 7}
