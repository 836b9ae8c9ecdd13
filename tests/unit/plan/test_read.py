"""Tests of the reader; what is refused with which code is in the corpus, here is the rest."""

from __future__ import annotations

import enum
import json
import math
import re
from collections import OrderedDict
from datetime import date
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm_saga.core.limits import LIMITS, Limits
from fsm_saga.errors import PlanError
from fsm_saga.plan.read import _INT_MAX, _INT_MIN, _is_well_nested, read_json, read_value

SMALL = Limits(plan_bytes_max=100, depth_max=3, string_max=10, value_max=12, problem_max=3)

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def codes(text: str | bytes, limits: Limits = LIMITS) -> list[str]:
    """Return the codes of a text's problems, whether or not they stop the reading."""
    try:
        return [problem.code for problem in read_json(text, limits=limits).problems]
    except PlanError as error:
        return [problem.code for problem in error.problems]


def hint(text: str) -> str:
    with pytest.raises(PlanError) as refused:
        read_json(text)
    return refused.value.problems[0].hint


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=5))
def test_what_a_json_library_writes_is_read_back_equal(value: dict[str, Any]) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False), orjson.dumps(value)):
        reading = read_json(text)
        if not reading.problems:
            assert reading.value == value


@given(st.text(alphabet='{}[]",:\\/*u0d8e1-. \n`tnaN', max_size=60) | st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    codes(text)
    codes('{"a": ' + text + "}")


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    codes(text)
    codes(b'{"a": "' + text + b'"}')


@given(st.text(alphabet='{}[]",:\\u0d8e1-. aé', max_size=40))
def test_nothing_is_accepted_that_another_strict_parser_reads_differently(inside: str) -> None:
    text = '{"a": ' + inside + "}"
    try:
        reading = read_json(text)
    except PlanError:
        return
    if not reading.problems:
        assert orjson.loads(text) == reading.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1,]", "comma"),
        ("[1 2]", "RFC 8259"),
        ('{"a": "b', "whole"),
        ('{"a": ', "whole"),
        ('{"a": "b\n"}', r"\n"),
        ("{'a': 1}", "straight double quotes"),
        ('{"a": True}', "true, false and null"),
        ("The plan: {}", "fence"),
        ("{a: 1}", "double quotes"),
        ('{"a": 1 # x\n}', "//"),
        ("{} {}", "nothing after"),
        ("[]", "task_id"),
        (" ", "one JSON object"),
        ("```\n{}", "close the fence"),
    ],
)
def test_the_hint_names_the_slip(text: str, expected: str) -> None:
    assert expected in hint(text)


def test_a_top_level_that_is_no_object_is_named() -> None:
    for text, what in [("NaN", "a number"), ("[1]", "a list"), ('"x"', "'x'"), ("7", "7")]:
        with pytest.raises(PlanError, match=f"The text is {what}, not an object"):
            read_json(text)


def test_a_syntax_problem_says_where() -> None:
    with pytest.raises(PlanError, match="line 2, column 6"):
        read_json('{"a": 1,\n "b" 2}')


def test_a_comment_does_not_move_the_place_of_a_problem() -> None:
    with pytest.raises(PlanError, match="line 3, column 9"):
        read_json('{"a": 1, // one\n /* two\n */ "b" 2}')


def test_bytearrays_are_read_and_other_types_are_refused() -> None:
    assert read_json(bytearray(b'{"a": 1}')).value == {"a": 1}  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="not null"):
        read_json(None)  # type: ignore[arg-type]


def test_limits_count_to_the_limit_and_not_beyond() -> None:
    assert codes('{"a": [[]]}', SMALL) == []
    assert codes('{"a": [[[]]]}', SMALL) == ["too-deep"]
    assert codes('{"a": "' + "b" * 10 + '"}', SMALL) == []
    assert codes('{"a": "' + "b" * 11 + '"}', SMALL) == ["text-too-long"]
    assert codes('{"' + "b" * 11 + '": 1}', SMALL) == ["text-too-long"]
    assert codes('{"a":[0,0,0,0,0,0,0,0,0]}', SMALL) == []
    assert codes('{"a":[0,0,0,0,0,0,0,0,0,0,0,0]}', SMALL) == ["too-many-values"]
    assert codes("{}" + " " * 98, SMALL) == []
    assert codes("{}" + " " * 99, SMALL) == ["too-large"]
    assert codes('{"é": 1}' + "é" * 46, SMALL) == ["too-large"]


