from __future__ import annotations

import pytest

from tests.unit.plan.telling import LATE, groups, late_told, recorded, told

GROUPS = dict(groups())
RECORDED = recorded()


@pytest.mark.parametrize("group", GROUPS)
def test_a_planner_is_told_what_it_was_told(group: str) -> None:
    """If it should be told something else, ``python -m tests.unit.plan.telling`` records it."""
    for case in GROUPS[group]:
        assert told(case) == RECORDED[case.name], case.name


def test_nothing_is_recorded_that_is_no_case() -> None:
    assert set(RECORDED) == {case.name for cases in GROUPS.values() for case in cases} | set(LATE)


@pytest.mark.parametrize("name", LATE)
def test_who_makes_good_is_told_what_it_was_told(name: str) -> None:
    assert late_told(LATE[name]) == RECORDED[name]
