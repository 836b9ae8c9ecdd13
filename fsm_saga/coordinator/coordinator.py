"""The coordinator: drives all unfinished sagas of one store in one event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from fsm_saga.coordinator.clock import Timers
from fsm_saga.coordinator.driver import SagaDriver, is_at_rest
from fsm_saga.coordinator.reading import read_saga
from fsm_saga.core import events as e
from fsm_saga.core.decide import Decision
from fsm_saga.core.effects import CallTool
from fsm_saga.core.program import Program
from fsm_saga.core.records import SagaMoved
from fsm_saga.core.saga import Saga
from fsm_saga.errors import CommandError, FsmSagaError, UnknownSagaError
from fsm_saga.ports import Clock, Store, ToolRunner

logger = logging.getLogger("fsm_saga.coordinator")

Listener = Callable[[Saga, Decision], None]


class Coordinator:
    """Holds a driver for each saga that is under way, and makes their calls.

    Sagas that have ended are dropped from memory; the store has them. Every task runs in the
    task group that was given, so a bug of ours stops the whole rather than one saga in silence.
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
        self._taking_up: dict[str, asyncio.Lock] = {}
        self._active_max = active_max
        self._waiting: set[asyncio.Future[Saga]] = set()
        self.failure: FsmSagaError | None = None
        tasks.create_task(self._timers.run(), name="timers")

    @property
    def active_count(self) -> int:
        """The number of sagas in memory."""
        return len(self._drivers)

    def driver(self, saga_id: str) -> SagaDriver | None:
        """Return the driver of a saga that is in memory."""
        return self._drivers.get(saga_id)

    async def submit(self, saga_id: str, program: Program, event: e.Submitted) -> Saga:
        """Make a saga durable and start it.

        Raises:
            ConflictError: If the store has a saga of this id.
            CommandError: If there are as many sagas under way as are allowed.
        """
        self.check_alive()
        if len(self._drivers) >= self._active_max:
            raise CommandError(
                f"Saga {saga_id!r} was not accepted: {len(self._drivers)} sagas are under way, "
                "as many as this coordinator takes. Nothing was written; submit it again later."
            )
        driver = SagaDriver(Saga(saga_id, program), self)
        self._drivers[saga_id] = driver
        try:
            await driver.command(event)
        except BaseException:
            if self._drivers.get(saga_id) is driver and not driver.saga.position:
                del self._drivers[saga_id]
            raise
        return driver.saga

    async def take_up(self, saga_id: str) -> SagaDriver | None:
        """Return the saga's driver, taken up from the store and resumed if need be.

        None if the saga has ended.

        Raises:
            UnknownSagaError: If the store has no such saga.
            CorruptRecordError: If its journal cannot be read.
        """
        async with self._taking_up.setdefault(saga_id, asyncio.Lock()):
            driver = self._drivers.get(saga_id)
            if driver is None:
                journal = await self.store.load(saga_id)
                if journal is None:
                    raise UnknownSagaError(f"The store has no saga {saga_id!r}.")
                saga = read_saga(journal)[0]
                if saga.state.is_final:
                    return None
                driver = SagaDriver(saga, self)
                self._drivers[saga_id] = driver
                await driver.command(e.Resumed(at=self.clock.now()))
        self._taking_up.pop(saga_id, None)
        return driver

    async def wait_for_rest(self, saga_id: str) -> Saga:
        """Return the saga once nothing goes on in it without a person."""
        driver = self._drivers.get(saga_id)
        if driver is None:
            journal = await self.store.load(saga_id)
            if journal is None:
                raise UnknownSagaError(f"The store has no saga {saga_id!r}.")
            return read_saga(journal)[0]
        if is_at_rest(driver.saga):
            return driver.saga
        self.check_alive()
        rested: asyncio.Future[Saga] = asyncio.get_running_loop().create_future()

        def settle(saga: Saga) -> None:
            if not rested.done():
                rested.set_result(saga)

        driver.on_rest.append(settle)
        self._waiting.add(rested)
        try:
            return await rested
        finally:
            self._waiting.discard(rested)

    async def wait_until(self, saga_id: str, is_reached: Callable[[Saga], bool]) -> Saga:
        """Return the saga once ``is_reached`` says so of its durable state."""
        driver = self._drivers.get(saga_id)
        if driver is None:
            return await self.wait_for_rest(saga_id)
        if is_reached(driver.saga):
            return driver.saga
        self.check_alive()
        reached: asyncio.Future[Saga] = asyncio.get_running_loop().create_future()

        def look(saga: Saga, _decision: Decision) -> None:
            if saga.saga_id == saga_id and is_reached(saga) and not reached.done():
                reached.set_result(saga)

        self.listeners.append(look)
        self._waiting.add(reached)
        try:
            return await reached
        finally:
            self.listeners.remove(look)
            self._waiting.discard(reached)

    def check_alive(self) -> None:
        """Return if the coordinator may go on.

        Raises:
            FsmSagaError: What made it stop; no call is made any more.
        """
        if self.failure is not None:
            raise self.failure

    def stop(self, failure: FsmSagaError) -> None:
        """Make no further call and tell everybody who waits why (L5)."""
        if self.failure is not None:
            return
        self.failure = failure
        logger.error("the coordinator stops: %s", failure)
        for rested in self._waiting:
            if not rested.done():
                rested.set_exception(failure)

    def spawn_call(self, driver: SagaDriver, call: CallTool) -> None:
        """Make a call in a task of its own and drive the saga on with its outcome."""
        self._tasks.create_task(self._drive(driver, call))

    def spawn_drive(self, driver: SagaDriver, event: e.Event | None = None) -> None:
        """Drive the saga in a task of its own."""
        self._tasks.create_task(self._drive(driver, None, event))

    async def _drive(
        self, driver: SagaDriver, call: CallTool | None, event: e.Event | None = None
    ) -> None:
        try:
            if call is not None and self.failure is None:
                event = await driver.make_call(call)
            if self.failure is None:
                await driver.drive(event)
        except FsmSagaError as failure:
            self.stop(failure)

    def wake_at(self, driver: SagaDriver, at: float) -> None:
        """Post ``TimePassed`` to the driver at that time."""

        def wake() -> None:
            if self._drivers.get(driver.saga.saga_id) is driver:
                self.spawn_drive(driver, e.TimePassed(at=self.clock.now()))

        self._timers.schedule(at, wake)

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
