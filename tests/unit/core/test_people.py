"""What people may decide, what comes of it, and what is refused without changing anything."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fsm_saga.core import events as e
from fsm_saga.core.people import choices, human_answered
from fsm_saga.core.work import Work
from fsm_saga.errors import EventRefusedError, InvariantBrokenError
from tests.support.play import UNDO, Play


def offered(play: Play, step_id: int) -> tuple[str, ...]:
    return choices(play.saga, play.spec(step_id).index)


# --- what is offered -----------------------------------------------------------------------------


def doubtful(text: str = "1 a / ua ; retry=1\n2 b / ub", tools: str = "") -> Play:
    play = Play(text, tools)
    play.unknown(1)
    assert play.state == "NEEDS_HUMAN"
    return play


def stuck() -> Play:
    play = Play("1 a / ua ; undo-retry=1\n2 b / ub")
    play.ok(1)
    play.rejected(2)
    play.rejected(1, direction=UNDO)
    assert play.state == "NEEDS_HUMAN"
    return play


def passed(rest: str = "2 b ; kind=retriable retry=1", *, output: str = "") -> Play:
    """Return a saga whose second step was refused for good after the pivot."""
    play = Play(f"1 pay ; kind=pivot\n{rest}{output}")
    play.ok(1)
    play.rejected(2)
    assert play.state == "NEEDS_HUMAN"
    return play


def test_only_a_saga_that_asks_offers_anything() -> None:
    play = Play("1 a / ua ; retry=1\n2 b / ub")
    assert offered(play, 1) == ()
    play.ok(1)
    assert offered(play, 1) == ()
    play = Play("1 a / ua ; after=-\n2 b / ub ; after=- undo-retry=1\n3 c / uc ; after=1,2 retry=1")
    play.ok(1)
    play.ok(2)
    play.rejected(3)
    play.rejected(2, direction=UNDO)
    assert (play.state, play.step(2).status) == ("COMPENSATING(2)", "STUCK")
    assert offered(play, 2) == (), "the saga has not come to rest yet"


def test_a_doubtful_call_can_be_tried_again_known_settled_or_made_good() -> None:
    assert offered(doubtful(), 1) == ("retry", "output", "settled", "calls")
    assert offered(doubtful(), 2) == ()


def test_a_doubtful_call_is_not_tried_again_if_the_tool_would_do_it_again() -> None:
    assert offered(doubtful(tools="a no-dedupe"), 1) == ("output", "settled", "calls")
    play = doubtful(tools="a retention=95")
    assert "retry" in offered(play, 1)
    assert "retry" not in choices(play.saga, 0, at=61.0)


def test_a_doubtful_step_is_asked_about_when_it_is_next_to_be_cleared() -> None:
    play = Play("1 a / ua ; after=- retry=1\n2 b / ub ; after=-\n3 c / uc ; after=2 retry=1")
    play.ok(2)
    play.unknown(1)
    play.unknown(3)
    assert play.state == "NEEDS_HUMAN"
    assert offered(play, 1)
    assert offered(play, 3)
    play.settle(3)
    assert play.ordered == ["ub"]


def test_a_doubtful_step_before_another_waits_for_its_turn() -> None:
    play = Play("1 a / ua ; retry=1\n2 b / ub ; retry=1")
    play.unknown(1)
    play.supply(1, {"id": 1})
    play.unknown(2)
    assert play.statuses == "SUCCEEDED DOUBTFUL"
    play.saga = replace(play.saga, steps=(play.saga.steps[1], play.saga.steps[1]), uncleared=0b11)
    assert offered(play, 1) == (), "the second one has to be cleared first"


def test_a_doubtful_pivot_offers_no_calls() -> None:
    play = Play("1 pay ; kind=pivot retry=1\n2 b ; kind=retriable")
    play.unknown(1)
    assert offered(play, 1) == ("retry", "output", "settled")


def test_past_the_pivot_a_doubtful_step_whose_output_is_needed_is_not_settled() -> None:
    text = "1 pay ; kind=pivot\n2 b ; kind=retriable retry=1\n3 c{} ; kind=retriable"
    for reference, found in (
        (" x=$output.step_2.id", ("retry", "output")),
        ("", ("retry", "output", "settled")),
    ):
        play = Play(text.format(reference))
        play.ok(1)
        play.unknown(2)
        assert offered(play, 2) == found


def test_a_stuck_undo_offers_what_it_lacks() -> None:
    assert offered(stuck(), 1) == ("retry", "settled", "calls")
    play = Play('1 a / "say sorry"\n2 b / ub')
    play.ok(1)
    play.rejected(2)
    assert offered(play, 1) == ("settled", "calls")
    play = Play("1 a / ua id=$output.step_1.id\n2 b / ub")
    play.bad(1)
    assert offered(play, 1) == ("settled", "calls", "output")


def test_an_undo_that_is_forgotten_is_not_tried_again() -> None:
    play = Play("1 a / ua ; undo-retry=1\n2 b / ub", "ua retention=95")
    play.ok(1)
    play.rejected(2)
    play.unknown(1, direction=UNDO)
    assert "retry" in offered(play, 1)
    assert "retry" not in choices(play.saga, 0, at=61.0)


def test_an_output_is_not_taken_for_an_undo_that_would_be_null() -> None:
    play = Play("1 a / ua id=$output.step_1.id\n2 b / ub", "a fenced retention=95")
    play.bad(1)
    assert "output" in choices(play.saga, 0, at=59.0)
    assert choices(play.saga, 0, at=61.0) == ("settled", "calls")
    play = Play("1 a / ua id=$output.step_1.id\n2 b / ub", "a retention=95")
    play.bad(1)
    assert "output" in choices(play.saga, 0, at=61.0), "an undo by the output alone still counts"


def test_nothing_is_offered_for_steps_that_need_no_answer() -> None:
    assert offered(passed(), 1) == ()
    assert offered(stuck(), 2) == ()


def test_before_the_pivot_a_doubtful_step_can_be_settled_whoever_uses_its_output() -> None:
    play = doubtful("1 a / ua ; retry=1\n2 b x=$output.step_1.id / ub")
    assert offered(play, 1) == ("retry", "output", "settled", "calls")


def test_past_the_pivot_a_failed_step_can_be_tried_again_known_or_left() -> None:
    assert offered(passed(), 2) == ("retry", "output", "settled")
    needed = "2 b ; kind=retriable retry=1\n3 c x=$output.step_2.id ; kind=retriable"
    assert offered(passed(needed), 2) == ("retry", "output")


def test_past_the_pivot_a_refused_call_is_ordered_anew_whatever_its_tool_remembers() -> None:
    play = Play("1 pay ; kind=pivot\n2 b ; kind=retriable retry=1", "b no-dedupe retention=1")
    play.ok(1)
    play.rejected(2)
    assert choices(play.saga, 1, at=100.0) == ("retry", "output", "settled")


def test_past_the_pivot_a_call_that_was_never_made_is_not_made_by_a_retry() -> None:
    play = Play("1 pay ; kind=pivot\n2 b x=$output.step_1.no ; kind=retriable")
    play.ok(1)
    assert offered(play, 2) == ("output", "settled")
    play = Play("1 pay ; kind=pivot\n2 b ; kind=retriable approval=60")
    play.ok(1)
    play.deny(2)
    assert offered(play, 2) == ("output", "settled")


def test_past_the_pivot_an_approved_call_can_be_tried_again() -> None:
    play = Play("1 pay ; kind=pivot\n2 b ; kind=retriable approval=60 retry=1")
    play.ok(1)
    play.approve(2)
    play.rejected(2)
    assert offered(play, 2) == ("retry", "output", "settled")


def test_past_the_pivot_a_bad_output_is_asked_for_again_only_if_that_does_nothing() -> None:
    for tools, found in (("", ("retry",)), ("b no-dedupe", ())):
        play = Play("1 pay ; kind=pivot\n2 b ; kind=retriable", tools)
        play.ok(1)
        play.bad(2)
        assert offered(play, 2) == (*found, "output", "settled")


# --- refusals ------------------------------------------------------------------------------------


def test_an_answer_that_is_not_offered_is_refused_and_changes_nothing() -> None:
    play = doubtful(tools="a no-dedupe")
    before = play.saga
    with pytest.raises(EventRefusedError, match="accepts output, settled, calls, not retry"):
        play.retry(1)
    with pytest.raises(EventRefusedError, match="accepts nothing, not settled"):
        play.settle(2)
    assert play.saga is before


def test_an_answer_that_nobody_asked_for_is_refused_with_the_reason() -> None:
    play = Play("1 a / ua")
    with pytest.raises(EventRefusedError, match="answers count in NEEDS_HUMAN only"):
        play.settle(1)
    play.ok(1)
    with pytest.raises(EventRefusedError, match="the saga has ended"):
        play.retry(1)


def test_an_answer_of_somebody_who_looked_too_early_is_refused() -> None:
    play = doubtful()
    with pytest.raises(EventRefusedError, match=r"changed since position 3 \(now"):
        play.retry(1, position=3)
    play.retry(1, position=play.saga.position)
    assert play.state == "EXECUTING(1)"


def test_an_empty_list_of_calls_is_refused() -> None:
    with pytest.raises(EventRefusedError, match="the list of calls is empty"):
        doubtful().offer(1)


def test_an_answer_of_no_kind_is_a_bug() -> None:
    event = e.HumanAnswer(at=0.0, step=0, by="ann", note="")
    with pytest.raises(InvariantBrokenError, match="no rule for the answer HumanAnswer"):
        human_answered(Work(doubtful().saga, 0.0), event)


# --- what comes of an answer ---------------------------------------------------------------------


def test_a_doubtful_call_that_is_tried_again_keeps_its_id_and_starts_its_budget_anew() -> None:
    """INV-2."""
    play = Play("1 a / ua ; retry=2*1\n2 b / ub")
    play.unknown(1)
    play.tick()
    play.unknown(1)
    first = play.call(1)
    play.retry(1)
    assert (play.call(1).req_id, play.call(1).attempt) == (first.req_id, 3)
    assert play.call(1).is_repeat
    play.unknown(1)
    assert play.written == ["AttemptFailed"], "two attempts again"


def test_a_refused_call_that_is_ordered_anew_has_a_new_id() -> None:
    play = passed()
    first = play.call(2)
    play.retry(2)
    assert play.call(2).req_id != first.req_id
    assert not play.call(2).is_repeat
    play.ok(2)
    assert play.state == "DONE"


def test_a_bad_output_is_asked_for_again_under_the_same_id() -> None:
    play = Play("1 pay ; kind=pivot\n2 b ; kind=retriable")
    play.ok(1)
    play.bad(2)
    first = play.call(2)
    play.retry(2)
    assert play.call(2).req_id == first.req_id
    play.ok(2)
    assert play.state == "DONE"


def test_a_refused_undo_gets_a_new_id_and_a_lost_one_keeps_it() -> None:
    play = stuck()
    first = play.call(1, UNDO)
    play.retry(1)
    assert play.call(1, UNDO).req_id != first.req_id
    play = Play("1 a / ua ; undo-retry=1\n2 b / ub")
    play.ok(1)
    play.rejected(2)
    play.unknown(1, direction=UNDO)
    first = play.call(1, UNDO)
    play.retry(1)
    assert play.call(1, UNDO).req_id == first.req_id
    play.ok(1, direction=UNDO)
    assert play.state == "FAILED"


def test_who_settles_a_doubt_before_the_pivot_says_that_nothing_is_left() -> None:
    play = doubtful()
    play.settle(1)
    assert (play.state, play.saga.outcome) == ("FAILED", "partly_compensated")
    assert play.step(1).settled_by == "ann"


def test_who_settles_a_failure_past_the_pivot_says_that_it_is_done() -> None:
    play = passed()
    play.settle(2)
    assert (play.state, play.saga.outcome, play.saga.cause) == ("DONE", "committed", None)


def test_who_settles_the_pivots_own_bad_output_says_that_it_is_done() -> None:
    play = Play("1 pay ; kind=pivot\n2 b ; kind=retriable")
    play.bad(1)
    play.settle(1)
    assert (play.state, play.ordered) == ("EXECUTING(2)", ["b"])


def test_who_settles_a_doubt_past_the_pivot_says_that_it_is_done() -> None:
    play = Play("1 pay ; kind=pivot\n2 b ; kind=retriable retry=1\n3 c ; kind=retriable")
    play.ok(1)
    play.unknown(2)
    play.settle(2)
    assert (play.state, play.ordered) == ("EXECUTING(3)", ["c"])


def test_who_settles_the_pivots_own_doubt_says_that_it_never_happened() -> None:
    play = Play("1 a / ua\n2 pay ; kind=pivot retry=1")
    play.ok(1)
    play.unknown(2)
    play.settle(2)
    assert (play.state, play.ordered) == ("COMPENSATING(1)", ["ua"])


def test_an_output_takes_a_saga_that_was_only_in_doubt_forward() -> None:
    play = doubtful()
    play.supply(1, {"id": "X"})
    assert (play.state, play.ordered, play.saga.cause) == ("EXECUTING(2)", ["b"], None)


def test_an_output_that_lacks_what_the_undo_needs_is_refused() -> None:
    play = Play("1 a / ua id=$output.step_1.id ; retry=1\n2 b / ub")
    play.unknown(1)
    with pytest.raises(EventRefusedError, match="does not give the rollback what it needs"):
        play.supply(1, {"name": "X"})
    assert play.state == "NEEDS_HUMAN"
    play.supply(1, {"id": "X"})
    assert play.state == "EXECUTING(2)"


def test_for_a_stuck_undo_only_an_output_that_helps_is_taken() -> None:
    play = Play("1 a / ua id=$output.step_1.id\n2 b / ub")
    play.bad(1)
    with pytest.raises(EventRefusedError, match="does not give the rollback what it needs"):
        play.supply(1, {"name": "X"})
    play.supply(1, {"id": "X"})
    assert (play.ordered, play.call(1, UNDO).params) == (["ua"], {"id": "X"})


def test_an_output_of_a_step_without_an_undo_is_kept() -> None:
    play = passed()
    play.supply(2, {"id": "X"})
    assert (play.state, play.step(2).output) == ("DONE", {"id": "X"})


def test_late_calls_never_lead_forward() -> None:
    play = doubtful()
    play.offer(1, "phone")
    assert play.state == "COMPENSATING(1)"
    assert play.call(1, UNDO).req_id != ""


def test_a_second_list_of_calls_has_ids_of_its_own() -> None:
    play = stuck()
    play.offer(1, "phone")
    first = play.call(1, UNDO)
    for _ in range(5):
        play.rejected(1, direction=UNDO)
        play.tick()
    play.rejected(1, direction=UNDO)
    play.offer(1, "phone")
    assert play.call(1, UNDO).req_id != first.req_id


# --- approvals -----------------------------------------------------------------------------------

APPROVED = "1 a / ua\n2 pay x=$output.step_1.id / refund ; approval=60"


def waiting() -> Play:
    play = Play(APPROVED)
    play.ok(1)
    assert play.step(2).status == "AWAITING_APPROVAL"
    return play


def test_an_approved_call_runs_once_with_the_params_that_were_shown() -> None:
    play = waiting()
    digest = play.step(2).digest
    play.approve(2, digest=digest)
    assert (play.ordered, play.call(2).params) == (["pay"], {"x": "out-1"})
    assert play.step(2).approved_by == "ann"
    with pytest.raises(EventRefusedError, match="RUNNING and does not wait for approval"):
        play.approve(2)


def test_an_approval_for_other_params_is_refused() -> None:
    with pytest.raises(EventRefusedError, match="digest differs"):
        waiting().approve(2, digest="0" * 64)


@pytest.mark.parametrize("at", [60.0, 61.0])
def test_an_approval_that_comes_too_late_is_refused(at: float) -> None:
    play = waiting()
    play.at = at
    with pytest.raises(EventRefusedError, match="the time to approve step '2' is over"):
        play.approve(2)
    play.at = 59.9
    play.approve(2)


def test_a_denial_is_a_failure_without_a_call() -> None:
    play = waiting()
    play.deny(2)
    assert (play.state, play.step(2).error) == ("COMPENSATING(1)", "approval denied by ann")


def test_silence_is_a_denial() -> None:
    play = waiting()
    play.tick(59.9)
    assert play.written == []
    play.tick(60.0)
    assert "nobody approved in time" in (play.saga.cause or "")


def test_nothing_is_approved_while_it_is_open_whether_the_saga_goes_back() -> None:
    play = Play(
        "1 b ; kind=retriable after=- retry=1\n2 c ; kind=retriable after=- approval=60 retry=1"
    )
    play.cancel()
    with pytest.raises(EventRefusedError, match="starts nothing until that is known"):
        play.approve(2)
    play.ok(1)
    play.approve(2)
    assert play.ordered == ["c"]
    play = Play(
        "1 b ; kind=retriable after=- retry=1\n2 c ; kind=retriable after=- approval=60\n"
        "3 d ; kind=retriable after=- retry=1"
    )
    play.rejected(1)
    with pytest.raises(EventRefusedError, match="starts nothing until that is known"):
        play.approve(2)
    play.deny(2)


def test_a_pivot_in_doubt_that_is_tried_again_decides_over_a_noted_cancellation() -> None:
    """INV-12: while the pivot is in flight the saga may not turn round, whatever was noted."""
    play = Play("1 a / ua\n2 pay ; kind=pivot retry=1")
    play.ok(1)
    play.cancel()
    play.unknown(2)
    assert (play.state, play.statuses) == ("NEEDS_HUMAN", "SUCCEEDED DOUBTFUL")
    play.retry(2)
    assert (play.state, play.statuses) == ("EXECUTING(2)", "SUCCEEDED RUNNING")
    play.ok(2)
    assert (play.state, play.statuses) == ("DONE", "SUCCEEDED SUCCEEDED")
