"""Going back: which undo starts when, how patient it is, and when a person is called."""

from __future__ import annotations

import pytest

from fsm_saga.core import events as e
from fsm_saga.core.backward import UNDO_RETRY, UNDO_TIMEOUT_S
from fsm_saga.core.draft import Draft
from fsm_saga.core.ids import req_id
from fsm_saga.core.states import Direction
from tests.support.play import UNDO, Play

DIAMOND = "1 a / ua ; after=-\n2 b / ub ; after=1\n3 c / uc ; after=1\n4 d / ud ; after=2,3"


def turned(text: str, tools: str = "", *, failing: int) -> Play:
    """Return a saga all of whose steps before ``failing`` succeeded, and that one was refused."""
    play = Play(text, tools)
    for step_id in range(1, failing):
        play.ok(step_id)
    play.rejected(failing)
    return play


# --- which, when ---------------------------------------------------------------------------------


def test_undo_runs_against_the_dependencies_and_branches_run_together() -> None:
    """INV-8."""
    play = turned(DIAMOND, failing=4)
    assert sorted(play.ordered) == ["ub", "uc"]
    play.ok(3, direction=UNDO)
    assert play.ordered == []
    play.ok(2, direction=UNDO)
    assert play.ordered == ["ua"]
    play.ok(1, direction=UNDO)
    assert (play.state, play.saga.outcome) == ("FAILED", "compensated")


def test_no_undo_starts_while_a_sibling_is_in_flight() -> None:
    """INV-7."""
    play = Play(DIAMOND)
    play.ok(1)
    play.rejected(2)
    assert (play.state, play.ordered) == ("COMPENSATING(2)", [])
    play.ok(3)
    assert play.ordered == ["uc"]


def test_what_certainly_never_ran_is_not_undone() -> None:
    """INV-9."""
    play = turned(DIAMOND, failing=2)
    play.rejected(3)
    assert play.ordered == ["ua"]
    assert {call.tool for call in play.calls if call.direction is UNDO} == {"ua"}


def test_a_stuck_undo_holds_up_only_what_it_depends_on() -> None:
    play = turned(DIAMOND + " ; undo-retry=1", failing=4)
    for _ in range(UNDO_RETRY.attempt_max - 1):
        play.rejected(2, direction=UNDO)
        play.tick()
    play.rejected(2, direction=UNDO)
    assert (play.state, play.step(2).status) == ("COMPENSATING(3)", "STUCK")
    play.ok(3, direction=UNDO)
    assert (play.state, play.statuses) == ("NEEDS_HUMAN", "SUCCEEDED STUCK COMPENSATED REJECTED")
    assert not any(call.tool == "ua" for call in play.calls)


def test_an_undo_names_what_it_undoes_and_keeps_its_intent() -> None:
    """INV-3 for the way back."""
    play = turned("1 a / ua id=$output.step_1.id ; undo-timeout=7\n2 b / ub", failing=2)
    first = play.call(1, UNDO)
    assert (first.undoes, first.params) == (play.call(1).req_id, {"id": "out-1"})
    assert (first.timeout_s, first.call, first.attempt, first.is_repeat) == (7.0, 0, 1, False)
    play.unknown(1, direction=UNDO)
    play.tick()
    again = play.call(1, UNDO)
    assert (again.req_id, again.params) == (first.req_id, first.params)
    assert (again.attempt, again.is_repeat) == (2, True)


# --- what cannot be undone by itself -------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tools", "reason", "why"),
    [
        ('1 a / "say sorry"\n2 b / ub', "", "semantic", "say sorry"),
        ("1 a / ua id=$output.step_1.id\n2 b / ub", "", "unresolvable", "garbage"),
    ],
)
def test_what_has_no_undo_call_waits_for_a_person(
    text: str, tools: str, reason: str, why: str
) -> None:
    play = Play(text, tools)
    if reason == "unresolvable":
        play.bad(1)
    else:
        play.ok(1)
        play.rejected(2)
    undo = play.step(1).undo
    assert undo is not None
    assert (play.state, undo.stuck_reason) == ("NEEDS_HUMAN", reason)
    assert why in (undo.error or "")


