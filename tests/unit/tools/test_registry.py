from __future__ import annotations

import types
from typing import Any

import pytest

from fsm_saga.errors import ToolsError
from fsm_saga.tools import CallContext, CheckAnswer, Registry, tool


@tool
def cancel(order_id: str, context: CallContext) -> None: ...


@tool
def was_booked(context: CallContext) -> CheckAnswer:
    return CheckAnswer(status="absent")


@tool(undo=cancel, check=was_booked)
def book(flight: str) -> str:
    return flight


@tool(undo="refund")
def pay(cents: int) -> None: ...


def named(name: str) -> Any:
    return tool(name=name)(lambda: None)


def test_tools_are_found_by_name_with_those_that_undo_and_check_them() -> None:
    registry = Registry([pay, book])
    assert list(registry.catalogue) == ["pay", "book", "cancel", "was_booked"]
    assert [each.name for each in registry] == list(registry.catalogue)
    assert len(registry) == 4
    assert registry.get("book") is book
    assert "book" in registry
    assert registry.get("nowhere") is None
    assert registry.catalogue["book"] is book.facts


def test_a_catalogue_cannot_be_changed() -> None:
    catalogue: Any = Registry([book]).catalogue
    with pytest.raises(TypeError):
        catalogue["x"] = book.facts


def test_the_tools_of_a_module_are_registered() -> None:
    module = types.ModuleType("m")
    module.__dict__.update({"one": book, "again": book, "other": 3})
    assert list(Registry([module, book]).catalogue) == ["book", "cancel", "was_booked"]


def test_two_tools_of_one_name_are_refused_with_their_places() -> None:
    with pytest.raises(ToolsError, match=r"Two tools are called 'x': one of .*test_registry\.py:"):
        Registry([named("x"), named("x")])


def test_the_same_tool_may_be_given_twice() -> None:
    assert len(Registry([pay, pay])) == 1


def test_what_is_not_allowed_is_as_good_as_missing() -> None:
    registry = Registry([pay, book], allow=["book", "cancel", "was_booked", "unheard_of"])
    assert "pay" not in registry
    assert registry.get("pay") is None
    assert "pay" not in registry.catalogue
    registry.check_complete()
    assert len(Registry([pay], allow=[])) == 0


def test_an_allow_list_that_is_one_text_is_refused() -> None:
    with pytest.raises(ToolsError, match="one text, not a list"):
        Registry([pay], allow="pay")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (len, "declares nothing.*decorate the function with @tool"),
        ("tools.py", "it is a str and declares nothing.*load it first"),
        (None, "it is a NoneType"),
    ],
)
def test_what_is_no_tool_is_refused(given: Any, why: str) -> None:
    with pytest.raises(ToolsError, match=why):
        Registry([given])


def test_a_tool_whose_annotations_cannot_be_resolved_is_refused() -> None:
    namespace: dict[str, Any] = {"__name__": "later", "tool": tool}
    exec("@tool\ndef f(a: 'Later') -> None: ...", namespace)  # noqa: S102
    with pytest.raises(ToolsError, match="'Later'"):
        Registry([namespace["f"]])


def test_a_complete_registry_is_complete() -> None:
    Registry([book]).check_complete()
    Registry([pay]).check_complete(elsewhere={"refund"})


def test_all_that_is_missing_is_named_at_once() -> None:
    @tool(check="was_paid", undo="cancel")
    def charge(cents: int) -> None: ...

    with pytest.raises(ToolsError) as caught:
        Registry([pay, charge, cancel], allow=["pay", "charge"]).check_complete()
    message = str(caught.value)
    assert "undo 'refund' of 'pay' is no registered tool" in message
    assert "undo 'cancel' of 'charge' is not allowed" in message
    assert "check 'was_paid' of 'charge' is no registered tool" in message


def test_a_check_must_know_what_it_is_asked_and_need_nothing_else() -> None:
    @tool
    def asks_for_more(order_id: str) -> CheckAnswer:
        return CheckAnswer(status="absent")

    @tool(check=asks_for_more)
    def charge(cents: int) -> None: ...

    with pytest.raises(ToolsError) as caught:
        Registry([charge]).check_complete()
    assert "has no parameter of type CallContext" in str(caught.value)
    assert "has params of its own" in str(caught.value)
