"""The virtual loop: time that costs nothing, and processes that are paused and killed."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fsm_saga.simulation.loop import Process, VirtualLoop


def new_loop() -> VirtualLoop:
    return VirtualLoop()  # type: ignore[abstract]  # at run time nothing of it is abstract


def run(loop: VirtualLoop, *, until: float = 100.0) -> None:
    loop.run_while(lambda: True, until=until)


def test_sleeping_moves_the_clock_and_nothing_else() -> None:
    loop = new_loop()
    woken: list[float] = []

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append(loop.time())

    for seconds in (3.0, 1.0, 2.0):
        loop.create_task(sleep(seconds))
    run(loop)
    assert woken == [1.0, 2.0, 3.0]
    assert loop.time() == 100.0


def test_of_two_timers_of_one_time_the_first_asked_for_comes_first() -> None:
    loop = new_loop()
    order: list[str] = []
    loop.call_at(1.0, order.append, "a")
    loop.call_at(1.0, order.append, "b")
    run(loop)
    assert order == ["a", "b"]


def test_a_cancelled_callback_does_not_run() -> None:
    loop = new_loop()
    order: list[str] = []
    loop.call_at(1.0, order.append, "never").cancel()
    loop.call_soon(order.append, "never").cancel()
    run(loop)
    assert order == []


def test_a_run_stops_when_it_is_no_longer_wanted() -> None:
    loop = new_loop()
    order: list[float] = []
    for at in (1.0, 2.0, 3.0):
        loop.call_at(at, order.append, at)
    assert loop.run_while(lambda: len(order) < 2, until=100.0)
    assert (order, loop.time()) == ([1.0, 2.0], 2.0)
    assert not loop.run_while(lambda: True, until=2.5)


def ticking(loop: VirtualLoop, ticks: list[float], ended: list[str]) -> Process:
    process = Process("p", loop)

    async def tick() -> None:
        try:
            while True:
                await asyncio.sleep(1.0)
                ticks.append(loop.time())
        finally:
            ended.append("end")

    process.spawn(tick())
    return process


def test_a_killed_process_does_nothing_more_not_even_its_finally() -> None:
    loop = new_loop()
    ticks: list[float] = []
    ended: list[str] = []
    process = ticking(loop, ticks, ended)
    run(loop, until=2.5)
    process.kill()
    run(loop)
    assert process.is_dead
    assert (ticks, ended) == ([1.0, 2.0], [])


def test_a_paused_process_goes_on_where_it_was_and_time_has_passed() -> None:
    loop = new_loop()
    ticks: list[float] = []
    process = ticking(loop, ticks, [])
    run(loop, until=1.5)
    process.pause()
    run(loop, until=7.5)
    assert ticks == [1.0]
    process.go_on()
    run(loop, until=9.0)
    assert ticks == [1.0, 7.5, 8.5]


def test_what_a_dead_process_is_sent_is_dropped() -> None:
    loop = new_loop()
    process = Process("p", loop)
    heard: list[str] = []
    process.pause()
    process.call_soon(heard.append, "held")
    run(loop, until=1.0)
    process.kill()
    process.go_on()
    process.call_soon(heard.append, "late")
    run(loop)
    assert heard == []


def test_tasks_of_a_process_belong_to_it_and_so_do_those_that_they_start() -> None:
    loop = new_loop()
    process = Process("p", loop)
    ticks: list[str] = []

    async def child() -> None:
        await asyncio.sleep(1.0)
        ticks.append("child")

    async def parent() -> None:
        await asyncio.gather(child(), child())

    process.spawn(parent())
    run(loop, until=0.5)
    process.kill()
    run(loop)
    assert ticks == []


def test_what_the_world_does_goes_on_whoever_asked_for_it() -> None:
    loop = new_loop()
    process = Process("p", loop)
    done: list[float] = []

    async def ask() -> None:
        loop.call_world(2.0, lambda: done.append(loop.time()))

    process.spawn(ask())
    run(loop, until=1.0)
    process.kill()
    run(loop)
    assert done == [2.0]


def test_a_failed_task_is_told_to_its_process() -> None:
    loop = new_loop()
    process = Process("p", loop)
    told: list[BaseException] = []
    process.on_failure = told.append

    async def fail() -> None:
        raise LookupError("gone")

    process.spawn(fail())
    run(loop)
    assert [type(error) for error in told] == [LookupError]


def test_closing_throws_away_what_never_ended() -> None:
    loop = new_loop()
    ended: list[str] = []
    ticking(loop, [], ended)
    run(loop, until=1.5)
    loop.close()
    assert ended == ["end"]


def test_closing_ends_also_what_waits_at_its_end_and_in_a_context() -> None:
    loop = new_loop()
    ended: list[str] = []

    @asynccontextmanager
    async def held() -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(50.0))
            try:
                yield
            finally:
                await asyncio.sleep(1.0)
                ended.append("never")

    async def hold() -> None:
        try:
            async with held():
                await loop.create_future()
        finally:
            ended.append("outer")

    loop.create_task(hold())
    run(loop, until=1.0)
    loop.create_task(hold())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loop.close()
        gc.collect()
    assert ended == ["outer"]
