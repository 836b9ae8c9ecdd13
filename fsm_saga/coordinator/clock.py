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
    """Calls back when the wall clock reaches a time, or when that was waited for long enough.

    One sleeping task serves all timers. A clock that jumps forward makes them early, and one that
    is set back makes those late that go by the clock alone: whoever is called looks at the clock
    again (S5).
    """

    LOOK_AGAIN_S = 30.0
    LOOK_AGAIN_SHARE = 1 / 60
    """The wall clock may be set forward while we sleep; looking at it again bounds the delay: to
    half a minute, or to a minute for each hour that there was still to wait."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._callbacks: dict[int, Callable[[], None]] = {}
        # Both heaps may name what was called already.
        self._by_clock: list[tuple[float, int]] = []
        self._by_wait: list[tuple[float, int]] = []
        self._count = 0
        self._changed = asyncio.Event()

    def schedule(
        self, at: float, callback: Callable[[], None], *, wait_s_max: float | None = None
    ) -> None:
        """Call ``callback`` once the clock shows ``at``.

        Args:
            at: The time, by the wall clock.
            callback: Called once.
            wait_s_max: Call it after as long as there is to wait by now, and after so many seconds
                at most, whatever the clock shows then; None if the clock alone counts.
        """
        self._count += 1
        key = self._count
        self._callbacks[key] = callback
        heapq.heappush(self._by_clock, (at, key))
        is_next = self._by_clock[0][1] == key
        if wait_s_max is not None:
            wait_s = min(at - self._clock.now(), wait_s_max)
            over_at = asyncio.get_running_loop().time() + wait_s
            heapq.heappush(self._by_wait, (over_at, key))
            is_next = is_next or self._by_wait[0][1] == key
        if is_next:
            self._changed.set()

    async def run(self) -> None:
        """Serve the timers until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            self._call_due(self._by_clock, self._clock.now())
            self._call_due(self._by_wait, loop.time())
            delay_s = self._delay_s(loop.time())
            if delay_s is None:
                await self._changed.wait()
                continue
            sleeping = asyncio.ensure_future(self._clock.sleep(delay_s))
            sleeping.add_done_callback(self._wake)
            try:
                await self._changed.wait()
            finally:
                sleeping.remove_done_callback(self._wake)
                sleeping.cancel()

    def _call_due(self, heap: list[tuple[float, int]], now: float) -> None:
        while heap and (heap[0][0] <= now or heap[0][1] not in self._callbacks):
            callback = self._callbacks.pop(heapq.heappop(heap)[1], None)
            if callback is not None:
                callback()

    def _delay_s(self, now: float) -> float | None:
        """Return how long to sleep, or None if nothing is waited for."""
        for heap in (self._by_clock, self._by_wait):
            while heap and heap[0][1] not in self._callbacks:
                heapq.heappop(heap)
        if not self._callbacks:
            return None
        left_s = self._by_clock[0][0] - self._clock.now()
        delay_s = min(left_s, max(self.LOOK_AGAIN_S, left_s * self.LOOK_AGAIN_SHARE))
        if self._by_wait:
            delay_s = min(delay_s, self._by_wait[0][0] - now)
        return max(delay_s, 0.0)

    def _wake(self, _sleeping: asyncio.Future[None]) -> None:
        self._changed.set()
