"""From one event to records and effects: what counts, what is late, what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from fsm_saga.core import decide as decide_module
from fsm_saga.core import events as e
from fsm_saga.core import records as r
from fsm_saga.core.decide import decide
from fsm_saga.core.effects import CallTool, WakeAt
from fsm_saga.core.work import Work
from fsm_saga.errors import EventRefusedError, InvariantBrokenError
from tests.support.play import CHECK, UNDO, Play

TWO = "1 a / ua id=$output.step_1.id\n2 b / ub"
WIDE = "1 a / ua ; after=-\n2 b / ub ; after=-"


# --- submitting ----------------------------------------------------------------------------------


def test_a_saga_starts_with_its_submission_in_one_append() -> None:
    play = Play(WIDE)
    assert play.written == ["SagaSubmitted", "SagaMoved", "ActionStarted", "ActionStarted"]
    assert play.ordered == ["a", "b"]


def test_a_saga_is_submitted_once() -> None:
    play = Play(TWO)
    event = e.Submitted(at=0.0, plan={}, tools={})
    with pytest.raises(InvariantBrokenError, match="was submitted before"):
        decide(play.saga, event)


def test_a_deadline_is_asked_for_at_the_start() -> None:
    play = Play("1 a / ua\ndeadline 30")
    assert WakeAt(at=30.0) in play.last.effects


def test_an_open_plan_may_begin_empty_and_rests() -> None:
    play = Play("", is_open=True)
    assert (play.state, play.written) == ("PENDING", ["SagaSubmitted"])
    assert play.resume().records == ()


def test_an_event_that_nobody_knows_is_a_bug() -> None:
    class Invented(e.Event, frozen=True, kw_only=True):
        pass

    with pytest.raises(InvariantBrokenError, match="no rule to decide a Invented"):
        decide(Play(TWO).saga, Invented(at=0.0))


def test_a_saga_that_never_comes_to_rest_is_a_bug_and_not_a_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def spin(work: Work) -> None:
        work.draft.failing ^= 1

    saga = Play(TWO).saga
    monkeypatch.setattr(decide_module, "_advance_forward", spin)
    with pytest.raises(InvariantBrokenError, match=r"does not come to rest in EXECUTING\(1\)"):
        decide(saga, e.TimePassed(at=0.0))


# --- replies -------------------------------------------------------------------------------------


def ignored(play: Play) -> bool:
    return play.written == ["ReplyIgnored"] and not play.ordered and bool(play.last.note)


@pytest.mark.parametrize("kind", ["ok", "bad", "rejected", "unknown"])
def test_a_reply_to_a_call_that_is_settled_is_kept_and_changes_nothing(kind: str) -> None:
    """X5, X6: the first durable outcome stands."""
    play = Play(TWO)
    play.ok(1)
    before = play.saga
    getattr(play, kind)(1)
    assert ignored(play)
    assert replace(play.saga, position=before.position, updated_at=before.updated_at) == before


@pytest.mark.parametrize("kind", ["ok", "bad", "rejected", "unknown"])
def test_a_reply_to_another_call_is_kept_and_changes_nothing(kind: str) -> None:
    play = Play(TWO)
    play.calls[0] = replace(play.calls[0], req_id="r-of-somebody-else")
    getattr(play, kind)(1)
    assert ignored(play)


def test_a_late_success_of_an_attempt_that_timed_out_counts() -> None:
    """It is the same call, whichever attempt brought it."""
    play = Play("1 a / ua ; retry=3*10\n2 b / ub")
    play.unknown(1)
    play.ok(1)
    assert (play.state, play.ordered) == ("EXECUTING(2)", ["b"])
    play.tick(10.0)
    assert play.written == [], "the timer of the retry fires in vain"


def test_a_late_success_counts_while_the_deadline_is_waited_for() -> None:
    play = Play("1 a / ua ; deadline=20 retry=1", "a deadline")
    play.unknown(1)
    play.ok(1)
    assert play.state == "DONE"


def test_late_failures_count_only_for_the_attempt_that_is_in_flight() -> None:
    play = Play("1 a / ua ; retry=3*10")
    play.unknown(1)
    for kind in ("rejected", "unknown"):
        getattr(play, kind)(1)
        assert ignored(play), kind
    play = Play("1 a / ua id=$output.step_1.id ; retry=1", "a check=ask")
    play.unknown(1)
    for kind in ("rejected", "unknown", "bad"):
        getattr(play, kind)(1)
        assert ignored(play), f"{kind} while the check is asked"
    play.ok(1)
    assert play.state == "DONE", "a success settles it without the check"
    play.ok(1, {"status": "absent"}, CHECK)
    assert ignored(play)


def test_a_check_that_answers_twice_is_heard_once() -> None:
    play = Play("1 a / ua id=$output.step_1.id ; retry=1", "a check=ask")
    play.unknown(1)
    play.unknown(1, direction=CHECK)
    play.unknown(1, direction=CHECK)
    assert ignored(play)


def test_a_late_check_says_nothing_of_a_call_that_a_person_ordered_again() -> None:
    play = Play("1 a / ua id=$output.step_1.id ; retry=1", "a check=ask")
    play.unknown(1)
    play.ok(1, {"status": "absent"}, CHECK)
    play.retry(1)
    play.ok(1, {"status": "refused"}, CHECK)
    assert ignored(play)
    assert play.step(1).status == "RUNNING"


def test_a_check_of_a_tool_that_does_not_dedupe_is_asked_again_all_the_same() -> None:
    play = Play("1 a / ua ; retry=1", "a check=ask no-dedupe")
    play.unknown(1)
    play.unknown(1, direction=CHECK)
    play.tick()
    assert play.ordered == ["ask"]


def test_what_was_ignored_is_kept_in_its_own_words() -> None:
    play = Play(TWO)
    play.ok(1)
    for act, detail in ((play.ok, "a success"), (play.rejected, "no"), (play.unknown, "lost")):
        act(1)
        (record,) = play.last.records
        assert isinstance(record, r.ReplyIgnored)
        assert record.detail == detail


def test_an_undo_that_answers_twice_is_heard_once() -> None:
    play = Play(TWO)
    play.ok(1)
    play.rejected(2)
    play.rejected(1, direction=UNDO)
    play.rejected(1, direction=UNDO)
    assert ignored(play)
    play.unknown(1, direction=UNDO)
    assert ignored(play)
    play.ok(1, direction=UNDO)
    assert play.state == "FAILED"
    play.ok(1, direction=UNDO)
    assert ignored(play)


def test_an_answer_to_an_undo_that_was_replaced_is_kept_only() -> None:
    play = Play("1 a / ua ; undo-retry=1\n2 b / ub")
    play.ok(1)
    play.rejected(2)
    old = play.call(1, UNDO)
    play.rejected(1, direction=UNDO)
    play.retry(1)
    play.give(e.CallSucceeded(at=0.0, step=0, direction=UNDO, req_id=old.req_id, output=None))
    assert ignored(play)


def test_a_bad_output_of_an_effect_is_an_effect_and_of_a_reading_a_failure() -> None:
    play = Play("1 a / ua\n2 b / ub")
    play.bad(1)
    assert play.ordered == ["ua"]
    play = Play("1 look\n2 b / ub", "look read_only")
    play.bad(1)
    assert (play.state, play.step(1).status) == ("FAILED", "REJECTED")


# --- time ----------------------------------------------------------------------------------------


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
    play = Play("1 a / ua ; retry=9*10", "a retention=60")
    play.unknown(1)
    play.tick(100.0)
    assert (play.ordered, play.step(1).status) == ([], "DOUBTFUL")
    play = Play("1 a / ua ; retry=9*10", "a retention=60")
    play.rejected(1)
    play.tick(100.0)
    assert play.ordered == ["a"], "what was refused may be a new call"


def test_a_check_that_comes_after_the_tool_has_forgotten_is_not_asked() -> None:
    play = Play("1 a / ua id=$output.step_1.id ; retry=1", "a check=ask retention=60")
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
    assert WakeAt(at=30.0) in play.last.effects
    play = Play("1 a / ua ; retry=1\n2 b / ub\ndeadline 30")
    play.unknown(1)
    play.settle(1)
    assert not any(isinstance(effect, WakeAt) for effect in play.last.effects)


# --- taking up after a crash ---------------------------------------------------------------------


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
    assert set(play.last.effects) == {WakeAt(at=10.0), WakeAt(at=30.0), WakeAt(at=60.0)}
    play = Play("1 a / ua ; deadline=20 retry=1", "a deadline")
    play.unknown(1)
    play.resume()
    assert list(play.last.effects) == [WakeAt(at=25.0)]


def test_a_call_of_a_tool_that_forgets_refusals_was_interrupted() -> None:
    play = Play("1 a / ua id=$output.step_1.id", "a forgets-refusals")
    play.resume()
    assert (play.written, play.ordered) == (["CallInterrupted", "CallResent"], ["a"])
    play.rejected(1)
    assert play.step(1).status == "DOUBTFUL"


def test_a_call_that_cannot_be_repeated_is_left_in_doubt() -> None:
    for tools in ("a no-dedupe", "a retention=60"):
        play = Play("1 a / ua id=$output.step_1.id", tools)
        play.at = 61.0
        play.resume()
        assert (play.ordered, play.step(1).status) == ([], "DOUBTFUL"), tools


def test_a_reading_is_simply_read_again() -> None:
    play = Play("1 look", "look read_only no-dedupe forgets-refusals")
    play.resume()
    assert (play.written, play.ordered) == (["CallResent"], ["look"])


def test_a_check_is_asked_again_unless_the_tool_has_forgotten() -> None:
    play = Play("1 a / ua id=$output.step_1.id ; retry=1", "a check=ask retention=60")
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
    assert list(play.last.effects) == [WakeAt(at=10.0)]


def test_an_undo_that_cannot_be_repeated_is_stuck() -> None:
    for tools in ("ua no-dedupe", "ua retention=60", "a fenced retention=60"):
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


# --- cancelling ----------------------------------------------------------------------------------


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
    assert play.last.note == "the point of no return is passed"
    play.rejected(1)
    assert play.state == "FAILED"


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


# --- growing -------------------------------------------------------------------------------------


def test_a_running_saga_takes_steps_and_starts_those_that_are_ready() -> None:
    play = Play(TWO)
    play.grow("3 c / uc ; after=-\n4 d / ud ; after=2")
    assert (play.written, play.ordered) == (["StepsAppended", "ActionStarted"], ["c"])
    assert play.statuses == "RUNNING WAITING RUNNING WAITING"


def test_an_open_saga_starts_with_its_first_step() -> None:
    play = Play("", is_open=True)
    play.grow("1 a / ua")
    assert (play.state, play.ordered) == ("EXECUTING(1)", ["a"])


def test_an_open_saga_that_grows_by_nothing_has_nothing_to_start() -> None:
    play = Play("", is_open=True)
    play.grow("")
    assert (play.state, play.written) == ("PENDING", ["StepsAppended"])


def test_an_open_saga_rests_between_its_steps_and_ends_when_it_is_closed() -> None:
    play = Play("1 a / ua", is_open=True)
    play.ok(1)
    assert (play.state, play.last.effects) == ("EXECUTING(2)", ())
    play.close()
    assert (play.state, play.written) == ("DONE", ["SagaMoved", "PlanClosed"])
    play = Play("1 a / ua", is_open=True)
    play.close()
    assert (play.state, play.written) == ("EXECUTING(1)", ["PlanClosed"])
    play.close()
    assert (play.written, play.last.note) == ([], "the plan is closed already")
    play.ok(1)
    assert play.state == "DONE"


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (lambda play: play.grow("3 c / uc"), "takes no more steps: the saga no longer goes"),
        (lambda play: play.close(), "cannot be closed: the saga no longer goes forward"),
    ],
)
def test_a_saga_on_its_way_back_neither_grows_nor_closes(
    act: Callable[[Play], object], why: str
) -> None:
    play = Play(TWO, is_open=True)
    play.ok(1)
    play.rejected(2)
    with pytest.raises(EventRefusedError, match=why):
        act(play)


def test_a_plan_that_was_grown_from_an_older_one_is_refused() -> None:
    play = Play(TWO, is_open=True)
    event = e.PlanGrown(
        at=0.0, program=play.saga.program, plan={}, tools={}, base_hash="of an older plan"
    )
    with pytest.raises(EventRefusedError, match="has grown since it was read"):
        play.give(event)
    older = Play(TWO, is_open=True).saga.program
    play.grow("3 c / uc")
    with pytest.raises(EventRefusedError, match="has grown since it was read"):
        play.give(e.PlanCloseAsked(at=0.0, program=older))


def test_what_is_ordered_is_in_the_records_of_the_same_decision() -> None:
    """INV-1: each call has its intent before it, in one append."""
    play = Play(WIDE)
    play.ok(1)
    play.rejected(2)
    for call in play.calls:
        assert isinstance(call, CallTool)
        intents = [
            record.req_id
            for record in play.journal
            if isinstance(record, r.ActionStarted | r.UndoStarted)
        ]
        assert call.req_id in intents
