from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from fsm_saga.core.contract import ToolFacts
from fsm_saga.plan.problems import Near, Path
from fsm_saga.plan.schemas import (
    lacks,
    output_is_single,
    output_properties,
    params_mismatches,
    required_params,
)
from tests.unit.plan.builders import TEXT, closed, tool

NUMBER = {"type": "number"}


def mismatches(
    schema: dict[str, Any], params: dict[str, Any], *references: Path
) -> list[tuple[str, Path]]:
    facts = tool("t", params=schema)
    found = params_mismatches(facts, params, references, Near())
    return sorted((mismatch.code, mismatch.path) for mismatch in found)


def deep_schema(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"not": schema}
    return schema


def test_an_undeclared_schema_takes_anything() -> None:
    assert mismatches({}, {"a": 1}) == []
    assert mismatches({"type": "object"}, {"a": 1}) == []
    assert required_params(tool("t")) == ()


def test_names_are_checked_even_where_the_schema_does_not_close_itself() -> None:
    schema = {"type": "object", "properties": {"a": TEXT}, "required": ["a"]}
    assert mismatches(schema, {"b": 1}) == [("missing-param", ("a",)), ("unknown-param", ("b",))]
    assert mismatches(schema | {"additionalProperties": True}, {"a": "x", "b": 1}) == []
    numbers = schema | {"additionalProperties": NUMBER}
    assert mismatches(numbers, {"a": "x", "b": 1}) == []
    assert mismatches(numbers, {"a": "x", "b": "y"}) == [("param-mismatch", ("b",))]


def test_a_schema_without_properties_may_still_be_closed() -> None:
    assert mismatches({"type": "object", "properties": {}}, {"a": 1}) == [("unknown-param", ("a",))]
    assert mismatches({"additionalProperties": False}, {"a": 1}) == [("unknown-param", ("a",))]


@pytest.mark.parametrize(
    "opening",
    [
        {"patternProperties": {"^x": {}}},
        {"allOf": [{"properties": {"xb": {}}}]},
        {"anyOf": [{"properties": {"xb": {}}}]},
        {"oneOf": [{"properties": {"xb": {}}}]},
        {"if": {"required": ["zz"]}, "then": {"required": ["yy"]}},
        {"dependentSchemas": {"zz": {"properties": {"xb": {}}}}},
    ],
)
def test_names_that_another_part_of_the_schema_may_know_are_let_through(
    opening: dict[str, Any],
) -> None:
    schema = {"type": "object", "properties": {"a": TEXT}, **opening}
    assert mismatches(schema, {"a": "x", "xb": 1}) == []


def test_names_beside_a_pattern_are_checked_by_the_schema_itself() -> None:
    schema = closed(a=TEXT) | {"patternProperties": {"^x": {}}}
    assert mismatches(schema, {"a": "x", "xb": 1}) == []
    assert mismatches(schema, {"a": "x", "b": 1}) == [("param-mismatch", ())]


def test_dependent_names_are_not_lost() -> None:
    schema = closed(a=TEXT) | {"properties": {"a": TEXT, "b": TEXT}}
    schema |= {"dependentRequired": {"a": ["b"]}}
    assert mismatches(schema, {"a": "x"}) == [("param-mismatch", ())]


def test_a_schema_behind_a_reference_is_followed() -> None:
    schema = {"$ref": "#/$defs/a~1b", "$defs": {"a/b": closed(a=TEXT)}}
    assert mismatches(schema, {"b": 1}) == [("missing-param", ("a",)), ("unknown-param", ("b",))]
    assert required_params(tool("t", params=schema)) == ("a",)


MORE = {"$defs": {"more": {"properties": {"b": NUMBER}, "required": ["b"]}}}


def test_what_stands_beside_a_reference_of_a_schema_holds_too() -> None:
    schema = {**MORE, "properties": {"a": TEXT}, "required": ["a"], "$ref": "#/$defs/more"}
    assert mismatches(schema, {"a": "x", "b": 1}) == []
    assert mismatches(schema, {"c": 1}) == [
        ("missing-param", ("a",)),
        ("missing-param", ("b",)),
        ("unknown-param", ("c",)),
    ]
    assert mismatches(schema, {"a": 1, "b": "x"}) == [
        ("param-mismatch", ("a",)),
        ("param-mismatch", ("b",)),
    ]
    assert required_params(tool("t", params=schema)) == ("a", "b")


