"""Programs of two to four steps in which kinds and promises meet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.modelcheck.mixes import AFTER, BACKWARD, PIVOTS
from tests.modelcheck.programs import (
    APPROVED,
    CHECKED,
    COMPENSATABLE,
    FENCED,
    FENCING_CHECK,
    PIVOT,
    READ_ONLY,
    RETRIABLE,
    SEMANTIC,
    TIMED,
)
from tests.modelcheck.searching import Case, unproven, verify_all
from tests.support.counting import Count

PLAIN = COMPENSATABLE
BESIDE = ((), ())
DIAMOND = ((), (0,), (0,), (1, 2))
BESIDE_TWO = ("semantic", "approved", "fenced", "checked", "fencing check", "timed", "read_only")


def small_cases() -> Iterator[Case]:
    for name, step in BACKWARD.items():
        yield Case(f"{name}, deadline", (step,), deadline_s=60.0)
        yield Case(f"plain, {name}", (PLAIN, step))
        yield Case(f"{name}, plain", (step, PLAIN))
    for name, pivot in PIVOTS.items():
        yield Case(f"{name}, deadline", (pivot,), deadline_s=60.0)
        for other, step in AFTER.items():
            yield Case(f"{name} then {other}", (PLAIN, pivot, step))
    yield Case("open chain", (PLAIN, PLAIN), is_open=True)
    yield Case("open, beside", (PLAIN, PLAIN), BESIDE, is_open=True)
    yield Case("open, pivot", (PLAIN, PIVOT), is_open=True)


def large_cases() -> Iterator[Case]:
    for name, step in BACKWARD.items():
        yield Case(f"{name} beside plain", (step, PLAIN), BESIDE)
    for name in BESIDE_TWO:
        step = BACKWARD[name]
        yield Case(f"{name} beside two", (step, PLAIN, PLAIN), ((), (), (1,)))
        yield Case(f"{name} twice, then one", (step, step, PLAIN), ((), (), (0, 1)))
    for name, pivot in PIVOTS.items():
        for other, step in AFTER.items():
            yield Case(f"{name} beside {other}", (pivot, step), BESIDE, deadline_s=60.0)
        yield Case(f"{name}, two after", (pivot, RETRIABLE, RETRIABLE), ((), (0,), (0,)))
        yield Case(f"approved beside {name}", (APPROVED, pivot), BESIDE, deadline_s=60.0)
    yield Case("trip", (PLAIN, FENCED, PIVOT, RETRIABLE), deadline_s=60.0)
    yield Case("diamond to a pivot", (READ_ONLY, FENCED, CHECKED, PIVOT), DIAMOND)
    yield Case("diamond from a pivot", (PIVOT, RETRIABLE, RETRIABLE, RETRIABLE), DIAMOND)
    yield Case("diamond of promises", (APPROVED, TIMED, FENCING_CHECK, SEMANTIC), DIAMOND)
    yield Case("approvals beside", (APPROVED, APPROVED, PIVOT), ((), (), (0, 1)))


def test_every_kind_and_promise_is_sound_alone_and_in_a_chain(record_property: Count) -> None:
    results = verify_all(list(small_cases()), record_property)
    assert all(result.is_proven for result in results), unproven(results)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_kind_and_promise_is_sound_beside_others(record_property: Count) -> None:
    results = verify_all(list(large_cases()), record_property)
    assert all(result.is_proven for result in results), unproven(results)
