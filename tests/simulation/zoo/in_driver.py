"""Bugs of who carries out what is decided: the driver, the coordinator, the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from fsm_saga.coordinator import driver as driver_module
from fsm_saga.coordinator.clock import Timers
from fsm_saga.coordinator.coordinator import Coordinator
from fsm_saga.coordinator.driver import SagaDriver
from fsm_saga.coordinator.recovery import Recovery
from fsm_saga.core import events as e
from fsm_saga.core.decide import Decision, decide
from fsm_saga.core.effects import CallTool
from fsm_saga.core.records import AttemptStarted
from fsm_saga.core.saga import Saga
from fsm_saga.errors import FencedError, FsmSagaError, StoreError
from fsm_saga.ports import Append
from fsm_saga.service.engine import Engine
from tests.simulation.zoo.bug import bugs

Patch = pytest.MonkeyPatch
_REAL_APPEND = SagaDriver._append
_REAL_DECIDE = SagaDriver._decide_durably
_REAL_CALL = SagaDriver.make_call


def _call_before_append(patch: Patch) -> None:
    """The call goes out while its intent is still on its way to the disk."""

    async def append(self: SagaDriver, decision: Decision) -> None:
        for effect in decision.effects:
            if isinstance(effect, CallTool):
                self._host.spawn_call(self, effect)
        await _REAL_APPEND(self, decision)

    async def decided(self: SagaDriver, event: e.Event) -> Decision:
        decision = await _REAL_DECIDE(self, event)
        kept = tuple(x for x in decision.effects if not isinstance(x, CallTool))
        return replace(decision, effects=kept)

    patch.setattr(SagaDriver, "_append", append)
    patch.setattr(SagaDriver, "_decide_durably", decided)


def _told_before_append(patch: Patch) -> None:
    async def append(self: SagaDriver, decision: Decision) -> None:
        durable, self.saga = self.saga, decision.saga
        self._host.saga_changed(self, decision)
        self.saga = durable
        await _REAL_APPEND(self, decision)

    patch.setattr(SagaDriver, "_append", append)


def _retries_not_written(patch: Patch) -> None:
    """The intent to send the same call again is not worth a write."""

    async def append(self: SagaDriver, decision: Decision) -> None:
        if not all(isinstance(x, AttemptStarted) for x in decision.records):
            await _REAL_APPEND(self, decision)

    patch.setattr(SagaDriver, "_append", append)


def _lost_reply_taken(is_written: bool) -> Any:  # a plant
    async def was_written(self: SagaDriver, decision: Decision) -> bool:
        return is_written

    return lambda patch: patch.setattr(SagaDriver, "_was_written", was_written)


def _fence_ignored(patch: Patch) -> None:
    """Whoever is fenced goes on with what it decided."""

    async def append(self: SagaDriver, decision: Decision) -> None:
        try:
            await _REAL_APPEND(self, decision)
        except FencedError:
            return

    patch.setattr(SagaDriver, "_append", append)


def _stop_ignored(patch: Patch) -> None:
    """One failed append stops its own saga; the others' calls go on."""

    async def drive(
        self: Coordinator,
        driver: SagaDriver,
        call: CallTool | None,
        event: Any = None,
    ) -> None:
        try:
            if call is not None:
                event = await driver.make_call(call)
            await driver.drive(event)
        except FsmSagaError as failure:
            self.stop(failure)

    patch.setattr(Coordinator, "_drive", drive)
    patch.setattr(Coordinator, "check_alive", lambda self: None)


def _inbox_drops(patch: Patch) -> None:
    """What comes in while a saga is busy is lost."""
    real = SagaDriver.drive

    async def drive(self: SagaDriver, event: e.Event | None = None) -> None:
        if event is not None and self._is_busy:
            return
        await real(self, event)

    patch.setattr(SagaDriver, "drive", drive)


def _only_the_first_call(patch: Patch) -> None:
    real = SagaDriver._carry_out
    patch.setattr(SagaDriver, "_carry_out", lambda self, decision: real(self, decision)[:1])


def _two_drive_one_saga(patch: Patch) -> None:
    """A saga is driven by whoever has an event, also while an append is under way."""

    async def drive(self: SagaDriver, event: e.Event | None = None) -> None:
        if event is None:
            while self._inbox:
                for call in await self._step(*self._inbox.popleft()):
                    self._host.spawn_call(self, call)
            return
        for call in await self._step(event, None):
            self._host.spawn_call(self, call)

    patch.setattr(SagaDriver, "drive", drive)


