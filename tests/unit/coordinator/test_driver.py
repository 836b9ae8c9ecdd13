"""One saga's loop: what is read back after a failed append, and in which order things happen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fsm_saga.coordinator import failpoints
from fsm_saga.core.records import Record
from fsm_saga.core.states import Phase
from fsm_saga.errors import InvariantBrokenError, StoreUnavailableError, UnknownSagaError
from fsm_saga.plan.model import Plan
from fsm_saga.ports import Append
from fsm_saga.stores.memory import Fault
from tests.support.hosting import Host
from tests.support.plans import catalogue_of, plan_of
from tests.support.virtual_time import run_virtual
from tests.support.world import behaviours_of

TWO = "1 a / ua id=$output.step_1.id\n2 b / ub id=$output.step_2.id"


def with_host(
    test: Callable[[Host, Plan], Coroutine[Any, Any, None]], text: str = TWO, **script: str
) -> None:
    plan = plan_of("trip", text)

    async def run() -> None:
        host = Host(catalogue_of("", [plan]), name="driver")
        host.runner.script = {tool: behaviours_of(words) for tool, words in script.items()}
        await host.start()
        try:
            await test(host, plan)
        finally:
            await host.kill()
        host.world.check_sound()

    run_virtual(run())


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_an_append_whose_reply_is_lost_counts_once_whether_it_was_written_or_not(
    fault: Fault, nth: int
) -> None:
    """W4: read back, then go on."""

    async def test(host: Host, plan: Plan) -> None:
        seen = iter(range(1, 100))
        host.store.fault = lambda _append: fault if next(seen) == nth else None
        assert (await host.engine.run(plan)).state == "DONE"
        assert set(host.world.did.values()) == {1}
        journal = await host.store.load("trip")
        assert journal is not None
        assert len({repr(record) for record in journal}) == len(journal)

    with_host(test)


def test_a_store_that_cannot_even_be_read_is_asked_again() -> None:
    async def test(host: Host, plan: Plan) -> None:
        store = host.store
        load, failures = store.load, iter([Fault.WRITTEN, None, None, None, None])
        unreadable = iter([True, False, False])

        async def load_badly(saga_id: str) -> tuple[Record, ...] | None:
            if next(unreadable):
                raise StoreUnavailableError("cannot be read now")
            return await load(saga_id)

        store.fault = lambda _append: next(failures)
        store.load = load_badly  # type: ignore[method-assign]
        assert (await host.engine.run(plan)).state == "DONE"
        assert set(host.world.did.values()) == {1}

    with_host(test)


def test_a_journal_that_is_gone_stops_the_coordinator_rather_than_begin_anew() -> None:
    async def test(host: Host, plan: Plan) -> None:
        await host.engine.submit(plan)
        waiting = asyncio.ensure_future(host.engine.wait("trip"))
        await asyncio.sleep(1)
        del host.store.memory.sagas["trip"]
        with pytest.raises(InvariantBrokenError, match="journal of 'trip' is gone"):
            await waiting

    with_host(test, b="slow 5")


def test_the_places_of_the_failpoints_are_passed_in_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passed: list[str] = []
    monkeypatch.setattr(failpoints, "is_armed", True)
    monkeypatch.setattr(failpoints, "failpoint", passed.append)

    async def test(host: Host, plan: Plan) -> None:
        await host.engine.run(plan)

    with_host(test, "1 a / ua")
    append = ["before_append", "after_append", "before_effects"]
    assert passed == [*append, "before_call", "after_call", *append]


def test_events_that_come_during_an_append_are_decided_in_their_order() -> None:
    async def test(host: Host, plan: Plan) -> None:
        await host.engine.submit(plan)
        await asyncio.sleep(1)
        driver = host.engine.coordinator.driver("trip")
        assert driver is not None
        found = await asyncio.gather(
            *(host.engine.cancel("trip", by=name) for name in ("first", "second"))
        )
        assert {view.state for view in found} == {"COMPENSATING(2)"}
        journal = await host.store.load("trip")
        assert journal is not None
        assert [getattr(r, "by", None) for r in journal if hasattr(r, "by")] == ["first"]

    with_host(test, b="slow 5")


def test_calls_that_are_set_free_while_more_is_decided_do_not_wait_for_it() -> None:
    async def test(host: Host, plan: Plan) -> None:
        view = await host.engine.run(plan)
        assert view.state == "DONE"
        assert host.clock.now() < 1_767_225_600.0 + 7, "five seconds, not ten"

    with_host(
        test,
        "1 a / ua ; after=-\n2 b / ub ; after=-\n3 c / uc ; after=1\n4 d / ud ; after=2",
        c="slow 5",
        d="slow 5",
    )


def test_whoever_waits_for_a_moment_is_told_when_it_has_come() -> None:
    async def test(host: Host, plan: Plan) -> None:
        coordinator = host.engine.coordinator
        with pytest.raises(UnknownSagaError):
            await coordinator.wait_until("trip", lambda _saga: True)
        await host.engine.submit(plan)
        at_once = await coordinator.wait_until("trip", lambda saga: saga.position > 0)
        assert at_once.state.phase is Phase.EXECUTING
        later = await coordinator.wait_until("trip", lambda saga: saga.succeeded == 0b11)
        assert later.state.phase is Phase.DONE
        ended = await coordinator.wait_until("trip", lambda _saga: False)
        assert ended.state.phase is Phase.DONE, "what has ended waits for nothing"

    with_host(test, b="slow 5")


def test_what_an_operator_acts_on_is_logged_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async def test(host: Host, plan: Plan) -> None:
        with caplog.at_level(logging.INFO, logger="fsm_saga.coordinator"):
            await host.engine.run(plan)

    with_host(test, b='rejected "full"')
    said = [record.getMessage() for record in caplog.records]
    assert said == ["saga 'trip' is COMPENSATING(1): step '2' (b): full"]


def test_what_was_intended_so_long_ago_that_its_tool_may_have_forgotten_is_not_sent() -> None:
    """Seed 5349 of the simulation: the process stood still between the intent and the call."""

    async def run(wait_s: float) -> str:
        plan = plan_of("trip", "1 a / ua\n2 b / ub")
        host = Host(catalogue_of("b retention=95", [plan]), name="driver")
        await host.start()
        append, seen = host.store.append, iter(range(1, 100))

        async def append_and_stand_still(each: Append) -> None:
            await append(each)
            if next(seen) == 2:
                await asyncio.sleep(wait_s)

        host.store.append = append_and_stand_still  # type: ignore[assignment, method-assign]
        try:
            found = await host.engine.run(plan)
            assert len(host.world.did) == (2 if wait_s < 60.0 else 1)
        finally:
            await host.kill()
        return found.state

    assert run_virtual(run(59.0)) == "DONE"
    assert run_virtual(run(61.0)) == "NEEDS_HUMAN"
