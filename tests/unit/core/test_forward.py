"""Going forward: what is launched, with which params, and how the end of a call is judged."""

from __future__ import annotations

import pytest

from fsm_saga.core import events as e
from fsm_saga.core import records as r
from fsm_saga.core.contract import ToolContract
from fsm_saga.core.draft import Draft
from fsm_saga.core.effects import WakeAt
from fsm_saga.core.forward import is_remembered, send_check
from fsm_saga.core.ids import req_id
from fsm_saga.core.states import Direction
from fsm_saga.core.work import Work
from fsm_saga.errors import InvariantBrokenError
from tests.support.play import CHECK, UNDO, Play

# --- launching -----------------------------------------------------------------------------------


def test_a_step_starts_when_all_that_it_needs_has_succeeded_and_not_before() -> None:
    """INV-5."""
    play = Play("1 a / ua ; after=-\n2 b / ub ; after=-\n3 c / uc ; after=1,2")
    assert play.ordered == ["a", "b"]
    play.ok(2)
    assert play.ordered == []
    play.ok(1)
    assert play.ordered == ["c"]


def test_nothing_is_launched_once_a_step_has_failed() -> None:
    play = Play("1 a / ua ; after=-\n2 b / ub ; after=-\n3 c / uc ; after=2")
    play.rejected(1)
    play.ok(2)
    assert "c" not in [call.tool for call in play.calls]
    assert play.step(3).status == "WAITING"


def test_a_reference_that_is_missing_stops_the_launches_after_it() -> None:
    play = Play("1 a / ua ; after=-\n2 b x=$output.step_1.no / ub ; after=1\n3 c / uc ; after=1\n")
    play.ok(1)
    assert play.step(2).status == "REJECTED"
    assert play.ordered == ["ua"], "the third step was not started beside a failed one"


def test_past_the_pivot_launches_go_on_beside_a_failure() -> None:
    play = Play(
        "1 pay ; kind=pivot\n2 b ; kind=retriable after=1 retry=1\n"
        "3 c ; kind=retriable after=1\n4 d ; kind=retriable after=3"
    )
    play.ok(1)
    play.rejected(2)
    play.ok(3)
    assert play.ordered == ["d"]


def test_params_are_resolved_once_and_every_resend_has_the_same() -> None:
    """INV-3."""
    play = Play("1 a / ua\n2 b x=$output.step_1.id y=$input.who / ub ; retry=3*1\ninput who=Ann")
    play.ok(1, {"id": "A1"})
    first = play.call(2)
    assert first.params == {"x": "A1", "y": "Ann"}
    play.unknown(2)
    play.tick()
    play.resume()
    again = play.call(2)
    assert (again.params, again.req_id) == (first.params, first.req_id)
    assert (first.attempt, again.attempt) == (1, 2)
    assert (first.is_repeat, again.is_repeat) == (False, True)


def test_a_step_whose_undo_cannot_be_written_down_is_not_started() -> None:
    play = Play("1 a / ua\n2 b / ub x=$output.step_1.no")
    play.ok(1)
    assert play.ordered == ["ua"]
    assert play.step(2).status == "REJECTED"
    assert not play.step(2).was_refused, "nobody was asked"


def test_a_reference_to_a_step_that_a_person_vouched_for_finds_its_output() -> None:
    play = Play("1 a / ua ; retry=1\n2 b x=$output.step_1.id / ub")
    play.unknown(1)
    play.supply(1, {"id": "P"})
    assert play.call(2).params == {"x": "P"}


def test_an_approval_is_asked_for_with_the_resolved_params_and_a_time() -> None:
    play = Play("1 a / ua\n2 b x=$output.step_1.id / ub ; approval=60")
    play.at = 5.0
    play.ok(1, {"id": "A1"})
    assert play.written[-1] == "ApprovalRequested"
    assert play.ordered == []
    assert play.wakes[-1] == 65.0
    assert play.step(2).params == {"x": "A1"}