def _scan_leaves_one_out(patch: Patch) -> None:
    async def resume(self: Engine) -> Sequence[str]:
        heads = await self.store.heads(only_unfinished=True)
        for head in heads[:1]:
            try:
                await self.coordinator.take_up(head.saga_id)
            except StoreError as error:
                self.coordinator.recovery.failed(head.saga_id, error)
        return ()

    patch.setattr(Engine, "resume", resume)


def _never_taken_up(patch: Patch) -> None:
    async def resume(self: Engine) -> Sequence[str]:
        return ()

    patch.setattr(Engine, "resume", resume)


def _failed_reads_are_final(patch: Patch) -> None:
    """A saga that the store did not hand over is left to the next start."""

    def failed(self: Recovery, saga_id: str, error: FsmSagaError) -> None:
        self._coordinator.check_alive()
        self.left_alone[saga_id] = str(error)

    patch.setattr(Recovery, "failed", failed)


def _waits_by_the_clock_alone(patch: Patch) -> None:
    """A clock that is set back prolongs every wait."""
    real = Timers.schedule

    def schedule(
        self: Timers, at: float, callback: Callable[[], None], *, wait_s_max: float | None = None
    ) -> None:
        real(self, at, callback)

    patch.setattr(Timers, "schedule", schedule)


def _acknowledged_too_early(patch: Patch) -> None:
    """A submission is acknowledged as soon as it is queued."""

    async def submit(self: Coordinator, saga_id: str, program: Any, event: Any) -> Any:
        driver = SagaDriver(Saga(saga_id, program), self)
        self._drivers[saga_id] = driver
        driver.ask(event)
        await asyncio.sleep(0)
        return driver.saga

    patch.setattr(Coordinator, "submit", submit)


def _conflict_overrun(patch: Patch) -> None:
    """After a conflict the append is repeated at wherever the journal is."""

    async def append(self: SagaDriver, decision: Decision) -> None:
        store = self._host.store
        found = await store.head(self.saga.saga_id)
        position = self.saga.position if found is None else found.position
        head = driver_module.head_of(decision.saga)
        moved = position + len(decision.records)
        await store.append(
            Append(
                saga_id=self.saga.saga_id,
                position=position,
                records=decision.records,
                head=replace(head, position=moved),
            )
        )

    patch.setattr(SagaDriver, "_append", append)


def _event_decided_on_old_state(patch: Patch) -> None:
    """After a read-back the decision that was made before is carried out all the same."""

    async def decided(self: SagaDriver, event: e.Event) -> Decision:
        decision = decide(self.saga, event)
        if decision.records:
            try:
                await _REAL_APPEND(self, decision)
            except StoreError as error:
                if isinstance(error, FencedError):
                    raise
        self.saga = decision.saga
        return decision

    patch.setattr(SagaDriver, "_decide_durably", decided)


IN_DRIVER = bugs(
    "engine",
    {
        "call before append": ("W1", _call_before_append),
        "told before durable": ("W2", _told_before_append),
        "intent of a retry not written": ("W1 W2", _retries_not_written),
        "lost reply taken for written": ("W1 W2", _lost_reply_taken(True)),
        "lost reply taken for not written": ("V1 TOTAL", _lost_reply_taken(False)),
        "fence ignored by the coordinator": ("W1 W2", _fence_ignored),
        "stop ignored by the coordinator": ("L5", _stop_ignored),
        "failed append ignored": ("W1 W2", _event_decided_on_old_state),
        "append repeated at the new end": ("W6 W2 L1", _conflict_overrun),
        "inbox drops what comes in between": ("V1", _inbox_drops),
        "only the first call is made": ("V1", _only_the_first_call),
        "two tasks drive one saga": ("W2 W1 TOTAL V1 W6", _two_drive_one_saga),
        "recovery scan leaves sagas out": ("V1", _scan_leaves_one_out),
        "nothing is taken up": ("V1", _never_taken_up),
        "one failed read is final": ("V1", _failed_reads_are_final),
        "waits by the clock alone": ("V1", _waits_by_the_clock_alone),
        "acknowledged before durable": ("O1", _acknowledged_too_early),
    },
)
