from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import functools
import types
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import jsonschema_rs
import pytest
from pydantic import BaseModel, Field

from fsm_saga.errors import ToolsError
from fsm_saga.tools.context import CallContext
from fsm_saga.tools.signature import ParamsRefusedError, read_signature

if TYPE_CHECKING:
    from fsm_saga.ports import Store


NOON = datetime.datetime(2026, 2, 1, 12, tzinfo=datetime.UTC)


class Traveller(BaseModel):
    name: str
    born: datetime.date


@dataclasses.dataclass
class Bag:
    kilos: float
    fragile: bool = False


class Cabin(enum.Enum):
    ECONOMY = "economy"
    FIRST = "first"


def book(
    flight: str,
    day: datetime.date,
    seats: Annotated[int, Field(ge=1, description="how many")] = 1,
    *,
    context: CallContext,
    cabin: Cabin = Cabin.ECONOMY,
    note: str | None = None,
) -> Traveller:
    raise AssertionError


def test_a_signature_becomes_a_closed_schema_without_the_context() -> None:
    signature = read_signature(book, "book")
    assert signature.context_name == "context"
    assert signature.params_schema == {
        "$defs": {
            "Cabin": {"enum": ["economy", "first"], "title": "Cabin", "type": "string"},
        },
        "additionalProperties": False,
        "properties": {
            "flight": {"type": "string"},
            "day": {"format": "date", "type": "string"},
            "seats": {"default": 1, "description": "how many", "minimum": 1, "type": "integer"},
            "cabin": {"$ref": "#/$defs/Cabin", "default": "economy"},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        },
        "required": ["flight", "day"],
        "type": "object",
    }
    assert signature.output_schema is not None
    assert signature.output_schema["required"] == ["name", "born"]


def test_arguments_have_the_declared_types_and_leave_defaults_to_the_function() -> None:
    signature = read_signature(book, "book")
    arguments = signature.arguments({"flight": "CA1234", "day": "2026-02-01", "cabin": "first"})
    assert arguments == {
        "flight": "CA1234",
        "day": datetime.date(2026, 2, 1),
        "cabin": Cabin.FIRST,
    }


@pytest.mark.parametrize(
    ("hint", "given", "received"),
    [
        (Any, {"a": [1, None]}, {"a": [1, None]}),
        (int, 3, 3),
        (int, 3.0, 3),
        (float, 3, 3.0),
        (bool, True, True),
        (decimal.Decimal, "12.50", decimal.Decimal("12.50")),
        (uuid.UUID, str(uuid.UUID(int=7)), uuid.UUID(int=7)),
        (datetime.datetime, "2026-02-01T12:00:00Z", NOON),
        (datetime.timedelta, "PT1H", datetime.timedelta(hours=1)),
        (Traveller, {"name": "Li", "born": "1990-01-01"}, None),
        (list[Bag], [{"kilos": 3}], [Bag(3.0)]),
        (tuple[int, str], [1, "a"], (1, "a")),
        (set[str], ["a"], {"a"}),
        (bytes, "abc", b"abc"),
        (Literal["a", "b"], "b", "b"),
        (Mapping[str, int], {"a": 1}, {"a": 1}),
        (int | str, "a", "a"),
        (str, "$output.step_9.x", "$output.step_9.x"),
    ],
)
def test_a_value_is_judged_as_json(hint: Any, given: Any, received: Any) -> None:
    def function(value: Any) -> None: ...

    function.__annotations__ = {"value": hint}
    signature = read_signature(function, "f")
    value = signature.arguments({"value": given})["value"]
    assert value == (Traveller(**given) if received is None and hint is Traveller else received)
    jsonschema_rs.validator_for(dict(signature.params_schema)).validate({"value": given})


@pytest.mark.parametrize(
    ("hint", "given"),
    [(int, "3"), (int, 3.5), (int, True), (str, 3), (bool, 1), (float, "1.5"), (Traveller, "Li")],
)
def test_a_value_of_another_type_is_refused_as_the_schema_does(hint: Any, given: Any) -> None:
    def function(value: Any) -> None: ...

    function.__annotations__ = {"value": hint}
    signature = read_signature(function, "f")
    with pytest.raises(ParamsRefusedError, match="value: "):
        signature.arguments({"value": given})
    assert not jsonschema_rs.validator_for(dict(signature.params_schema)).is_valid({"value": given})


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({}, "flight: is missing; day: is missing"),
        ({"flight": "x", "day": "2026-02-01", "req_id": "r1"}, "req_id: is not declared"),
        ({"flight": "x", "day": "2026-02-01", "context": {}}, "context: is not declared"),
        ({"flight": "x", "day": "2026-02-01", "seats": 0}, "seats: Input should be greater"),
        ({"flight": "x", "day": "2026-02-01", "seats": 2.0, "note": 3}, "note: Input should be"),
        ({"flight": {1, 2}, "day": "2026-02-01"}, "not plain JSON"),
        ({"flight": "\ud800", "day": "2026-02-01"}, "Invalid JSON"),
        ({"flight": float("nan"), "day": "2026-02-01"}, "flight: "),
    ],
)
def test_params_that_do_not_fit_are_refused_with_every_reason(
    params: dict[str, Any], why: str
) -> None:
    with pytest.raises(ParamsRefusedError, match=why):
        read_signature(book, "book").arguments(params)


def test_arguments_share_nothing_with_the_params() -> None:
    def function(value: Any, bags: list[str]) -> None: ...

    params: Mapping[str, Any] = types.MappingProxyType(
        {"value": types.MappingProxyType({"a": [1]}), "bags": ["x"]}
    )
    arguments = read_signature(function, "f").arguments(params)
    arguments["value"]["a"].append(2)
    arguments["bags"].clear()
    assert params["value"]["a"] == [1]
    assert params["bags"] == ["x"]


