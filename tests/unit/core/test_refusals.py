"""Each refusal of an event in its own words, with the facts that a program reads off it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fsm_saga.core import events as e
from fsm_saga.core import records as r
from fsm_saga.errors import EventRefusedError
from tests.support.play import UNDO, Play

TWO = "1 a / ua\n2 b / ub"
AGAIN = "Nothing was changed; look at it again with `fsm-saga show`."


def started() -> Play:
    return Play(TWO)


def ended() -> Play:
    play = Play("1 a / ua")
    play.ok(1)
    return play


def passed() -> Play:
    play = Play("1 pay ; kind=pivot\n2 b ; kind=retriable retry=1")
    play.ok(1)
    return play


def passed_and_asked() -> Play:
    play = passed()
    play.rejected(2)
    return play


def doubtful() -> Play:
    play = Play("1 a / ua ; retry=1\n2 b / ub", "a no-dedupe")
    play.unknown(1)
    return play


def lacking() -> Play:
    play = Play("1 a / ua id=$output.step_1.id ; retry=1\n2 b / ub")
    play.unknown(1)
    return play


def open_and_ended() -> Play:
    play = Play(TWO, is_open=True)
    play.rejected(1)
    return play


def grown() -> Play:
    play = Play("1 a / ua", is_open=True)
    play.grow("2 b / ub")
    return play


def waiting(text: str = "1 a / ua ; approval=60\ndeadline 30") -> Play:
    return Play(text)


def waiting_till_60() -> Play:
    return Play("1 a / ua ; approval=60")


def turning() -> Play:
    play = Play(
        "1 b ; kind=retriable after=- retry=1\n2 c ; kind=retriable after=- approval=60 retry=1"
    )
    play.cancel()
    return play


def grow_from_an_old_plan(play: Play) -> None:
    program = Play(f"{TWO}\n3 c / uc", is_open=True).saga.program
    play.give(e.PlanGrown(at=0.0, program=program, plan={}, tools={}, base_hash="0" * 8))


def close_an_old_plan(play: Play) -> None:
    program = Play("1 a / ua").saga.program
    play.give(e.PlanCloseAsked(at=0.0, program=program))


def approve_at(at: float) -> Callable[[Play], None]:
    def approve(play: Play) -> None:
        play.at = at
        play.approve(1)

    return approve


CASES: list[tuple[Callable[[], Play], Callable[[Play], object], str]] = [
    (
        ended,
        Play.cancel,
        "state DONE cannot be cancelled: the saga has ended. Nothing was changed.",
    ),
    (
        passed,
        Play.cancel,
        "state EXECUTING(2) cannot be cancelled: the point of no return is passed. "
        "Nothing was changed.",
    ),
    (
        passed_and_asked,
        Play.cancel,
        "state NEEDS_HUMAN cannot be cancelled: the point of no return is passed. "
        "Nothing was changed.",
    ),
    (
        open_and_ended,
        lambda play: play.grow("3 c / uc"),
        "state FAILED takes no more steps: the saga has ended. Nothing was changed.",
    ),
    (
        open_and_ended,
        Play.close,
        "state FAILED cannot be closed: the saga has ended. Nothing was changed.",
    ),
    (
        grown,
        grow_from_an_old_plan,
        "state EXECUTING(1) refused this: its plan has grown since it was read. "
        "Nothing was changed; look at it again.",
    ),
    (
        grown,
        close_an_old_plan,
        "state EXECUTING(1) refused this: its plan has grown since it was read. "
        "Nothing was changed; look at it again.",
    ),
    (
        started,
        lambda play: play.settle(1),
        "state EXECUTING(1) refused this: no person is asked; answers count in NEEDS_HUMAN only. "
        + AGAIN,
    ),
    (
        doubtful,
        lambda play: play.retry(1),
        "state NEEDS_HUMAN refused this: step '1' (DOUBTFUL) accepts output, settled, calls, "
        f"not retry. {AGAIN}",
    ),
    (
        doubtful,
        lambda play: play.settle(2),
        "state NEEDS_HUMAN refused this: step '2' (WAITING) accepts nothing, not settled. " + AGAIN,
    ),
    (
        doubtful,
        lambda play: play.retry(1, position=3),
        f"state NEEDS_HUMAN refused this: it has changed since position 3 (now 6). {AGAIN}",
    ),
    (
        doubtful,
        lambda play: play.offer(1),
        "state NEEDS_HUMAN refused this: the list of calls is empty: to leave the rest as it is, "
        f"settle it. {AGAIN}",
    ),
    (
        lacking,
        lambda play: play.supply(1, {"name": "X"}),
        "state NEEDS_HUMAN refused this: this output does not give the rollback what it needs: "
        "'$output.step_1.id' at /id cannot be resolved: the output has no 'id'; it has: name. "
        + AGAIN,
    ),
    (
        started,
        lambda play: play.approve(1),
        "state EXECUTING(1) refused this: step '1' is RUNNING and does not wait for approval. "
        + AGAIN,
    ),
    (
        waiting,
        lambda play: play.approve(1, digest="0" * 64),
        "state EXECUTING(1) refused this: the approval for step '1' is for other parameters "
        f"(digest differs). {AGAIN}",
    ),
    (
        waiting_till_60,
        approve_at(60.0),
        f"state EXECUTING(1) refused this: the time to approve step '1' is over. {AGAIN}",
    ),
    (
        waiting,
        approve_at(30.0),
        f"state EXECUTING(1) refused this: its deadline has passed. {AGAIN}",
    ),
    (
        turning,
        lambda play: play.approve(2),
        "state EXECUTING(1) refused this: it may be about to go back, and starts nothing until "
        f"that is known. {AGAIN}",
    ),
]


@pytest.mark.parametrize(("play", "act", "said"), CASES, ids=[said for *_, said in CASES])
def test_a_refusal_says_what_was_refused_why_and_what_is_still_true(
    play: Callable[[], Play], act: Callable[[Play], object], said: str
) -> None:
    saga = play()
    before, records = saga.saga, len(saga.journal)
    with pytest.raises(EventRefusedError) as refused:
        act(saga)
    assert refused.value.message == f"Saga 's' in {said}"
    assert refused.value.facts == {"saga_id": "s", "state": str(before.state)}
    assert (saga.saga, len(saga.journal)) == (before, records)


def test_an_approval_counts_until_the_very_moment_of_the_deadline() -> None:
    play = waiting()
    play.at = 29.9
    play.approve(1)
    assert play.ordered == ["a"]


@pytest.mark.parametrize(
    ("play", "note"),
    [
        (lambda: undoing(), "the saga is already going back"),
        (lambda: stuck(), "the saga is already going back, and waits for what a person is asked"),
        (
            lambda: undone_beside_a_doubt(),
            "the saga is already going back, and waits for what a person is asked",
        ),
        (
            lambda: pivot_in_flight(),
            "a step that cannot be undone is under way; its outcome decides",
        ),
    ],
)
def test_a_cancellation_that_changes_nothing_now_says_why(
    play: Callable[[], Play], note: str
) -> None:
    saga = play()
    saga.cancel()
    assert saga.last.note == note


def undoing() -> Play:
    play = Play(TWO)
    play.ok(1)
    play.rejected(2)
    return play


def stuck() -> Play:
    play = Play("1 a / ua ; undo-retry=1\n2 b / ub")
    play.ok(1)
    play.rejected(2)
    play.rejected(1, direction=UNDO)
    return play


def stuck_beside_a_doubt() -> Play:
    play = Play("1 a / ua ; after=- undo-retry=1\n2 b / ub ; after=- retry=1")
    play.ok(1)
    play.unknown(2)
    play.rejected(1, direction=UNDO)
    assert (play.state, play.statuses) == ("NEEDS_HUMAN", "STUCK DOUBTFUL")
    return play


def undone_beside_a_doubt() -> Play:
    play = Play("1 a / ua ; after=-\n2 b / ub ; after=- retry=1")
    play.ok(1)
    play.unknown(2)
    play.ok(1, direction=UNDO)
    assert (play.state, play.statuses) == ("NEEDS_HUMAN", "COMPENSATED DOUBTFUL")
    return play


def pivot_in_flight() -> Play:
    return Play("1 pay ; kind=pivot")


def test_who_asks_a_second_time_hears_that_the_first_counts() -> None:
    play = Play("1 a / ua ; undo-retry=1\n2 b / ub")
    play.ok(1)
    play.cancel()
    play.rejected(2)
    play.rejected(1, direction=UNDO)
    assert play.state == "NEEDS_HUMAN"
    play.cancel()
    assert (play.written, play.last.note) == ([], "the saga was already asked to stop")


def test_a_cancellation_keeps_who_asked_and_what_was_said() -> None:
    play = Play(TWO)
    play.give(e.CancelAsked(at=0.0, by="ann", note="too dear"))
    assert play.last.records[0] == r.CancelRequested(at=0.0, by="ann", note="too dear")


def test_a_plan_that_is_closed_is_not_closed_again() -> None:
    play = Play(TWO)
    play.close()
    assert (play.written, play.last.note) == ([], "the plan is closed already")


def test_what_is_no_longer_awaited_is_noted_in_its_own_words_up_to_a_bound() -> None:
    play = Play(TWO)
    play.ok(1)
    play.ok(1)
    assert play.last.note == "a reply that is no longer awaited: a success"
    play.rejected(1, "x" * 400)
    (record,) = play.last.records
    assert getattr(record, "outcome", None) == "CallRejected"
    assert getattr(record, "detail", None) == "x" * 300


def test_a_failure_turns_the_saga_even_where_a_cancellation_was_noted() -> None:
    play = Play("1 a / ua\n2 pay ; kind=pivot")
    play.ok(1)
    play.cancel()
    play.rejected(2)
    moved = [each for each in play.last.records if isinstance(each, r.SagaMoved)]
    assert [(each.event, each.state) for each in moved] == [("step_failed", "COMPENSATING(1)")]
