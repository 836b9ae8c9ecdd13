"""The coordinator under callers who come together, leave early, or ask when it has stopped.

On the virtual loop a caller who would wait for ever is a ``DeadlockError`` within a millisecond.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from fsm_saga.core.records import CancelRequested
from fsm_saga.core.states import Phase
from fsm_saga.errors import (
    CommandError,
    FencedError,
    SagaExistsError,
    StoreUnavailableError,
    UnknownSagaError,
)
from fsm_saga.plan.model import Plan
from fsm_saga.service.view import SagaView
from fsm_saga.stores.memory import Fault, MemoryStore
from tests.support.hosting import Host
from tests.support.plans import catalogue_of, plan_of
from tests.support.virtual_time import run_virtual
from tests.support.world import behaviours_of

TRIP = "1 book_flight / cancel_flight id=$output.step_1.id\n2 book_hotel / cancel_hotel"
ONE = "1 book_flight / cancel_flight id=$output.step_1.id"


def with_host(
    test: Callable[[Host, Plan], Coroutine[Any, Any, None]], text: str = TRIP, **script: str
) -> None:
    """Run the test on a host whose tools know the plan and behave as the script says."""
    plan = plan_of("trip", text)

    async def run() -> None:
        host = Host(catalogue_of("", [plan]), name="coordinator")
        host.runner.script = {tool: behaviours_of(words) for tool, words in script.items()}
        await host.start()
        try:
            await test(host, plan)
        finally:
            await host.kill()
        host.world.check_sound()

    run_virtual(run())


async def together(*commands: Awaitable[Any]) -> list[Any]:
    return list(await asyncio.gather(*commands, return_exceptions=True))


# --- callers who come together -------------------------------------------------------------------


def test_a_hundred_identical_submits_are_one_saga() -> None:
    async def test(host: Host, plan: Plan) -> None:
        views = await together(*(host.engine.run(plan) for _ in range(100)))
        assert {view.state for view in views} == {"DONE"}
        assert host.world.left("trip") == ["1", "2"]
        assert len(await host.engine.list()) == 1

    with_host(test)


def test_of_different_plans_under_one_name_one_is_taken_and_the_others_are_refused() -> None:
    async def test(host: Host, plan: Plan) -> None:
        other = plan_of("trip", ONE)
        found = await together(*(host.engine.run(each) for each in (plan, other, plan, other)))
        assert [type(each) for each in found] == [
            SagaView,
            SagaExistsError,
            SagaView,
            SagaExistsError,
        ]

    with_host(test)


def test_a_hundred_submits_of_a_finished_saga_return_it() -> None:
    async def test(host: Host, plan: Plan) -> None:
        await host.engine.run(plan)
        views = await together(*(host.engine.run(plan) for _ in range(100)))
        assert {view.state for view in views} == {"DONE"}
        assert len(host.world.did) == 2

    with_host(test)


def test_submits_of_an_unfinished_saga_of_the_store_take_it_up_once() -> None:
    async def test(host: Host, plan: Plan) -> None:
        await host.engine.submit(plan)
        await asyncio.sleep(1)
        await host.kill()
        await host.start()
        views = await together(*(host.engine.run(plan) for _ in range(20)))
        assert {view.state for view in views} == {"DONE"}
        arrived = [entry.what for entry in host.world.ledger if entry.tool == "book_hotel"]
        assert arrived == ["did it"], "the call that was interrupted went out once more, no more"

    with_host(test, book_hotel="slow 5")


def test_whoever_waits_while_a_submit_is_refused_is_told_that_there_is_no_saga() -> None:
    async def test(host: Host, plan: Plan) -> None:
        host.store.fault = lambda _append: Fault.NOT_WRITTEN
        submitting = asyncio.ensure_future(host.engine.submit(plan))
        await asyncio.sleep(0)
        with pytest.raises(UnknownSagaError):
            await host.engine.wait("trip")
        with pytest.raises(StoreUnavailableError):
            await submitting

    with_host(test)


def test_a_caller_who_leaves_does_not_take_the_saga_along() -> None:
    async def test(host: Host, plan: Plan) -> None:
        submitting = asyncio.ensure_future(host.engine.submit(plan))
        waiting = asyncio.ensure_future(host.engine.wait("trip"))
        await asyncio.sleep(0)
        submitting.cancel()
        waiting.cancel()
        await together(submitting, waiting)
        await asyncio.sleep(1)
        assert (await host.engine.get("trip")).state == "DONE"

    with_host(test)


def test_a_submit_whose_caller_leaves_is_driven_on_through_its_timers() -> None:
    async def test(host: Host, plan: Plan) -> None:
        submitting = asyncio.ensure_future(host.engine.submit(plan))
        await asyncio.sleep(0)
        submitting.cancel()
        await together(submitting, host.engine.submit(plan))
        assert (await host.engine.wait("trip")).state == "DONE"

    with_host(test, book_flight="unknown x2")


def test_more_sagas_than_are_allowed_are_refused_and_later_taken() -> None:
    async def test(host: Host, plan: Plan) -> None:
        host.engine.coordinator._active_max = 1
        await host.engine.submit(plan)
        other = plan.model_copy(update={"task_id": "other"})
        with pytest.raises(CommandError, match="1 sagas are under way"):
            await host.engine.submit(other)
        assert [head.saga_id for head in await host.engine.list()] == ["trip"]
        await host.engine.wait("trip")
        assert (await host.engine.run(other)).is_done

    with_host(test, book_flight="slow 5")


# --- a coordinator that has stopped --------------------------------------------------------------


def test_when_the_store_fails_for_good_everybody_is_told_and_nobody_hangs() -> None:
    async def test(host: Host, plan: Plan) -> None:
        await host.engine.submit(plan)
        waiting = asyncio.ensure_future(host.engine.wait("trip"))
        host.store.fault = lambda _append: Fault.NOT_WRITTEN
        with pytest.raises(StoreUnavailableError):
            await waiting
        calls = len(host.world.ledger)
        engine = host.engine
        found = await together(
            engine.submit(plan_of("other", ONE)),
            engine.submit(plan),
            engine.wait("trip"),
            engine.cancel("trip"),
            engine.amend("trip", [{"step_id": 3, "tool": "book_hotel"}]),
        )
        assert {type(each) for each in found} == {StoreUnavailableError}
        with pytest.raises(StoreUnavailableError, match="failed while committing"):
            await engine.resume()
        assert engine.skipped == {}
        assert len(host.world.ledger) == calls, "no call is made any more"
        # What was known before is still told.
        assert (await engine.get("trip")).state == "EXECUTING(2)"

    with_host(test, book_hotel="slow 5")


def test_commands_that_were_under_way_when_the_store_failed_are_answered() -> None:
    async def test(host: Host, plan: Plan) -> None:
        await host.engine.submit(plan)
        await asyncio.sleep(1)
        host.store.fault = lambda _append: Fault.NOT_WRITTEN
        found = await together(*(host.engine.cancel("trip", by=name) for name in "abc"))
        assert {type(each) for each in found} == {StoreUnavailableError}

    with_host(test, book_hotel="slow 5")


def test_a_fenced_coordinator_stops_at_once_and_makes_no_further_call() -> None:
    """L5: one failed comparison stops all sagas of this writer."""

    async def test(host: Host, plan: Plan) -> None:
        other = plan.model_copy(update={"task_id": "other"})
        await host.engine.submit(plan)
        await host.engine.submit(other)
        await asyncio.sleep(1)
        newer = MemoryStore.open(host.store.url, "coordinator")
        found = await together(host.engine.wait("trip"), host.engine.wait("other"))
        assert {type(each) for each in found} == {FencedError}
        await asyncio.sleep(60)
        assert len(host.world.did) == 4, "both hotels were on their way"
        journal = await newer.load("trip")
        assert journal is not None

    with_host(test, book_hotel="slow 5, slow 6")


def test_whoever_still_waits_when_the_engine_is_left_is_told_so() -> None:
    async def test(host: Host, plan: Plan) -> None:
        engine = host.engine
        await engine.submit(plan)
        waiting = asyncio.ensure_future(engine.wait("trip"))
        growing = asyncio.ensure_future(
            engine.coordinator.wait_until("trip", lambda saga: saga.state.phase is Phase.DONE)
        )
        await asyncio.sleep(1)
        await host.kill()
        found = await together(waiting, growing, engine.wait("trip"), engine.cancel("trip"))
        assert [type(each) for each in found] == [CommandError] * 4
        assert "was left" in str(found[0])

    with_host(test, book_hotel="slow 5")


def test_an_event_that_somebody_else_made_pointless_writes_nothing() -> None:
    """The journal went on without this driver: the event is decided anew, over what is there."""

    async def test(host: Host, plan: Plan) -> None:
        await host.engine.submit(plan)
        await asyncio.sleep(1)
        driver = host.engine.coordinator.driver("trip")
        assert driver is not None
        before = driver.saga
        await host.engine.cancel("trip", by="ann")
        driver.saga = before  # as if another process had written the cancellation
        view = await host.engine.cancel("trip", by="bob")
        assert view.state == "COMPENSATING(2)"
        journal = await host.store.load("trip")
        assert journal is not None
        assert sum(isinstance(record, CancelRequested) for record in journal) == 1
        assert (await host.engine.wait("trip")).state == "FAILED"

    with_host(test, book_hotel="slow 5")


# --- memory --------------------------------------------------------------------------------------


def test_nothing_is_kept_of_a_saga_that_has_ended() -> None:
    async def test(host: Host, plan: Plan) -> None:
        coordinator = host.engine.coordinator
        for number in range(20):
            await host.engine.run(plan.model_copy(update={"task_id": f"trip-{number}"}))
            await host.engine.submit(plan.model_copy(update={"task_id": f"trip-{number}"}))
            await host.engine.wait(f"trip-{number}")
        assert coordinator.active_count == 0
        assert not coordinator._turns
        assert not coordinator._waiters
        assert not coordinator.listeners

    with_host(test)


# --- the same run again --------------------------------------------------------------------------


def test_whatever_is_drawn_for_a_saga_comes_from_the_clock() -> None:
    async def test(host: Host, plan: Plan) -> None:
        for number in (1, 2):
            view = await host.engine.run(plan, task_id=f"trip-{number}")
            assert view.saga.run_key == f"{number:016x}"

    with_host(test)


def test_those_who_wait_are_told_of_the_end_in_the_order_in_which_they_came() -> None:
    async def test(host: Host, plan: Plan) -> None:
        told: list[int] = []
        waiters = [host.engine.coordinator.new_waiter() for _ in range(50)]
        for waiter in waiters:
            waiter.add_done_callback(lambda done: told.append(waiters.index(done)))
        await host.kill()
        assert told == list(range(50))
        for waiter in waiters:
            assert isinstance(waiter.exception(), CommandError)

    with_host(test)


def test_the_tasks_of_an_engine_that_is_left_are_cancelled_in_the_order_of_their_start() -> None:
    async def test(host: Host, plan: Plan) -> None:
        ended: list[int] = []

        async def waits(number: int) -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                ended.append(number)

        for number in range(50):
            host.engine.coordinator.spawn(waits(number))
        await asyncio.sleep(0)
        await host.kill()
        assert ended == list(range(50))

    with_host(test)
