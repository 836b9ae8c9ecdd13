"""From one event to records and effects: what counts, what is late, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from fsm_saga.core import decide as decide_module
from fsm_saga.core import events as e
from fsm_saga.core import records as r
from fsm_saga.core.decide import decide
from fsm_saga.core.effects import CallTool, WakeAt
from fsm_saga.core.states import Direction
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
    assert WakeAt(at=30.0, wait_s_max=30.0) in play.last.effects


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
    rounds: list[int] = []

    def spin(work: Work) -> None:
        rounds.append(work.draft.failing)
        work.draft.failing ^= 1

    saga = Play(TWO).saga
    monkeypatch.setattr(decide_module, "_advance_forward", spin)
    with pytest.raises(InvariantBrokenError, match=r"does not come to rest in EXECUTING\(1\)"):
        decide(saga, e.TimePassed(at=0.0))
    assert len(rounds) == 4 * len(saga.steps) + 8


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


def failures(play: Play, direction: Direction, req_id: str, attempt: int) -> list[e.CallEvent]:
    call: dict[str, Any] = {"at": play.at, "step": 0, "direction": direction}
    call |= {"req_id": req_id, "attempt": attempt, "error": "no"}
    return [e.CallRejected(**call, jitter=0.0), e.CallUnknown(**call, jitter=0.0)]


def test_a_failure_of_an_older_attempt_says_nothing_of_the_one_in_flight() -> None:
    """The first one's refusal may come when the second is out there, and may take effect."""
    play = Play("1 a / ua ; retry=3*10")
    play.unknown(1)
    play.tick()
    rid = play.call(1).req_id
    for event in failures(play, Direction.DO, rid, attempt=1):
        play.give(event)
        assert ignored(play), event
    assert (play.step(1).status, play.step(1).retry_at) == ("RUNNING", None)
    play.give(failures(play, Direction.DO, rid, attempt=2)[0])
    assert play.written[0] == "AttemptFailed"


def test_a_success_counts_whichever_attempt_it_answers() -> None:
    play = Play("1 a / ua ; retry=3*10")
    play.unknown(1)
    play.tick()
    call: dict[str, Any] = {"at": play.at, "step": 0, "direction": Direction.DO, "attempt": 1}
    play.give(e.CallSucceeded(**call, req_id=play.call(1).req_id, output={}))
    assert play.state == "DONE"


def test_a_failure_of_an_older_undo_says_nothing_of_the_one_in_flight() -> None:
    play = Play("1 a / ua ; undo-retry=3*1\n2 b / ub")
    play.ok(1)
    play.rejected(2)
    play.unknown(1, direction=UNDO)
    play.tick()
    rid = play.call(1, UNDO).req_id
    for event in failures(play, UNDO, rid, attempt=1):
        play.give(event)
        assert ignored(play), event
    play.give(failures(play, UNDO, rid, attempt=2)[0])
    assert play.written == ["AttemptFailed"]


def test_a_failure_of_an_older_check_says_nothing_of_the_one_in_flight() -> None:
    play = Play("1 a / ua id=$output.step_1.id ; retry=1", "a check=ask")
    play.unknown(1)
    play.unknown(1, direction=CHECK)
    play.tick()
    rid = play.call(1, CHECK).req_id
    bad = e.CallSucceededBadly(
        at=play.at, step=0, direction=CHECK, req_id=rid, attempt=1, error="garbage"
    )
    for event in [*failures(play, CHECK, rid, attempt=1), bad]:
        play.give(event)
        assert ignored(play), event
    play.give(replace(bad, attempt=2))
    assert not ignored(play)


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
