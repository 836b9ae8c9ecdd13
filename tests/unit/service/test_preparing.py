"""Plans that are submitted a thousand times are looked at once, and never taken for another."""

from __future__ import annotations

import gc

import pytest

from fsm_saga.errors import PlanError
from fsm_saga.plan.model import Plan
from fsm_saga.service import preparing
from fsm_saga.service.preparing import Preparer
from tests.support.plans import catalogue_of, plan_of

PLAN = plan_of("trip", "1 a who=$input.who / ua\ninput who=Ann\ngoal Go there.")


def preparer(*allowed: str) -> Preparer:
    return Preparer(catalogue_of("", [PLAN]), allowed or None)


def test_a_plan_that_was_prepared_is_returned_as_it_was() -> None:
    mine = preparer()
    assert mine.prepare(PLAN) is mine.prepare(PLAN)


def test_a_plan_under_another_name_has_the_hash_of_that_plan() -> None:
    mine = preparer()
    renamed = mine.prepare(PLAN, task_id="other")
    assert renamed.task_id == renamed.body["task_id"] == "other"
    same = PLAN.model_copy(update={"task_id": "other"})
    assert renamed.program.plan_hash == same.content_hash() == mine.prepare(same).program.plan_hash
    assert mine.prepare(PLAN, task_id="trip") is mine.prepare(PLAN)
    with pytest.raises(PlanError):
        mine.prepare(PLAN, task_id="a/b")
    with pytest.raises(PlanError):
        mine.prepare(PLAN, task_id="\ud800")


def test_inputs_go_over_the_plans_own_and_are_checked() -> None:
    mine = preparer()
    given = mine.prepare(PLAN, task_id="other", inputs={"who": "Bob", "why": 1})
    assert given.body["inputs"] == {"who": "Bob", "why": 1}
    assert given.task_id == "other"
    assert given.program.inputs == {"who": "Bob", "why": 1}
    assert mine.prepare(PLAN, inputs={"who": "Eve"}).task_id == "trip"
    with pytest.raises(PlanError):
        mine.prepare(PLAN, inputs={"who": float("nan")})


def test_plans_of_one_structure_share_a_check_and_not_their_values() -> None:
    mine = preparer()
    first = mine.prepare(PLAN)
    second = mine.prepare(PLAN.model_copy(update={"inputs": {"who": "Bob"}, "goal": None}))
    assert second.declared is first.declared
    assert (first.program.goal, second.program.goal) == ("Go there.", None)
    assert second.program.inputs == {"who": "Bob"}


def test_a_path_into_an_input_is_looked_at_for_each_value() -> None:
    plan = plan_of("trip", '1 a who=$input.user.name / ua\ninput user={"name":"Ann"}')
    mine = Preparer(catalogue_of("", [plan]), None)
    mine.prepare(plan)
    with pytest.raises(PlanError, match="name"):
        mine.prepare(plan.model_copy(update={"inputs": {"user": {"alias": "Bob"}}}))


def test_a_plan_whose_tools_are_not_allowed_is_refused_each_time() -> None:
    mine = preparer("ua")
    for _ in range(2):
        with pytest.raises(PlanError, match="'a'"):
            mine.prepare(PLAN)


def test_an_open_plan_is_not_taken_for_a_closed_one() -> None:
    mine = preparer()
    assert not mine.prepare(PLAN).program.is_open
    assert mine.prepare(PLAN, is_open=True).program.is_open
    assert not mine.prepare(PLAN).program.is_open


def test_a_plan_that_is_gone_is_not_remembered() -> None:
    mine = preparer()
    plan = PLAN.model_copy(deep=True)
    mine.prepare(plan)
    mine.prepare(PLAN)
    assert len(mine._prepared) == 2
    del plan
    gc.collect()
    assert len(mine._prepared) == 1
    assert mine.prepare(PLAN) is mine.prepare(PLAN)


def test_a_plan_that_is_changed_afterwards_changes_no_other() -> None:
    """A plan's parameters can be changed in place by whoever holds it."""
    plan = plan_of("trip", '1 a who={"name":["Ann"]} / ua')
    mine = Preparer(catalogue_of("", [plan]), None)
    first = mine.prepare(plan).program
    plan.steps[0].params["who"]["name"].append("Eve")
    second = mine.prepare(plan_of("other", '1 a who={"name":["Ann"]} / ua')).program
    assert second.steps is first.steps
    assert second.steps[0].action.params.value == {"who": {"name": ["Ann"]}}


def test_the_problems_of_a_known_structure_are_told_of_the_plan_at_hand() -> None:
    plan = plan_of("trip", '1 a who=$input.user.name / ua\ninput user={"name":"Ann"}')
    mine = Preparer(catalogue_of("", [plan]), None)
    mine.prepare(plan)
    bad = plan.model_copy(update={"task_id": "other", "inputs": {"user": "Bob"}})
    fresh = Preparer(catalogue_of("", [plan]), None)
    told = []
    for each in (mine, fresh):
        with pytest.raises(PlanError) as refusal:
            each.prepare(bad)
        told.append([problem.as_json() for problem in refusal.value.problems])
    assert told[0] == told[1]
    assert "'Bob' has no 'name'" in told[0][0]["message"]


def test_the_names_of_inputs_count_and_their_values_do_not() -> None:
    mine = preparer()
    first = mine.prepare(PLAN)
    more = mine.prepare(PLAN.model_copy(update={"inputs": {"who": "Ann", "why": "fun"}}))
    assert len(mine._structures) == 2
    assert more.program.steps is first.program.steps


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "KEPT_MAX", 3)
    mine = preparer()
    plans = [Plan.of({**PLAN.model_dump(exclude_none=True), "task_id": f"t{n}"}) for n in range(9)]
    for plan in plans:
        mine.prepare(plan)
    assert len(mine._prepared) == 3
    assert mine.prepare(plans[-1]) is mine.prepare(plans[-1])
