from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import itertools
import json
import pathlib
import types
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel, Field, TypeAdapter, field_serializer
from typing_extensions import TypedDict

from fsm_saga.tools.output import DEPTH_MAX, BadOutputError, json_output


class Booking(BaseModel):
    order_id: str
    seats: int = 1


class Aliased(BaseModel):
    order_id: str = Field(alias="orderId")


@dataclasses.dataclass
class Ticket:
    number: int
    day: datetime.date


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Pair(NamedTuple):
    left: int
    right: int


class Text(str):
    __slots__ = ()


class Row(TypedDict):
    order_id: str


ID = uuid.UUID(int=7)
DAY = datetime.date(2026, 2, 1)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (True, True),
        (-(2**63), -(2**63)),
        (2**63 - 1, 2**63 - 1),
        (1.5, 1.5),
        ("和平饭店 \x00", "和平饭店 \x00"),
        (Text("x"), "x"),
        ([1, (2, [3])], [1, [2, [3]]]),
        ({7}, [7]),
        (frozenset({"a"}), ["a"]),
        ({"a": 1}.keys(), ["a"]),
        (Pair(1, 2), [1, 2]),
        (collections.OrderedDict(a=1), {"a": 1}),
        (types.MappingProxyType({"a": {"b": 1}}), {"a": {"b": 1}}),
        (DAY, "2026-02-01"),
        (datetime.datetime(2026, 2, 1, tzinfo=datetime.UTC), "2026-02-01T00:00:00Z"),
        (datetime.timedelta(hours=1), "PT1H"),
        (decimal.Decimal("12.50"), "12.50"),
        (ID, str(ID)),
        (pathlib.Path("a/b"), "a/b"),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (b"text", "text"),
        (Booking(order_id="FL-17"), {"order_id": "FL-17", "seats": 1}),
        (Aliased(orderId="FL-17"), {"orderId": "FL-17"}),
        (Ticket(3, DAY), {"number": 3, "day": "2026-02-01"}),
        ({"all": [Ticket(3, DAY)]}, {"all": [{"number": 3, "day": "2026-02-01"}]}),
        (
            {1: "a", None: "b", DAY: "c", ID: "d"},
            {"1": "a", "None": "b", str(DAY): "c", str(ID): "d"},
        ),
        ("$output.step_9.secret", "$output.step_9.secret"),
        ({"$output.step_9.x": "$input.y"}, {"$output.step_9.x": "$input.y"}),
    ],
)
def test_what_a_tool_returns_becomes_plain_json(value: Any, plain: Any) -> None:
    output = json_output(value)
    assert output == plain
    assert type(output) is type(plain)
    assert json.loads(json.dumps(output, allow_nan=False)) == plain


class Raising(BaseModel):
    secret: str = "top secret"

    @field_serializer("secret")
    def fail(self, value: str) -> str:
        raise ZeroDivisionError(value)


class Hostile(collections.UserDict[str, str]):
    def items(self) -> Any:
        raise RuntimeError("top secret")


def cyclic() -> list[Any]:
    value: list[Any] = ["top secret"]
    value += [value, value]
    return value


def nested(depth: int) -> Any:
    value: Any = "top secret"
    for _ in range(depth):
        value = [value]
    return value


BAD = [
    (float("nan"), "NaN or an infinity"),
    ({"top secret": [float("-inf")]}, "NaN or an infinity"),
    (2**63, "beyond 64 bits"),
    ([-(2**63) - 1], "beyond 64 bits"),
    ("top secret \ud800", "half a character"),
    ({"top secret \udfff": 1}, "half a character"),
    (b"top secret \xff", "not UTF-8"),
    ({1: "top secret", "1": "x"}, "two keys"),
    ([{Level.HIGH: "top secret", 3.5: 1, "3.5": 2}], "two keys"),
    (object(), "a value of type object"),
    ({"top secret": ValueError("top secret")}, "a value of type ValueError"),
    (lambda: "top secret", "a value of type function"),
    ((x for x in ["top secret"]), "an iterator"),
    ([itertools.count()], "an iterator"),
    (nested(DEPTH_MAX + 1), "nested deeper than"),
    (cyclic(), "larger than"),
    (Raising(), "a value of type Raising"),
    (Hostile(a="top secret"), "a value of type Hostile"),
    ("top secret" * 100, "larger than 500 bytes"),
    (["top secret"] * 100, "larger than 500 bytes"),
    ("\x01" * 200, "larger than 500 bytes"),
    ("饭" * 200, "larger than 500 bytes"),
]