# --- deadlines of a call -------------------------------------------------------------------------


def test_a_call_has_the_time_that_is_left_until_its_deadline() -> None:
    play = Play("1 a / ua ; timeout=10 deadline=15 retry=9*1")
    assert (play.call(1).timeout_s, play.call(1).not_after) == (10.0, 15.0)
    play.at = 8.0
    play.unknown(1)
    play.tick()
    assert play.at == 9.0
    assert play.call(1).timeout_s == 6.0


def test_a_deadline_that_is_very_near_leaves_a_moment() -> None:
    play = Play("1 a / ua ; deadline=15 retry=9*1")
    play.unknown(1)
    play.tick(15.0 - 1e-6)
    assert play.call(1).timeout_s == 0.001


def test_after_the_deadline_a_question_has_its_full_time_and_no_attempt_is_planned() -> None:
    play = Play("1 a / ua ; timeout=10 deadline=15 retry=9*1")
    play.at = 14.5
    play.unknown(1)
    assert (play.state, play.step(1).status) == ("NEEDS_HUMAN", "DOUBTFUL")
    play.at = 100.0
    play.retry(1)
    assert play.call(1).timeout_s == 10.0


def test_an_attempt_that_would_come_at_the_deadline_is_not_planned() -> None:
    play = Play("1 a / ua ; deadline=1 retry=9*1")
    play.rejected(1)
    assert play.state == "FAILED"


# --- refused -------------------------------------------------------------------------------------


def test_a_refusal_is_final_unless_the_plan_asks_for_patience() -> None:
    play = Play("1 a / ua")
    play.rejected(1)
    assert play.written == ["ActionRejected", "SagaMoved"]
    play = Play("1 a / ua ; retry=2*1..9")
    play.rejected(1, jitter=0.5)
    assert play.written == ["AttemptFailed"]
    assert play.wakes[-1] == 0.75
    play.tick()
    play.rejected(1)
    assert play.state == "FAILED"


def test_a_refusal_after_a_doubt_is_trusted_only_if_it_is_sticky() -> None:
    for tools, status in (("", "REJECTED"), ("a forgets-refusals", "DOUBTFUL")):
        play = Play("1 a / ua id=$output.step_1.id ; retry=2*1", tools)
        play.unknown(1)
        play.tick()
        play.rejected(1)
        assert play.step(1).status == status


def test_a_tool_that_fences_and_forgets_is_undone_even_after_a_refusal() -> None:
    play = Play("1 a / ua", "a fenced forgets-refusals")
    play.rejected(1)
    assert play.ordered == ["ua"]


def test_a_refused_reading_is_a_failure_without_an_effect() -> None:
    play = Play("1 look", "look read_only forgets-refusals")
    play.resume()
    play.rejected(1)
    assert (play.state, play.saga.outcome) == ("FAILED", "nothing_happened")


# --- lost ----------------------------------------------------------------------------------------


def test_a_lost_answer_is_asked_for_three_times_and_then_a_person() -> None:
    play = Play("1 a / ua id=$output.step_1.id")
    for _ in range(2):
        play.unknown(1)
        assert play.written == ["AttemptFailed"]
        play.tick()
    play.unknown(1)
    assert play.state == "NEEDS_HUMAN"


def test_a_lost_reading_is_a_failure() -> None:
    play = Play("1 look ; retry=1", "look read_only")
    play.unknown(1)
    assert play.state == "FAILED"


def test_a_tool_that_does_not_dedupe_is_not_asked_twice() -> None:
    play = Play("1 a / ua ; retry=5*1", "a no-dedupe")
    play.unknown(1)
    assert play.step(1).status == "DOUBTFUL"


def test_a_reading_is_asked_again_whatever_its_tool_remembers() -> None:
    play = Play("1 look ; retry=2*9", "look read_only no-dedupe retention=1")
    play.unknown(1)
    assert play.written == ["AttemptFailed"]


