from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from fsm_saga.core.contract import ToolContract
from fsm_saga.errors import ToolsError
from fsm_saga.tools import CallContext, CheckAnswer, Tool, tool


@tool
async def book_flight(
    flight: str, date: str = "today", *, context: CallContext | None = None
) -> str:
    """Book a seat
    on a flight.

    And more that only people read.
    """
    return f"{flight} {date}"


@tool(
    name="airline_api",
    description="Talks to the airline.",
    undo="cancel_flight",
    check="was_booked",
    check_fences=True,
    dedupe=False,
    sticky_failures=False,
    fenced_compensation=True,
    deadline=True,
    retention_s=60.0,
    unknown=(KeyError,),
    rejected=(ConnectionRefusedError,),
)
def declared(flight: str) -> None:
    """Ignored."""


def test_a_decorated_function_is_called_as_before() -> None:
    assert asyncio.run(book_flight("CA1234", date="2026-02-01")) == "CA1234 2026-02-01"
    assert book_flight.__name__ == "book_flight"
    assert book_flight.__wrapped__ is book_flight.function
    assert book_flight.__doc__ is not None


def test_a_bare_tool_has_the_name_and_the_first_paragraph_of_its_function() -> None:
    facts = book_flight.facts
    assert facts.name == "book_flight"
    assert facts.description == "Book a seat on a flight."
    assert facts.contract == ToolContract()
    assert facts.undo is None
    assert facts.wants_context
    assert list(facts.params_schema["properties"]) == ["flight", "date"]
    assert facts.output_schema == {"type": "string"}
    assert book_flight.is_async


def test_what_is_declared_is_what_the_compiler_learns() -> None:
    assert declared.facts.name == "airline_api"
    assert declared.facts.description == "Talks to the airline."
    assert declared.facts.undo == "cancel_flight"
    assert not declared.facts.wants_context
    assert declared.facts.contract == ToolContract(
        dedupe=False,
        sticky_failures=False,
        fenced_compensation=True,
        check="was_booked",
        check_fences=True,
        deadline=True,
        retention_s=60.0,
    )
    assert declared.unknown == (KeyError,)
    assert declared.rejected == (ConnectionRefusedError,)
    assert not declared.is_async


def test_a_tool_shows_its_name_and_its_place() -> None:
    assert repr(declared).startswith("<tool 'airline_api' of ")
    assert "test_python.py:" in declared.where


def test_an_undo_and_a_check_may_be_given_as_functions() -> None:
    def cancel(order_id: str) -> None: ...

    @tool
    def was_booked(context: CallContext) -> CheckAnswer:
        return CheckAnswer(status="absent")

    @tool(undo=cancel, check=was_booked)
    def book(flight: str) -> str:
        return flight

    assert book.facts.undo == "cancel"
    assert book.facts.contract.check == "was_booked"
    assert [related.name for related in book.related] == ["cancel", "was_booked"]
    assert book.related[1] is was_booked


def test_a_tool_may_be_declared_anew_under_another_name() -> None:
    again = tool(name="again", read_only=True)(declared)
    assert again.facts.name == "again"
    assert again.function is declared.function
    assert again.facts.contract == ToolContract(read_only=True)


class Service:
    async def book(self, flight: str) -> str:
        return f"booked {flight}"

    async def __call__(self, hotel: str) -> str:
        """Book a room."""
        return f"booked {hotel}"


def test_a_bound_method_an_object_and_a_partial_can_be_tools() -> None:
    method = tool(name="book")(Service().book)
    called = tool(name="room")(Service())
    bound = tool(functools.partial(Service().book, flight="CA1234"))
    assert method.is_async
    assert called.is_async
    assert bound.is_async
    assert called.facts.description == "Book a room."
    assert bound.name == "book"
    assert asyncio.run(method("X")) == "booked X"
    assert asyncio.run(called("Y")) == "booked Y"
    assert asyncio.run(bound()) == "booked CA1234"
    assert "test_python.py" in called.where


def test_a_sync_wrapper_around_an_async_function_counts_as_sync() -> None:
    async def inner(flight: str) -> str:
        return flight

    @functools.wraps(inner)
    def outer(*args: Any, **kwargs: Any) -> Any:
        return asyncio.run(inner(*args, **kwargs))

    assert not tool(outer).is_async
    assert list(tool(outer).facts.params_schema["properties"]) == ["flight"]


def test_annotations_may_name_what_is_local_to_where_the_decorator_stands() -> None:
    class Passenger(CheckAnswer):
        pass

    @tool
    def with_brackets_missing(passenger: Passenger) -> None: ...

    @tool(name="other")
    def with_brackets(passenger: Passenger) -> None: ...

    for made in (with_brackets_missing, with_brackets):
        assert made.facts.params_schema["required"] == ["passenger"]


def test_annotations_may_name_what_the_module_defines_further_down() -> None:
    namespace: dict[str, Any] = {"__name__": "later", "tool": tool}
    exec("def f(a: 'Later') -> None: ...\nmade = tool(f)", namespace)  # noqa: S102
    made = namespace["made"]
    with pytest.raises(ToolsError, match="use 'Later', which cannot be found"):
        _ = made.facts
    namespace["Later"] = int
    assert made.facts.params_schema["properties"] == {"a": {"type": "integer"}}


def yields() -> Iterator[int]:
    yield 1


async def yields_async() -> AsyncIterator[int]:
    yield 1


def book(flight: str) -> None: ...


# The decorator as someone calls it who runs no type checker.
loosely: Any = tool


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: loosely(yields), "'yields' was refused: it yields; return a list"),
        (lambda: loosely(yields_async), "it yields; return a list"),
        (lambda: loosely(Service), "it is a class; make a tool of a function"),
        (lambda: loosely(lambda: None), "it has no name; give it name="),
        (lambda: loosely(Service()), "it has no name; give it name="),
        (lambda: loosely(3), "3 was refused as a tool: it cannot be called"),
        (lambda: loosely(name="")(book), "Tool name '' was refused"),
        (lambda: loosely(name="two words")(book), "Tool name 'two words' was refused"),
        (lambda: loosely(name="a\x1b[31m")(book), "was refused: a name has 1 to 128 visible"),
        (lambda: loosely(name="x" * 129)(book), "was refused: a name has 1 to 128 visible"),
        (lambda: loosely(name=3)(book), "Tool name 3 was refused"),
        (lambda: loosely(read_only=True, undo="x")(book), "there is nothing that 'x' could undo"),
        (lambda: loosely(check_fences=True)(book), "and it has none: name check="),
        (lambda: loosely(retention_s=0)(book), "retention_s=0 is no time above 0"),
        (lambda: loosely(retention_s=float("nan"))(book), "retention_s=nan is no time"),
        (lambda: loosely(retention_s="1 h")(book), "retention_s='1 h' is no time"),
        (lambda: loosely(undo="book")(book), "it cannot be its own undo"),
        (lambda: loosely(unknown=(3,))(book), "unknown=3 is not an exception class"),
        (
            lambda: loosely(rejected=(int,))(book),
            "rejected=<class 'int'> is not an exception class",
        ),
        (lambda: loosely(retries=3)(book), "got an unexpected keyword argument 'retries'"),
    ],
)
def test_a_declaration_that_cannot_be_meant_is_refused(make: Callable[[], Any], why: str) -> None:
    with pytest.raises(ToolsError, match=why):
        make()


def test_one_exception_class_may_stand_without_a_tuple() -> None:
    made: Tool[..., Any] = loosely(unknown=KeyError)(book)
    assert made.unknown == (KeyError,)