def test_an_integer_beyond_64_bits_is_passed_on() -> None:
    def function(value: int) -> None: ...

    assert read_signature(function, "f").arguments({"value": 2**70}) == {"value": 2**70}


def test_a_parameter_without_annotation_takes_anything() -> None:
    def function(value, other=3): ...  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202

    signature = read_signature(function, "f")
    assert signature.params_schema["properties"] == {"value": {}, "other": {"default": 3}}
    assert signature.arguments({"value": [None]}) == {"value": [None]}


def test_a_parameter_may_be_called_like_a_method_of_a_model() -> None:
    def function(json: str, copy: int, model_config: str, _hidden: int, schema: str) -> None: ...

    given = {"json": "a", "copy": 1, "model_config": "b", "_hidden": 2, "schema": "c"}
    assert read_signature(function, "f").arguments(given) == given


def test_an_alias_is_the_name_in_the_plan() -> None:
    def function(from_: Annotated[str, Field(alias="from")]) -> None: ...

    signature = read_signature(function, "f")
    assert list(signature.params_schema["properties"]) == ["from"]
    assert signature.arguments({"from": "PEK"}) == {"from_": "PEK"}


def optional(context: CallContext | None = None) -> None: ...
def annotated(context: Annotated[CallContext, "doc"]) -> None: ...
def in_union(context: CallContext | None) -> None: ...


@pytest.mark.parametrize("function", [optional, annotated, in_union])
def test_the_context_is_found_in_each_form_of_its_annotation(function: Callable[..., Any]) -> None:
    signature = read_signature(function, "f")
    assert signature.context_name == "context"
    assert signature.params_schema == {
        "additionalProperties": False,
        "properties": {},
        "type": "object",
    }


def test_a_default_that_has_no_json_is_not_shown() -> None:
    def function(value: Any = object(), limit: float = float("inf")) -> None: ...  # noqa: B008

    properties = read_signature(function, "f").params_schema["properties"]
    assert properties == {"value": {}, "limit": {"type": "number"}}


def returns_nothing() -> None: ...
def returns_any() -> Any: ...
def returns_unsaid(): ...  # type: ignore[no-untyped-def] # noqa: ANN201
def returns_object() -> object: ...


@pytest.mark.parametrize("function", [returns_nothing, returns_any, returns_unsaid, returns_object])
def test_a_return_type_that_says_nothing_declares_nothing(function: Callable[..., Any]) -> None:
    signature = read_signature(function, "f")
    assert signature.output_schema is None
    assert signature.returns is None


def test_what_an_awaitable_yields_is_the_return_type() -> None:
    def function() -> Awaitable[int]:
        raise AssertionError

    assert read_signature(function, "f").output_schema == {"type": "integer"}


class Service:
    def book(self, flight: str, context: CallContext) -> int:
        raise AssertionError

    def __call__(self, hotel: str) -> None: ...


def test_a_bound_method_an_object_and_a_partial_are_read_as_what_they_run() -> None:
    method = read_signature(Service().book, "f")
    assert list(method.params_schema["properties"]) == ["flight"]
    assert method.context_name == "context"
    called = read_signature(Service(), "f")
    assert called.params_schema["properties"] == {"hotel": {"type": "string"}}
    bound = read_signature(functools.partial(book, seats=2), "f")
    assert bound.params_schema["properties"]["seats"]["default"] == 2


class Opaque:
    pass


def takes_args(*flights: str) -> None: ...
def takes_kwargs(**flights: str) -> None: ...
def takes_by_position(flight: str, /) -> None: ...
def takes_opaque(flight: str, thing: Opaque) -> None: ...
def takes_function(flight: str, thing: Callable[[], int]) -> None: ...
def takes_contexts(all_of: list[CallContext]) -> None: ...
def takes_two(a: CallContext, b: CallContext) -> None: ...
def takes_field(flight: str = Field("x")) -> None: ...
def takes_self(self, flight: str) -> None: ...  # type: ignore[no-untyped-def] # noqa: ANN001
def takes_unimported(store: Store) -> None: ...
def takes_nonsense(a: "5 +") -> None: ...  # type: ignore[valid-type] # noqa: F722
def returns_opaque() -> Opaque:
    raise AssertionError


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (takes_args, r"it takes \*flights: name each parameter, or take one list"),
        (takes_kwargs, r"it takes \*\*flights: name each parameter, or take one dictionary"),
        (takes_by_position, "it takes 'flight' by position only: remove the '/'"),
        (takes_opaque, "parameter 'thing' has no form in JSON .*use plain values"),
        (takes_function, "parameter 'thing' has no form in JSON"),
        (takes_contexts, "'all_of' holds a CallContext inside another type"),
        (takes_two, "a and b both receive the CallContext"),
        (takes_field, r"the default of 'flight' is a Field: write flight: Annotated"),
        (takes_self, "it takes 'self', so it is a method"),
        (takes_unimported, "use 'Store', which cannot be found.*not under TYPE_CHECKING"),
        (takes_nonsense, "its annotations cannot be read: SyntaxError"),
        (returns_opaque, "its return type has no form in JSON"),
        (dict, "its parameters cannot be read"),
    ],
)
def test_a_function_that_json_cannot_call_is_refused_with_what_to_do(
    function: Callable[..., Any], why: str
) -> None:
    with pytest.raises(ToolsError, match=f"Tool 'f' was refused: .*{why}") as caught:
        read_signature(function, "f")
    assert "https://" not in str(caught.value)