def test_a_name_that_two_schemas_need_is_told_once() -> None:
    schema = {**MORE, "required": ["b", "a"], "$ref": "#/$defs/more"}
    assert required_params(tool("t", params=schema)) == ("b", "a")
    assert mismatches(schema, {"a": 1}) == [("missing-param", ("b",))]
    assert mismatches(schema, {"a": 1, "b": 1}) == []  # a name that is needed is known


@pytest.mark.parametrize(
    "opening",
    [
        {"additionalProperties": True},
        {"additionalProperties": NUMBER},
        {"unevaluatedProperties": True},
        {"anyOf": [{"properties": {"c": {}}}]},
    ],
)
def test_either_schema_may_let_more_names_in(opening: dict[str, Any]) -> None:
    params = {"a": 1, "b": 1, "c": 1}
    inner = {"properties": {"b": NUMBER}}
    outer = {"properties": {"a": {}}, "$ref": "#/$defs/more"}
    assert mismatches({**outer, "$defs": {"more": {**inner, **opening}}}, params) == []
    assert mismatches({**outer, **opening, "$defs": {"more": inner}}, params) == []


def test_a_schema_that_closes_itself_does_not_see_the_names_beside_it() -> None:
    inner = {"properties": {"b": {}}, "additionalProperties": False}
    schema = {"properties": {"a": {}, "b": {}}, "$ref": "#/$defs/more", "$defs": {"more": inner}}
    assert mismatches(schema, {"b": 1}) == []
    assert mismatches(schema, {"a": 1, "b": 1}) == [("unknown-param", ("a",))]
    outer = {**schema, "additionalProperties": False, "$defs": {"more": {"properties": {"c": {}}}}}
    assert mismatches(outer, {"a": 1, "b": 1}) == []
    assert mismatches(outer, {"c": 1}) == [("unknown-param", ("c",))]
    patterned = inner | {"patternProperties": {"^x": {}}}
    both = {**schema, "additionalProperties": False, "$defs": {"more": patterned}}
    assert mismatches(both, {"b": 1}) == []
    assert mismatches(both, {"a": 1}) == [("param-mismatch", ())]


def test_a_false_schema_for_all_names_is_told_by_name_only_if_it_holds_always() -> None:
    schema = {**closed(a=TEXT), "if": {"required": ["a"]}, "then": {"additionalProperties": False}}
    assert mismatches(schema, {"a": "x"}) == [("param-mismatch", ())]
    shut = {"$ref": "#/$defs/none", "$defs": {"none": {"additionalProperties": False}}}
    assert mismatches(shut, {"a": 1}) == [("unknown-param", ("a",))]


@pytest.mark.parametrize("draft", ["draft-04", "draft-06", "draft-07"])
def test_in_older_drafts_a_reference_stands_alone(draft: str) -> None:
    schema = {
        "$schema": f"http://json-schema.org/{draft}/schema#",
        "required": ["a"],
        "$ref": "#/definitions/more",
        "definitions": {"more": closed(b=NUMBER)},
    }
    assert mismatches(schema, {"b": 1}) == []
    assert mismatches(schema, {}) == [("missing-param", ("b",))]
    assert required_params(tool("t", params=schema)) == ("b",)


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{"$ref": "#/$defs/more"}], **MORE},
        {"$ref": "#other", "$defs": {"more": {"$anchor": "other", "required": ["b"]}}},
    ],
    ids=["allOf", "anchor"],
)
def test_a_name_that_is_needed_behind_any_reference_is_missed(schema: dict[str, Any]) -> None:
    assert mismatches(schema, {"a": "x"}) == [("param-mismatch", ())]
    assert mismatches(schema, {"a": "x", "b": 1}) == []


def test_a_branch_behind_a_reference_depends_on_values_like_any_other() -> None:
    condition = {"properties": {"a": {"const": "x"}}}
    schema = {**MORE, "if": {"not": condition}, "then": {"$ref": "#/$defs/more"}}
    assert mismatches(schema, {"a": "y"}) == [("param-mismatch", ())]
    assert mismatches(schema, {"a": "$r"}, ("a",)) == []