@pytest.mark.parametrize(
    ("retention_s", "now", "known"),
    [(None, 1e9, True), (60.0, 60.0, True), (60.0, 60.1, False)],
)
def test_a_call_is_remembered_as_long_as_the_tool_says(
    retention_s: float | None, now: float, known: bool
) -> None:
    contract = ToolContract(retention_s=retention_s)
    assert is_remembered(contract, 0.0, now) is known


def test_a_call_that_the_tool_has_forgotten_is_not_repeated() -> None:
    play = Play("1 a / ua ; retry=9*1", "a retention=95")
    play.at = 61.0
    play.unknown(1)
    assert play.step(1).status == "DOUBTFUL"


# --- when the saga goes back ---------------------------------------------------------------------

SIBLING = "1 a / ua ; after=-\n2 b x=1 / ub id=$output.step_2.id ; after=- retry=5*10"


def test_a_refused_sibling_is_not_tried_again() -> None:
    play = Play(SIBLING)
    play.rejected(2)
    play.rejected(1)
    assert (play.state, play.statuses) == ("FAILED", "REJECTED REJECTED")
    play = Play(SIBLING)
    play.rejected(1)
    play.rejected(2)
    assert play.statuses == "REJECTED REJECTED"


def test_a_doubtful_sibling_goes_on_asking_if_only_an_answer_settles_it() -> None:
    play = Play(SIBLING)
    play.unknown(2)
    play.rejected(1)
    assert play.statuses == "REJECTED RUNNING"
    play.tick()
    play.unknown(2)
    assert play.written == ["AttemptFailed"]


def test_a_doubtful_sibling_is_undone_at_once_if_that_settles_it() -> None:
    for order in ("lost first", "failed first"):
        play = Play("1 a / ua ; after=-\n2 b / ub ; after=- retry=5*10", "b fenced")
        if order == "lost first":
            play.unknown(2)
            play.rejected(1)
        else:
            play.rejected(1)
            play.unknown(2)
        assert play.statuses == "REJECTED COMPENSATING", order


def test_a_sibling_that_only_reads_is_given_up() -> None:
    play = Play("1 a / ua ; after=-\n2 look ; after=- retry=5*10", "look read_only")
    play.unknown(2)
    play.rejected(1)
    assert play.statuses == "REJECTED REJECTED"


def test_a_sibling_in_flight_is_left_in_flight() -> None:
    """INV-7."""
    play = Play(SIBLING)
    play.rejected(1)
    assert (play.state, play.statuses) == ("COMPENSATING(1)", "REJECTED RUNNING")
    assert play.ordered == []


def test_a_noted_cancellation_stops_retries_of_what_can_be_undone_only() -> None:
    play = Play("1 pay ; kind=pivot\n2 b ; kind=retriable retry=5*10")
    play.cancel()
    play.ok(1)
    play.rejected(2)
    assert play.written == ["AttemptFailed"], "past the pivot the note counts for nothing"


# --- the exits of a doubt ------------------------------------------------------------------------


def test_waiting_for_the_deadline_takes_the_margin_for_clocks_that_differ() -> None:
    play = Play("1 a / ua ; deadline=20 retry=1", "a deadline")
    play.at = 5.0
    play.unknown(1)
    assert play.written == ["WaitStarted"]
    assert play.wakes[-1] == 25.0
    play.tick(24.9)
    assert play.written == []
    play.tick(25.0)
    assert play.ordered == ["ua"]


def test_a_deadline_that_is_long_over_is_not_waited_for() -> None:
    play = Play("1 a / ua ; deadline=20 retry=1", "a deadline")
    play.at = 60.0
    play.unknown(1)
    assert play.ordered == ["ua"]


def checked(answer: object, *, tools: str = "a check=ask") -> Play:
    play = Play("1 a / ua id=$output.step_1.id ; retry=1", tools)
    play.unknown(1)
    assert play.ordered == ["ask"]
    play.ok(1, answer, CHECK)
    return play


