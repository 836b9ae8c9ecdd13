from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import pytest

from fsm_saga.core.contract import ToolFacts
from fsm_saga.plan.assumed import AssumedTools
from fsm_saga.plan.model import Plan
from fsm_saga.simulation.outputs import PlanOutputs, example, examples_of

SCHEMAS: list[dict[str, Any]] = [
    {"type": "string", "minLength": 20},
    {"type": "string", "maxLength": 2},
    {"type": "string", "format": "date-time"},
    {"type": "integer", "minimum": 5},
    {"type": "integer", "maximum": -3},
    {"type": "number", "exclusiveMinimum": 7},
    {"type": ["null", "integer"]},
    {"type": "boolean"},
    {"type": "null"},
    {"const": 4},
    {"enum": ["b", "a"]},
    {"anyOf": [{"type": "null"}, {"type": "string"}]},
    {"type": "array", "items": {"type": "integer"}, "minItems": 3},
    {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]},
    {
        "type": "object",
        "properties": {"at": {"$ref": "#/$defs/Place"}},
        "required": ["at"],
        "$defs": {"Place": {"type": "object", "properties": {"x": {"type": "number"}}}},
    },
]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_an_example_fits_its_schema(schema: dict[str, Any]) -> None:
    jsonschema_rs.validate(schema, example(schema, name="it"))


def test_a_schema_that_leads_into_itself_has_an_end() -> None:
    schema = {
        "$ref": "#/$defs/Node",
        "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
    }
    assert "next" in example(schema, name="it")


def outputs(first: Mapping[str, Any], *references: str) -> list[Any]:
    steps = [
        {"step_id": 1, "tool": "one", "params": {}},
        {"step_id": 2, "tool": "two", "params": {str(i): t for i, t in enumerate(references)}},
    ]
    plan = Plan.of({"task_id": "t", "steps": steps})
    facts = ToolFacts(name="one", output_schema=first or None)
    return examples_of(plan, {"one": facts, "two": AssumedTools()["two"]})


def test_an_output_has_what_references_ask_for() -> None:
    found = outputs({}, "$output.step_1.seats.1.row", "$output.step_1.id")

    assert found[0]["seats"][1] == {"row": "row-1"}
    assert found[0]["id"] == "id-1"
    assert found[1] == {}


def test_what_a_schema_says_is_kept() -> None:
    schema = {"type": "object", "properties": {"id": {"type": "integer"}}}
    assert outputs(schema, "$output.step_1.id")[0] == {"id": 1}


def test_a_whole_output_may_be_asked_for() -> None:
    assert outputs({}, "$output.step_1")[0] == "output-1"


def test_a_poor_output_is_empty_unless_the_schema_rules_that_out() -> None:
    steps = [{"step_id": i, "tool": t, "params": {}} for i, t in enumerate(("free", "typed"))]
    plan = Plan.of({"task_id": "t", "steps": steps})
    typed = ToolFacts(name="typed", output_schema={"type": "string"})
    found = PlanOutputs(plan, {"free": ToolFacts(name="free"), "typed": typed})

    assert found.poor("t", 0) == {}
    assert found.poor("t", 1) == found.whole("t", 1) == found.read("t", 1) == "1"
    assert found.whole("t", 9) == {}
