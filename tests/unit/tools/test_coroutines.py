from __future__ import annotations

import asyncio
import contextvars
import gc
from collections.abc import Awaitable, Generator
from typing import Any

import pytest

from fsm_saga.tools.coroutines import run_coroutine
from fsm_saga.tools.ended import Ended, How

SHORT_S = 0.005
LONG_S = 5.0
SILENT = Ended(How.SILENT)

colour = contextvars.ContextVar("colour", default="none")


async def other_tasks() -> int:
    """Let the loop turn twice and count the tasks besides the test's own."""
    for _ in range(2):
        await asyncio.sleep(0)
    return len(asyncio.all_tasks()) - 1


async def test_what_a_coroutine_returns_is_kept() -> None:
    async def returns() -> int:
        await asyncio.sleep(0)
        return 3

    assert await run_coroutine(returns(), timeout_s=LONG_S) == Ended(How.RETURNED, 3)
    assert await other_tasks() == 0


async def test_any_awaitable_is_run() -> None:
    class Awaited(Awaitable[int]):
        def __await__(self) -> Generator[Any, None, int]:
            return asyncio.sleep(0, 3).__await__()

    future = asyncio.get_running_loop().create_future()
    future.set_result(4)
    assert await run_coroutine(Awaited(), timeout_s=LONG_S) == Ended(How.RETURNED, 3)
    assert await run_coroutine(future, timeout_s=LONG_S) == Ended(How.RETURNED, 4)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        asyncio.CancelledError(),
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        StopAsyncIteration(),
        BaseExceptionGroup("g", [KeyboardInterrupt(), SystemExit(3)]),
    ],
)
async def test_what_a_coroutine_raises_is_kept_and_reaches_nobody(error: Any) -> None:
    async def raises() -> None:
        await asyncio.sleep(0)
        raise error

    ended = await run_coroutine(raises(), timeout_s=LONG_S)
    assert ended.how is How.RAISED
    assert ended.value is error or type(ended.value) is error


async def test_a_coroutine_that_cancels_its_own_task_does_not_cancel_its_caller() -> None:
    async def cancels_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(LONG_S)

    ended = await run_coroutine(cancels_itself(), timeout_s=LONG_S)
    assert ended.how is How.RAISED
    assert isinstance(ended.value, asyncio.CancelledError)
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0


async def test_timeouts_and_groups_work_inside_of_a_tool() -> None:
    async def inner() -> str:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SHORT_S):
                await asyncio.sleep(LONG_S)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(asyncio.sleep(0, "both"))
        return task.result()

    assert await run_coroutine(inner(), timeout_s=LONG_S) == Ended(How.RETURNED, "both")


async def test_context_variables_are_copied() -> None:
    async def paints() -> str:
        seen = colour.get()
        colour.set("red")
        return seen

    colour.set("blue")
    assert (await run_coroutine(paints(), timeout_s=LONG_S)).value == "blue"
    assert colour.get() == "blue"


async def test_silence_is_silence_and_the_coroutine_is_cancelled() -> None:
    cleaned = []

    async def hangs() -> None:
        try:
            await asyncio.sleep(LONG_S)
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    assert await run_coroutine(hangs(), timeout_s=SHORT_S) == SILENT
    assert cleaned == [True]
    assert await other_tasks() == 0


@pytest.mark.parametrize("way", ["return", "raise"])
async def test_what_comes_after_the_time_is_up_counts_for_nothing(way: str) -> None:
    async def answers_late() -> str:
        try:
            await asyncio.sleep(LONG_S)
        except asyncio.CancelledError:
            if way == "raise":
                raise ValueError("sold out") from None
        return "booked"

    assert await run_coroutine(answers_late(), timeout_s=SHORT_S) == SILENT


async def test_an_answer_in_the_last_moment_counts() -> None:
    async def blocks_the_loop_past_its_time() -> str:
        deadline = asyncio.get_running_loop().time() + SHORT_S
        while asyncio.get_running_loop().time() < deadline:
            pass
        return "booked"

    ended = await run_coroutine(blocks_the_loop_past_its_time(), timeout_s=SHORT_S / 2)
    assert ended == Ended(How.RETURNED, "booked")


async def test_what_a_coroutine_leaves_with_when_it_is_let_go_reaches_nobody() -> None:
    async def insists() -> None:
        while True:
            try:
                await asyncio.sleep(LONG_S)
            except asyncio.CancelledError:
                pass
            except GeneratorExit:
                raise SystemExit(3) from None

    assert await run_coroutine(insists(), timeout_s=SHORT_S, grace_s=SHORT_S) == SILENT
    assert await other_tasks() == 0


async def test_a_coroutine_that_swallows_its_cancellation_is_let_go() -> None:
    left = []

    async def swallows() -> None:
        try:
            while True:
                try:
                    await asyncio.sleep(LONG_S)
                except asyncio.CancelledError:
                    continue
        finally:
            left.append(True)

    assert await run_coroutine(swallows(), timeout_s=SHORT_S, grace_s=SHORT_S) == SILENT
    assert await other_tasks() == 0
    assert left == [True]


# Python complains of such a coroutine once it is gone; that is not what is tested here.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_even_a_coroutine_that_swallows_everything_ends() -> None:
    async def swallows() -> None:
        while True:
            try:
                await asyncio.sleep(LONG_S)
            except BaseException:  # noqa: BLE001, S112
                continue

    assert await run_coroutine(swallows(), timeout_s=SHORT_S, grace_s=SHORT_S) == SILENT
    assert await other_tasks() == 0
    gc.collect()


async def test_a_coroutine_that_was_let_go_is_not_resumed_by_what_it_waited_for() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    resumed = []

    async def shields() -> None:
        while True:
            try:
                await asyncio.shield(future)
                resumed.append(True)
            except asyncio.CancelledError:
                continue

    assert await run_coroutine(shields(), timeout_s=SHORT_S, grace_s=SHORT_S) == SILENT
    future.set_result(None)
    assert await other_tasks() == 0
    assert resumed == []


async def test_a_cancelled_caller_cancels_the_coroutine_and_is_cancelled() -> None:
    cleaned = []

    async def hangs() -> None:
        try:
            await asyncio.sleep(LONG_S)
        finally:
            cleaned.append(True)

    call = asyncio.create_task(run_coroutine(hangs(), timeout_s=LONG_S))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert cleaned == [True]
    assert await other_tasks() == 0


async def test_a_second_cancellation_cuts_the_grace_short() -> None:
    async def swallows() -> None:
        while True:
            try:
                await asyncio.sleep(LONG_S)
            except asyncio.CancelledError:
                continue

    call = asyncio.create_task(run_coroutine(swallows(), timeout_s=LONG_S, grace_s=LONG_S))
    for _ in range(2):
        await asyncio.sleep(SHORT_S)
        call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await other_tasks() == 0


async def test_the_task_of_a_tool_shows_the_coroutine_of_the_tool() -> None:
    async def hangs() -> None:
        await asyncio.sleep(LONG_S)

    call = asyncio.create_task(run_coroutine(hangs(), timeout_s=LONG_S))
    await asyncio.sleep(SHORT_S)
    (task,) = asyncio.all_tasks() - {call, asyncio.current_task()}
    assert "hangs" in repr(task)
    assert [frame.f_code.co_name for frame in task.get_stack()] == ["hangs"]
    call.cancel()
    await asyncio.wait([call])
