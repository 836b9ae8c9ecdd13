"""Time that passes, and a saga that is taken up after a crash."""

from __future__ import annotations

import pytest

from fsm_saga.core import events as e
from fsm_saga.core.effects import WakeAt
from tests.support.play import CHECK, UNDO, Play

TWO = "1 a / ua id=$output.step_1.id\n2 b / ub"
WIDE = "1 a / ua ; after=-\n2 b / ub ; after=-"


def test_time_that_passes_without_anything_due_writes_nothing() -> None:
    play = Play("1 a / ua ; after=- retry=2*10\n2 b / ub ; after=- approval=60\ndeadline 30")
    play.tick(5.0)
    assert (play.written, play.last.effects) == ([], ())
    play.rejected(1)
    play.tick(9.9)
    assert play.written == []


def test_a_retry_is_sent_when_it_is_due_and_its_attempt_is_written_first() -> None:
    play = Play("1 a / ua ; retry=2*10")
    play.rejected(1)
    play.tick(10.0)
    assert (play.written, play.ordered) == (["AttemptStarted"], ["a"])
    play.tick(10.0)
    assert play.written == [], "a timer may fire twice"


def test_a_retry_that_comes_after_the_tool_has_forgotten_is_not_sent() -> None:
    play = Play("1 a / ua ; retry=9*10", "a retention=95")
    play.unknown(1)
    play.tick(100.0)
    assert (play.ordered, play.step(1).status) == ([], "DOUBTFUL")
    play = Play("1 a / ua ; retry=9*10", "a retention=95")
    play.rejected(1)
    play.tick(100.0)
    assert play.ordered == ["a"], "what was refused may be a new call"


def test_a_check_that_comes_after_the_tool_has_forgotten_is_not_asked() -> None:
    play = Play("1 a / ua id=$output.step_1.id ; retry=1", "a check=ask retention=95")
    play.unknown(1)
    play.unknown(1, direction=CHECK)
    play.tick(100.0)
    assert (play.ordered, play.step(1).status) == ([], "DOUBTFUL")


def test_the_deadline_turns_a_saga_round_once() -> None:
    play = Play("1 a / ua\n2 b / ub\ndeadline 30")
    play.ok(1)
    play.tick(29.9)
    assert play.written == []
    play.tick(30.0)
    assert play.written == ["DeadlinePassed", "SagaMoved"]
    assert play.saga.cause == "the saga's deadline passed"
    play.tick(31.0)
    assert play.written == []


def test_the_deadline_counts_for_nothing_past_the_pivot_or_on_the_way_back() -> None:
    play = Play("1 pay ; kind=pivot\n2 b ; kind=retriable\ndeadline 30")
    play.ok(1)
    play.tick(31.0)
    assert play.written == []
    play = Play("1 a / ua\n2 b / ub\ndeadline 30")
    play.ok(1)
    play.rejected(2)
    play.tick(31.0)
    assert play.written == []
    play = Play("1 a / ua\ndeadline 30")
    play.cancel()
    play.tick(31.0)
    assert play.written == []


def test_a_deadline_that_passed_while_a_person_was_asked_counts_when_they_answer() -> None:
    play = Play("1 a / ua ; retry=1\n2 b / ub\ndeadline 30")
    play.unknown(1)
    play.tick(40.0)
    assert play.written == []
    play.supply(1, {"id": 1})
    assert play.state == "COMPENSATING(1)"
    assert "b" not in play.ordered


def test_an_answer_in_time_asks_to_be_woken_at_the_deadline() -> None:
    """A crash while a person was asked has forgotten the timer."""
    play = Play("1 a / ua ; retry=1\n2 b / ub\ndeadline 30")
    play.unknown(1)
    play.supply(1, {"id": 1})
    assert WakeAt(at=30.0, wait_s_max=30.0) in play.last.effects
    play = Play("1 a / ua ; retry=1\n2 b / ub\ndeadline 30")
    play.unknown(1)
    play.settle(1)
    assert not any(isinstance(effect, WakeAt) for effect in play.last.effects)


def test_what_was_in_flight_is_sent_again_and_that_uses_up_no_attempt() -> None:
    """D-7."""
    play = Play("1 a / ua ; retry=2*1")
    for _ in range(4):
        play.resume()
        assert (play.written, play.ordered) == (["CallResent"], ["a"])
    assert play.call(1).attempt == 1
    play.unknown(1)
    assert play.written == ["AttemptFailed"]


def test_what_waits_is_woken_for_and_not_sent() -> None:
    play = Play("1 a / ua ; after=- retry=2*10\n2 b / ub ; after=- approval=60\ndeadline 30")
    play.rejected(1)
    play.resume()
    assert play.written == []
    assert set(play.last.effects) == {
        WakeAt(at=10.0, wait_s_max=60.0),
        WakeAt(at=30.0, wait_s_max=30.0),
        WakeAt(at=60.0, wait_s_max=60.0),
    }
    play = Play("1 a / ua ; deadline=20 retry=1", "a deadline")
    play.unknown(1)
    play.resume()
    assert list(play.last.effects) == [WakeAt(at=25.0)], "the tool goes by its own clock"
    play = Play("1 a / ua id=$output.step_1.id ; retry=1", "a check=ask")
    play.unknown(1)
    play.unknown(1, direction=CHECK)
    check = play.saga.program.steps[0].check
    assert check is not None
    play.resume()
    wakes = [each for each in play.last.effects if isinstance(each, WakeAt)]
    assert [wake.wait_s_max for wake in wakes] == [check.retry.delay_s_max]