def test_a_check_names_the_call_in_question_and_has_no_params() -> None:
    play = Play("1 a / ua id=$output.step_1.id ; retry=1", "a check=ask")
    play.unknown(1)
    call = play.call(1, CHECK)
    assert (call.undoes, call.params, call.attempt) == (play.call(1).req_id, {}, 1)
    assert call.shown_direction is Direction.CHECK


def test_done_is_a_success_with_the_output_that_the_check_gives() -> None:
    play = checked({"status": "done", "output": {"id": "X"}})
    assert (play.state, play.step(1).output) == ("DONE", {"id": "X"})


def test_done_without_what_the_rollback_needs_is_a_bad_output() -> None:
    play = checked({"status": "done"})
    assert (play.state, play.step(1).status) == ("NEEDS_HUMAN", "STUCK")
    assert "lacks what the rollback needs" in (play.saga.cause or "")


def test_refused_is_a_refusal() -> None:
    assert checked({"status": "refused"}).state == "FAILED"


def test_absent_counts_only_if_the_check_keeps_a_late_copy_out() -> None:
    absent = {"status": "absent"}
    assert checked(absent).state == "NEEDS_HUMAN"
    assert checked(absent, tools="a check=ask fencing-check").state == "FAILED"


@pytest.mark.parametrize("answer", [None, "done", ["done"], {}, {"status": ["done"]}, {"x": "y"}])
def test_an_answer_that_makes_no_sense_settles_nothing(answer: object) -> None:
    if answer is None:
        play = Play("1 a / ua id=$output.step_1.id ; retry=1", "a check=ask")
        play.unknown(1)
        play.bad(1, direction=CHECK)
        assert play.written == ["AttemptFailed"]
        return
    play = checked(answer)
    assert (play.state, play.step(1).status) == ("NEEDS_HUMAN", "DOUBTFUL")
    assert len(play.step(1).error or "") <= 300


def test_a_step_without_a_check_is_never_asked_about() -> None:
    with pytest.raises(InvariantBrokenError, match="has no check to ask"):
        send_check(Work(Play("1 a / ua").saga, 0.0), 0)


def test_a_check_that_fails_is_repeated_within_bounds_and_never_settles() -> None:
    play = Play("1 a / ua id=$output.step_1.id ; retry=1", "a check=ask")
    play.unknown(1)
    for attempt in range(1, 6):
        assert play.call(1, CHECK).attempt == attempt
        (play.unknown if attempt % 2 else play.rejected)(1, direction=CHECK)
        assert play.written == ["AttemptFailed"]
        play.tick()
    play.unknown(1, direction=CHECK)
    assert (play.state, play.step(1).status) == ("NEEDS_HUMAN", "DOUBTFUL")


def test_a_call_that_the_tool_has_forgotten_is_not_asked_about() -> None:
    play = Play("1 a / ua id=$output.step_1.id ; retry=1", "a check=ask retention=95")
    play.at = 61.0
    play.unknown(1)
    assert play.step(1).status == "DOUBTFUL"


# --- success -------------------------------------------------------------------------------------


def test_the_undo_is_written_down_with_the_success_that_makes_it_possible() -> None:
    play = Play("1 a / ua id=$output.step_1.id what=$input.w\n2 b / ub\ninput w=7")
    play.ok(1, {"id": "A1"})
    assert play.step(1).undo_params == {"id": "A1", "what": 7}


def test_a_success_of_a_sibling_after_the_turn_launches_nothing() -> None:
    play = Play("1 a / ua ; after=-\n2 b / ub ; after=-\n3 c / uc ; after=2")
    play.rejected(1)
    play.ok(2)
    assert play.written == ["ActionSucceeded", "UndoStarted"]


