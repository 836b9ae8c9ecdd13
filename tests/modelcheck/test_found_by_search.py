"""What the search found in the engine, each as the shortest history that showed it.

The search itself goes on looking for these; here each has a name and fails by itself.
"""

from __future__ import annotations

import pytest

from fsm_saga.core.people import choices
from fsm_saga.core.states import Direction
from fsm_saga.errors import EventRefusedError
from tests.support.play import Play

UNDO, CHECK = Direction.UNDO, Direction.CHECK
LONG = 1_000_000.0


def test_a_retry_that_is_due_after_the_tool_forgot_the_call_is_not_sent() -> None:
    """U5: the tool would take it for a new call, and the effect would be there twice."""
    play = Play("1 pay / refund ; retry=3*1", "pay retention=60")
    play.unknown(1)
    play.tick(LONG)
    assert play.ordered == []
    assert (play.state, play.statuses) == ("NEEDS_HUMAN", "DOUBTFUL")


def test_a_refused_call_is_tried_again_however_long_ago_it_was() -> None:
    play = Play("1 pay / refund ; retry=3*1", "pay retention=60")
    play.rejected(1)
    play.tick(LONG)
    assert play.ordered == ["pay"]


def test_a_person_cannot_repeat_a_call_that_the_tool_forgot_while_nobody_answered() -> None:
    play = Play("1 pay / refund ; retry=1", "pay retention=60")
    play.unknown(1)
    assert choices(play.saga, 0, at=10.0) == ("retry", "output", "settled", "calls")
    assert choices(play.saga, 0, at=LONG) == ("output", "settled", "calls")
    play.at = LONG
    with pytest.raises(EventRefusedError, match="accepts output, settled, calls, not retry"):
        play.retry(1)


def test_a_check_is_not_asked_for_a_call_that_the_tool_forgot() -> None:
    """It would say absent of a call that had its effect."""
    play = Play("1 pay / refund ; retry=1", "pay check=ask fencing-check retention=60")
    play.unknown(1)
    assert play.ordered == ["ask"]
    play.unknown(1, direction=CHECK)
    play.tick(LONG)
    assert (play.ordered, play.statuses) == ([], "DOUBTFUL")


def test_a_check_that_was_interrupted_is_not_asked_again_once_the_tool_forgot_the_call() -> None:
    play = Play("1 pay / refund ; retry=1", "pay check=ask fencing-check retention=60")
    play.unknown(1)
    play.at = LONG
    play.resume()
    assert (play.ordered, play.statuses) == ([], "DOUBTFUL")


def stuck_undo(tools: str) -> Play:
    """Return a saga whose undo was sent and never answered until its budget was used up."""
    play = Play("1 book / cancel ; undo-retry=2*1\n2 pay", tools)
    play.ok(1)
    play.rejected(2)
    play.unknown(1, direction=UNDO)
    if play.state == "COMPENSATING(1)":
        play.tick()
        play.unknown(1, direction=UNDO)
    assert (play.state, play.step(1).status) == ("NEEDS_HUMAN", "STUCK")
    return play


def test_an_undo_that_may_have_happened_is_repeated_by_nobody_without_dedupe() -> None:
    """C8: a second refund is as wrong as a second payment."""
    play = stuck_undo("cancel no-dedupe")
    assert choices(play.saga, 0, at=play.at) == ("settled", "calls")
    with pytest.raises(EventRefusedError):
        play.retry(1)


def test_an_undo_that_may_have_happened_is_repeated_only_while_its_tool_remembers_it() -> None:
    play = stuck_undo("cancel retention=60")
    assert "retry" in choices(play.saga, 0, at=play.at)
    assert "retry" not in choices(play.saga, 0, at=LONG)


def test_an_undo_whose_retry_is_due_after_its_tool_forgot_it_waits_for_a_person() -> None:
    play = Play("1 book / cancel ; undo-retry=3*1\n2 pay", "cancel retention=60")
    play.ok(1)
    play.rejected(2)
    play.unknown(1, direction=UNDO)
    play.tick(LONG)
    assert (play.ordered, play.state, play.step(1).status) == ([], "NEEDS_HUMAN", "STUCK")


def test_a_fenced_undo_is_not_repeated_once_its_action_is_forgotten() -> None:
    """It would succeed as a null undo, and the effect would stay."""
    play = Play("1 book / cancel ; undo-retry=3*1\n2 pay", "book fenced retention=60")
    play.ok(1)
    play.rejected(2)
    play.rejected(1, direction=UNDO)
    play.tick(LONG)
    assert (play.ordered, play.step(1).status) == ([], "STUCK")
    assert choices(play.saga, 0, at=LONG) == ("settled", "calls")


def test_an_undo_interrupted_by_a_crash_keeps_its_id_where_refusals_are_forgotten() -> None:
    """C8: the interrupted copy may still arrive; under a new id it would be a second undo."""
    play = Play("1 book / cancel ; undo-retry=1\n2 pay", "cancel forgets-refusals")
    play.ok(1)
    play.rejected(2)
    first = play.call(1, UNDO).req_id
    play.resume()
    play.rejected(1, direction=UNDO)
    assert play.step(1).status == "STUCK"
    play.retry(1)
    assert play.call(1, UNDO).req_id == first


def test_what_a_person_is_offered_is_accepted_where_a_later_step_uses_the_output() -> None:
    play = Play(
        "1 pivot ; kind=pivot\n"
        "2 a / ua ; after=1 kind=retriable retry=1\n"
        "3 b id=$output.step_2.id ; after=2 kind=retriable"
    )
    play.ok(1)
    play.unknown(2)
    assert play.state == "NEEDS_HUMAN"
    assert choices(play.saga, 1, at=0.0) == ("retry", "output")


def test_nothing_is_approved_while_it_is_open_whether_the_saga_goes_back() -> None:
    """INV-5: a step that starts now may have to be undone at once."""
    play = Play("1 a / ua ; after=- approval=yes\n2 pay ; after=- kind=pivot")
    play.cancel()
    with pytest.raises(EventRefusedError, match="may be about to go back"):
        play.approve(1)
    play.ok(2)
    play.approve(1)
    assert play.step(1).status == "RUNNING"