def test_what_was_waited_for_is_due_whatever_the_clock_shows() -> None:
    """The clock was set back an hour; who waited says so by the time that was waited for."""
    hour_before = 10_000.0 - 3600.0
    play = Play("1 a / ua ; retry=2*10\n2 b / ub")
    play.at = 10_000.0
    play.rejected(1)
    play.give(e.TimePassed(at=hour_before))
    assert play.written == []
    play.give(e.TimePassed(at=hour_before, waited_for=10_009.0))
    assert play.written == [], "that was another wait, and a longer one may not be due"
    play.give(e.TimePassed(at=hour_before, waited_for=10_010.0))
    assert play.written == ["AttemptStarted"]


@pytest.mark.parametrize(
    ("text", "over_at", "written"),
    [
        ("1 a / ua ; approval=60", 60.0, "ApprovalDenied"),
        ("1 a / ua ; approval=90\ndeadline 60", 60.0, "DeadlinePassed"),
    ],
)
def test_approvals_and_the_deadline_are_over_once_they_were_waited_for(
    text: str, over_at: float, written: str
) -> None:
    play = Play(text)
    play.give(e.TimePassed(at=-3600.0))
    assert play.written == []
    play.give(e.TimePassed(at=-3540.0, waited_for=over_at))
    assert play.written[0] == written


def test_an_undo_is_tried_again_once_that_was_waited_for() -> None:
    play = undoing()
    play.rejected(1, direction=UNDO)
    undo = play.step(1).undo
    assert undo is not None
    assert undo.retry_at is not None
    play.give(e.TimePassed(at=-3600.0, waited_for=undo.retry_at))
    assert play.written == ["AttemptStarted"]


def test_the_deadline_of_a_tool_is_waited_for_by_the_clock_alone() -> None:
    play = Play("1 a / ua ; deadline=20 retry=1", "a deadline")
    play.unknown(1)
    play.give(e.TimePassed(at=24.0, waited_for=25.0))
    assert play.written == [], "a late copy might still take effect"
    play.tick(25.0)
    assert play.written[0] == "ActionDoubted"


def test_a_call_of_a_tool_that_forgets_refusals_was_interrupted() -> None:
    play = Play("1 a / ua id=$output.step_1.id", "a forgets-refusals")
    play.resume()
    assert (play.written, play.ordered) == (["CallInterrupted", "CallResent"], ["a"])
    play.rejected(1)
    assert play.step(1).status == "DOUBTFUL"


def test_a_call_that_cannot_be_repeated_is_left_in_doubt() -> None:
    for tools in ("a no-dedupe", "a retention=95"):
        play = Play("1 a / ua id=$output.step_1.id", tools)
        play.at = 61.0
        play.resume()
        assert (play.ordered, play.step(1).status) == ([], "DOUBTFUL"), tools


def test_a_reading_is_simply_read_again() -> None:
    play = Play("1 look", "look read_only no-dedupe forgets-refusals")
    play.resume()
    assert (play.written, play.ordered) == (["CallResent"], ["look"])


def test_a_check_is_asked_again_unless_the_tool_has_forgotten() -> None:
    play = Play("1 a / ua id=$output.step_1.id ; retry=1", "a check=ask retention=95")
    play.unknown(1)
    play.resume()
    assert play.ordered == ["ask"]
    play.at = 61.0
    play.resume()
    assert (play.ordered, play.step(1).status) == ([], "DOUBTFUL")


def undoing(tools: str = "") -> Play:
    play = Play("1 a / ua ; undo-retry=2*10\n2 b / ub\ndeadline 30", tools)
    play.ok(1)
    play.rejected(2)
    return play


def test_an_undo_in_flight_is_sent_again() -> None:
    play = undoing()
    first = play.call(1, UNDO)
    play.resume()
    again = play.call(1, UNDO)
    assert (play.written, again.req_id, again.attempt) == (["CallResent"], first.req_id, 1)
    assert again.is_repeat
    assert list(play.last.effects) == [again], "on the way back the deadline is no matter"


def test_an_undo_that_waits_is_woken_for() -> None:
    play = undoing()
    play.rejected(1, direction=UNDO)
    play.resume()
    assert list(play.last.effects) == [WakeAt(at=10.0, wait_s_max=60.0)]


def test_an_undo_that_cannot_be_repeated_is_stuck() -> None:
    for tools in ("ua no-dedupe", "ua retention=95", "a fenced retention=95"):
        play = undoing(tools)
        play.at = 61.0
        play.resume()
        if play.state != "NEEDS_HUMAN":
            play.tick()  # its own tool would still answer, so it is looked at once more
        assert (play.state, play.step(1).status) == ("NEEDS_HUMAN", "STUCK"), tools
        assert len([call for call in play.calls if call.direction is UNDO]) == 1


def test_an_undo_of_a_tool_that_forgets_refusals_was_interrupted() -> None:
    play = undoing("ua forgets-refusals")
    play.resume()
    assert (play.written, play.ordered) == (["CallInterrupted", "CallResent"], ["ua"])
    undo = play.step(1).undo
    assert undo is not None
    assert undo.is_doubted


def test_a_saga_at_rest_is_taken_up_without_a_word() -> None:
    play = Play("1 a / ua ; retry=1\n2 b / ub")
    play.unknown(1)
    play.resume()
    assert (play.written, play.last.effects) == ([], ())


def test_a_retry_of_a_step_that_can_be_asked_about_waits_as_long_as_the_plan_says() -> None:
    play = Play("1 a / ua ; retry=2*10", "a check=ask")
    play.rejected(1)
    play.resume()
    assert list(play.last.effects) == [WakeAt(at=10.0, wait_s_max=60.0)]
