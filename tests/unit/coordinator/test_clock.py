"""Timers on a clock that may jump, and the real clock in its few words."""

from __future__ import annotations

import asyncio
import time

import pytest

from fsm_saga.coordinator.clock import SystemClock, Timers
from tests.support.virtual_time import run_virtual


class JumpingClock:
    """A wall clock that is set while the sleepers sleep on."""

    def __init__(self) -> None:
        self.offset = 0.0

    def now(self) -> float:
        return asyncio.get_running_loop().time() + self.offset

    def jitter(self) -> float:
        return 0.0

    def token(self) -> str:
        return "token"

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def played(*, jump: tuple[float, float] | None = None, until: float = 100.0) -> list[str]:
    """Return when the timers of a small program fired, by the monotonic clock."""
    fired: list[str] = []

    async def play() -> None:
        clock, loop = JumpingClock(), asyncio.get_running_loop()
        timers = Timers(clock)
        running = asyncio.ensure_future(timers.run())

        def note(name: str) -> None:
            fired.append(f"{name} {loop.time():g}")

        timers.schedule(20.0, lambda: note("late"))
        await asyncio.sleep(1)
        timers.schedule(5.0, lambda: note("early"))
        timers.schedule(5.0, lambda: note("together"))
        timers.schedule(0.5, lambda: note("overdue"))
        if jump is not None:
            await asyncio.sleep(jump[0] - 1)
            clock.offset = jump[1]
        await asyncio.sleep(until - loop.time())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run_virtual(play())
    return fired


def test_timers_fire_in_the_order_of_their_times() -> None:
    assert played() == ["overdue 1", "early 5", "together 5", "late 20"]


def test_a_clock_that_is_set_forward_is_noticed_within_the_longest_sleep() -> None:
    """S5: early or late and nothing worse."""
    fired = played(jump=(2.0, 1_000.0))
    assert [entry.split()[0] for entry in fired] == ["overdue", "early", "together", "late"]
    assert float(fired[-1].split()[1]) <= 2.0 + Timers.LOOK_AGAIN_S


def test_a_clock_that_is_set_back_makes_timers_late() -> None:
    assert played(jump=(2.0, -10.0)) == ["overdue 1", "early 15", "together 15", "late 30"]


def waited(*, wait_s_max: float | None, offset: float, at: float = 5.0) -> float | None:
    """Return when a timer fired whose clock was set at once after it was scheduled."""
    fired: list[float] = []

    async def play() -> None:
        clock, loop = JumpingClock(), asyncio.get_running_loop()
        timers = Timers(clock)
        running = asyncio.ensure_future(timers.run())
        timers.schedule(at, lambda: fired.append(loop.time()), wait_s_max=wait_s_max)
        await asyncio.sleep(1)
        clock.offset = offset
        await asyncio.sleep(4_000)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run_virtual(play())
    assert len(fired) <= 1
    return fired[0] if fired else None


def test_a_wait_of_ours_is_over_after_its_time_though_the_clock_was_set_back() -> None:
    assert waited(wait_s_max=60.0, offset=-3_600.0) == 5.0
    assert waited(wait_s_max=None, offset=-3_600.0) == 3_605.0, "a time of somebody else's clock"
    assert waited(wait_s_max=60.0, offset=0.0) == 5.0


def test_a_wait_that_was_written_down_by_a_clock_far_ahead_lasts_no_longer_than_it_can() -> None:
    assert waited(wait_s_max=60.0, offset=0.0, at=3_000.0) == 60.0


def test_a_wait_of_days_looks_at_the_clock_a_few_hundred_times() -> None:
    looks = 0
    fired: list[float] = []

    class CountingClock(JumpingClock):
        def now(self) -> float:
            nonlocal looks
            looks += 1
            return super().now()

    async def play() -> None:
        timers = Timers(CountingClock())
        running = asyncio.ensure_future(timers.run())
        days_s = 3 * 86_400.0
        loop = asyncio.get_running_loop()
        timers.schedule(days_s, lambda: fired.append(loop.time()), wait_s_max=days_s)
        await asyncio.sleep(days_s + 1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run_virtual(play())
    assert fired == [3 * 86_400.0]
    assert looks < 1_500


def test_a_timer_may_schedule_another() -> None:
    fired: list[float] = []

    async def play() -> None:
        clock, loop = JumpingClock(), asyncio.get_running_loop()
        timers = Timers(clock)

        def again() -> None:
            fired.append(loop.time())
            if len(fired) < 3:
                timers.schedule(clock.now() + 2.0, again)

        timers.schedule(1.0, again)
        running = asyncio.ensure_future(timers.run())
        await asyncio.sleep(10)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run_virtual(play())
    assert fired == [1.0, 3.0, 5.0]


async def test_the_real_clock_tells_the_time_and_draws_chance() -> None:
    clock = SystemClock()
    assert clock.now() == pytest.approx(time.time(), abs=60)
    drawn = {clock.jitter() for _ in range(20)}
    assert len(drawn) > 1
    assert all(0.0 <= number < 1.0 for number in drawn)
    assert len({clock.token() for _ in range(20)}) == 20
    await clock.sleep(0.0)
