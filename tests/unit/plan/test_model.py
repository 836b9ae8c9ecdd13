"""Tests of the plan as an object; which shapes are refused is in the corpus."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

import jsonschema_rs
import pytest
from pydantic import ValidationError

from fsm_saga.core.limits import Limits
from fsm_saga.errors import PlanError
from fsm_saga.plan.model import (
    Approval,
    Plan,
    Retry,
    Rollback,
    Semantic,
    Step,
    calls_of_reading,
    parts_of_reading,
    plan_of_reading,
)
from fsm_saga.plan.read import read_json, read_value
from tests.unit.plan.builders import chain, plan, step

FULL: dict[str, Any] = {
    "task_id": "trip-7",
    "goal": "A trip",
    "inputs": {"who": {"name": None}},
    "deadline_s": 3600,
    "steps": [
        {
            "step_id": 1,
            "name": "Book",
            "tool": "book",
            "params": {"b": None, "a": [1, 1.5, "x"]},
            "rollback": {
                "tool": "cancel",
                "params": {"id": "$output.step_1.id"},
                "retry": {"attempts": 3},
                "timeout_s": 5,
            },
            "depends_on": [],
            "kind": "compensatable",
            "retry": {"attempts": 2, "delay_s": 0, "delay_s_max": 9},
            "timeout_s": 30,
            "deadline_s": 60,
            "approval": {"expires_s": 600},
        },
        {
            "step_id": "mail",
            "tool": "send",
            "rollback": {"semantic": "A mail went out."},
            "approval": True,
        },
    ],
}


def test_every_field_is_read() -> None:
    made = Plan.read(json.dumps(FULL))
    first, second = made.steps
    assert made == Plan.of(FULL)
    assert (made.task_id, made.goal, made.deadline_s) == ("trip-7", "A trip", 3600.0)
    assert made.inputs == {"who": {"name": None}}
    assert first.rollback == Rollback(
        tool="cancel",
        params={"id": "$output.step_1.id"},
        retry=Retry(attempts=3),
        timeout_s=5.0,
    )
    assert first.depends_on == ()
    assert first.approval == Approval(expires_s=600.0)
    assert first.retry == Retry(attempts=2, delay_s=0.0, delay_s_max=9.0)
    assert second.rollback == Semantic(semantic="A mail went out.")
    assert second.approval is True
    assert second.depends_on is None
    assert second.params == {}


def test_a_plan_can_be_made_in_python() -> None:
    made = Plan(
        task_id="trip-7",
        steps=(
            Step(step_id=1, tool="book", rollback=Rollback(tool="cancel"), depends_on=("a", 2)),
            Step(step_id="mail", tool="send", rollback=Semantic(semantic="x"), approval=True),
        ),
    )
    assert made == Plan.read(made.canonical_json())


@pytest.mark.parametrize(
    "fields",
    [
        {"step_id": True, "tool": "x"},
        {"step_id": 1, "tool": "x", "params": {"a": float("nan")}},
        {"step_id": 1, "tool": "x", "params": {"a": object()}},
        {"step_id": 1, "tool": "x", "params": {1: 2}},
        {"step_id": 1, "tool": "x", "params": [1]},
        {"step_id": 1, "tool": "x", "timeout_s": float("inf")},
        {"step_id": 1, "tool": "x\n"},
        {"step_id": 1, "tool": "x", "req_id": "r"},
    ],
)
def test_a_part_made_in_python_is_checked_by_pydantic(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Step(**fields)


def test_parameters_made_in_python_belong_to_the_plan_alone() -> None:
    params = {"a": [1]}
    made = Step(step_id=1, tool="x", params=params)
    params["a"].append(2)
    assert made.params == {"a": [1]}


def test_a_plan_cannot_be_changed() -> None:
    made = plan(step())
    with pytest.raises(ValidationError, match="frozen"):
        made.task_id = "other"
    with pytest.raises(ValidationError, match="frozen"):
        made.steps[0].tool = "other"


def test_a_plan_without_steps_has_a_sound_shape_for_it_may_grow() -> None:
    assert Plan.of({"task_id": "t", "steps": []}).steps == ()


def test_the_default_of_the_longest_wait_is_never_below_the_first() -> None:
    assert Retry(attempts=2).longest_delay_s == 60.0
    assert Retry(attempts=2, delay_s=90).longest_delay_s == 90.0
    assert Retry(attempts=2, delay_s=1, delay_s_max=2).longest_delay_s == 2.0


def test_the_canonical_text_is_sorted_and_lacks_what_was_not_said() -> None:
    made = plan(step(1, "t", params={"b": None, "a": 1}, timeout_s=30), goal=None)
    assert made.canonical_json() == (
        b'{"inputs":{},"steps":[{"params":{"a":1,"b":null},"step_id":1,"timeout_s":30.0,'
        b'"tool":"t"}],"task_id":"t"}'
    )
    assert made.content_hash() == hashlib.sha256(made.canonical_json()).hexdigest()


def test_two_writings_of_one_plan_have_one_hash() -> None:
    other = json.loads(json.dumps(FULL), object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    other["steps"][0]["timeout_s"] = 30.0
    other["steps"][1]["params"] = {}
    other["steps"][1]["name"] = None
    assert Plan.of(other).content_hash() == Plan.of(FULL).content_hash()


@pytest.mark.parametrize(
    "change",
    [
        {"task_id": "trip-8"},
        {"goal": None},
        {"inputs": {}},
        {"steps": FULL["steps"][:1]},
        {"steps": FULL["steps"][::-1]},
        {"deadline_s": None},
    ],
)
def test_two_plans_have_two_hashes(change: dict[str, Any]) -> None:
    assert Plan.of(FULL | change).content_hash() != Plan.of(FULL).content_hash()


def test_1_and_its_text_are_two_plans() -> None:
    assert plan(step(1)).content_hash() != plan(step("1")).content_hash()


def test_reading_the_canonical_text_gives_an_equal_plan() -> None:
    made = Plan.of(FULL)
    again = Plan.read(made.canonical_json())
    assert again == made
    assert again.canonical_json() == made.canonical_json()


def test_the_cached_text_does_not_make_equal_plans_unequal() -> None:
    one, other = Plan.of(FULL), Plan.of(FULL)
    one.canonical_json()
    assert one == other
    assert one.canonical_json() is one.canonical_json()


def test_an_updated_copy_is_checked_and_has_a_text_of_its_own() -> None:
    made = Plan.of(FULL)
    before = made.canonical_json()
    other = made.model_copy(update={"task_id": "trip-8"})
    assert other.task_id == "trip-8"
    assert other.steps == made.steps
    assert other.canonical_json() != before
    with pytest.raises(ValidationError):
        made.model_copy(update={"task_id": ""})


def test_a_plain_copy_is_equal() -> None:
    made = Plan.of(FULL)
    assert made.model_copy() == made
    assert made.model_copy(deep=True) == made
    assert copy.deepcopy(made) == made


def test_all_problems_of_text_and_shape_come_together() -> None:
    text = '{"task_id": 7, "steps": [{"step_id": NaN, "tool": "x", "a": 1, "a": 2}], "state": 1}'
    with pytest.raises(PlanError) as refused:
        Plan.read(text)
    assert {(problem.code, problem.pointer) for problem in refused.value.problems} == {
        ("not-finite", "/steps/0/step_id"),
        ("duplicate-key", "/steps/0/a"),
        ("wrong-type", "/task_id"),
        ("engine-owned-field", "/state"),
    }


def test_a_mapping_is_held_to_the_same_limits_as_a_text() -> None:
    small = Limits(step_max=2, string_max=20)
    with pytest.raises(PlanError, match="too-many-steps"):
        Plan.of({"task_id": "t", "steps": chain(3)}, limits=small)
    with pytest.raises(PlanError, match="too-many-steps"):
        Plan.read(json.dumps({"task_id": "t", "steps": chain(3)}), limits=small)
    with pytest.raises(PlanError, match="text-too-long"):
        Plan.of({"task_id": "t", "steps": [step(params={"x": "a" * 21})]}, limits=small)


def test_the_schema_for_planners_accepts_a_full_plan_and_refuses_others() -> None:
    schema = Plan.json_schema()
    validator = jsonschema_rs.validator_for(schema, offline=True)
    assert validator.is_valid(FULL)
    assert not validator.is_valid({"task_id": "t", "steps": []})
    assert not validator.is_valid(FULL | {"state": "DONE"})
    assert not validator.is_valid({"task_id": "t", "steps": [step(kind="undoable")]})
    assert not validator.is_valid({"task_id": "t", "steps": [step(timeout_s=0)]})


def test_every_field_of_the_schema_has_a_description() -> None:
    schema = Plan.json_schema()
    parts = [schema, *schema["$defs"].values()]
    for part in parts:
        assert part["description"]
        for name, field in part["properties"].items():
            assert field.get("description"), name
    assert "title" not in json.dumps(schema)


def test_an_unsound_plan_is_salvaged_without_options_that_no_rule_looks_at() -> None:
    bad = {
        "task_id": "t",
        "goal": 7,
        "surprise": 1,
        "inputs": {"name": 1},
        "steps": [
            step(name="\0", timeout_s=-1, retry={"attempts": 0, "x": 1}, approval="no", odd=1),
            step(2, rollback={"tool": "x", "timeout_s": 0, "status": "y"}),
        ],
    }
    salvaged, parts = parts_of_reading(read_value(bad))
    assert parts == ()
    assert salvaged == plan(step(), step(2, rollback={"tool": "x"}), inputs={"name": 1})


def test_where_more_is_wrong_the_sound_steps_are_salvaged() -> None:
    bad = {
        "task_id": "t",
        "steps": [step(), step(2, kind="odd"), "x", step(3, timeout_s=0), step(4, params=7)],
    }
    salvaged, parts = parts_of_reading(read_value(bad))
    assert salvaged is None
    assert parts == ((0, plan(step()).steps[0]), (3, plan(step(3)).steps[0]))


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"task_id": "t", "steps": 7},
        {"task_id": "t", "steps": chain(201)},
        {"task_id": "t", "steps": [], "inputs": {"name": 1, "goal.x": 2}},
        {"task_id": "t", "steps": [{"tool": "x", **{f"f{n}": 1 for n in range(150)}}]},
    ],
)
def test_what_cannot_be_salvaged_is_left_alone(bad: dict[str, Any]) -> None:
    assert parts_of_reading(read_value(bad)) == (None, ())


@pytest.mark.parametrize("bad", ["", " a", "a/b", "..", "a\n", "\ud800", "a" * 129, 7])
def test_a_task_id_can_be_checked_alone(bad: Any) -> None:
    Plan.check_task_id("trip-7")
    with pytest.raises(PlanError) as refused:
        Plan.check_task_id(bad)
    assert [problem.pointer for problem in refused.value.problems] == ["/task_id"]


def test_reading_functions_return_problems_instead_of_raising_them() -> None:
    made, problems = plan_of_reading(read_value({"task_id": "t"}))
    assert made is None
    assert [problem.code for problem in problems] == ["missing-field"]
    calls, problems = calls_of_reading(read_value({"calls": [{"tool": "x", "parms": {}}]}))
    assert calls is None
    assert [problem.hint for problem in problems] == ["Did you mean 'params'?"]


def test_the_schema_for_planners_says_how_many_steps_there_may_be() -> None:
    schema = Plan.json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    steps = schema["properties"]["steps"]
    assert (steps["minItems"], steps["maxItems"]) == (1, Limits().step_max)


def test_the_schema_for_planners_spares_them_titles_and_null_defaults() -> None:
    def keys_of(part: Any) -> list[tuple[str, Any]]:
        if isinstance(part, list):
            return [pair for each in part for pair in keys_of(each)]
        if not isinstance(part, dict):
            return []
        return [*part.items(), *(pair for each in part.values() for pair in keys_of(each))]

    found = keys_of(Plan.json_schema())
    assert not [value for key, value in found if key == "title"]
    defaults = [value for key, value in found if key == "default"]
    assert None not in defaults
    assert defaults, "defaults that say something are kept"


def test_a_bad_task_id_is_told_like_one_in_a_plan() -> None:
    for bad in ("", "a/b", "a" * 200, 7):
        with pytest.raises(PlanError) as alone:
            Plan.check_task_id(bad)  # type: ignore[arg-type]
        with pytest.raises(PlanError) as within:
            Plan.of({"task_id": bad, "steps": [step()]})
        assert tuple(alone.value.problems) == tuple(within.value.problems)


def test_a_plain_copy_is_deep_only_if_it_is_asked_to_be() -> None:
    made = plan(step(params={"a": [1]}))
    assert made.model_copy().steps is made.steps
    deep = made.model_copy(deep=True)
    assert deep == made
    assert deep.steps[0].params["a"] is not made.steps[0].params["a"]


def test_what_json_cannot_say_is_refused_in_a_part_made_in_python_with_its_place() -> None:
    with pytest.raises(ValidationError) as caught:
        Step(step_id=1, tool="t", params={"a": {"b": float("nan")}})
    (error,) = caught.value.errors()
    assert error["type"] == "not-json-value"
    assert error["msg"].startswith("/a/b: ")
    assert error["ctx"]["hint"].endswith(".")
    with pytest.raises(ValidationError, match="/: "):
        Step(step_id=1, tool="t", params={1: 2})  # type: ignore[dict-item]


def test_a_text_is_held_to_the_limits_that_are_asked_for() -> None:
    text = '{"task_id": "t", "inputs": {"x": "aaaaaaaaaaaaaaaaaaaa"}, "steps": []}'
    assert Plan.read(text).inputs == {"x": "a" * 20}
    with pytest.raises(PlanError, match="text-too-long"):
        Plan.read(text, limits=Limits(string_max=10))


def test_a_task_id_is_a_text_and_nothing_that_reads_as_one() -> None:
    with pytest.raises(PlanError, match="Expected a text"):
        Plan.check_task_id(b"trip")  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [99, 100, 101, 150])
def test_as_many_problems_of_the_shape_are_told_as_are_asked_for(count: int) -> None:
    unknown = {f"f{number}": 1 for number in range(count)}
    limits = Limits(problem_max=200)
    reading = read_json(json.dumps({"task_id": "t", "steps": [], **unknown}))
    _plan, problems = plan_of_reading(reading, limits)
    assert len(problems.as_tuple()) == count
    _calls, problems = calls_of_reading(read_json(json.dumps({"calls": [], **unknown})), limits)
    assert len(problems.as_tuple()) == count


def test_an_unknown_field_beside_calls_is_told_the_one_there_is() -> None:
    _calls, problems = calls_of_reading(read_json('{"calls": [], "zzz": 1}'))
    (problem,) = problems.as_tuple()
    assert problem.hint == "Leave it out; the fields are 'calls'."


def test_what_json_cannot_say_is_told_with_the_reason() -> None:
    with pytest.raises(ValidationError) as refused:
        Step(step_id=1, tool="a", params={"x": {1, 2}})
    (error,) = refused.value.errors()
    assert error["msg"] == "/x: A value of type set cannot be written as JSON."


@pytest.mark.parametrize(("count", "is_salvaged"), [(100, True), (101, False)])
def test_a_plan_is_salvaged_if_no_more_is_wrong_than_is_told(count: int, is_salvaged: bool) -> None:
    unknown = {f"f{number}": 1 for number in range(count)}
    reading = read_json(json.dumps({"task_id": "t", "steps": [step()], **unknown}))
    salvaged, _steps = parts_of_reading(reading)
    assert salvaged == (plan(step()) if is_salvaged else None)


@pytest.mark.parametrize(("count", "is_salvaged"), [(200, True), (201, False)])
def test_a_plan_of_as_many_steps_as_there_may_be_is_salvaged(count: int, is_salvaged: bool) -> None:
    reading = read_json(json.dumps({"task_id": "t", "steps": chain(count), "zzz": 1}))
    salvaged, steps = parts_of_reading(reading)
    assert (salvaged is not None) is is_salvaged
    assert steps == ()


def test_what_is_salvaged_leaves_what_was_read_as_it_is() -> None:
    text = json.dumps({"task_id": "t", "steps": [{**step(), "name": 7, "retry": {"zzz": 1}}]})
    reading = read_json(text)
    salvaged, _steps = parts_of_reading(reading)
    assert salvaged == plan(step())
    assert reading.value == json.loads(text)
