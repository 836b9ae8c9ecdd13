"""A tool that ends the process at each call, in a store with others who want to be finished."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from fsm_saga.core.due import interruptions
from fsm_saga.core.limits import LIMITS
from fsm_saga.errors import StoreError
from fsm_saga.service.view import SagaView
from fsm_saga.stores.memory import MemoryStore
from tests.support.hosting import CrashedError, Host
from tests.support.plans import catalogue_of, plan_of
from tests.support.virtual_time import run_virtual
from tests.support.world import behaviours_of

ORDINARY = "1 work / unwork\n2 rest / unrest"
DEADLY = "1 work / unwork\n2 poison / antidote"
ENDS = LIMITS.interruption_max


def with_sagas(
    test: Callable[[Host], Coroutine[Any, Any, None]],
    *,
    ordinary: int = 5,
    deadly: int = 1,
) -> None:
    """Run the test on a host on which the process has died for the first time."""
    plans = [plan_of(f"ordinary-{n}", ORDINARY) for n in range(ordinary)]
    plans += [plan_of(f"deadly-{n}", DEADLY) for n in range(deadly)]

    async def run() -> None:
        host = Host(catalogue_of("", plans), name="suspects")
        host.deadly = {"poison"}
        # The second step of an ordinary saga is under way when the poison is called.
        host.runner.script = {
            "work": behaviours_of("slow 0.1 x100"),
            "rest": behaviours_of("slow 1.0 x500"),
        }
        await host.start()

        async def begin() -> None:
            for plan in plans:
                await host.engine.submit(plan)
            await asyncio.gather(*(host.engine.wait(plan.task_id) for plan in plans))

        with pytest.raises(CrashedError):
            await host.do(begin())
        await test(host)
        await host.kill()
        host.world.check_sound()

    run_virtual(run())


async def resumed(host: Host) -> list[SagaView]:
    """Return the sagas once all of them rest.

    Raises:
        CrashedError: If the process died before.
    """
    await host.start()

    async def finish() -> list[SagaView]:
        return [await host.engine.wait(saga_id) for saga_id in await host.engine.resume()]

    return await host.do(finish())


async def crash(host: Host, times: int) -> None:
    for _ in range(times):
        with pytest.raises(CrashedError):
            await resumed(host)


async def stored(host: Host, names: Sequence[str] = ()) -> dict[str, str]:
    """Return the states of the sagas in the store, with no engine that drives them."""
    store = MemoryStore.open("memory://suspects", "suspects", mode="read")
    heads = await store.heads()
    await store.close()
    return {head.saga_id: head.state for head in heads}


def test_the_others_are_finished_and_only_the_deadly_call_is_left_to_a_person() -> None:
    async def test(host: Host) -> None:
        await crash(host, ENDS - 1)
        views = await resumed(host)
        states = await stored(host)
        assert states.pop("deadly-0") == "NEEDS_HUMAN"
        assert set(states.values()) == {"DONE"}
        (deadly,) = [view for view in views if view.saga_id == "deadly-0"]
        assert deadly.step(2).error == (
            f"the process ended {ENDS} times while this call was under way"
        )

    with_sagas(test)


def test_what_was_in_flight_beside_it_is_finished_before_it_is_sent_again() -> None:
    async def test(host: Host) -> None:
        await crash(host, 2)
        assert list((await stored(host)).values()).count("DONE") == 0, "all are sent at once"
        # The third and the fourth time one is sent after the other, the deadly one at the end.
        await crash(host, 2)
        states = await stored(host)
        assert states.pop("deadly-0") == "EXECUTING(2)"
        assert set(states.values()) == {"DONE"}

    with_sagas(test)


def test_of_several_deadly_calls_each_is_found_out() -> None:
    async def test(host: Host) -> None:
        crashes = 0
        while True:
            try:
                await resumed(host)
                break
            except CrashedError:
                crashes += 1
        assert crashes <= 3 * ENDS
        states = await stored(host)
        assert [states.pop(f"deadly-{n}") for n in range(3)] == ["NEEDS_HUMAN"] * 3
        assert set(states.values()) == {"DONE"}

    with_sagas(test, deadly=3)


def test_after_the_first_crashes_all_are_sent_again_at_once() -> None:
    async def test(host: Host) -> None:
        await crash(host, 1)
        host.deadly = set()
        started = asyncio.get_running_loop().time()
        await resumed(host)
        assert asyncio.get_running_loop().time() - started < 2.0
        assert set((await stored(host)).values()) == {"DONE"}

    with_sagas(test, ordinary=20)


def test_a_suspect_may_be_taken_up_out_of_turn_by_a_person() -> None:
    async def test(host: Host) -> None:
        await crash(host, 2)
        host.deadly = set()
        await host.start()
        taken = await host.engine.resume()
        assert set(taken) == set(await stored(host))
        assert set(await host.engine.resume()) == set(taken), "again: nothing is taken up twice"
        waiting = asyncio.ensure_future(host.engine.wait("ordinary-0"))
        await asyncio.sleep(0)
        await host.engine.cancel("ordinary-0", by="ann")
        await waiting
        for saga_id in taken:
            await host.engine.wait(saga_id)
        states = await stored(host)
        assert states.pop("ordinary-0") == "FAILED"
        assert set(states.values()) == {"DONE"}

    with_sagas(test)


def test_a_suspect_that_cannot_be_read_any_more_holds_up_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="fsm_saga")

    async def test(host: Host) -> None:
        await crash(host, 2)
        host.deadly = set()
        await host.start()
        taken = await host.engine.resume()
        load = host.store.load

        async def fails(saga_id: str) -> Any:
            if saga_id == "ordinary-1":
                raise StoreError("its page is damaged")
            return await load(saga_id)

        host.store.load = fails  # type: ignore[method-assign]
        for saga_id in taken:
            if saga_id != "ordinary-1":
                await host.engine.wait(saga_id)
        with pytest.raises(StoreError, match="damaged"):
            await host.engine.wait("ordinary-1")
        for _ in range(600):
            if any("'ordinary-1' is not waited for" in each for each in caplog.messages):
                return
            await asyncio.sleep(0.1)
        raise AssertionError(caplog.messages)

    with_sagas(test)


def test_when_the_engine_is_left_those_who_wait_for_a_suspect_are_told() -> None:
    async def test(host: Host) -> None:
        await crash(host, 2)
        await host.start()
        host.deadly = set()
        taken = await host.engine.resume()
        waiting = [asyncio.ensure_future(host.engine.wait(saga_id)) for saga_id in taken]
        await asyncio.sleep(0.5)
        await host.kill()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert any("was left" in str(each) for each in found)

    with_sagas(test)


def test_a_saga_at_rest_is_no_suspect() -> None:
    async def test(host: Host) -> None:
        await crash(host, ENDS - 1)
        views = await resumed(host)
        assert [interruptions(view.saga) for view in views] == [0] * len(views)
        await host.kill()
        assert [view.saga_id for view in await resumed(host)] == ["deadly-0"]

    with_sagas(test)
