"""How far a search goes into what tools declare, and what is told of a mismatch."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from fsm_saga.plan.problems import Near
from fsm_saga.plan.schemas import lacks, params_mismatches
from tests.unit.plan.builders import tool

ITSELF = {"$ref": "#/$defs/node"}
NO_KEY = "it is a list, so 'b' cannot be looked up in it"
# A schema that leads back to itself, a segment that leads on, the last ones, and what is told.
WAYS: dict[str, tuple[dict[str, Any], str, tuple[str, ...], str]] = {
    "properties": (
        {"type": "object", "properties": {"a": ITSELF}, "additionalProperties": False},
        "a",
        ("b",),
        "it has no 'b'; it has 'a'",
    ),
    "other properties": (
        {"type": "object", "properties": {"b": {"type": "null"}}, "additionalProperties": ITSELF},
        "a",
        ("b", "c"),
        "it is of type null, so it has no 'c'",
    ),
    "items": ({"type": "array", "items": ITSELF}, "0", ("b",), NO_KEY),
    "first items": ({"type": "array", "prefixItems": [ITSELF]}, "0", ("b",), NO_KEY),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_path_is_followed_for_a_hundred_levels_and_then_it_may_be_there(name: str) -> None:
    node, segment, last, why = WAYS[name]
    facts = tool("t", output={"$defs": {"node": node}, **ITSELF})
    for length, said in ((2, why), (50, why), (101, why), (102, None), (500, None)):
        path = (*[segment] * (length - len(last)), *last)
        assert lacks(facts, path) == said


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
def test_branches_inside_each_other_are_followed_for_a_hundred_levels(keyword: str) -> None:
    schema: dict[str, Any] = {"type": "string"}
    for level in range(1, 102):
        schema = {keyword: [schema]}
        assert (lacks(tool("t", output=schema), ("a",)) is None) is (level > 100)


def test_two_thousand_schemas_are_looked_at_and_then_it_may_be_there() -> None:
    branch = {"type": "string"}
    for count, is_judged in ((1999, True), (2000, False)):
        facts = tool("t", output={"anyOf": [branch] * count})
        assert (lacks(facts, ("a",)) is not None) is is_judged


def test_an_object_without_fields_has_nothing() -> None:
    facts = tool("t", output={"type": "object", "additionalProperties": False})
    assert lacks(facts, ("a",)) == "it has no 'a'; it has nothing"


def test_a_mismatch_of_the_parameters_as_a_whole_is_told() -> None:
    facts = tool("t", params={"type": "object", "minProperties": 2})
    (found,) = params_mismatches(facts, {"a": 1}, (), Near())
    assert (found.code, found.path) == ("param-mismatch", ())
    assert found.message == '{"a":1} has less than 2 properties.'


@pytest.mark.parametrize(
    ("value", "said"), [(".", '".'), ("X", '"' + "X" * 299 + "."), (" ", '"' + " " * 299 + ".")]
)
def test_a_message_ends_in_one_full_stop(value: str, said: str) -> None:
    facts = tool("t", params={"properties": {"x": {"type": "integer"}}})
    (found,) = params_mismatches(facts, {"x": value * 400}, (), Near())
    assert found.message == said


def test_a_schema_that_nobody_can_change_is_read_in_a_list_too() -> None:
    text = MappingProxyType({"type": "string"})
    for choices in ([text], (text,)):
        facts = tool("t", params={"properties": {"x": {"anyOf": choices}}})
        assert [each.code for each in params_mismatches(facts, {"x": 7}, (), Near())] == [
            "param-mismatch"
        ]
        assert list(params_mismatches(facts, {"x": "a"}, (), Near())) == []


@pytest.mark.parametrize("target", [True, [{"type": "string"}], "x", None])
def test_of_what_leads_to_no_schema_nothing_is_known(target: object) -> None:
    facts = tool("t", output={"$ref": "#/$defs/x", "$defs": {"x": target}})
    assert lacks(facts, ("a",)) is None


@pytest.mark.parametrize(
    ("draft", "is_lone"),
    [
        ("http://json-schema.org/draft-07/schema#", True),
        ("https://example.org/schemas/draft-07/schema#", True),
        ("https://json-schema.org/draft/2020-12/schema", False),
        (None, False),
    ],
)
def test_what_stands_beside_a_reference_counts_since_2019(draft: str | None, is_lone: bool) -> None:
    schema: dict[str, Any] = {"$ref": "#/$defs/x", "type": "string", "$defs": {"x": {}}}
    facts = tool("t", output=schema if draft is None else {"$schema": draft, **schema})
    assert (lacks(facts, ("a",)) is None) is is_lone
