"""The coordinator: drives all unfinished sagas of one store in one event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any
from weakref import WeakValueDictionary

from fsm_saga.coordinator.clock import Timers
from fsm_saga.coordinator.driver import SagaDriver, is_at_rest
from fsm_saga.coordinator.reading import read_saga
from fsm_saga.coordinator.recovery import Recovery, tools_of
from fsm_saga.coordinator.suspects import Suspects
from fsm_saga.core import events as e
from fsm_saga.core.decide import Decision
from fsm_saga.core.effects import CallTool, WakeAt
from fsm_saga.core.program import Program
from fsm_saga.core.records import SagaMoved
from fsm_saga.core.saga import Saga
from fsm_saga.errors import (
    CommandError,
    ConflictError,
    CorruptRecordError,
    FsmSagaError,
    StoreVersionError,
    UnknownSagaError,
)
from fsm_saga.ports import Clock, Store, ToolRunner

logger = logging.getLogger("fsm_saga.coordinator")

Listener = Callable[[Saga, Decision], None]


class Coordinator:
    """Holds a driver for each saga that is under way, and makes their calls.

    Sagas that have ended are dropped from memory; the store has them. Every task runs in the
    task group that was given, so a bug of ours stops the whole rather than one saga in silence.

    Whatever is done to many tasks or waiters is done in the order in which they came, never in
    that of a set: on the same clock the same events lead to the same run.
    """

    def __init__(
        self,
        store: Store,
        runner: ToolRunner,
        clock: Clock,
        tasks: asyncio.TaskGroup,
        *,
        active_max: int,
    ) -> None:
        self.store = store
        self.runner = runner
        self.clock = clock
        self.listeners: list[Listener] = []
        self._tasks = tasks
        self._timers = Timers(clock)
        self._drivers: dict[str, SagaDriver] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._active_max = active_max
        self._waiters: dict[asyncio.Future[Any], None] = {}
        self._spawned: dict[asyncio.Task[None], None] = {}
        self.failure: FsmSagaError | None = None
        self.has_driven = False
        """True once a saga came into memory: from then on calls may have been made."""
        self.suspects = Suspects(self)
        self.recovery = Recovery(self)
        self.spawn(self._timers.run(), name="timers")

    @property
    def active_count(self) -> int:
        """The number of sagas in memory."""
        return len(self._drivers)

    @property
    def sagas(self) -> Sequence[Saga]:
        """The sagas in memory, each as it durably is."""
        return [driver.saga for driver in self._drivers.values() if driver.saga.position]

    def driver(self, saga_id: str) -> SagaDriver | None:
        """Return the driver of a saga that is in memory; one that is not durable yet is not."""
        driver = self._drivers.get(saga_id)
        return driver if driver is not None and driver.saga.position else None

    async def submit(self, saga_id: str, program: Program, event: e.Submitted) -> Saga:
        """Make a saga durable and start it.

        Raises:
            ConflictError: If there is a saga of this id.
            CommandError: If there are as many sagas under way as are allowed.
        """
        async with self._turn(saga_id):
            self.check_alive()
            if saga_id in self._drivers:
                raise ConflictError(f"A saga {saga_id!r} exists already.")
            if len(self._drivers) >= self._active_max:
                raise CommandError(
                    f"Saga {saga_id!r} was not accepted: {len(self._drivers)} sagas are under "
                    "way, as many as this coordinator takes. Nothing was written; submit it again "
                    "later."
                )
            driver = self._new_driver(Saga(saga_id, program))
            answer = driver.ask(event)
            try:
                await asyncio.shield(answer)
            except asyncio.CancelledError:
                # The caller leaves, the append goes on: until it is known what became of it, the
                # saga's turn is not over.
                await asyncio.wait((answer,))
                raise
            finally:
                if not driver.saga.position:
                    self._drivers.pop(saga_id, None)
        return driver.saga

    async def take_up(self, saga_id: str) -> SagaDriver | None:
        """Return the saga's driver, taken up from the store and resumed if need be.

        None if the saga has ended.

        Raises:
            UnknownSagaError: If the store has no such saga.
            CorruptRecordError: If its journal cannot be read.
        """
        async with self._turn(saga_id):
            self.check_alive()
            driver = self._drivers.get(saga_id)
            if driver is None:
                saga = await self.stored(saga_id)
                if saga.state.is_final:
                    self.recovery.is_settled(saga_id)
                    return None
                driver = self._new_driver(saga)
            try:
                await driver.resume()
            except ConflictError as error:
                # Its journal kept changing: the saga is in memory, and nothing drives it yet.
                self.recovery.failed(saga_id, error)
                raise
            self.recovery.is_settled(saga_id)
        return driver

    def missing_tools(self, saga: Saga) -> list[str]:
        """Return the tools that the saga may call and that are not at hand."""
        catalogue = self.runner.catalogue
        return sorted(name for name in tools_of(saga.program) if name not in catalogue)

    def _new_driver(self, saga: Saga) -> SagaDriver:
        self.has_driven = True
        driver = self._drivers[saga.saga_id] = SagaDriver(saga, self)
        return driver

    def _turn(self, saga_id: str) -> asyncio.Lock:
        """Return the lock under which a saga comes into memory, kept while somebody uses it."""
        lock = self._turns.get(saga_id)
        if lock is None:
            lock = self._turns[saga_id] = asyncio.Lock()
        return lock

    async def stored(self, saga_id: str) -> Saga:
        """Return a saga as the store has it.

        Raises:
            UnknownSagaError: If there is no such saga.
            CorruptRecordError: If its journal cannot be read.
        """
        journal = await self.store.load(saga_id)
        if journal is None:
            raise UnknownSagaError(
                f"The store has no saga {saga_id!r}. `fsm-saga list` shows those it has.",
                saga_id=saga_id,
            )
        return read_saga(journal)[0]

    async def wait_for_rest(self, saga_id: str) -> Saga:
        """Return the saga once nothing goes on in it without a person.

        Raises:
            UnknownSagaError: If there is no such saga.
            CorruptRecordError: If its journal cannot be read, or can no longer be.
        """
        while saga_id in self.suspects or saga_id in self.recovery:
            await self.suspects.wait(saga_id)
            await self.recovery.wait(saga_id)
        driver = self.driver(saga_id)
        if driver is None:
            return await self.stored(saga_id)
        if is_at_rest(driver.saga):
            return driver.saga
        rested: asyncio.Future[Saga] = self.new_waiter()
        driver.on_rest.append(rested)
        return await rested

    async def wait_until(self, saga_id: str, is_reached: Callable[[Saga], bool]) -> Saga:
        """Return the saga once ``is_reached`` says so of its durable state."""
        driver = self.driver(saga_id)
        if driver is None:
            return await self.wait_for_rest(saga_id)
        if is_reached(driver.saga):
            return driver.saga
        reached: asyncio.Future[Saga] = self.new_waiter()

        def look(saga: Saga, _decision: Decision) -> None:
            if saga.saga_id == saga_id and is_reached(saga) and not reached.done():
                reached.set_result(saga)

        self.listeners.append(look)
        driver.on_leave.append(reached)
        try:
            return await reached
        finally:
            self.listeners.remove(look)
            driver.on_leave.remove(reached)

    def check_alive(self) -> None:
        """Return if the coordinator may go on.

        Raises:
            FsmSagaError: What made it stop; no call is made any more.
        """
        if self.failure is not None:
            raise self.failure

    def new_waiter(self) -> asyncio.Future[Any]:
        """Return a future for somebody to wait for; it fails when the coordinator stops.

        Raises:
            FsmSagaError: What made the coordinator stop already.
        """
        self.check_alive()
        waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = None
        waiter.add_done_callback(self._waiters.pop)
        return waiter

    def stop(self, failure: FsmSagaError) -> None:
        """Make no further call and tell everybody who waits why (L5)."""
        if self.failure is None:
            logger.error("the coordinator stops: %s", failure)
            self._end(failure)

    def close(self) -> None:
        """Tell everybody who still waits that the engine was left, and cancel the tasks.

        They are waited for by the task group that was given.
        """
        if self.failure is None:
            self._end(
                CommandError(
                    "The engine was left while this was waited for. What was written is safe: "
                    "open the store again to see it and to go on."
                )
            )
        for task in list(self._spawned):
            task.cancel()

    def _end(self, failure: FsmSagaError) -> None:
        self.failure = failure
        for waiter in list(self._waiters):
            if not waiter.done():
                waiter.set_exception(failure)
                waiter.exception()  # who no longer waits need not be told by the loop's log

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str | None = None) -> None:
        """Run ``work`` in a task of its own until it ends or the engine is left."""
        task = self._tasks.create_task(work, name=name)
        self._spawned[task] = None
        task.add_done_callback(self._spawned.pop)

    def spawn_call(self, driver: SagaDriver, call: CallTool) -> None:
        """Make a call in a task of its own and drive the saga on with its outcome."""
        self.spawn(self._drive(driver, call))

    def spawn_drive(self, driver: SagaDriver, event: e.Event | None = None) -> None:
        """Drive the saga in a task of its own."""
        self.spawn(self._drive(driver, None, event))

    async def _drive(
        self, driver: SagaDriver, call: CallTool | None, event: e.Event | None = None
    ) -> None:
        try:
            if call is not None and self.failure is None:
                event = await driver.make_call(call)
            if self.failure is None:
                await driver.drive(event)
        except (CorruptRecordError, StoreVersionError) as error:
            self._leave_alone(driver, error)
        except FsmSagaError as failure:
            self.stop(failure)

    def _leave_alone(self, driver: SagaDriver, error: FsmSagaError) -> None:
        """Go on with all sagas but one, whose journal can no longer be read."""
        saga_id = driver.saga.saga_id
        logger.error("saga %r is left alone: %s", saga_id, error)
        if self._drivers.get(saga_id) is driver:
            del self._drivers[saga_id]
        driver.leave(error)
        if self.failure is None:
            self.recovery.failed(saga_id, error)

    def wake_at(self, driver: SagaDriver, wake: WakeAt) -> None:
        """Post ``TimePassed`` to the saga at that time, if it is still under way then."""
        saga_id = driver.saga.saga_id

        def awake() -> None:
            # Not the driver itself: a timer may outlive its saga by days.
            found = self._drivers.get(saga_id)
            if found is not None:
                event = e.TimePassed(at=self.clock.now(), waited_for=wake.at)
                self.spawn_drive(found, event)

        self._timers.schedule(wake.at, awake, wait_s_max=wake.wait_s_max)

    def saga_changed(self, driver: SagaDriver, decision: Decision) -> None:
        """Drop a saga that has ended, tell the listeners, log what an operator acts on."""
        saga = driver.saga
        if saga.state.is_final:
            self._drivers.pop(saga.saga_id, None)
        for listener in self.listeners:
            listener(saga, decision)
        if logger.isEnabledFor(logging.INFO):
            for record in decision.records:
                if isinstance(record, SagaMoved) and record.cause is not None:
                    logger.info("saga %r is %s: %s", saga.saga_id, record.state, record.cause)
