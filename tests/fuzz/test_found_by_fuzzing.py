"""What mutated input found once, each as its smallest case: it stays mended."""

from __future__ import annotations

from typing import Any

import pytest

from fsm_saga.coordinator.reading import read_saga
from fsm_saga.core.records import ActionStarted, ActionSucceeded, Record, SagaMoved, SagaSubmitted
from fsm_saga.errors import CommandError, CorruptRecordError, PlanError
from fsm_saga.plan.model import Plan
from fsm_saga.service.answers import Answer, calls_text
from fsm_saga.service.growing import grown_plan
from tests.fuzz.sagas import STORIES

PLAN = Plan.of(STORIES["done"])
TOOLS: dict[str, Any] = {"contracts": {"take": {}, "give_back": {}, "look": {}}, "rollbacks": {}}


def submitted(**fields: Any) -> SagaSubmitted:
    values: dict[str, Any] = {
        "at": 0.0,
        "saga_id": "done",
        "plan_hash": PLAN.content_hash(),
        "plan": PLAN.model_dump(exclude_none=True),
        "tools": TOOLS,
    }
    return SagaSubmitted(**(values | fields))


def started(step: int) -> ActionStarted:
    return ActionStarted(at=0.0, step=step, req_id="r", revision=1, params={})


@pytest.mark.parametrize(
    "journal",
    [
        [submitted(tools={"contracts": None, "rollbacks": {}})],
        [submitted(tools={"contracts": {"take": {"sure": True}}, "rollbacks": {}})],
        [submitted(tools={})],
        [submitted(), SagaMoved(at=0.0, event="start", state="EXECUTING(x)")],
        [submitted(), SagaMoved(at=0.0, event="start", state="DONE", outcome="DONE")],
        [submitted(), started(99)],
        [submitted(), started(-9)],
        [submitted(), ActionSucceeded(at=0.0, step=2**63, output=None)],
    ],
)
def test_a_journal_of_readable_records_that_mean_nothing_is_a_corrupt_one(
    journal: list[Record],
) -> None:
    assert read_saga([submitted()])[0].saga_id == "done"
    with pytest.raises(CorruptRecordError, match="other sagas are not affected"):
        read_saga(journal)


@pytest.mark.parametrize("steps", [[], "[]", b'{"steps": []}', {"steps": []}])
def test_a_plan_does_not_grow_by_nothing(steps: Any) -> None:
    assert len(grown_plan(PLAN, [{"tool": "look", "step_id": 9}]).steps) == len(PLAN.steps) + 1
    with pytest.raises(PlanError) as refused:
        grown_plan(PLAN, steps)
    assert [problem.code for problem in refused.value.problems] == ["no-steps"]


def test_an_error_about_an_answer_does_not_write_out_what_was_answered() -> None:
    vast: Any = [0] * 10
    for _ in range(12):
        vast = [vast] * 10
    for field in ("step_id", "position"):
        with pytest.raises(CommandError) as refused:
            Answer.from_json("settled", {"by": "Ada", field: vast})
        assert len(str(refused.value)) < 200


@pytest.mark.parametrize("number", [10**5_000, 2**63, -(2**70)], ids=["vast", "65", "71"])
@pytest.mark.parametrize("field", ["step_id", "position"])
def test_a_number_in_an_answer_that_no_store_can_hold_is_refused(field: str, number: int) -> None:
    assert Answer.from_json("settled", {"by": "Ada", field: 2**63 - 1})
    with pytest.raises(CommandError, match="Nothing was changed"):
        Answer.from_json("settled", {"by": "Ada", field: number})


def test_an_answer_without_a_value_has_none_that_a_store_could_not_hold() -> None:
    with pytest.raises(CommandError, match="'settled' has no value"):
        Answer.from_json("settled", {"by": "Ada", "value": object()})


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ([object()], "not-json-value"),
        ([{"tool": "x", "params": {"x": float("nan")}}], "not-finite"),
        ([{"tool": "x", "params": {"x": 10**30}}], "number-too-large"),
        ({"calls": [{"tool": "\ud800"}]}, "lone-surrogate"),
        (7, "not-an-object"),
    ],
)
def test_calls_from_python_that_are_no_json_are_refused_like_a_text(value: Any, code: str) -> None:
    with pytest.raises(PlanError) as refused:
        calls_text(value)
    assert code in [problem.code for problem in refused.value.problems]
