"""Running a tool's sync function in a thread, for a bounded time and in bounded numbers.

A thread cannot be stopped. When the time of a call is up its thread is **abandoned**: it no
longer counts, another takes its place, and whatever it does later is ignored. Three bounds keep
a tool that hangs from taking everything with it: a tool has at most half of the threads at a
time, at most ``hung_max`` of its threads may be abandoned and still run (further calls are then
not even started), and free threads are given to the tools in turn. All threads are daemons, so
that none of them keeps the program from ending.

Everything here but ``_work`` runs on the event loop, so nothing is locked.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import weakref
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any

from fsm_saga.tools.ended import Ended, How

THREAD_MAX = 64
HUNG_MAX = 16

_numbers = itertools.count(1)


class _Job:
    """One call: what to run, who waits for it, and how far it is."""

    __slots__ = ("ended", "is_abandoned", "is_started", "pool", "run", "tool", "waiter")

    def __init__(self, pool: ThreadPool, tool: str, run: Callable[[], Any]) -> None:
        self.pool = pool
        self.tool = tool
        self.run = run
        self.waiter = pool.loop.create_future()
        self.is_started = False
        self.ended: Ended | None = None
        self.is_abandoned = False


class _Worker:
    """A thread and the queue through which it gets its jobs; None ends it."""

    __slots__ = ("inbox",)

    def __init__(self) -> None:
        self.inbox: SimpleQueue[_Job | None] = SimpleQueue()
        name = f"fsm-saga-tool-{next(_numbers)}"
        Thread(target=_work, args=(self,), name=name, daemon=True).start()


def _work(worker: _Worker) -> None:
    # RuntimeError: the loop was closed in the meantime, so nobody waits for this thread any more.
    with suppress(RuntimeError):
        while (job := worker.inbox.get()) is not None:
            try:
                job.ended = Ended(How.RETURNED, job.run())
            except BaseException as error:  # noqa: BLE001  # boundary: a tool may raise anything
                job.ended = Ended(How.RAISED, error)
            job.pool.loop.call_soon_threadsafe(job.pool.finish, worker, job)
            # While it waits for the next job, an idle thread must hold neither the data of the
            # last one nor the pool, or a pool that is dropped would never go away.
            del job


class ThreadPool:
    """Daemon threads for one event loop.

    Args:
        thread_max: How many calls run at a time; abandoned ones do not count.
        hung_max: How many abandoned threads one tool may have.
    """

    def __init__(self, *, thread_max: int = THREAD_MAX, hung_max: int = HUNG_MAX) -> None:
        self.loop = asyncio.get_running_loop()
        self.thread_max = thread_max
        self.tool_max = max(1, thread_max // 2)
        self.hung_max = hung_max
        self._idle: list[_Worker] = []
        self._busy: Counter[str] = Counter()
        self._hung: Counter[str] = Counter()
        self._waiting: dict[str, deque[_Job]] = {}
        # A pool that is dropped without being closed leaves no idle thread behind.
        weakref.finalize(self, _dismiss, self._idle).atexit = False

    @property
    def busy_count(self) -> int:
        """How many calls are running and waited for."""
        return self._busy.total()

    @property
    def hung_count(self) -> int:
        """How many threads were abandoned and still run."""
        return self._hung.total()

    async def run(self, tool: str, function: Callable[[], Any], *, timeout_s: float) -> Ended:
        """Return how the function ended in its thread, or that it was silent or not started.

        The time includes waiting for a thread. The thread sees the caller's context variables,
        as they are now; what it sets stays there.

        Raises:
            asyncio.CancelledError: If the caller was cancelled; the thread was abandoned.
        """
        if self._hung[tool] >= self.hung_max:
            return Ended(
                How.NOT_STARTED, f"{self._hung[tool]} earlier calls of it hang in their threads"
            )
        run = _bound(contextvars.copy_context(), function)
        job = _Job(self, tool, run)
        self._submit(job)
        timer = self.loop.call_later(timeout_s, _wake, job.waiter)
        try:
            await job.waiter
        finally:
            timer.cancel()
            if job.ended is None:
                self._abandon(job)
        if job.ended is not None:
            return job.ended
        if not job.is_started:
            return Ended(How.NOT_STARTED, f"no thread was free within {timeout_s:g} s")
        return Ended(How.SILENT)

    def close(self) -> None:
        """End the idle threads; the others end with the call that they are in."""
        _dismiss(self._idle)

    def _submit(self, job: _Job) -> None:
        self._waiting.setdefault(job.tool, deque()).append(job)
        self._start_waiting()

    def _start_waiting(self) -> None:
        """Give free threads to waiting calls, one for each tool in turn."""
        while self.busy_count < self.thread_max:
            tool = next((tool for tool in self._waiting if self._busy[tool] < self.tool_max), None)
            if tool is None:
                return
            jobs = self._waiting.pop(tool)
            job = jobs.popleft()
            if jobs:
                # Its turn has passed: behind all the others.
                self._waiting[tool] = jobs
            self._start(job)

    def _start(self, job: _Job) -> None:
        try:
            worker = self._idle.pop() if self._idle else _Worker()
        except RuntimeError as error:
            job.ended = Ended(How.NOT_STARTED, f"no thread could be started: {error}")
            _wake(job.waiter)
            return
        job.is_started = True
        self._busy[job.tool] += 1
        worker.inbox.put(job)

    def finish(self, worker: _Worker, job: _Job) -> None:
        """Take a job back from its thread, abandoned or not; the thread asks the loop to."""
        if job.is_abandoned:
            self._hung[job.tool] -= 1
            worker.inbox.put(None)
            return
        self._busy[job.tool] -= 1
        self._idle.append(worker)
        _wake(job.waiter)
        self._start_waiting()

    def _abandon(self, job: _Job) -> None:
        if not job.is_started:
            jobs = self._waiting[job.tool]
            jobs.remove(job)
            if not jobs:
                del self._waiting[job.tool]
            return
        job.is_abandoned = True
        self._busy[job.tool] -= 1
        self._hung[job.tool] += 1
        self._start_waiting()


def _bound(context: contextvars.Context, function: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: context.run(function)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _dismiss(idle: list[_Worker]) -> None:
    while idle:
        idle.pop().inbox.put(None)
