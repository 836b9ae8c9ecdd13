from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fsm_saga.tools.ended import Ended, How
from fsm_saga.tools.threads import ThreadPool

SHORT_S = 0.005
LONG_S = 5.0

colour = contextvars.ContextVar("colour", default="none")


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What hanging functions wait for; opened at the end, so that no thread outlives its test."""
    event = threading.Event()
    yield event
    event.set()


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG_S):
        while not is_true():  # noqa: ASYNC110  # what is watched belongs to a thread
            await asyncio.sleep(0.001)


def threads_of_pools() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name.startswith("fsm-saga-tool-")}


async def test_what_a_function_returns_or_raises_is_kept() -> None:
    pool = ThreadPool()
    assert await pool.run("t", lambda: 3, timeout_s=LONG_S) == Ended(How.RETURNED, 3)
    for error in (ValueError("x"), SystemExit(3), KeyboardInterrupt(), StopIteration(3)):

        def raises(error: BaseException = error) -> None:
            raise error

        ended = await pool.run("t", raises, timeout_s=LONG_S)
        assert ended.how is How.RAISED
        assert ended.value is error
    pool.close()


async def test_a_thread_is_used_again() -> None:
    pool = ThreadPool()
    idents = {(await pool.run("t", threading.get_ident, timeout_s=LONG_S)).value for _ in range(5)}
    assert len(idents) == 1
    assert threading.get_ident() not in idents
    pool.close()


async def test_a_thread_is_a_daemon_and_sees_the_context_of_its_caller() -> None:
    def look() -> tuple[bool, str]:
        seen = colour.get()
        colour.set("red")
        return threading.current_thread().daemon, seen

    pool = ThreadPool()
    colour.set("blue")
    assert (await pool.run("t", look, timeout_s=LONG_S)).value == (True, "blue")
    assert (await pool.run("t", look, timeout_s=LONG_S)).value == (True, "blue")
    assert colour.get() == "blue"
    pool.close()


async def test_a_hung_thread_is_abandoned_and_another_takes_its_place(
    gate: threading.Event,
) -> None:
    before = threads_of_pools()
    pool = ThreadPool(thread_max=1)
    assert await pool.run("hangs", gate.wait, timeout_s=SHORT_S) == Ended(How.SILENT)
    assert (pool.busy_count, pool.hung_count) == (0, 1)
    assert await pool.run("works", lambda: 3, timeout_s=LONG_S) == Ended(How.RETURNED, 3)
    gate.set()
    await until(lambda: pool.hung_count == 0)
    assert await pool.run("hangs", lambda: 4, timeout_s=LONG_S) == Ended(How.RETURNED, 4)
    pool.close()
    await until(lambda: threads_of_pools() <= before)


async def test_a_tool_whose_calls_all_hang_is_not_started_any_more(gate: threading.Event) -> None:
    pool = ThreadPool(thread_max=8, hung_max=3)
    calls = [pool.run("hangs", gate.wait, timeout_s=SHORT_S) for _ in range(3)]
    assert await asyncio.gather(*calls) == [Ended(How.SILENT)] * 3
    refused = await pool.run("hangs", gate.wait, timeout_s=LONG_S)
    assert refused == Ended(How.NOT_STARTED, "3 earlier calls of it hang in their threads")
    assert (await pool.run("works", lambda: 3, timeout_s=LONG_S)).value == 3
    pool.close()


async def test_a_tool_that_hangs_leaves_half_of_the_threads_to_the_others(
    gate: threading.Event,
) -> None:
    pool = ThreadPool(thread_max=4)
    hanging = [
        asyncio.create_task(pool.run("hangs", gate.wait, timeout_s=LONG_S)) for _ in range(20)
    ]
    await until(lambda: pool.busy_count == 2)
    assert (await pool.run("works", lambda: 3, timeout_s=LONG_S)).value == 3
    assert pool.busy_count == 2
    gate.set()
    assert {ended.how for ended in await asyncio.gather(*hanging)} == {How.RETURNED}
    assert pool.busy_count == 0
    pool.close()


async def test_no_more_threads_run_than_allowed() -> None:
    pool = ThreadPool(thread_max=2)
    seen = []
    barrier = threading.Barrier(2)

    def work() -> None:
        barrier.wait(LONG_S)
        seen.append(pool.busy_count)

    await asyncio.gather(*(pool.run(name, work, timeout_s=LONG_S) for name in "abcdef"))
    assert len(seen) == 6
    assert max(seen) == 2
    pool.close()


async def test_tools_that_wait_for_a_thread_take_turns(gate: threading.Event) -> None:
    pool = ThreadPool(thread_max=1)
    order: list[str] = []

    def work(call: str) -> None:
        gate.wait(LONG_S)
        order.append(call)

    async with asyncio.TaskGroup() as group:
        for call in ("a1", "a2", "a3", "b1"):
            group.create_task(pool.run(call[0], functools.partial(work, call), timeout_s=LONG_S))
        await until(lambda: pool.busy_count == 1)
        gate.set()
    assert order == ["a1", "a2", "b1", "a3"]
    pool.close()


async def test_a_call_that_found_no_thread_in_time_was_never_started(
    gate: threading.Event,
) -> None:
    pool = ThreadPool(thread_max=1)
    hanging = asyncio.create_task(pool.run("a", gate.wait, timeout_s=LONG_S))
    await until(lambda: pool.busy_count == 1)
    begun: list[int] = []
    waits = [pool.run("b", lambda: begun.append(1), timeout_s=SHORT_S) for _ in range(3)]
    for ended in await asyncio.gather(*waits):
        assert ended == Ended(How.NOT_STARTED, "no thread was free within 0.005 s")
    gate.set()
    assert (await hanging).how is How.RETURNED
    assert (await pool.run("b", lambda: 3, timeout_s=LONG_S)).value == 3
    assert begun == []
    pool.close()


async def test_a_cancelled_caller_abandons_its_thread_at_once(gate: threading.Event) -> None:
    pool = ThreadPool()
    call = asyncio.create_task(pool.run("t", gate.wait, timeout_s=LONG_S))
    await until(lambda: pool.busy_count == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (pool.busy_count, pool.hung_count) == (0, 1)
    gate.set()
    await until(lambda: pool.hung_count == 0)


async def test_a_caller_that_is_cancelled_while_it_waits_leaves_the_queue(
    gate: threading.Event,
) -> None:
    pool = ThreadPool(thread_max=1)
    hanging = asyncio.create_task(pool.run("a", gate.wait, timeout_s=LONG_S))
    waiting = asyncio.create_task(pool.run("a", gate.wait, timeout_s=LONG_S))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.set()
    assert (await hanging).how is How.RETURNED
    assert (pool.busy_count, pool.hung_count) == (0, 0)
    pool.close()


async def test_when_no_thread_can_be_started_the_call_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fails)
    pool = ThreadPool()
    ended = await pool.run("t", lambda: 3, timeout_s=LONG_S)
    assert ended == Ended(How.NOT_STARTED, "no thread could be started: can't start new thread")
    assert pool.busy_count == 0


async def test_closing_and_dropping_a_pool_end_its_idle_threads() -> None:
    before = threads_of_pools()
    closed, dropped = ThreadPool(), ThreadPool()
    for pool in (closed, dropped):
        await pool.run("t", lambda: 3, timeout_s=LONG_S)
    del pool
    closed.close()
    alive = weakref.ref(dropped)
    del dropped
    gc.collect()
    assert alive() is None
    await until(lambda: threads_of_pools() <= before)


def test_a_thread_whose_loop_is_gone_ends() -> None:
    before = threads_of_pools()
    gate = threading.Event()

    async def leave_behind() -> ThreadPool:
        pool = ThreadPool()
        assert (await pool.run("t", gate.wait, timeout_s=SHORT_S)).how is How.SILENT
        return pool

    pool = asyncio.run(leave_behind())
    gate.set()
    for thread in threads_of_pools() - before:
        thread.join(LONG_S)
        assert not thread.is_alive()
    assert pool.hung_count == 1


async def test_an_idle_thread_does_not_hold_on_to_the_last_result() -> None:
    class Result:
        pass

    pool = ThreadPool()
    ended: Any = await pool.run("t", Result, timeout_s=LONG_S)
    alive = weakref.ref(ended.value)
    del ended
    await pool.run("t", lambda: None, timeout_s=LONG_S)
    gc.collect()
    assert alive() is None
    pool.close()


@pytest.mark.timeout(20)
def test_a_hung_thread_does_not_keep_the_program_from_ending() -> None:
    program = (
        "import asyncio, threading\n"
        "from fsm_saga.tools.threads import ThreadPool\n"
        "async def main():\n"
        "    ended = await ThreadPool().run('t', threading.Event().wait, timeout_s=0.01)\n"
        "    print(ended.how.value)\n"
        "asyncio.run(main())\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=15, check=False
    )
    assert (run.stdout.strip(), run.stderr, run.returncode) == ("silent", "", 0)
