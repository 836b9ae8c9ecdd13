from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fsm_saga.core.limits import Limits
from fsm_saga.errors import PlanError, Problem
from fsm_saga.plan.model import Plan
from fsm_saga.plan.shape import ENGINE_OWNED, shape_problems
from tests.unit.plan.builders import step


def problem_of(**fields: Any) -> Problem:
    """Return the one problem of a plan whose step has these fields."""
    with pytest.raises(PlanError) as refused:
        Plan.of({"task_id": "t", "steps": [step(**fields)]})
    (problem,) = refused.value.problems
    return problem


@pytest.mark.parametrize("name", sorted(ENGINE_OWNED))
def test_every_field_of_the_engine_is_known_in_any_spelling(name: str) -> None:
    first, *rest = name.split("_")
    for spelling in (name, name.upper(), name.replace("_", "-"), first + "".join(rest).title()):
        assert problem_of(**{spelling: 1}).code == "engine-owned-field"


@pytest.mark.parametrize(
    ("fields", "message", "hint"),
    [
        ({"tool": 7}, "Expected a text, found 7.", "double quotes"),
        ({"params": "x"}, "Expected an object, found 'x'.", "{...}"),
        ({"depends_on": "x"}, "Expected a list, found 'x'.", "[...]"),
        ({"retry": {"attempts": 1.5}}, "Expected a whole number, found 1.5.", "point"),
        ({"retry": {"attempts": "2"}}, "Expected a whole number, found '2'.", "quotes"),
        ({"timeout_s": "2"}, "Expected a number, found '2'.", "quotes"),
        ({"timeout_s": 0}, "0 is out of range: it has to be greater than 0.", "range"),
        ({"name": ""}, "has 0 characters; it has to have at least 1 character", "length"),
        ({"kind": "pivott"}, "'pivott' is not one of", "'pivot'"),
        ({"kind": 7}, "7 is not one of", "Leave it out."),
        ({"tools": 1}, "There is no field 'tools' here.", "'tool'"),
        ({"zzz": 1}, "There is no field 'zzz' here.", "the fields are 'step_id'"),
        ({"rollback": {"tol": 1, "tool": "x"}}, "no field 'tol'", "'tool'"),
        ({"approval": {"expires": 1, "expires_s": 1}}, "no field 'expires'", "'expires_s'"),
        ({"retry": {"attempt": 1, "attempts": 1}}, "no field 'attempt'", "'attempts'"),
        ({"rollback": {"semantic": "x", "tool": "y"}}, "no field 'tool'", "not both"),
    ],
)
def test_each_error_is_told_in_our_words(fields: dict[str, Any], message: str, hint: str) -> None:
    problem = problem_of(**fields)
    assert message in problem.message
    assert hint in problem.hint


def test_a_missing_field_is_pointed_at_where_it_should_be() -> None:
    problem = problem_of(rollback={"params": {}})
    assert problem.pointer == "/steps/0/rollback/tool"
    assert problem.message == "The field 'tool' is missing."


def test_an_error_that_pydantic_may_invent_is_told_in_its_own_words() -> None:
    class Part(BaseModel):
        model_config = ConfigDict(strict=True)
        number: int = Field(multiple_of=2)

    with pytest.raises(ValidationError) as refused:
        Part.model_validate({"number": 3})
    (problem,) = shape_problems(refused.value, {})
    assert (problem.code, problem.pointer) == ("bad-value", "/number")


def test_no_more_errors_are_told_than_the_limit_and_one() -> None:
    with pytest.raises(ValidationError) as refused:
        Plan.model_validate({"task_id": "t", "steps": [], **{f"f{n}": 1 for n in range(50)}})
    assert len(list(shape_problems(refused.value, {}, Limits(problem_max=3)))) == 4


def test_of_an_error_without_words_of_ours_the_schema_is_named() -> None:
    class Part(BaseModel):
        number: int = Field(multiple_of=2)

    with pytest.raises(ValidationError) as refused:
        Part.model_validate({"number": 3})
    (problem,) = shape_problems(refused.value, {})
    assert problem.message == "Input should be a multiple of 2; found 3."
    assert problem.hint == "Look at the plan's JSON Schema."


def test_an_error_without_details_is_told_too() -> None:
    class Part(BaseModel):
        nothing: None

    with pytest.raises(ValidationError) as refused:
        Part.model_validate({"nothing": 3})
    (problem,) = shape_problems(refused.value, {})
    assert (problem.code, problem.pointer) == ("bad-value", "/nothing")
    assert problem.message == "Input should be None; found 3."