def test_a_null_undo_is_not_trusted_once_the_tool_has_forgotten_the_call() -> None:
    play = Play("1 a / ua\n2 b / ub", "a fenced retention=95")
    play.ok(1)
    play.at = 60.0
    play.rejected(2)
    assert play.ordered == ["ua"], "to the second"
    play = Play("1 a / ua\n2 b / ub", "a fenced retention=95")
    play.ok(1)
    play.at = 61.0
    play.rejected(2)
    undo = play.step(1).undo
    assert undo is not None
    assert (play.state, undo.stuck_reason) == ("NEEDS_HUMAN", "expired")


def test_an_undo_that_does_not_go_by_the_call_is_made_however_late() -> None:
    play = Play("1 a / ua\n2 b / ub", "a retention=95")
    play.ok(1)
    play.at = 1e6
    play.rejected(2)
    assert play.ordered == ["ua"]


def test_a_doubtful_step_is_undone_only_where_that_is_sound() -> None:
    for tools, ordered in (("", []), ("a fenced", ["ua"]), ("a check=ask", ["ask"])):
        play = Play("1 a / ua ; retry=1", tools)
        play.unknown(1)
        assert play.ordered == ordered, tools


# --- patience ------------------------------------------------------------------------------------


def test_an_undo_is_more_patient_than_an_action() -> None:
    play = turned("1 a / ua\n2 b / ub", failing=2)
    assert play.call(1, UNDO).timeout_s == UNDO_TIMEOUT_S
    for _ in range(UNDO_RETRY.attempt_max - 1):
        play.rejected(1, direction=UNDO)
        assert play.written == ["AttemptFailed"]
        play.tick()
    play.rejected(1, direction=UNDO)
    assert play.written == ["UndoStuck", "SagaMoved"]
    undo = play.step(1).undo
    assert undo is not None
    assert undo.stuck_reason == "rejected"


def test_an_undo_waits_longer_each_time_and_chance_shortens_it() -> None:
    play = turned("1 a / ua ; undo-retry=3*10..15\n2 b / ub", failing=2)
    play.unknown(1, direction=UNDO, jitter=0.5)
    assert play.wakes[-1] == 7.5
    play.tick()
    play.unknown(1, direction=UNDO)
    assert play.wakes[-1] == 7.5 + 15.0


def test_a_timer_that_fires_early_changes_nothing() -> None:
    play = turned("1 a / ua ; undo-retry=3*10\n2 b / ub", failing=2)
    play.tick(1.0)
    assert play.written == []
    play.unknown(1, direction=UNDO)
    play.tick(9.9)
    assert play.written == []


def test_a_refusal_after_a_lost_undo_keeps_the_doubt() -> None:
    """A retry by a person then keeps the req_id: the lost one may have arrived (INV-2)."""
    play = turned("1 a / ua ; undo-retry=2*1\n2 b / ub", failing=2)
    play.unknown(1, direction=UNDO)
    play.tick()
    play.rejected(1, direction=UNDO)
    undo = play.step(1).undo
    assert undo is not None
    assert undo.stuck_reason == "unknown"
    before = play.call(1, UNDO).req_id
    play.retry(1)
    assert play.call(1, UNDO).req_id == before


def test_a_lost_undo_of_a_tool_that_does_not_dedupe_is_not_repeated() -> None:
    play = turned("1 a / ua\n2 b / ub", "ua no-dedupe", failing=2)
    play.unknown(1, direction=UNDO)
    assert play.state == "NEEDS_HUMAN"
    play = turned("1 a / ua\n2 b / ub", "ua no-dedupe", failing=2)
    play.rejected(1, direction=UNDO)
    assert play.written == ["AttemptFailed"], "a refusal is no doubt"