def test_a_reference_agrees_with_any_schema_and_a_literal_beside_it_does_not() -> None:
    schema = closed(a=NUMBER, b=NUMBER)
    params = {"a": "$output.step_1", "b": "x"}
    assert mismatches(schema, params, ("a",)) == [("param-mismatch", ("b",))]


@pytest.mark.parametrize(
    ("inner", "value"),
    [
        ({"enum": [["x"]]}, ["$r"]),
        ({"const": ["x"]}, ["$r"]),
        ({"anyOf": [{"const": ["x"]}, {"const": ["y"]}]}, ["$r"]),
        ({"not": {"items": {"type": "string"}}}, ["$r"]),
        ({"type": "array", "uniqueItems": True}, ["$r", "$r"]),
        ({"type": "array", "contains": NUMBER}, ["$r"]),
        ({"if": {"items": {"const": "z"}}, "then": {}, "else": {"maxItems": 0}}, ["$r"]),
    ],
)
def test_what_depends_on_the_value_of_a_reference_is_not_told(
    inner: dict[str, Any], value: list[Any]
) -> None:
    places = tuple(("a", at) for at in range(len(value)))
    assert mismatches(closed(a=inner), {"a": value}, *places) == []
    assert mismatches(closed(a=inner), {"a": value}) != []


@pytest.mark.parametrize(
    ("inner", "value"),
    [
        (TEXT, ["$r"]),
        ({"type": "array", "maxItems": 0}, ["$r"]),
        ({"type": "array", "minItems": 2}, ["$r"]),
        ({"type": "object"}, ["$r"]),
    ],
)
def test_what_is_certain_above_a_reference_is_told(inner: dict[str, Any], value: Any) -> None:
    assert mismatches(closed(a=inner), {"a": value}, ("a", 0)) == [("param-mismatch", ("a",))]


def test_a_nested_name_is_certain_above_a_reference() -> None:
    schema = closed(a=closed(b=TEXT))
    assert mismatches(schema, {"a": {"c": "$r"}}, ("a", "c")) == [
        ("param-mismatch", ("a",)),
        ("param-mismatch", ("a",)),
    ]


def test_an_older_draft_is_understood() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {"a": {"items": [NUMBER, TEXT]}},
    }
    assert mismatches(schema, {"a": [1, "x"]}) == []
    assert mismatches(schema, {"a": ["x", "x"]}) == [("param-mismatch", ("a", 0))]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"properties": 7},
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "file:///etc/hostname"},
        {"$schema": "https://example.com/unknown"},
        {"properties": {"a": {"pattern": "("}}},
        deep_schema(5000),
    ],
    ids=lambda schema: next(iter(schema)),
)
def test_a_broken_schema_or_one_that_would_fetch_is_a_problem(schema: dict[str, Any]) -> None:
    assert mismatches(schema, {}) == [("broken-tool-schema", ())]


def test_schemas_made_of_other_mappings_are_compiled() -> None:
    schema = MappingProxyType(
        {"properties": MappingProxyType({"a": MappingProxyType(NUMBER)}), "required": ("a",)}
    )
    facts = tool("t", params=schema)
    assert [each.path for each in params_mismatches(facts, {"a": "x"}, (), Near())] == [("a",)]
    assert required_params(facts) == ("a",)


def test_a_schema_is_compiled_once_for_the_same_facts() -> None:
    class Counting(dict[str, Any]):
        read = 0

        def items(self) -> Any:
            type(self).read += 1
            return super().items()

    facts = ToolFacts(name="t", params_schema=Counting(closed(a=TEXT)))
    for _ in range(3):
        list(params_mismatches(facts, {"a": "x"}, (), Near()))
    assert Counting.read == 1


