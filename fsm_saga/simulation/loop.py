"""An event loop on virtual time, and the processes in it, which can be paused and killed.

Time passes only while all wait. There is no selector, no thread and no clock behind it, and what
is ready runs in the order in which it became ready: the same calls make the same run.

A process is known by a context variable: every callback of a task runs in the context of the
process that started it. A paused process keeps its callbacks for later, as one that got SIGSTOP
does; a killed one drops them, so that no ``finally`` of its coroutines runs any more.
"""

from __future__ import annotations

import asyncio
import contextvars
import enum
import heapq
import warnings
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

WAITS_MAX = 50
"""For how many things a task that is thrown away may wait at its end."""

_PROCESS: contextvars.ContextVar[Process] = contextvars.ContextVar("process")


class Condition(enum.Enum):
    """What a process is doing."""

    RUNNING = "running"
    PAUSED = "paused"
    DEAD = "dead"


class Process:
    """One incarnation of a program, with its tasks.

    Attributes:
        on_failure: Called with what a task raised and nobody caught.
    """

    def __init__(self, name: str, loop: VirtualLoop) -> None:
        self.name = name
        self.condition = Condition.RUNNING
        self.on_failure: Callable[[BaseException], None] = _raise
        self._loop = loop
        self._backlog: list[Handle] = []
        self._context = contextvars.Context()
        self._context.run(_PROCESS.set, self)

    @property
    def is_dead(self) -> bool:
        """True once it was killed."""
        return self.condition is Condition.DEAD

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> None:
        """Run the callback in this process, as something that came in from outside."""
        self._loop.call_soon(callback, *args, context=self._context)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run ``work`` as a task of this process."""
        task = self._loop.create_task(work, context=self._context)
        task.add_done_callback(self._note_end, context=self._context)
        return task

    def watch(self, task: asyncio.Task[Any]) -> None:
        """Tell ``on_failure`` what the task raises."""
        task.add_done_callback(self._note_end)

    def _note_end(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.on_failure(error)

    def pause(self) -> None:
        """Keep everything that would run from now on for later."""
        if self.condition is Condition.RUNNING:
            self.condition = Condition.PAUSED

    def go_on(self) -> None:
        """Run what piled up, in the order in which it came, and all that follows."""
        if self.condition is Condition.PAUSED:
            self.condition = Condition.RUNNING
            self._loop.take_back(self._backlog)
            self._backlog = []

    def kill(self) -> None:
        """Drop everything that would run from now on."""
        self.condition = Condition.DEAD
        self._backlog = []

    def hold(self, handle: Handle) -> None:
        """Take a callback that is not to run now."""
        if self.condition is Condition.PAUSED:
            self._backlog.append(handle)


class ThrownAwayError(BaseException):
    """A run is over, and with it a task that never came to its end."""


def _raise(error: BaseException) -> None:
    raise error


def _throw_away(coroutine: Any) -> None:  # what a task was made of
    """End a coroutine, also one whose ``finally`` waits for something: it waits in vain.

    To close it is not enough: an asynchronous generator inside would not hear of that.
    """
    for _ in range(WAITS_MAX):
        try:
            coroutine.throw(ThrownAwayError)
        except BaseException:  # noqa: BLE001  # boundary: whatever it says at its end, nobody hears
            return


class Handle:
    """A callback that waits for its turn; ``cancel`` is all that asyncio asks of one."""

    __slots__ = ("args", "callback", "context", "is_cancelled")

    def __init__(
        self, callback: Callable[..., Any], args: tuple[Any, ...], context: contextvars.Context
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.is_cancelled = False

    def cancel(self) -> None:
        """Do not run it."""
        self.is_cancelled = True


class VirtualLoop(asyncio.AbstractEventLoop):
    """The loop. Only what tasks, futures, locks, time-outs and sleeps need is there.

    Attributes:
        complaints: What asyncio would have logged, such as an exception that nobody retrieved.
        world: The context of what belongs to no process, and so never stops.
    """

    def __init__(self) -> None:
        self.complaints: list[dict[str, Any]] = []
        self.world = contextvars.Context()
        self._now = 0.0
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []
        self._count = 0
        self._tasks: list[asyncio.Task[Any]] = []

    def time(self) -> float:
        """Return the virtual seconds since the start."""
        return self._now

    def call_soon(  # type: ignore[override]  # our handle does what asyncio asks of one
        self,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Handle:
        """Run the callback after those that are ready now."""
        handle = Handle(callback, args, contextvars.copy_context() if context is None else context)
        self._ready.append(handle)
        return handle

    def call_at(  # type: ignore[override]  # as above
        self,
        when: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Handle:
        """Run the callback at that time; of two with one time, the first that was asked for."""
        handle = Handle(callback, args, contextvars.copy_context() if context is None else context)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def call_later(  # type: ignore[override]  # as above
        self,
        delay: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Handle:
        """Run the callback after ``delay`` seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_world(self, delay_s: float, callback: Callable[..., Any], *args: Any) -> Handle:
        """Run the callback after ``delay_s``, whatever becomes of the process that asks."""
        return self.call_at(self._now + delay_s, callback, *args, context=self.world)

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]  # no eager tasks, no factories
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[T]:
        """Run a coroutine as a task."""
        # A name that is given keeps asyncio from counting tasks across runs.
        task = asyncio.Task(coro, loop=self, name=name or "task", context=context)
        # A killed process leaves its tasks where they were; that is no mistake.
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        self._tasks.append(task)
        return task

    def close(self) -> None:
        """Throw away what never came to its end; nothing runs any more."""
        asyncio._set_running_loop(self)
        try:
            with warnings.catch_warnings():
                # A task that was killed before it began holds what it would have waited for.
                warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
                while self._tasks:
                    task = self._tasks.pop()
                    if not task.done():
                        _throw_away(task.get_coro())
        finally:
            asyncio._set_running_loop(None)
            self._ready.clear()
            self._timers.clear()

    def get_debug(self) -> bool:
        """Return False: debugging looks at the real clock."""
        return False

    def is_running(self) -> bool:
        """Return True while a run is under way; outside of one nobody asks."""
        return True

    def is_closed(self) -> bool:
        """Return False: there is nothing to close."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what asyncio complains of."""
        self.complaints.append(context)

    def take_back(self, handles: list[Handle]) -> None:
        """Put callbacks that were held back behind what is ready."""
        self._ready.extend(handles)

    def run_while(self, is_wanted: Callable[[], bool], *, until: float) -> bool:
        """Run until ``is_wanted`` says no, and return True; or to that time, and return False.

        Whether it is wanted is asked each time before the clock moves on.
        """
        asyncio._set_running_loop(self)
        try:
            while True:
                self._run_ready()
                if not is_wanted():
                    return True
                if not self._timers or self._timers[0][0] > until:
                    self._now = max(self._now, until)
                    return False
                self._advance()
        finally:
            asyncio._set_running_loop(None)

    def _run_ready(self) -> None:
        ready = self._ready
        while ready:
            handle = ready.popleft()
            if handle.is_cancelled:
                continue
            context = handle.context
            process = context.get(_PROCESS)
            if process is not None and process.condition is not Condition.RUNNING:
                process.hold(handle)
                continue
            context.run(handle.callback, *handle.args)

    def _advance(self) -> None:
        """Go to the next time that somebody waits for."""
        timers, ready = self._timers, self._ready
        when = timers[0][0]
        self._now = max(self._now, when)
        while timers and timers[0][0] <= when:
            handle = heapq.heappop(timers)[2]
            if not handle.is_cancelled:
                ready.append(handle)