def test_a_lost_undo_is_not_repeated_once_its_tool_has_forgotten_it() -> None:
    play = turned("1 a / ua ; undo-retry=9*10\n2 b / ub", "ua retention=95", failing=2)
    play.unknown(1, direction=UNDO)
    play.tick(100.0)
    undo = play.step(1).undo
    assert undo is not None
    assert (play.state, undo.stuck_reason) == ("NEEDS_HUMAN", "expired")
    play = turned("1 a / ua ; undo-retry=9*10\n2 b / ub", "ua retention=95", failing=2)
    play.rejected(1, direction=UNDO)
    play.tick(100.0)
    assert play.ordered == ["ua"], "refused is not lost"


def test_a_retry_of_a_fencing_undo_looks_at_the_clock_as_the_first_one_did() -> None:
    play = turned("1 a / ua ; undo-retry=9*10\n2 b / ub", "a fenced retention=95", failing=2)
    play.rejected(1, direction=UNDO)
    play.tick(100.0)
    undo = play.step(1).undo
    assert undo is not None
    assert (play.state, undo.stuck_reason) == ("NEEDS_HUMAN", "expired")


# --- calls that were decided late ----------------------------------------------------------------


def stuck(tools: str = "") -> Play:
    play = turned("1 a / ua ; undo-retry=1\n2 b / ub", tools, failing=2)
    play.rejected(1, direction=UNDO)
    assert play.state == "NEEDS_HUMAN"
    return play


def test_late_calls_run_one_after_the_other_each_under_its_own_id() -> None:
    play = stuck()
    play.offer(1, "write", "phone")
    assert play.ordered == ["write"]
    first = play.call(1, UNDO)
    play.ok(1, direction=UNDO)
    assert (play.written, play.ordered) == (["UndoSucceeded", "UndoStarted"], ["phone"])
    second = play.call(1, UNDO)
    assert (first.call, second.call) == (0, 1)
    assert first.req_id != second.req_id
    assert second.timeout_s == UNDO_TIMEOUT_S
    play.ok(1, direction=UNDO)
    assert (play.state, play.saga.outcome) == ("FAILED", "amended")


def test_late_calls_run_under_what_their_tools_declare() -> None:
    play = stuck()
    play.offer(1, "write", contracts={"write": {"dedupe": False}})
    play.unknown(1, direction=UNDO)
    assert play.state == "NEEDS_HUMAN"
    play = stuck()
    play.offer(1, "write")
    play.unknown(1, direction=UNDO)
    assert play.written == ["AttemptFailed"]


def test_an_undo_whose_answer_is_garbage_is_done_all_the_same() -> None:
    play = turned("1 a / ua\n2 b / ub", failing=2)
    play.bad(1, direction=UNDO)
    assert (play.state, play.saga.outcome) == ("FAILED", "compensated")


def test_an_undo_saga_shows_its_tools_that_they_undo() -> None:
    play = Play("1 ua ; kind=retriable", undoes={"0": "r-original"})
    call = play.call(1)
    assert (call.undoes, call.direction) == ("r-original", Direction.DO)
    assert call.shown_direction is Direction.UNDO


def test_late_calls_do_not_depend_on_the_memory_of_the_tool_that_acted() -> None:
    play = turned("1 a / ua ; undo-retry=1\n2 b / ub", "a fenced retention=95", failing=2)
    play.rejected(1, direction=UNDO)
    play.at = 100.0
    play.offer(1, "phone")
    play.rejected(1, direction=UNDO)
    play.tick()
    assert play.ordered == ["phone"]