OUTPUT = {
    "$defs": {"Leg": closed(city=TEXT, next={"$ref": "#/$defs/Leg"})},
    **closed(
        id=TEXT,
        price=NUMBER,
        legs={"type": "array", "items": {"$ref": "#/$defs/Leg"}},
        pair={"type": "array", "prefixItems": [TEXT, closed(x=TEXT)]},
        maybe={"anyOf": [closed(x=TEXT), {"type": "null"}]},
        nullable={"type": ["object", "null"], "properties": {"x": TEXT}},
        shut={"type": ["object", "null"], "properties": {"x": TEXT}, "additionalProperties": False},
        either={"type": ["object", "array"]},
        open={"type": "object", "properties": {"x": TEXT}},
        words={"type": "object", "additionalProperties": TEXT},
        pattern={"type": "object", "patternProperties": {"^x": {}}, "additionalProperties": False},
        any={},
        yes=True,
        loop={"anyOf": [{"$ref": "#/properties/loop"}, {"$ref": "#/properties/loop"}]},
        lost={"$ref": "#/nowhere/at/all"},
        gone={"$ref": "#/nowhere"},
        round={"$ref": "#/properties/round"},
        odd={"type": "object", "properties": 7},
        odder={"type": [{}, 7]},
        lists={"type": ["array", "null"]},
    ),
}


@pytest.mark.parametrize(
    "path",
    [
        "",
        "id",
        "legs.0.city",
        "legs.7.next.next.city",
        "pair.0",
        "pair.1.x",
        "pair.2.anything",
        "maybe.x",
        "nullable.y",
        "shut.x",
        "either.x",
        "open.y.z",
        "words.anything",
        "pattern.xyz",
        "any.x.y",
        "yes.x",
        "loop.x",
        "lost.x",
        "gone.x",
        "round.x",
        "odd.x",
        "odder.x",
        "lists.0.x",
    ],
)
def test_a_path_that_may_lead_somewhere_is_let_through(path: str) -> None:
    segments = tuple(path.split(".")) if path else ()
    assert lacks(tool("t", output=OUTPUT), segments) is None


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("nope", "it has no 'nope'; it has 'id'"),
        ("id.x", "it is of type string"),
        ("price.__dict__", "it is of type number"),
        ("legs.city", "it is a list"),
        ("legs.-1", "it is a list"),
        ("legs.0.town", "it has no 'town'"),
        ("legs.0.next.next.town", "it has no 'town'"),
        ("pair.0.x", "it is of type string"),
        ("pair.1.y", "it has no 'y'"),
        ("maybe.y", "it has no 'y'"),
        ("shut.y", "it has no 'y'"),
        ("words.a.b", "it is of type string"),
        ("lists.x", "it is a list"),
    ],
)
def test_a_path_that_certainly_leads_nowhere_is_told(path: str, why: str) -> None:
    reason = lacks(tool("t", output=OUTPUT), tuple(path.split(".")))
    assert reason is not None
    assert why in reason


def test_nothing_is_known_of_an_undeclared_output() -> None:
    assert lacks(tool("t"), ("x",)) is None
    assert output_properties(tool("t")) is None


def test_the_fields_of_an_output_are_known_if_it_is_an_object() -> None:
    assert output_properties(tool("t", output=closed(a=TEXT))) == frozenset({"a"})
    assert output_properties(tool("t", output=TEXT)) is None
    through = {"$ref": "#/$defs/A", "$defs": {"A": closed(b=TEXT)}}
    assert output_properties(tool("t", output=through)) == frozenset({"b"})
    cut = {"$ref": "#/$defs/A/b/c", "$defs": {"A": {"b": 7}}}
    assert output_properties(tool("t", output=cut)) is None


def test_an_output_has_what_stands_beside_a_reference_and_behind_it() -> None:
    behind = closed(b=TEXT, c=closed(d=TEXT))
    schema = {
        "type": "object",
        "properties": {"a": TEXT, "c": closed(e=TEXT)},
        "$ref": "#/$defs/more",
        "$defs": {"more": {**behind, "additionalProperties": True}},
    }
    facts = tool("t", output=schema)
    assert output_properties(facts) == frozenset({"a", "b", "c"})
    assert lacks(facts, ("b",)) is None
    assert lacks(facts, ("a", "x")) == "it is of type string, so it has no 'x'"
    assert lacks(facts, ("b", "x")) == "it is of type string, so it has no 'x'"
    assert lacks(facts, ("c", "d")) == "it has no 'd'; it has 'e'"
    assert lacks(facts, ("c", "e")) == "it has no 'e'; it has 'd'"
    single = {"description": "An id.", "$ref": "#/$defs/id", "$defs": {"id": TEXT}}
    assert output_is_single(tool("t", output=single))
    assert output_is_single(tool("t", output={**TEXT, "$ref": "#/$defs/a", "$defs": {"a": {}}}))