def test_escapes_do_not_count_as_characters() -> None:
    assert codes('{"a": "' + "\\u00e9" * 10 + '"}', SMALL) == []


def test_bad_numbers_are_told_apart_and_shown_in_short() -> None:
    infinite, large = read_json('{"a": 1e999, "b": ' + "9" * 5000 + "}").problems
    assert infinite.message == "1e999 is not a finite number."
    assert large.message == "The number 999999999999999999999999... does not fit into 64 bits."


def test_a_key_that_is_too_long_is_dropped_with_what_stands_under_it() -> None:
    reading = read_json('{"' + "b" * 11 + '": 1e999, "c": 1}', limits=SMALL)
    assert reading.value == {"c": 1}
    assert [problem.code for problem in reading.problems] == ["text-too-long"]


def test_bad_parts_are_replaced_so_that_later_checks_can_speak() -> None:
    reading = read_json('{"a": NaN, "b": "\\ud800", "c": 1, "c": 2, "d": {"e": 1e999}}')
    assert reading.value == {"a": 0, "b": "\ufffd", "c": 2, "d": {"e": 0}}
    assert {problem.pointer for problem in reading.problems} == {"/a", "/b", "/c", "/d/e"}


def test_problems_beyond_the_limit_are_not_listed() -> None:
    problems = read_json('{"a": [1e999, NaN, NaN, NaN, NaN]}', limits=SMALL).problems
    assert [problem.code for problem in problems] == [*["not-finite"] * 3, "more-problems"]


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


def test_a_python_value_becomes_plain_json() -> None:
    value = MappingProxyType(
        {"a": (1, 2.5, None, True), "b": OrderedDict(c=Colour.RED), "d": Level.HIGH}
    )
    reading = read_value(value)
    assert reading.problems == ()
    assert reading.value == {"a": [1, 2.5, None, True], "b": {"c": "red"}, "d": 3}
    assert type(reading.value["b"]["c"]) is str
    assert type(reading.value["d"]) is int
    assert type(reading.value["b"]) is dict


def test_the_value_read_shares_nothing_with_the_value_given() -> None:
    inner = {"b": [1]}
    reading = read_value({"a": inner})
    inner["b"].append(2)
    assert reading.value == {"a": {"b": [1]}}


