from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, ValidationError, validate_call
from pydantic_core import PydanticCustomError

from fsm_saga.errors import OutcomeUnknown
from fsm_saga.tools.wording import ERROR_CHARS_MAX, clean_line, error_line, validation_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two\nlines\r\nand\ttabs", "two lines and tabs"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]52;c;ZXZpbA==\x07copied", "copied"),
        ("\x1b]8;;http://evil\x1b\\link", "link"),
        ("\x9b31mred", "red"),
        ("bell\x07nul\x00del\x7f", "bell nul del"),
        ("abc\u202egnp.exe", "abc gnp.exe"),
        ("a\u2028b\u2029c\u0085d", "a b c d"),
        ("half \ud83d character", "half character"),
        ("酒店已满", "酒店已满"),
        ("  \n ", ""),
    ],
)
def test_a_line_holds_visible_characters_only(text: str, line: str) -> None:
    assert clean_line(text) == line


def test_a_secret_that_escapes_are_hidden_in_is_found() -> None:
    assert "hunter2" not in clean_line("pass\x1b[0mword=hunter2")


def test_a_long_line_is_cut_and_says_so() -> None:
    line = clean_line("x" * 10_000)
    assert len(line) == ERROR_CHARS_MAX
    assert line.endswith("x...")


def test_a_secret_behind_the_cut_does_not_move_into_sight() -> None:
    block = "-----BEGIN PRIVATE KEY-----" + "A" * 20_000
    assert "AAAA" not in clean_line(f"refused: {block}")


class WordlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Passenger(BaseModel):
    name: str
    age: int


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("no seat left"), "ValueError: no seat left"),
        (ValueError(), "ValueError"),
        (KeyError("order_id"), "KeyError: 'order_id'"),
        (OutcomeUnknown("no reply"), "OutcomeUnknown: no reply"),
        (WordlessError(), "WordlessError: its message cannot be shown"),
        (RuntimeError("Bearer abc.def.ghi"), "RuntimeError: Bearer [redacted]"),
    ],
)
def test_an_error_line_is_the_type_and_the_message(error: Exception, line: str) -> None:
    assert error_line(error) == line


def test_a_validation_error_inside_a_tool_is_told_without_its_values() -> None:
    with pytest.raises(ValidationError) as caught:
        Passenger.model_validate({"name": ["top secret"], "age": "top secret"})
    line = error_line(caught.value)
    assert line.startswith("ValidationError: name: Input should be a valid string; age: ")
    assert "top secret" not in line


def _quoting(value: str) -> str:
    raise ValueError(f"bad: {value}")


def _custom(value: str) -> str:
    raise PydanticCustomError("mine", "bad: {value}", {"value": value})


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (Annotated[str, AfterValidator(_quoting)], "top secret"),
        (Annotated[str, AfterValidator(_custom)], "top secret"),
        (Annotated[Cat | Dog, Field(discriminator="kind")], {"kind": "top secret"}),
        (dict[str, int], {"top secret": "x"}),
        (Literal["a"], "top secret"),
        (int, "top secret"),
    ],
)
def test_what_was_wrong_is_told_without_the_payload(declared: Any, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(declared).validate_python(value)
    assert "top secret" not in validation_line(caught.value, may_quote=False)


def test_a_validator_of_the_user_may_be_quoted_where_nothing_is_secret() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Annotated[str, AfterValidator(_quoting)]).validate_python("x")
    assert validation_line(caught.value, may_quote=True) == "Value error, bad: x"


def test_only_the_first_problems_are_told_and_the_rest_counted() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(list[int]).validate_python(["x"] * 9)
    line = validation_line(caught.value, may_quote=True)
    assert line.count("valid integer") == 5
    assert line.endswith("; and 4 more")
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(list[int]).validate_python(["x"] * 5)
    line = validation_line(caught.value, may_quote=True)
    assert line.count("valid integer") == 5
    assert "more" not in line


def told(declared: Any, value: Any, *, may_quote: bool = False) -> str:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(declared).validate_python(value)
    return validation_line(caught.value, may_quote=may_quote)


class Strict(BaseModel, extra="forbid"):
    name: str
    inner: list[Passenger] = []


def book(name: str) -> None:
    """Called through pydantic, which then says what an argument lacks."""


def test_a_line_as_long_as_may_be_is_not_cut() -> None:
    assert clean_line("x" * ERROR_CHARS_MAX) == "x" * ERROR_CHARS_MAX
    assert clean_line("abcdef", chars_max=5) == "ab..."


def test_what_lacks_and_what_is_too_much_is_said_in_our_own_words() -> None:
    assert told(Strict, {"n": 1}) == "name: is missing; n: is not declared"
    with pytest.raises(ValidationError) as caught:
        validate_call(book)(title="x")  # type: ignore[call-arg]
    line = validation_line(caught.value, may_quote=False)
    assert line == "name: is missing; title: is not declared"


def test_a_place_is_a_path_in_which_data_do_not_show() -> None:
    people = [{"name": "Ann", "age": 1}, {"name": "Bob"}]
    assert told(Strict, {"name": "x", "inner": people}) == "inner.1.age: is missing"
    longest, longer = "n" * 40, "n" * 41
    wrong = "Input should be a valid integer, unable to parse string as an integer"
    assert told(dict[str, int], {longest: "x"}) == f"{longest}: {wrong}"
    assert told(dict[str, int], {longer: "x"}) == f"...: {wrong}"
    assert told(dict[str, int], {"two words": "x"}) == f"...: {wrong}"


def test_a_validator_of_the_user_is_not_quoted_where_a_value_may_be_secret() -> None:
    assert told(Annotated[str, AfterValidator(_quoting)], "x") == "is refused by a validator"
    assert told(Annotated[str, AfterValidator(_custom)], "x") == "is refused by a validator"


def test_a_validation_error_that_a_tool_raises_is_quoted() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Annotated[str, AfterValidator(_quoting)]).validate_python("x")
    assert error_line(caught.value).endswith(": Value error, bad: x")
