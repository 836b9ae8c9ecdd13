"""Running a tool's coroutine within a time, whatever it does.

A tool's code is foreign. It may swallow its cancellation, cancel its own task, or leave with
``SystemExit`` or ``KeyboardInterrupt``; none of that may reach the coordinator, which waits for
it. So each call is a task of its own, and what runs inside the task is a thin driver that can
let go of a coroutine that will not stop.

One thing is out of reach: asyncio itself stops the loop when a task that the *tool* has started
leaves with ``SystemExit`` or ``KeyboardInterrupt``. Whoever owns the loop can take it up again,
as the command line does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from fsm_saga.tools.ended import Ended, How

STOP_GRACE_S = 1.0
"""How long a cancelled coroutine may clean up before it is let go."""

# The event loop itself holds its tasks weakly; these are waited for by nobody.
_LET_GO: set[asyncio.Task[None]] = set()


async def run_coroutine(
    awaitable: Awaitable[Any], *, timeout_s: float, grace_s: float = STOP_GRACE_S
) -> Ended:
    """Return how the tool's coroutine ended, within ``timeout_s`` and, if cancelled, the grace.

    What comes after the time is up counts for nothing, even an ordinary return: a tool that was
    interrupted cannot be asked what it has done.

    Raises:
        asyncio.CancelledError: If the caller was cancelled; the tool was cancelled as well.
            Nothing else is raised.
    """
    driver = _Driver(awaitable if asyncio.iscoroutine(awaitable) else _awaited(awaitable))
    task = asyncio.get_running_loop().create_task(driver)
    try:
        ended = await driver.wait(timeout_s)
    except BaseException:  # boundary: cancelled: the tool's coroutine must not go on by itself
        await _stop(task, driver, grace_s)
        raise
    if ended is None:
        await _stop(task, driver, grace_s)
        return Ended(How.SILENT)
    return ended


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


async def _stop(task: asyncio.Task[None], driver: _Driver, grace_s: float) -> None:
    """Cancel the task and give it the grace to end; after that it is not waited for."""
    task.cancel()
    try:
        await driver.wait(grace_s)
    finally:
        if driver.ended is None:
            driver.is_let_go = True
            _LET_GO.add(task)
            task.add_done_callback(_LET_GO.discard)
            task.cancel()


class _Driver(Coroutine[Any, Any, None]):
    """Passes everything on to the tool's coroutine and keeps how it ended.

    It ends normally whatever the coroutine does, so that its task has no exception that nobody
    fetches, or that would stop the loop. One round of the event loop is saved by waking the
    waiting caller from inside the last step, not from a callback of the task.
    """

    __slots__ = ("coroutine", "ended", "is_let_go", "waiter")

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.coroutine = coroutine
        self.ended: Ended | None = None
        self.is_let_go = False
        self.waiter: asyncio.Future[None] | None = None

    async def wait(self, seconds: float) -> Ended | None:
        """Return how the coroutine ended, or None if it still runs after ``seconds``."""
        if self.ended is None:
            loop = asyncio.get_running_loop()
            self.waiter = loop.create_future()
            timer = loop.call_later(seconds, _wake, self.waiter)
            try:
                await self.waiter
            finally:
                timer.cancel()
                self.waiter = None
        return self.ended

    def send(self, value: Any) -> Any:
        return self._step(self.coroutine.send, value)

    def throw(self, *error: Any) -> Any:
        return self._step(self.coroutine.throw, *error)

    def _step(self, resume: Callable[..., Any], *sent: Any) -> Any:
        if self.is_let_go:
            self.close()
            self._end(Ended(How.SILENT))
            raise StopIteration
        try:
            return resume(*sent)
        except StopIteration as stop:
            self._end(Ended(How.RETURNED, stop.value))
        except BaseException as error:  # noqa: BLE001  # boundary: a tool may raise anything
            self._end(Ended(How.RAISED, error))
        raise StopIteration

    def close(self) -> None:
        # A coroutine that refuses even GeneratorExit says so by a RuntimeError, and is left; one
        # may also leave with whatever it likes.
        with suppress(BaseException):
            self.coroutine.close()

    def __await__(self) -> Any:
        raise TypeError("a driver is run by a task")

    def __getattr__(self, name: str) -> Any:
        # What asyncio shows of a task (cr_frame, __qualname__) is the tool's own.
        return getattr(self.coroutine, name)

    def _end(self, ended: Ended) -> None:
        self.ended = ended
        if self.waiter is not None:
            _wake(self.waiter)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
