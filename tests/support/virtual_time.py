"""An event loop in which waiting costs nothing: when nobody can go on, the clock jumps.

Everything runs in one order, always the same, and a day of back-off takes a millisecond. A program
that waits for what can never come is told so instead of hanging.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

STARTED_AT = 1_767_225_600.0
"""What the virtual wall clock shows at the start: the first second of 2026."""


class DeadlockError(Exception):
    """Everybody waits and no timer runs."""


class _Selector(selectors.SelectSelector):
    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            self.loop.give_up()
        self.loop.now += timeout or 0.0
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time passes only while all wait. No sockets, no threads."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self.now = 0.0
        self.is_stuck = False
        self.main: asyncio.Task[Any] | None = None
        super().__init__(selector)

    def time(self) -> float:
        """Return the virtual seconds since the start."""
        return self.now

    def give_up(self) -> None:
        """Cancel the main task: nothing else can ever happen.

        Raises:
            DeadlockError: If that was done before and was of no use.
        """
        if self.is_stuck or self.main is None:
            raise DeadlockError("everybody waits, and nobody can be cancelled")
        self.is_stuck = True
        self.main.cancel()


class VirtualClock:
    """The ``Clock`` port on a virtual loop. ``jitters`` are handed out in turn, then zeros."""

    def __init__(self) -> None:
        self.jitters: list[float] = []
        self._tokens = 0

    def now(self) -> float:
        """Return the virtual wall clock."""
        return STARTED_AT + asyncio.get_running_loop().time()

    def jitter(self) -> float:
        """Return the next number that was given."""
        return self.jitters.pop(0) if self.jitters else 0.0

    def token(self) -> str:
        """Return a number that was not given before."""
        self._tokens += 1
        return f"{self._tokens:016x}"

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds`` of virtual time."""
        await asyncio.sleep(seconds)


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Return what ``main`` returns, run on a virtual loop.

    Raises:
        DeadlockError: If it waits for what cannot come.
    """
    with asyncio.Runner(debug=False, loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        try:
            return runner.run(_watched(main, loop))
        except asyncio.CancelledError:
            if not loop.is_stuck:
                raise
    raise DeadlockError("everybody waits, and nothing is left that could come")


async def _watched(main: Coroutine[Any, Any, T], loop: VirtualLoop) -> T:
    loop.main = asyncio.current_task()
    return await main