@pytest.mark.parametrize(
    ("value", "code", "pointer"),
    [
        ({"a": math.nan}, "not-finite", "/a"),
        ({"a": [-math.inf]}, "not-finite", "/a/0"),
        ({"a": 2**63}, "number-too-large", "/a"),
        ({"a": -(10**5000)}, "number-too-large", "/a"),
        ({"a": "\ud800"}, "lone-surrogate", "/a"),
        ({"a": {1}}, "not-json-value", "/a"),
        ({"a": date(2026, 1, 1)}, "not-json-value", "/a"),
        ({"a": b"x"}, "not-json-value", "/a"),
        ({1: "a"}, "not-json-value", ""),
        ({10**5000: "a"}, "not-json-value", ""),
        ({"fi": 1, "ﬁ": 2}, "duplicate-key", "/ﬁ"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_json_cannot_say_is_refused(value: Any, code: str, pointer: str) -> None:
    problems = read_value(value).problems
    assert [(problem.code, problem.pointer) for problem in problems] == [(code, pointer)]


def test_a_value_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(PlanError, match="a list"):
        read_value([1])


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["a"] = loop
    assert [problem.code for problem in read_value(loop).problems] == ["too-deep"]


def test_a_small_value_that_is_vast_as_json_is_refused() -> None:
    value: Any = "x"
    for _ in range(40):
        value = [value, value]
    with pytest.raises(PlanError, match="too-many-values"):
        read_value({"a": value})
    with pytest.raises(PlanError, match="too-large"):
        read_value({"a": ["x" * 60_000] * 20})


MARKS = st.text('{}[]"\\,:1aé/* ', max_size=60)


@given(MARKS | st.lists(st.sampled_from(["[", "]", "{", "}", '"', '"a"', "é"])).map("".join))
def test_the_quick_look_at_the_nesting_never_says_yes_where_the_long_one_says_no(text: str) -> None:
    depth = deepest = 0
    for char in re.sub(r'"(?:[^"\\]|\\.)*+"?', "", text, flags=re.DOTALL):
        depth += (char in "[{") - (char in "]}")
        deepest = max(deepest, depth)
    for limit in (2, 3, 4, 64):
        assert not _is_well_nested(text, limit) or deepest <= limit


def test_the_quick_look_at_the_nesting_is_enough_for_an_ordinary_plan() -> None:
    value = {"a": [{"b": [[1, {}], "[[[", "}"]}] * 99}
    assert _is_well_nested(json.dumps(value), LIMITS.depth_max)
    assert codes(json.dumps(value | {"c": "\\[" * 99})) == []


@pytest.mark.parametrize("rest", ['"x"', '"[[["', '"\\n"'])
def test_many_brackets_are_counted_level_by_level(rest: str) -> None:
    deep = '{"a": ' + "[" * 63 + rest + "]" * 63 + ', "b": ' + "[[[]]]}"
    assert codes(deep) == []
    assert codes(deep.replace("[" * 63, "[" * 64).replace("]" * 63, "]" * 64)) == ["too-deep"]


def test_a_slip_is_known_by_the_sign_itself() -> None:
    hints = {
        "{Xa: 1}": "Put keys and texts into double quotes.",
        "{'a': 1}": "Put keys and texts into straight double quotes.",
        'X: {"a": 1}': "Send the JSON alone, or put it into one ```json fence.",
    }
    for text, hint in hints.items():
        with pytest.raises(PlanError) as refused:
            read_json(text)
        assert [problem.hint for problem in refused.value.problems] == [hint]


def test_the_quick_look_is_not_led_astray_by_a_quote_in_a_text() -> None:
    """By its quotes alone all that is deep would seem to stand inside a text."""
    text = '{"a\\"": ' + "[" * 70 + "]" * 70 + ', "b\\"": 1}'
    assert not _is_well_nested(text, 64)
    assert codes(text) == ["too-deep"]


def test_of_a_comment_nothing_is_left() -> None:
    assert read_json('{"task_id": "t" // X, \\r and \\n\n}').value == {"task_id": "t"}
    assert read_json('{"task_id": /* XX */ "X"}').value == {"task_id": "X"}


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("\xa0", "Send one JSON object (RFC 8259) and nothing else."),
        ('{"x": "a,\xa0\n}"}', "Write line breaks and tabs inside a text as \\n and \\t."),
        ('{"x": "a,\n]"}', "Write line breaks and tabs inside a text as \\n and \\t."),
    ],
)
def test_white_space_is_what_json_calls_so(text: str, hint: str) -> None:
    with pytest.raises(PlanError) as refused:
        read_json(text)
    assert [problem.hint for problem in refused.value.problems] == [hint]


def test_a_value_is_held_to_its_levels_and_has_to_be_an_object() -> None:
    value: object = {}
    for _ in range(LIMITS.depth_max - 1):
        value = {"a": value}
    assert read_value(value).problems == ()
    (problem,) = read_value({"a": value}).problems
    assert problem.code == "too-deep"
    with pytest.raises(PlanError) as refused:
        read_value([1])
    assert [problem.code for problem in refused.value.problems] == ["not-an-object"]


def test_a_python_value_is_held_to_its_numbers_and_its_size() -> None:
    for number in (_INT_MIN, _INT_MAX):
        assert read_value({"a": number}).value == {"a": number}
    for number in (_INT_MIN - 1, _INT_MAX + 1):
        assert [problem.code for problem in read_value({"a": number}).problems] != []
    four = {"a": [1, 2]}
    assert read_value(four, limits=Limits(value_max=4)).value == four
    with pytest.raises(PlanError, match="more than 3 values"):
        read_value(four, limits=Limits(value_max=3))
    with pytest.raises(PlanError, match="not-an-object"):
        read_value([1])
