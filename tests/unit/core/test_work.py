from __future__ import annotations

import pytest

from fsm_saga.core import records as r
from fsm_saga.core.effects import CallTool, WakeAt
from fsm_saga.core.states import Direction, Outcome, SagaEvent
from fsm_saga.core.table import VerdictKind
from fsm_saga.core.work import Work, bits
from tests.support.play import UNDO, Play

TWO = "1 a / ua ; after=-\n2 b / ub ; after=-"


@pytest.mark.parametrize(
    ("mask", "found"), [(0, []), (1, [0]), (0b1010, [1, 3]), (1 << 199, [199])]
)
def test_bits_are_yielded_lowest_first(mask: int, found: list[int]) -> None:
    assert list(bits(mask)) == found


def test_work_that_writes_nothing_changes_nothing() -> None:
    saga = Play(TWO).saga
    decision = Work(saga, 1.0).decision()
    assert decision.saga == saga
    assert (decision.records, decision.effects, decision.note) == ((), (), "")


def test_what_is_written_counts_at_once_and_what_is_done_keeps_its_order() -> None:
    play = Play(TWO)
    work = Work(play.saga, 5.0)
    work.write(r.CancelRequested(at=5.0, by="ann"))
    assert work.draft.stop is SagaEvent.CANCELLED
    work.wake(None, wait_s_max=None)
    work.wake(9.0, wait_s_max=4.0)
    call = play.calls[0]
    work.do(call)
    decision = work.decision()
    assert decision.effects == (WakeAt(at=9.0, wait_s_max=4.0), call)
    assert decision.saga.position == play.saga.position + 1
    assert decision.saga.updated_at == 5.0
    assert play.saga.stop is None, "the old saga is what it was"


def test_a_limit_is_over_by_the_clock_or_once_it_was_waited_for() -> None:
    work = Work(Play(TWO).saga, 0.5)
    assert [work.is_over(limit) for limit in (None, 0.4, 0.5, 0.6, 1.0)] == [
        False,
        True,
        True,
        False,
        False,
    ]
    work.waited_for = 0.6
    assert work.is_over(0.6)
    assert not work.is_over(0.7)


def test_each_clearing_of_an_effect_moves_the_count_by_one() -> None:
    """INV-10: the number in COMPENSATING(k) is true after every record."""
    play = Play(TWO + "\n3 c / uc ; after=1,2")
    play.ok(1)
    play.ok(2)
    play.rejected(3)
    assert play.state == "COMPENSATING(2)"
    play.ok(1, direction=UNDO)
    assert play.written == ["UndoSucceeded", "SagaMoved"]
    assert play.state == "COMPENSATING(1)"
    play.ok(2, direction=UNDO)
    assert play.state == "FAILED"


def test_a_move_to_where_the_saga_is_writes_nothing() -> None:
    play = Play(TWO)
    work = Work(play.saga, 0.0)
    verdict = work.move(SagaEvent.STEP_APPENDED)
    assert verdict.kind is VerdictKind.MOVE
    assert verdict.target == play.saga.state
    assert work.records == []


def test_a_move_that_the_table_does_not_order_writes_nothing() -> None:
    work = Work(Play(TWO).saga, 0.0)
    assert work.move(SagaEvent.HUMAN_RETRIES).kind is VerdictKind.REFUSE
    assert work.records == []


def finished(play: Play) -> Outcome | None:
    return play.saga.outcome


def test_a_saga_that_did_everything_is_committed() -> None:
    play = Play("1 a / ua")
    play.ok(1)
    assert finished(play) is Outcome.COMMITTED


def test_a_saga_that_did_nothing_says_so() -> None:
    play = Play("1 a / ua")
    play.rejected(1)
    assert finished(play) is Outcome.NOTHING_HAPPENED


def test_a_saga_that_was_undone_is_compensated() -> None:
    play = Play("1 a / ua\n2 b / ub")
    play.ok(1)
    play.rejected(2)
    play.ok(1, direction=UNDO)
    assert finished(play) is Outcome.COMPENSATED


def stuck() -> Play:
    play = Play("1 a / ua\n2 b / ub ; undo-retry=1\n3 c / uc")
    play.ok(1)
    play.ok(2)
    play.rejected(3)
    play.rejected(2, direction=UNDO)
    assert play.state == "NEEDS_HUMAN"
    return play


def test_a_saga_that_asks_a_person_does_not_claim_to_know() -> None:
    assert finished(stuck()) is Outcome.UNKNOWN


def test_calls_that_were_decided_late_amend_and_a_persons_word_outweighs_them() -> None:
    play = stuck()
    play.offer(2, "write", "phone")
    assert finished(play) is None, "on its way back again"
    play.ok(2, direction=UNDO)
    play.ok(2, direction=UNDO)
    play.ok(1, direction=UNDO)
    assert finished(play) is Outcome.AMENDED

    play = stuck()
    play.settle(2)
    play.ok(1, direction=UNDO)
    assert finished(play) is Outcome.PARTLY_COMPENSATED


def test_what_is_ordered_is_known_by_its_type() -> None:
    play = Play(TWO)
    assert all(isinstance(effect, CallTool) for effect in play.last.effects)
    assert {call.direction for call in play.calls} == {Direction.DO}
