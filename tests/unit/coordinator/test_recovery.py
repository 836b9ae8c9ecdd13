"""A store that does not answer, or a journal that cannot be read: who is taken up, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fsm_saga.coordinator.recovery import DELAY_S_MAX
from fsm_saga.core import events as e
from fsm_saga.errors import (
    ConflictError,
    CorruptRecordError,
    StoreError,
    StoreUnavailableError,
)
from fsm_saga.ports import Append
from fsm_saga.stores.memory import Fault
from tests.support.hosting import CrashedError, Host
from tests.support.plans import catalogue_of, plan_of
from tests.support.virtual_time import run_virtual
from tests.support.world import behaviours_of

NAMES = ("a", "b", "c")
PLAN = "1 book / cancel\n2 pay / refund"


def with_interrupted(test: Callable[[Host], Coroutine[Any, Any, None]]) -> None:
    """Run the test on a new engine over a store in which three sagas were interrupted."""
    plans = [plan_of(name, PLAN) for name in NAMES]

    async def run() -> None:
        host = Host(catalogue_of("", plans), name="recovery")
        host.runner.script = {"book": behaviours_of("slow 1.0 x100")}
        await host.start()
        for plan in plans:
            await host.engine.submit(plan)
        await host.kill()
        await host.start()
        await test(host)
        await host.kill()
        host.world.check_sound()

    run_virtual(run())


class Failing:
    """Makes a store's ``load`` fail for some sagas until it is told to stop."""

    def __init__(self, host: Host, *saga_ids: str, error: StoreError | None = None) -> None:
        self.saga_ids = set(saga_ids)
        self.times: list[float] = []
        self._error = error or StoreUnavailableError("no answer")
        self._host = host
        self._load = host.store.load
        host.store.load = self.load  # type: ignore[method-assign]

    async def load(self, saga_id: str) -> Any:
        if saga_id in self.saga_ids:
            self.times.append(self._host.clock.now())
            raise self._error
        return await self._load(saga_id)


def test_a_saga_that_the_store_did_not_answer_for_is_taken_up_once_it_does() -> None:
    async def test(host: Host) -> None:
        failing = Failing(host, "b")
        assert await host.engine.resume() == ["c", "a"]
        assert list(host.engine.skipped) == ["b"]
        assert "tried again soon: no answer" in host.engine.skipped["b"]
        waiting = asyncio.ensure_future(host.engine.wait("b"))
        for name in ("a", "c"):
            assert (await host.engine.wait(name)).state == "DONE"
        await asyncio.sleep(100.0)
        assert not waiting.done()
        assert list(host.engine.skipped) == ["b"]
        failing.saga_ids.clear()
        assert (await waiting).state == "DONE"
        assert host.engine.skipped == {}

    with_interrupted(test)


def test_a_store_that_stays_away_is_asked_less_and_less_and_not_for_each_saga() -> None:
    async def test(host: Host) -> None:
        failing = Failing(host, *NAMES)
        assert await host.engine.resume() == []
        failing.times.clear()
        await asyncio.sleep(60.0)
        waits = [after - before for before, after in zip(failing.times, failing.times[1:])]  # noqa: B905  # one shorter
        assert len(failing.times) < 12
        assert waits[-1] == pytest.approx(DELAY_S_MAX)
        failing.saga_ids.clear()
        for name in NAMES:
            assert (await host.engine.wait(name)).state == "DONE"

    with_interrupted(test)


def test_one_saga_that_never_answers_holds_up_no_other() -> None:
    async def test(host: Host) -> None:
        failing = Failing(host, *NAMES)
        await host.engine.resume()
        failing.saga_ids = {"c"}
        for name in ("a", "b"):
            assert (await host.engine.wait(name)).state == "DONE"
        assert list(host.engine.skipped) == ["c"]

    with_interrupted(test)


def test_a_saga_that_turns_out_to_be_damaged_is_not_tried_again() -> None:
    async def test(host: Host) -> None:
        first = Failing(host, "b")
        await host.engine.resume()
        first.saga_ids.clear()
        second = Failing(host, "b", error=CorruptRecordError("its checksum is wrong"))
        with pytest.raises(CorruptRecordError):
            await host.engine.wait("b")
        await asyncio.sleep(60.0)
        assert len(second.times) == 2, "by the second try and by who waited"
        assert host.engine.skipped == {"b": str(CorruptRecordError("its checksum is wrong"))}
        second.saga_ids.clear()
        assert await host.engine.resume() == ["b"]
        assert host.engine.skipped == {}

    with_interrupted(test)


