from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from fsm_saga.cli.running import InterruptedBySignal, leave_at_once, run_async


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_unwinds_what_is_open_and_then_ends_the_command(number: int, code: int) -> None:
    closed = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.sleep(10)
        finally:
            closed.append(True)

    with pytest.raises(InterruptedBySignal) as stopped:
        run_async(work(), when_stopped="All is safe.")

    assert closed == [True]
    assert stopped.value.exit_code == code
    assert stopped.value.message == "All is safe."
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)


def test_what_is_raised_and_returned_passes_through() -> None:
    async def work(value: int) -> int:
        if value < 0:
            raise ValueError(value)
        return value

    async def cancelled() -> None:
        raise asyncio.CancelledError

    assert run_async(work(3)) == 3
    with pytest.raises(ValueError, match="-1"):
        run_async(work(-1))
    with pytest.raises(asyncio.CancelledError):
        run_async(cancelled())


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_what_a_task_of_a_tool_leaves_with_does_not_stop_the_loop(error: BaseException) -> None:
    async def leaves() -> None:
        raise error

    def leave() -> None:
        raise error

    async def work() -> int:
        loop = asyncio.get_running_loop()
        with pytest.raises(type(error)):
            await asyncio.create_task(leaves())
        loop.call_soon(leave)
        loop.call_soon(loop.stop)
        await asyncio.sleep(0.001)
        return 3

    assert run_async(work()) == 3


def test_what_the_command_itself_leaves_with_is_raised() -> None:
    async def leaves() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        run_async(leaves())


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    found: list[int] = []

    async def work() -> int:
        return 7

    thread = threading.Thread(target=lambda: found.append(run_async(work())))
    thread.start()
    thread.join()

    assert found == [7]


def test_nothing_holds_the_process_back_if_there_is_no_other_thread() -> None:
    leave_at_once(3)


SECOND_SIGNAL = """
    import asyncio, os, signal
    from fsm_saga.cli.running import run_async

    async def work():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(10)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(10)

    run_async(work())
"""

WAITING_THREAD = """
    import threading, time
    from fsm_saga.cli.running import leave_at_once

    threading.Thread(target=time.sleep, args=(60,)).start()
    print("said", end="")
    leave_at_once(130)
"""


@pytest.mark.parametrize(("program", "code"), [(SECOND_SIGNAL, 143), (WAITING_THREAD, 130)])
def test_whoever_insists_is_let_go_at_once(program: str, code: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], timeout=15, check=False
    )

    assert ended.returncode == code
