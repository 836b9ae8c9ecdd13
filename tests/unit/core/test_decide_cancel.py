"""Cancelling: what is noted, what is refused, and what turned a saga round."""

from __future__ import annotations

import pytest

from fsm_saga.core import records as r
from fsm_saga.errors import EventRefusedError
from tests.support.play import UNDO, Play

TWO = "1 a / ua id=$output.step_1.id\n2 b / ub"
WIDE = "1 a / ua ; after=-\n2 b / ub ; after=-"


def test_a_saga_that_has_not_begun_is_over_at_once() -> None:
    play = Play("", is_open=True)
    play.cancel()
    assert (play.state, play.saga.outcome) == ("FAILED", "nothing_happened")
    assert play.saga.cause == "cancelled"


def test_a_running_saga_turns_round_when_what_is_in_flight_has_ended() -> None:
    play = Play(TWO)
    play.ok(1)
    play.cancel()
    assert (play.state, play.ordered, play.saga.cause) == ("COMPENSATING(2)", [], "cancelled")
    play.ok(2)
    assert play.ordered == ["ub"]


def test_a_second_cancellation_says_that_there_was_a_first() -> None:
    play = Play(TWO)
    play.cancel()
    play.cancel()
    assert (play.written, play.last.note) == ([], "the saga is already going back")


def test_a_cancellation_on_the_way_back_says_where_the_saga_is_and_writes_nothing() -> None:
    play = Play(TWO)
    play.ok(1)
    play.rejected(2)
    play.cancel()
    assert (play.written, play.last.note) == ([], "the saga is already going back")


def test_a_deadline_adds_nothing_to_a_cancellation_that_was_noted() -> None:
    play = Play("1 pay ; kind=pivot\n2 b ; kind=retriable\ndeadline 5")
    play.cancel()
    play.tick(6.0)
    assert play.written == []


def test_a_note_that_the_pivot_overruled_keeps_nothing_from_resting() -> None:
    play = Play("1 pay ; kind=pivot", is_open=True)
    play.cancel()
    play.ok(1)
    assert play.state == "EXECUTING(2)"
    play.close()
    assert play.state == "DONE"


def test_while_a_pivot_is_in_flight_a_cancellation_is_noted_once() -> None:
    """D-11."""
    play = Play("1 pay ; kind=pivot\n2 b ; kind=retriable")
    play.cancel()
    assert (play.state, play.written) == ("EXECUTING(1)", ["CancelRequested"])
    assert "its outcome decides" in play.last.note
    play.cancel()
    assert play.written == []
    assert play.last.note.startswith("a cancellation was asked for before; the step that cannot")
    play.rejected(1)
    assert play.state == "FAILED"


def test_a_cancellation_after_the_deadline_of_a_saga_whose_pivot_is_in_flight_says_so() -> None:
    play = Play("1 pay ; kind=pivot\n2 b ; kind=retriable\ndeadline 5")
    play.tick(5.0)
    assert play.written == ["DeadlinePassed"]
    play.cancel()
    assert play.written == []
    assert play.last.note.startswith("the saga's deadline has passed before; the step that")


def test_past_the_pivot_and_at_the_end_nothing_is_cancelled() -> None:
    play = Play("1 pay ; kind=pivot\n2 b ; kind=retriable")
    play.ok(1)
    with pytest.raises(EventRefusedError, match="the point of no return is passed"):
        play.cancel()
    play.ok(2)
    with pytest.raises(EventRefusedError, match="the saga has ended"):
        play.cancel()


@pytest.mark.parametrize("why", ["stuck", "undone", "semantic", "refused beside a doubt"])
def test_a_saga_that_asks_a_person_on_its_way_back_is_not_told_to_go_back(why: str) -> None:
    match why:
        case "stuck" | "undone":
            play = Play("1 a / ua ; undo-retry=1\n2 b / ub")
            play.ok(1)
            play.rejected(2)
            play.rejected(1, direction=UNDO)
        case "semantic":
            play = Play('1 a / "write to them"\n2 b / ub')
            play.ok(1)
            play.rejected(2)
        case _:
            play = Play("1 a / ua ; retry=1 after=-\n2 b / ub ; retry=1 after=-")
            play.unknown(1)
            play.rejected(2)
    assert play.state == "NEEDS_HUMAN"
    play.cancel()
    assert play.written == []
    assert "already going back" in play.last.note
    assert play.saga.stop is None


def test_a_saga_that_asks_a_person_can_be_told_to_go_back() -> None:
    play = Play("1 a / ua ; retry=1\n2 b / ub")
    play.unknown(1)
    play.cancel()
    assert (play.state, play.written) == ("NEEDS_HUMAN", ["CancelRequested"])
    play.supply(1, {"id": 1})
    assert play.ordered == ["ua"], "the output does not lead forward any more"


def test_the_cause_is_what_turned_the_saga_and_not_what_it_settled_on_the_way() -> None:
    play = Play("1 a / ua ; after=- retry=5*10\n2 b / ub ; after=-")
    play.rejected(1, "busy")
    play.cancel()
    assert (play.saga.cause, play.statuses) == ("cancelled", "REJECTED RUNNING")
    play = Play("1 a / ua ; after=- retry=5*10\n2 b / ub ; after=-\ndeadline 5")
    play.rejected(1, "busy")
    play.tick(5.0)
    assert play.saga.cause == "the saga's deadline passed"
    play = Play("1 a / ua ; after=- retry=5*10\n2 b / ub ; after=-")
    play.rejected(1, "busy")
    play.rejected(2, "full")
    assert play.saga.cause == "step '2' (b): full"


def test_the_turn_is_recorded_by_what_caused_it() -> None:
    def turn(play: Play) -> str:
        (moved,) = (record for record in play.last.records if isinstance(record, r.SagaMoved))
        return moved.event

    play = Play(TWO)
    play.cancel()
    assert turn(play) == "cancelled"
    play = Play(TWO + "\ndeadline 5")
    play.tick(5.0)
    assert turn(play) == "deadline_passed"
    play = Play(WIDE)
    play.rejected(1)
    assert turn(play) == "step_failed"


def test_a_failure_outweighs_a_cancellation_that_was_noted() -> None:
    play = Play("1 a / ua\n2 pay ; kind=pivot")
    play.ok(1)
    play.cancel()
    play.rejected(2, "no money")
    assert play.saga.cause == "step '2' (pay): no money"


def test_a_step_that_failed_without_words_is_told_by_its_status() -> None:
    play = Play(TWO)
    play.rejected(1, "")
    assert play.saga.cause == "step '1' (a): REJECTED"
