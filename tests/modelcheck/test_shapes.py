"""Every order of up to four steps: 40 shapes, each searched to the last configuration.

Run with ``-s`` to see how many configurations that were.
"""

from __future__ import annotations

import pytest

from fsm_saga.machine.canonical import Reduction
from tests.modelcheck.programs import COMPENSATABLE, dag_shapes
from tests.modelcheck.searching import Case, Result, unproven, verify_all
from tests.support.counting import Count

ENDS = {
    ("DONE", "committed"),
    ("FAILED", "amended"),
    ("FAILED", "compensated"),
    ("FAILED", "nothing_happened"),
    ("FAILED", "partly_compensated"),
    ("NEEDS_HUMAN", "unknown"),
}


def cases_of(size: int, reduction: Reduction = Reduction.MIRRORS) -> list[Case]:
    """Return a compensatable program of each shape, those with the most branches first."""
    shapes = sorted(dag_shapes(size), key=lambda needs: sum(map(len, needs)))
    return [
        Case(f"{size} steps {needs}", (COMPENSATABLE,) * size, needs, reduction=reduction)
        for needs in shapes
    ]


def check_all(results: list[Result]) -> None:
    assert all(result.is_proven for result in results), unproven(results)
    for result in results:
        assert set(result.ends) == ENDS, result


def test_there_are_40_shapes() -> None:
    """The numbers of directed graphs without circles on 1 to 4 alike nodes (OEIS A003087)."""
    assert [sum(1 for _ in dag_shapes(size)) for size in (1, 2, 3, 4)] == [1, 2, 6, 31]


def test_every_history_of_every_shape_of_up_to_three_steps_is_sound(
    record_property: Count,
) -> None:
    results = verify_all([*cases_of(3), *cases_of(2), *cases_of(1)], record_property)
    check_all(results)
    assert sum(result.configurations for result in results) >= 7_000


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_every_history_of_every_shape_of_four_steps_is_sound(record_property: Count) -> None:
    results = verify_all(cases_of(4), record_property)
    check_all(results)
    assert len(results) == 31
    assert sum(result.configurations for result in results) >= 140_000
