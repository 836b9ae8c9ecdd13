"""A saga that grows with an agent's calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fsm_saga.errors import CommandError, EventRefusedError, PlanError, SagaFailedError
from tests.support.hosting import Host
from tests.support.plans import catalogue_of
from tests.support.virtual_time import STARTED_AT, run_virtual
from tests.support.world import behaviours_of

TOOLS = """
book_flight undo=cancel_flight params=day returns=id
cancel_flight params=id
book_hotel undo=cancel_hotel params=near returns=id
cancel_hotel params=id
look read_only params=at
"""


def with_host(test: Callable[[Host], Coroutine[Any, Any, None]], **script: str) -> None:
    async def run() -> None:
        host = Host(catalogue_of(TOOLS), name="growing")
        host.runner.script = {tool: behaviours_of(words) for tool, words in script.items()}
        await host.start()
        try:
            await test(host)
        finally:
            await host.kill()
        host.world.check_sound()

    run_virtual(run())


def test_an_agent_goes_on_after_a_call_that_was_refused_as_a_plan_is() -> None:
    async def test(host: Host) -> None:
        async with host.engine.saga("trip") as trip:
            await trip.call("book_flight", day="Mon")
            for name, params in (("book_moon", {}), ("book_flight", {}), ("look", {"far": 1})):
                with pytest.raises(PlanError):
                    await trip.call(name, **params)
            with pytest.raises(CommandError, match="is no tool"):
                await trip.call(lambda: None)  # type: ignore[arg-type, return-value]
            hotel = await trip.call("book_hotel", near="sea")
            assert hotel == {"id": "book_hotel-1"}
        view = await host.engine.get("trip")
        assert (view.state, len(view.steps)) == ("DONE", 2)

    with_host(test)


def test_calls_that_are_made_together_run_together() -> None:
    async def test(host: Host) -> None:
        async with host.engine.saga("trip") as trip:
            flight, hotel = await asyncio.gather(
                trip.call("book_flight", day="Mon"), trip.call("book_hotel", near="sea")
            )
        assert (flight["id"], hotel["id"]) == ("book_flight-1", "book_hotel-1")
        assert host.clock.now() < STARTED_AT + 6, "five seconds, not ten"

    with_host(test, book_flight="slow 5", book_hotel="slow 5")


def test_a_saga_that_was_never_begun_leaves_nothing() -> None:
    async def test(host: Host) -> None:
        async with host.engine.saga("trip"):
            pass
        with pytest.raises(ValueError, match="changed my mind"):
            async with host.engine.saga("trip"):
                raise ValueError("changed my mind")
        assert await host.engine.list() == []

    with_host(test)


def test_an_error_of_the_agent_is_raised_as_it_is_with_a_note_of_what_became_of_the_saga() -> None:
    async def test(host: Host) -> None:
        async def agent() -> None:
            async with host.engine.saga("trip") as trip:
                await trip.call("book_flight", day="Mon")
                raise ValueError("half \ud800 of it\n")

        with pytest.raises(ValueError, match="\ud800") as raised:
            await agent()
        assert raised.value.__notes__ == ["Saga 'trip' is FAILED, outcome compensated."]
        assert host.world.left("trip") == []

    with_host(test)


@pytest.mark.parametrize(
    ("script", "state", "outcome"),
    [
        ({"book_hotel": 'rejected "full"'}, "FAILED", "compensated"),
        ({"book_hotel": "unknown x9"}, "NEEDS_HUMAN", "unknown"),
        (
            {"book_hotel": 'rejected "full"', "cancel_flight": 'rejected "stuck" x9'},
            "NEEDS_HUMAN",
            "unknown",
        ),
    ],
)
def test_an_agent_that_catches_the_failure_of_a_call_is_told_again_when_it_leaves(
    script: dict[str, str], state: str, outcome: str
) -> None:
    async def test(host: Host) -> None:
        async def agent() -> None:
            async with host.engine.saga("trip") as trip:
                await trip.call("book_flight", day="Mon")
                with pytest.raises(SagaFailedError):
                    await trip.call("book_hotel", near="sea")

        with pytest.raises(SagaFailedError) as told:
            await agent()
        assert (told.value.facts["state"], told.value.facts["outcome"]) == (state, outcome)

    with_host(test, **script)


def test_an_agent_that_leaves_while_the_saga_goes_back_is_told_once_it_is_back() -> None:
    async def test(host: Host) -> None:
        async def agent() -> asyncio.Future[Any]:
            async with host.engine.saga("trip") as trip:
                await trip.call("book_flight", day="Mon")
                calling = asyncio.ensure_future(trip.call("book_hotel", near="sea"))
                await asyncio.sleep(0.5)
                await host.engine.cancel("trip", by="ann")
            return calling

        with pytest.raises(SagaFailedError) as told:
            await agent()
        assert told.value.facts["state"] == "FAILED"

    with_host(test, book_hotel="slow 2")


def test_an_amendment_from_outside_is_not_overwritten_by_the_agents_next_call() -> None:
    async def test(host: Host) -> None:
        async def agent() -> None:
            async with host.engine.saga("trip") as trip:
                await trip.call("book_flight", day="Mon")
                look = {"step_id": 9, "tool": "look", "params": {"at": 1}}
                await host.engine.amend("trip", [look])
                await trip.call("book_hotel", near="sea")

        with pytest.raises(EventRefusedError, match="has grown since"):
            await agent()
        view = await host.engine.get("trip")
        assert [step.step_id for step in view.steps] == [1, 9]

    with_host(test)


def test_a_saga_whose_plan_is_closed_does_not_grow() -> None:
    async def test(host: Host) -> None:
        async with host.engine.saga("trip") as trip:
            await trip.call("book_flight", day="Mon")
        with pytest.raises(CommandError, match="its plan is closed"):
            async with host.engine.saga("trip"):
                pass

    with_host(test)


def test_an_agent_that_comes_back_after_a_crash_goes_on_where_it_was() -> None:
    async def agent(host: Host) -> dict[str, Any]:
        async with host.engine.saga("trip") as trip:
            await trip.call("book_flight", day="Mon")
            found: dict[str, Any] = await trip.call("book_hotel", near="sea")
            return found

    async def test(host: Host) -> None:
        running = asyncio.ensure_future(agent(host))
        await asyncio.sleep(1)
        await host.kill()
        await asyncio.gather(running, return_exceptions=True)
        await host.start()
        assert await agent(host) == {"id": "book_hotel-1"}
        assert (await host.engine.get("trip")).state == "DONE"

    with_host(test, book_hotel="slow 5")
