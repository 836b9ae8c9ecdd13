"""The real clock, the real chance, and the timers that run on any clock."""

from __future__ import annotations

import asyncio
import heapq
import random
import secrets
import time
from collections.abc import Callable

from fsm_saga.ports import Clock


class SystemClock:
    """Wall clock, monotonic sleep and a private generator for jitter."""

    def __init__(self) -> None:
        self._random = random.Random()  # noqa: S311  # spreads retries; no secret hangs on it

    def now(self) -> float:
        """Return the wall clock in seconds since 1970."""
        return time.time()

    def jitter(self) -> float:
        """Return a number in [0, 1)."""
        return self._random.random()

    def token(self) -> str:
        """Return 16 random hexadecimal digits."""
        return secrets.token_hex(8)

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``."""
        await asyncio.sleep(seconds)


class Timers:
    """Calls back when the wall clock reaches a time. One sleeping task serves all timers.

    A clock that jumps makes timers early or late and nothing worse: whoever is called looks at
    the clock again (S5).
    """

    # The wall clock may be set forward while we sleep; looking again bounds the delay.
    SLEEP_S_MAX = 30.0

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._changed = asyncio.Event()

    def schedule(self, at: float, callback: Callable[[], None]) -> None:
        """Call ``callback`` once the clock shows ``at``."""
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, callback))
        if self._heap[0][1] == self._count:
            self._changed.set()

    async def run(self) -> None:
        """Serve the timers until cancelled."""
        while True:
            self._changed.clear()
            now = self._clock.now()
            while self._heap and self._heap[0][0] <= now:
                _at, _count, callback = heapq.heappop(self._heap)
                callback()
            if not self._heap:
                await self._changed.wait()
                continue
            delay_s = min(max(self._heap[0][0] - self._clock.now(), 0.0), self.SLEEP_S_MAX)
            sleeping = asyncio.ensure_future(self._clock.sleep(delay_s))
            sleeping.add_done_callback(self._wake)
            try:
                await self._changed.wait()
            finally:
                sleeping.remove_done_callback(self._wake)
                sleeping.cancel()

    def _wake(self, _sleeping: asyncio.Future[None]) -> None:
        self._changed.set()
