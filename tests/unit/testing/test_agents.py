from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import pytest

from fsm_saga.errors import CommandError, SagaFailedError
from fsm_saga.service.growing import GrowingSaga
from fsm_saga.testing import SagaTest
from fsm_saga.tools.python import Tool, tool


@dataclass
class Order:
    order_id: str
    price: int


@tool(undo="cancel")
def fly(flight: str) -> Order:
    raise AssertionError("a test calls no real tool")


@tool(undo="cancel")
def stay(city: str) -> Order:
    raise AssertionError("a test calls no real tool")


@tool
def cancel(order_id: str) -> None:
    raise AssertionError("a test calls no real tool")


@tool(read_only=True)
def look(city: str) -> dict[str, Any]:
    raise AssertionError("a test calls no real tool")


TOOLS: list[Tool[..., Any]] = [fly, stay, cancel, look]


class TooDearError(Exception):
    pass


async def travel(saga: GrowingSaga) -> None:
    ticket = await saga.call(fly, flight="CA1234")
    room = await saga.call(stay, city="Rome")
    if ticket.price + room.price > 100:
        raise TooDearError(ticket.price + room.price)


@pytest.fixture
def saga() -> SagaTest:
    return SagaTest().agent(travel, tools=TOOLS)


def test_an_agent_whose_calls_succeed_is_done(saga: SagaTest) -> None:
    end = saga.run()

    assert end == "DONE committed"
    assert end.done == ["fly", "stay"]
    assert end.error is None
    assert end.output(1)["order_id"]


def test_what_the_agent_raises_takes_everything_back(saga: SagaTest) -> None:
    saga.tool("fly").returns(Order("F-1", 90))
    saga.tool("stay").returns(Order("S-1", 20))
    end = saga.run()

    assert end == "FAILED compensated"
    assert end.undone == ["stay", "fly"]
    assert isinstance(end.error, TooDearError)
    assert [call.params for call in end.calls_of("cancel")] == [
        {"order_id": "S-1"},
        {"order_id": "F-1"},
    ]
    assert any("TooDearError: 110" in line for line in end.story())


def test_a_refused_call_is_raised_in_the_agent(saga: SagaTest) -> None:
    saga.tool("stay").rejects("full")
    end = saga.run()

    assert end == "FAILED compensated"
    assert end.undone == ["fly"]
    assert isinstance(end.error, SagaFailedError)


@pytest.mark.parametrize("is_before", [True, False])
@pytest.mark.parametrize("name", ["fly", "stay"])
def test_an_agent_that_is_killed_goes_on_where_it_was(
    saga: SagaTest, name: str, is_before: bool
) -> None:
    saga.tool(name).crashes(before=is_before)
    end = saga.run()

    assert end == "DONE committed"
    assert end.crashes == 1
    assert end.done == ["fly", "stay"]
    assert len({call.req_id for call in end.calls}) == 2


def test_days_of_an_agent_take_no_time() -> None:
    async def slow(saga: GrowingSaga) -> None:
        for city in ("Rome", "Oslo", "Bonn"):
            await saga.call("look", city=city)
            await asyncio.sleep(1_000)
        await saga.call(stay, city="Rome")

    started = time.perf_counter()
    end = SagaTest().agent(slow, tools=TOOLS).run()

    assert end == "DONE committed"
    assert end.seconds > 3_000
    assert time.perf_counter() - started < 5


def test_steps_are_named_by_their_number(saga: SagaTest) -> None:
    saga.tool("stay").hangs()
    saga.person(2, by="Ada").settles()
    end = saga.run()

    assert end == "FAILED partly_compensated"
    assert end.undone == ["fly"]
    with pytest.raises(CommandError, match="named by their number"):
        saga.cancel(after="fly")


def test_an_agent_can_be_cancelled(saga: SagaTest) -> None:
    end = saga.cancel(during=2).run()

    assert end == "FAILED compensated"
    assert end.left == []
    assert isinstance(end.error, SagaFailedError)


def test_a_script_can_be_for_one_call(saga: SagaTest) -> None:
    async def twice(saga: GrowingSaga) -> None:
        await saga.call(fly, flight="A")
        await saga.call(fly, flight="B")

    saga.agent(twice, tools=TOOLS).tool("fly", step=2).rejects("full")
    end = saga.run()

    assert end == "FAILED compensated"
    assert [call.answer for call in end.calls_of("fly")] == ["ok", "rejected"]


def test_an_agent_that_calls_nothing_has_no_saga() -> None:
    async def idle(saga: GrowingSaga) -> None:
        del saga

    with pytest.raises(CommandError, match="made no call"):
        SagaTest().agent(idle, tools=TOOLS).run()


def test_what_is_raised_before_the_first_call_is_raised_in_the_test() -> None:
    async def broken(saga: GrowingSaga) -> None:
        raise TooDearError

    with pytest.raises(TooDearError):
        SagaTest().agent(broken, tools=TOOLS).run()


def test_an_agent_is_not_simulated(saga: SagaTest) -> None:
    with pytest.raises(CommandError, match=r"survives_crashes\(\) kills it at each"):
        saga.simulate()


def test_the_same_agent_runs_the_same_again(saga: SagaTest) -> None:
    saga.tool("stay").loses_reply()
    one, other = saga.run(), saga.run()

    assert [str(call) for call in one.calls] == [str(call) for call in other.calls]
    assert one == "DONE committed"


def test_an_agent_survives_a_crash_at_every_call(saga: SagaTest) -> None:
    saga.tool("fly").returns(Order("F-1", 90))
    saga.tool("stay").returns(Order("S-1", 20))
    end = saga.survives_crashes()

    assert end == "FAILED compensated"
    assert end.crashes == 0


def test_an_agent_that_goes_another_way_after_a_crash_is_found() -> None:
    lives = []

    async def fickle(saga: GrowingSaga) -> None:
        lives.append(1)
        await saga.call(fly, flight="CA1234")
        await saga.call(stay, city=f"Rome {len(lives)}")

    with pytest.raises(AssertionError, match="ends FAILED compensated") as told:
        SagaTest().agent(fickle, tools=TOOLS).survives_crashes()
    assert "call 2 (do stay) before it left" in str(told.value)
    assert "recorded another call at step 2" in str(told.value)
