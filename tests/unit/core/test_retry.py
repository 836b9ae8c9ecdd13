from __future__ import annotations

import pytest

from fsm_saga.core.program import RetryRule
from fsm_saga.core.retry import next_attempt_delay_s

RULE = RetryRule(attempt_max=9, doubt_attempt_max=9, delay_s=1.0, delay_s_max=10.0)


def test_the_wait_doubles_up_to_its_bound() -> None:
    waits = [next_attempt_delay_s(RULE, attempt=n, jitter=0.0) for n in range(1, 7)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_jitter_shortens_a_wait_by_less_than_half() -> None:
    assert next_attempt_delay_s(RULE, attempt=2, jitter=0.5) == 1.5
    assert 1.0 < next_attempt_delay_s(RULE, attempt=2, jitter=0.999) < 1.01


def test_a_very_late_attempt_waits_as_long_as_any() -> None:
    assert next_attempt_delay_s(RULE, attempt=5_000, jitter=0.0) == 10.0
    boundless = RetryRule(attempt_max=9, doubt_attempt_max=9, delay_s=1.0, delay_s_max=1e30)
    assert next_attempt_delay_s(boundless, attempt=5_000, jitter=0.0) == 2.0**60


@pytest.mark.parametrize(("attempt", "jitter"), [(0, 0.0), (-1, 0.0), (1, 1.0), (1, -0.1)])
def test_what_cannot_be_is_refused(attempt: int, jitter: float) -> None:
    with pytest.raises(ValueError, match=r"counts from 1|lies in \[0, 1\)"):
        next_attempt_delay_s(RULE, attempt=attempt, jitter=jitter)
