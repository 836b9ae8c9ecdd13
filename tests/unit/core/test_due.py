"""A call that was under way at each end of the process is found out, and not sent for ever."""

from __future__ import annotations

import pytest

from fsm_saga.core import records as r
from fsm_saga.core.due import interruptions
from fsm_saga.core.limits import LIMITS
from fsm_saga.core.states import Direction
from tests.support.play import CHECK, UNDO, Play

PLAN = "1 a / ua id=$output.step_1.id\n2 b / ub"
ENDS = LIMITS.interruption_max
SAID = f"the process ended {ENDS} times while this call was under way"


def end_often(play: Play, times: int = ENDS) -> None:
    for _ in range(times):
        play.resume()


def test_a_call_is_sent_again_until_the_process_ended_too_often_during_it() -> None:
    play = Play(PLAN)
    end_often(play, ENDS - 1)
    assert play.ordered == ["a"]
    assert play.step(1).attempts == 1
    assert len(play.calls) == ENDS
    play.resume()
    assert len(play.calls) == ENDS
    assert (play.state, play.saga.outcome) == ("NEEDS_HUMAN", "unknown")
    assert (play.step(1).status, play.step(1).error) == ("DOUBTFUL", SAID)
    play.resume()
    assert play.written == []


def test_each_end_is_written_down_before_the_call_is_sent_again() -> None:
    play = Play(PLAN)
    for interruption in range(1, ENDS):
        play.resume()
        assert play.last.records == (
            r.CallResent(at=0.0, step=0, direction=Direction.DO, interruption=interruption),
        )


@pytest.mark.parametrize(
    ("tools", "plan", "status"),
    [
        ("a fenced", "1 a / ua", "COMPENSATING"),
        ("a deadline", "1 a / ua ; deadline=20", "RUNNING"),
        ("a check=ask", PLAN, "RUNNING"),
        ("look read_only", "1 look", "REJECTED"),
        ("", PLAN, "DOUBTFUL"),
    ],
)
def test_what_it_comes_to_is_the_steps_own_exit_from_doubt(
    tools: str, plan: str, status: str
) -> None:
    play = Play(plan, tools)
    end_often(play)
    assert play.step(1).status == status
    assert [call.tool for call in play.calls].count("a" if "a /" in plan else "look") == ENDS


def test_any_answer_and_any_other_attempt_begin_the_count_anew() -> None:
    play = Play("1 a / ua ; retry=3*1")
    end_often(play, ENDS - 1)
    assert interruptions(play.saga) == ENDS - 1
    play.unknown(1)
    assert interruptions(play.saga) == 0, "nothing is in flight"
    play.resume()
    play.tick(10.0)
    assert (play.step(1).attempts, interruptions(play.saga)) == (2, 0)
    end_often(play, ENDS - 1)
    play.ok(1)
    assert play.state == "DONE"


def test_a_check_that_ends_the_process_leaves_the_step_in_doubt() -> None:
    play = Play("1 a / ua id=$output.step_1.id ; retry=1", "a check=ask")
    end_often(play, ENDS - 2)
    play.unknown(1)
    assert play.ordered == ["ask"]
    end_often(play, ENDS - 1)
    assert interruptions(play.saga) == ENDS - 1
    assert play.call(1, CHECK).attempt == 1
    play.resume()
    assert (play.state, play.step(1).error) == ("NEEDS_HUMAN", SAID)


def test_an_undo_that_ends_the_process_is_stuck() -> None:
    play = Play("1 a / ua\n2 b / ub")
    play.ok(1)
    play.rejected(2)
    end_often(play, ENDS - 1)
    assert (play.ordered, interruptions(play.saga)) == (["ua"], ENDS - 1)
    play.resume()
    undo = play.step(1).undo
    assert undo is not None
    assert (play.state, undo.stuck_reason, undo.error) == ("NEEDS_HUMAN", "unknown", SAID)
    assert undo.attempts == 1
    assert undo.is_doubted, "it may have been done: it keeps its req_id"


@pytest.mark.parametrize("direction", [Direction.DO, UNDO])
def test_a_person_who_orders_it_again_gives_it_the_same_number_of_ends(
    direction: Direction,
) -> None:
    play = Play(PLAN)
    if direction is UNDO:
        play.ok(1)
        play.rejected(2)
    end_often(play)
    play.retry(1)
    assert interruptions(play.saga) == 0
    end_often(play, ENDS - 1)
    assert play.state != "NEEDS_HUMAN"
    play.resume()
    assert play.state == "NEEDS_HUMAN"


def test_each_step_has_a_count_of_its_own() -> None:
    play = Play("1 a / ua ; after=-\n2 b / ub ; after=-")
    end_often(play, ENDS - 2)
    play.ok(1)
    play.resume()
    assert (play.ordered, interruptions(play.saga)) == (["b"], ENDS - 1)
    play.resume()
    assert play.step(2).status == "DOUBTFUL"
    assert play.step(1).status == "COMPENSATING"


def test_what_waits_was_not_interrupted() -> None:
    play = Play("1 a / ua ; after=- retry=2*10\n2 b / ub ; after=-")
    play.unknown(1)
    end_often(play, 2)
    play.ok(2)
    assert interruptions(play.saga) == 0
    play = Play("1 a / ua ; undo-retry=2*10\n2 b / ub")
    play.ok(1)
    play.rejected(2)
    play.resume()
    play.rejected(1, direction=UNDO)
    assert interruptions(play.saga) == 0


def test_a_check_that_was_interrupted_for_too_long_says_why_it_is_not_asked_again() -> None:
    play = Play(PLAN.replace("\n2", " ; retry=1\n2"), "a check=ask retention=95")
    play.unknown(1)
    assert play.ordered == ["ask"]
    play.at = 1000.0
    play.resume()
    assert (play.step(1).status, play.step(1).error) == (
        "DOUBTFUL",
        "it is so long ago that the tool no longer remembers the call",
    )


def test_a_deadline_that_passes_in_silence_is_said_so() -> None:
    play = Play("1 a / ua ; deadline=20 retry=1", "a deadline")
    play.unknown(1, "")
    assert play.written == ["WaitStarted"]
    play.tick()
    (doubted, *_) = play.last.records
    assert isinstance(doubted, r.ActionDoubted)
    assert doubted.error == "the tool's deadline passed without an answer"
