"""Each guard alone: what it lets pass and what not. ``test_table`` shows each on its row."""

from __future__ import annotations

import inspect

import pytest
from msgspec.structs import replace

from fsm_saga.core import guards
from fsm_saga.core.guards import GUARDS, Facts, WayBack
from fsm_saga.core.states import DONE, FAILED, SagaState, compensating, executing

FACTS = Facts(
    step_count=3,
    succeeded=1,
    uncleared=2,
    is_closed=True,
    way_back=WayBack.OPEN,
    can_go_on=False,
    leads_forward=True,
)


@pytest.mark.parametrize(
    ("name", "facts", "target", "holds"),
    [
        ("plan_has_a_step", FACTS, executing(1), True),
        ("plan_has_a_step", replace(FACTS, step_count=0), executing(1), False),
        ("successes_are_counted", FACTS, executing(2), True),
        ("successes_are_counted", FACTS, executing(1), False),
        ("successes_are_counted", FACTS, executing(3), False),
        ("successes_are_counted", FACTS, DONE, False),
        ("successes_are_counted", replace(FACTS, succeeded=3), DONE, True),
        ("effects_are_counted", FACTS, compensating(2), True),
        ("effects_are_counted", FACTS, compensating(1), False),
        ("effects_are_counted", FACTS, FAILED, False),
        ("effects_are_counted", replace(FACTS, uncleared=0), FAILED, True),
        ("plan_is_closed", FACTS, DONE, True),
        ("plan_is_closed", replace(FACTS, is_closed=False), DONE, False),
        ("plan_is_open", FACTS, DONE, False),
        ("plan_is_open", replace(FACTS, is_closed=False), DONE, True),
        ("way_back_is_open", FACTS, compensating(2), True),
        ("way_back_is_open", replace(FACTS, way_back=WayBack.UNDECIDED), compensating(2), False),
        ("way_back_is_open", replace(FACTS, way_back=WayBack.CLOSED), compensating(2), False),
        ("way_back_is_closed", FACTS, DONE, False),
        ("way_back_is_closed", replace(FACTS, way_back=WayBack.UNDECIDED), DONE, False),
        ("way_back_is_closed", replace(FACTS, way_back=WayBack.CLOSED), DONE, True),
        ("nothing_can_go_on", FACTS, DONE, True),
        ("nothing_can_go_on", replace(FACTS, can_go_on=True), DONE, False),
        ("leads_forward", FACTS, executing(2), True),
        ("leads_forward", replace(FACTS, leads_forward=False), executing(2), False),
        ("leads_back", FACTS, compensating(2), False),
        ("leads_back", replace(FACTS, leads_forward=False), compensating(2), True),
    ],
)
def test_a_guard_lets_pass_what_it_says_and_nothing_else(
    name: str, facts: Facts, target: SagaState, holds: bool
) -> None:
    assert GUARDS[name](facts, target) is holds


def test_the_set_is_closed_and_each_guard_is_known_by_its_own_name() -> None:
    functions = {
        name
        for name, thing in vars(guards).items()
        if inspect.isfunction(thing) and thing.__module__ == guards.__name__
    }
    assert set(GUARDS) == functions