def test_wakes_are_asked_for_in_the_decision_that_needs_them() -> None:
    play = Play("1 a / ua ; retry=2*7")
    play.rejected(1)
    assert list(play.last.effects) == [WakeAt(at=7.0, wait_s_max=60.0)]
    play.tick()
    play.rejected(1)
    assert list(play.last.effects) == []
    assert play.call(1).direction is not UNDO


def test_a_call_is_sent_for_as_long_as_its_tool_remembers_what_may_have_happened() -> None:
    play = Play("1 a / ua ; retry=9*10", "a retention=95")
    assert play.call(1).send_before == 60.0
    play.rejected(1)
    play.tick(10.0)
    assert play.call(1).send_before == 70.0, "what was refused did not happen"
    play.unknown(1)
    play.tick(30.0)
    assert play.call(1).send_before == 60.0, "what may have happened counts from its first copy"
    assert Play("1 a / ua").call(1).send_before is None


def test_a_memory_is_counted_on_less_the_way_of_a_copy_and_what_clocks_differ() -> None:
    """Sent at the last moment, a copy would come to a tool that takes it for a new call."""
    play = Play("1 a / ua ; timeout=10 retry=9*10", "a retention=60")
    assert play.saga.program.clock_skew_s == 5.0
    assert play.call(1).send_before == 60.0 - 10.0 - 5.0
    for after, status in ((45.0, "RUNNING"), (45.1, "DOUBTFUL")):
        play = Play("1 a / ua ; timeout=10 retry=9*10", "a retention=60")
        play.unknown(1)
        play.tick(after)
        assert play.step(1).status == status
    play = Play("1 a / ua ; timeout=100 retry=9*10", "a retention=60")
    assert play.call(1).send_before == 30.0, "half of it is counted on in any case"


def test_a_check_goes_out_only_while_its_answer_means_something() -> None:
    play = Play("1 a / ua id=$output.step_1.id ; retry=1", "a check=ask fencing-check retention=60")
    play.unknown(1)
    timeout_s = play.call(1, CHECK).timeout_s
    assert play.call(1, CHECK).send_before == 60.0 - min(timeout_s + 5.0, 30.0)


def test_a_check_has_an_id_of_its_own_for_each_step_and_each_order() -> None:
    play = Play("1 a / ua\n2 b / ub id=$output.step_2.id ; retry=1", "b check=ask")
    play.ok(1)
    play.unknown(2)
    scope = Draft.of(play.saga).call_scope
    assert play.call(2, CHECK).req_id == req_id(scope, 1, CHECK, 0)
    play = Play("1 pay ; kind=pivot\n2 b ; kind=retriable retry=1", "b check=ask")
    play.ok(1)
    play.rejected(2)
    play.retry(2)
    play.unknown(2)
    assert play.call(2, CHECK).req_id == req_id(scope, 1, CHECK, 1)


def test_what_a_check_says_is_kept_up_to_a_bound() -> None:
    play = Play("1 a / ua id=$output.step_1.id ; retry=1", "a check=ask")
    play.unknown(1)
    play.ok(1, {"status": "y" * 400}, CHECK)
    said = "the check answered neither done, refused nor absent: '" + "y" * 400
    assert play.step(1).error == said[:300]


def test_nothing_is_waited_for_when_the_deadline_is_just_over() -> None:
    play = Play("1 a / ua ; deadline=20 retry=1", "a deadline")
    play.at = 20.0 + play.saga.program.clock_skew_s
    play.unknown(1)
    assert play.written[0] == "ActionDoubted"


def test_a_call_that_was_not_sent_is_refused_at_once_and_written_down_as_such() -> None:
    play = Play("1 a / ua ; retry=3*1\n2 b / ub")
    play.give(
        e.CallRejected(
            at=0.0,
            step=0,
            direction=Direction.DO,
            req_id=play.call(1).req_id,
            error="there is no such tool",
            jitter=0.0,
            was_sent=False,
        )
    )
    assert play.last.records[0] == r.ActionRejected(
        at=0.0, step=0, error="there is no such tool", was_sent=False
    )
    assert play.state == "FAILED"
