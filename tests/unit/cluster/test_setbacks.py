"""What a member concludes from engines that stop: when it tries again, and what it avoids."""

from __future__ import annotations

import pytest

from fsm_saga.cluster.setbacks import AVOID_S, RETRY_S, STEADY_S, Setbacks
from fsm_saga.errors import FencedError, InvariantBrokenError, StoreUnavailableError

BUG = InvariantBrokenError("It was told to.")
SILENCE = StoreUnavailableError("The store failed: it was told to.")


def failing(setbacks: Setbacks, *, now: float, ran_s: float = 0.0, error: Exception = BUG) -> None:
    setbacks.failed(3, "told", now=now, ran_s=ran_s, error=error)


def test_a_shard_is_tried_again_later_and_later() -> None:
    setbacks = Setbacks()
    assert setbacks.may_try(3, now=0.0)
    for wait_s in (*RETRY_S, RETRY_S[-1]):
        failing(setbacks, now=100.0)
        assert not setbacks.may_try(3, now=100.0 + 0.99 * wait_s)
        assert setbacks.may_try(3, now=100.0 + wait_s)
    assert setbacks.may_try(4, now=100.0)


def test_a_shard_is_avoided_longer_and_longer_and_no_other_is() -> None:
    setbacks = Setbacks()
    for wait_s in (*AVOID_S, AVOID_S[-1]):
        failing(setbacks, now=100.0)
        assert list(setbacks.avoided(now=100.0 + 0.99 * wait_s)) == [3]
        assert list(setbacks.avoided(now=100.0 + wait_s)) == []


def test_after_a_steady_run_a_failure_counts_as_the_first() -> None:
    setbacks = Setbacks()
    for _ in range(4):
        failing(setbacks, now=100.0)
    failing(setbacks, now=200.0, ran_s=STEADY_S + 1)
    assert setbacks.may_try(3, now=200.0 + RETRY_S[0])
    assert list(setbacks.avoided(now=200.0 + AVOID_S[0])) == []


def test_a_shard_that_came_up_again_is_not_avoided_but_its_failures_are_not_forgotten() -> None:
    setbacks = Setbacks()
    failing(setbacks, now=100.0)
    setbacks.runs(3)
    setbacks.runs(4)
    assert (setbacks.avoided(now=100.0), setbacks.stopped) == ({}, {})
    failing(setbacks, now=101.0, ran_s=0.5)
    assert list(setbacks.avoided(now=100.9 + AVOID_S[1])) == [3]


def test_a_store_that_fails_once_says_nothing_of_the_member_but_twice_in_a_row_does() -> None:
    setbacks = Setbacks()
    failing(setbacks, now=100.0, error=SILENCE)
    assert list(setbacks.avoided(now=100.0)) == []
    failing(setbacks, now=101.0, error=SILENCE)
    assert list(setbacks.avoided(now=101.0)) == [3]


def test_that_another_leads_is_no_failure_of_the_member() -> None:
    setbacks = Setbacks()
    for _ in range(3):
        failing(setbacks, now=100.0, error=FencedError("Another leads: it was told to."))
    assert list(setbacks.avoided(now=100.0)) == []
    assert not setbacks.may_try(3, now=100.0)


@pytest.mark.parametrize("shard", [3, 4])
def test_why_it_stopped_is_told_until_the_shard_is_anothers(shard: int) -> None:
    setbacks = Setbacks()
    failing(setbacks, now=100.0)
    assert setbacks.stopped == {3: "told"}
    setbacks.leave_to_others({shard})
    assert setbacks.stopped == ({} if shard == 3 else {3: "told"})
    assert list(setbacks.avoided(now=100.0)) == [3]