@pytest.mark.parametrize(("value", "why"), BAD)
def test_what_cannot_be_stored_is_refused_without_saying_what_it_was(value: Any, why: str) -> None:
    with pytest.raises(BadOutputError, match=why) as caught:
        json_output(value, bytes_max=500)
    assert "top secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_deepest_output_that_is_allowed_is_stored() -> None:
    assert json_output(nested(DEPTH_MAX)) == nested(DEPTH_MAX)


def test_an_output_of_exactly_the_limit_is_stored_and_one_byte_more_is_not() -> None:
    assert json_output("x" * 98, bytes_max=100) == "x" * 98
    with pytest.raises(BadOutputError, match="larger than 100 bytes"):
        json_output("x" * 99, bytes_max=100)


def test_a_huge_output_is_given_up_before_it_is_walked_to_the_end() -> None:
    class Counted(list[int]):
        seen = 0

        def __iter__(self) -> Iterator[int]:
            for item in range(10_000_000):
                Counted.seen += 1
                yield item

        def __len__(self) -> int:
            return 10_000_000

    with pytest.raises(BadOutputError, match="larger than"):
        json_output(Counted(), bytes_max=1_000)
    assert Counted.seen == 0


def test_the_output_shares_nothing_with_what_the_tool_holds() -> None:
    held = {"seats": [1]}
    output = json_output(held)
    held["seats"].append(2)
    assert output == {"seats": [1]}


def test_a_secret_in_an_output_is_redacted() -> None:
    output = json_output({"order_id": "FL-17", "headers": ["Authorization: Bearer abc.def.ghi"]})
    assert output == {"order_id": "FL-17", "headers": ["Authorization: Bearer [redacted]"]}


@pytest.mark.parametrize(
    ("declared", "value", "plain"),
    [
        (Booking, Booking(order_id="x", seats=2), {"order_id": "x", "seats": 2}),
        (Booking, {"order_id": "x"}, {"order_id": "x", "seats": 1}),
        (Aliased, Aliased(orderId="x"), {"orderId": "x"}),
        (list[Ticket], [Ticket(1, DAY)], [{"number": 1, "day": "2026-02-01"}]),
        (Row, {"order_id": "x"}, {"order_id": "x"}),
        (dict[str, Any], {"a": DAY}, {"a": "2026-02-01"}),
        (dict[int, str], {1: "a"}, {"1": "a"}),
        (float, 1, 1.0),
        (Booking | None, None, None),
        (set[int], {1}, [1]),
    ],
)
def test_an_output_that_fits_its_declared_type_is_stored(
    declared: Any, value: Any, plain: Any
) -> None:
    assert json_output(value, declared=TypeAdapter(declared)) == plain


@pytest.mark.parametrize(
    ("declared", "value", "why"),
    [
        (Booking, {"order_id": 3}, "order_id: Input should be a valid string"),
        (Booking, {}, "order_id: is missing"),
        (Booking, None, "does not fit"),
        (str, 3, "valid string"),
        (int, "top secret", "valid integer"),
        (dict[int | str, str], {1: "top secret", "1": "b"}, "two keys"),
        (list[dict[Any, str]], [{1: "top secret", "1": "b"}], "two keys"),
        (float, float("nan"), "NaN"),
        (Raising, Raising(), "a value of type Raising"),
        (list[Any], cyclic(), "larger than"),
    ],
)
def test_an_output_that_does_not_fit_its_declared_type_is_refused(
    declared: Any, value: Any, why: str
) -> None:
    with pytest.raises(BadOutputError, match=why) as caught:
        json_output(value, declared=TypeAdapter(declared))
    assert "top secret" not in str(caught.value)