def test_what_ended_in_the_meantime_is_no_longer_left_alone() -> None:
    async def test(host: Host) -> None:
        failing = Failing(host, "b", error=CorruptRecordError("unreadable"))
        await host.engine.resume()
        assert list(host.engine.skipped) == ["b"]
        failing.saga_ids.clear()
        assert (await host.engine.cancel("b")).state != "DONE"
        assert host.engine.skipped == {}
        await host.engine.wait("b")

    with_interrupted(test)


def test_a_saga_whose_journal_kept_changing_is_taken_up_all_the_same() -> None:
    """Its driver is in memory then, and has not sent again what was in flight."""

    async def test(host: Host) -> None:
        append = host.store.append
        is_failing = True

        async def conflicts(append_: Append) -> None:
            if is_failing and append_.saga_id == "b":
                raise ConflictError("it has grown")
            await append(append_)

        host.store.append = conflicts  # type: ignore[assignment,method-assign]
        assert await host.engine.resume() == ["c", "a"]
        assert list(host.engine.skipped) == ["b"]
        is_failing = False
        assert (await host.engine.wait("b")).state == "DONE"
        assert host.engine.skipped == {}

    with_interrupted(test)


def test_a_suspect_that_the_store_did_not_answer_for_is_tried_again() -> None:
    plan = plan_of("a", PLAN)

    async def run() -> None:
        host = Host(catalogue_of("", [plan]), name="recovery")
        host.deadly = {"book"}
        for _end in range(3):
            await host.start()
            with pytest.raises(CrashedError):
                await host.do(begin(host))
        host.deadly.clear()
        await host.start()
        taken = await host.engine.resume()
        failing = Failing(host, "a")
        assert taken == ["a"]
        waiting = asyncio.ensure_future(host.engine.wait("a"))
        await asyncio.sleep(30.0)
        assert list(host.engine.skipped) == ["a"]
        failing.saga_ids.clear()
        assert (await waiting).state == "DONE"
        assert host.engine.skipped == {}
        await host.kill()

    async def begin(host: Host) -> None:
        await host.engine.submit(plan)
        await host.engine.resume()
        await host.engine.wait("a")

    run_virtual(run())


def test_a_journal_that_is_damaged_under_way_stops_its_own_saga_and_no_other() -> None:
    """Met on reading back after an append whose reply was lost (W4)."""

    async def test(host: Host) -> None:
        await host.engine.resume()
        failing = Failing(host, "b", error=CorruptRecordError("its checksum is wrong"))
        host.store.fault = lambda append: Fault.WRITTEN if append.saga_id == "b" else None
        waiting = asyncio.ensure_future(host.engine.wait("b"))
        with pytest.raises(CorruptRecordError):
            await waiting
        for name in ("a", "c"):
            assert (await host.engine.wait(name)).state == "DONE"
        assert list(host.engine.skipped) == ["b"]
        assert host.engine.coordinator.driver("b") is None
        calls = len(host.world.sent)
        await asyncio.sleep(60.0)
        assert len(host.world.sent) == calls, "nothing is called for what cannot be written"
        with pytest.raises(CorruptRecordError):
            await host.engine.cancel("b")
        host.store.fault = lambda append: None
        failing.saga_ids.clear()
        assert await host.engine.resume() == ["b"]
        assert (await host.engine.wait("b")).state == "DONE"

    with_interrupted(test)


def test_who_asked_something_of_a_saga_that_is_left_alone_is_told() -> None:
    async def test(host: Host) -> None:
        await host.engine.resume()
        driver = host.engine.coordinator.driver("b")
        assert driver is not None
        Failing(host, "b", error=CorruptRecordError("its checksum is wrong"))
        host.store.fault = lambda append: Fault.WRITTEN if append.saga_id == "b" else None
        reached = asyncio.ensure_future(
            host.engine.coordinator.wait_until("b", lambda saga: saga.state.is_final)
        )
        asked = [asyncio.ensure_future(host.engine.cancel("b")) for _ in range(2)]
        for each in (*asked, reached):
            with pytest.raises(CorruptRecordError):
                await each
        with pytest.raises(CorruptRecordError):
            await driver.command(e.CancelAsked(at=0.0, by="ann"))

    with_interrupted(test)