def test_an_undo_is_sent_for_as_long_as_it_and_the_fenced_action_are_remembered() -> None:
    for tools, found in (
        ("ua retention=95", 60.0),
        ("a fenced retention=85", 50.0),
        ("a fenced retention=85, ua retention=75", 40.0),
        ("a retention=85", None),
    ):
        play = Play("1 a / ua\n2 b / ub", tools.replace(", ", "\n"))
        play.ok(1)
        play.rejected(2)
        assert play.call(1, UNDO).send_before == found


def test_an_undo_has_an_id_of_its_own_for_each_call() -> None:
    play = Play("1 a / ua ; undo-retry=1\n2 b / ub")
    play.ok(1)
    play.rejected(2)
    scope = Draft.of(play.saga).call_scope
    assert play.call(1, UNDO).req_id == req_id(scope, 0, Direction.UNDO, 0, 0)
    play.rejected(1, direction=UNDO)
    play.give(
        e.CallsOffered(
            at=0.0,
            step=0,
            by="ann",
            note="",
            calls=({"tool": "x", "params": {}}, {"tool": "y", "params": {}}),
            tools={},
        )
    )
    undo = play.step(1).undo
    assert undo is not None
    play.ok(1, direction=UNDO)
    assert play.call(1, UNDO).req_id == req_id(scope, 0, Direction.UNDO, undo.revision, 1)


def test_an_undo_that_was_not_sent_is_not_tried_again() -> None:
    play = Play("1 a / ua ; undo-retry=3*1\n2 b / ub")
    play.ok(1)
    play.rejected(2)
    first = play.call(1, UNDO)
    play.give(
        e.CallRejected(
            at=0.0,
            step=0,
            direction=UNDO,
            req_id=first.req_id,
            error="there is no such tool",
            jitter=0.0,
            was_sent=False,
        )
    )
    assert (play.state, play.step(1).status) == ("NEEDS_HUMAN", "STUCK")


def test_an_undo_is_remembered_from_the_first_copy_that_may_have_had_an_effect() -> None:
    play = Play("1 a / ua ; undo-retry=4*10..10\n2 b / ub", "ua retention=95")
    play.ok(1)
    play.rejected(2)
    assert play.call(1, UNDO).send_before == 60.0
    play.rejected(1, direction=UNDO)
    play.tick(10.0)
    assert play.call(1, UNDO).send_before == 70.0, "what was refused did not happen"
    play.unknown(1, direction=UNDO)
    play.tick(20.0)
    assert play.call(1, UNDO).send_before == 60.0, "what may have happened counts from the first"


def test_an_approval_that_is_withdrawn_leaves_nothing_to_approve() -> None:
    play = Play("1 a / ua ; after=- approval=60\n2 b / ub ; after=-\n3 c / uc ; after=-")
    assert play.step(1).digest is not None
    play.ok(2)
    play.rejected(3)
    assert play.step(1).status in ("WAITING", "SKIPPED")
    assert (play.step(1).digest, play.step(1).expires_at) == (None, None)


def test_a_step_that_has_to_wait_keeps_no_other_branch_from_being_undone() -> None:
    play = Play("1 a / ua ; after=-\n2 b / ub ; after=-\n3 c / uc ; after=2\n4 d / ud ; after=1,3")
    play.ok(1)
    play.ok(2)
    play.ok(3)
    play.rejected(4)
    assert play.ordered == ["uc", "ua"], "b waits for c, and a for neither"


def test_an_undo_that_lacks_an_output_says_so_even_if_nobody_said_why() -> None:
    play = Play("1 a / ua id=$output.step_1.id\n2 b / ub")
    play.bad(1, "")
    undo = play.step(1).undo
    assert undo is not None
    assert undo.error == (
        "the rollback's parameters cannot be resolved: the step's output is not known"
    )


def test_a_sibling_that_is_given_up_says_so_even_if_nobody_said_why() -> None:
    play = Play("1 a / ua ; after=- retry=3*10\n2 b / ub ; after=-")
    play.rejected(1, "")
    play.rejected(2)
    assert play.step(1).error == "not tried again: the saga goes back"