@pytest.mark.parametrize("kind", ["string", "integer", "number", "boolean"])
def test_a_plain_value_is_a_single_output(kind: str) -> None:
    assert output_is_single(tool("t", output={"type": kind}))
    referred = {"$ref": "#/$defs/a", "$defs": {"a": {"type": kind}}}
    assert output_is_single(tool("t", output=referred))


@pytest.mark.parametrize("schema", [None, {}, {"type": "object"}, {"type": "array"}])
def test_what_has_parts_or_is_not_declared_is_no_single_output(
    schema: dict[str, Any] | None,
) -> None:
    assert not output_is_single(tool("t", output=schema))


def test_a_list_is_looked_into_by_position() -> None:
    one = {"type": "object", "properties": {"a": TEXT}, "additionalProperties": False}
    listed = tool("t", output={"type": "array", "prefixItems": [one], "items": one})
    assert lacks(listed, ("0", "a")) is None
    assert lacks(listed, ("0", "b")) == "it has no 'b'; it has 'a'"
    assert lacks(listed, ("123456789012", "b")) == "it has no 'b'; it has 'a'"
    anything = tool("t", output={"type": "array"})
    assert lacks(anything, ("5", "b")) is None
    assert lacks(tool("t", output={"type": "array", "items": False}), ("0", "a")) is None


def test_a_schema_that_is_closed_knows_its_names_whatever_else_it_says() -> None:
    schema = closed(a=TEXT) | {"allOf": [{"properties": {"xb": {}}}]}
    assert ("unknown-param", ("xb",)) in mismatches(schema, {"a": "x", "xb": 1})


def test_each_mismatch_is_told_beside_those_that_are_told_by_name() -> None:
    schema = closed(a=TEXT, b=TEXT, c=TEXT)
    assert mismatches(schema, {"a": 1, "b": 2, "z": 3}) == [
        ("missing-param", ("c",)),
        ("param-mismatch", ("a",)),
        ("param-mismatch", ("b",)),
        ("unknown-param", ("z",)),
    ]


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
def test_a_path_is_missing_if_no_branch_has_it(keyword: str) -> None:
    one, two = closed(a=TEXT), closed(b=TEXT)
    facts = tool("t", output={keyword: [one, two]})
    assert lacks(facts, ("a",)) is None
    assert lacks(facts, ("b",)) is None
    assert lacks(facts, ("c",)) == "it has no 'c'; it has 'a'"
    assert lacks(tool("t", output={keyword: []}), ("c",)) is None
    # Something that is no list of branches says nothing; what stands beside it does.
    assert (
        lacks(tool("t", output={**one, keyword: {"x": 1}}), ("c",)) == "it has no 'c'; it has 'a'"
    )


def test_what_may_be_a_list_or_an_object_may_have_any_path() -> None:
    assert lacks(tool("t", output={**closed(a=TEXT), "type": ["object", "array"]}), ("b",)) is None
    assert lacks(tool("t", output={"type": "object"}), ("b",)) is None
    assert lacks(tool("t", output={"type": "object", "properties": {}}), ("b", "c")) is None


def test_a_name_in_a_reference_of_a_schema_may_be_escaped() -> None:
    schema = {"$ref": "#/$defs/a~1b~0c", "$defs": {"a/b~c": {"type": "string"}}}
    assert output_is_single(tool("t", output=schema))
    assert lacks(tool("t", output=schema), ("x",)) == "it is of type string, so it has no 'x'"


def test_of_a_long_message_three_hundred_characters_are_told() -> None:
    facts = tool("pick", params={"properties": {"x": {"type": "integer"}}})
    (found,) = params_mismatches(facts, {"x": "0123456789" * 40}, (), Near())
    assert found.message == f'"{("0123456789" * 40)[:299]}.'
