"""The loop of one saga: event -> decide -> append -> effects.

One task at a time drives a saga. Whoever brings an event while the saga is busy leaves it in
the inbox; the busy task takes it next. The task that made a call goes on with what its outcome
leads to, so a sequential saga runs in a single task from start to end.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any, Protocol

from fsm_saga.coordinator import failpoints
from fsm_saga.coordinator.reading import read_saga
from fsm_saga.coordinator.replies import event_of
from fsm_saga.core import events as e
from fsm_saga.core.decide import Decision, decide
from fsm_saga.core.effects import CallTool, WakeAt
from fsm_saga.core.invariants import check
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Phase
from fsm_saga.errors import (
    ConflictError,
    EventRefusedError,
    FsmSagaError,
    StoreUnavailableError,
)
from fsm_saga.ports import Append, CallOutcome, Clock, Head, OutcomeKind, Store, ToolRunner

logger = logging.getLogger("fsm_saga.coordinator")

# How long the driver tries to get a failed store to answer before it gives up: the waits in
# seconds between one append and the next.
APPEND_PATIENCE_S = (0.05, 0.2, 0.5, 1.0, 2.0)

TOO_LATE = CallOutcome(
    OutcomeKind.UNKNOWN,
    error="not sent: it is so late that the tool may have forgotten an earlier copy",
)

_Queued = tuple[e.Event, "asyncio.Future[Decision] | None"]


class Host(Protocol):
    """What a driver needs from its coordinator."""

    store: Store
    runner: ToolRunner
    clock: Clock

    def check_alive(self) -> None:
        """Return if the coordinator may go on; raise what made it stop."""

    def new_waiter(self) -> asyncio.Future[Any]:
        """Return a future that fails when the coordinator stops."""

    def spawn_call(self, driver: SagaDriver, call: CallTool) -> None:
        """Make a call in a task of its own."""

    def spawn_drive(self, driver: SagaDriver) -> None:
        """Drive the saga in a task of its own."""

    def wake_at(self, driver: SagaDriver, wake: WakeAt) -> None:
        """Post ``TimePassed`` to the driver at that time."""

    def saga_changed(self, driver: SagaDriver, decision: Decision) -> None:
        """Take notice of a durable change."""


def is_at_rest(saga: Saga) -> bool:
    """True when nothing goes on without a person: ended, asked, or waiting for approval."""
    phase = saga.state.phase
    if phase in (Phase.DONE, Phase.FAILED, Phase.NEEDS_HUMAN):
        return True
    return not (saga.running or saga.undoing) and saga.position > 0


def head_of(saga: Saga) -> Head:
    """Return what the store keeps beside the journal for lists."""
    phase = saga.state.phase
    waits_for = ""
    if phase is Phase.NEEDS_HUMAN:
        waits_for = "person"
    elif saga.awaiting:
        waits_for = "approval"
    return Head(
        saga_id=saga.saga_id,
        state=str(saga.state),
        outcome=None if saga.outcome is None else str(saga.outcome),
        position=saga.position,
        created_at=saga.created_at,
        updated_at=saga.updated_at,
        goal=saga.program.goal,
        is_final=saga.state.is_final,
        waits_for=waits_for,
    )


class SagaDriver:
    """Drives one saga.

    Attributes:
        saga: Its durable state, never ahead of the journal.
        on_rest: Told when it rests.
        on_leave: Told nothing, unless the saga has to be left alone.
    """

    __slots__ = (
        "_failure",
        "_host",
        "_inbox",
        "_is_busy",
        "_is_interrupted",
        "_resumption",
        "on_leave",
        "on_rest",
        "saga",
    )

    def __init__(self, saga: Saga, host: Host) -> None:
        self.saga = saga
        self.on_rest: list[asyncio.Future[Saga]] = []
        self.on_leave: list[asyncio.Future[Saga]] = []
        self._host = host
        self._inbox: deque[_Queued] = deque()
        self._is_busy = False
        self._is_interrupted = saga.position > 0
        self._resumption: asyncio.Future[Decision] | None = None
        self._failure: FsmSagaError | None = None

    async def resume(self) -> None:
        """Take up the saga where its journal ends, if that was not done by this driver yet.

        Who asks while it is under way waits for it; if it failed, it is tried anew.

        Raises:
            FsmSagaError: What it failed of.
        """
        if not self._is_interrupted:
            return
        asked = self._resumption
        if asked is None or (asked.done() and (asked.cancelled() or asked.exception())):
            asked = self._resumption = self.ask(e.Resumed(at=self._host.clock.now()))
        await asyncio.shield(asked)

    def leave(self, failure: FsmSagaError) -> None:
        """Do nothing more for the saga, and tell everybody who waits for it why."""
        self._failure = failure
        waiting: list[asyncio.Future[Any]] = [*self.on_rest, *self.on_leave]
        waiting += [answer for _event, answer in self._inbox if answer is not None]
        self._inbox.clear()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_exception(failure)
                waiter.exception()  # see ``Coordinator``

    def ask(self, event: e.Event) -> asyncio.Future[Decision]:
        """Leave an event for decision; the future says what was decided, once it is durable.

        It fails with an ``EventRefusedError`` if the saga does not accept the event, and with
        what stopped the coordinator if the store failed for good.
        """
        answer: asyncio.Future[Decision] = self._host.new_waiter()
        if self._failure is not None:
            answer.set_exception(self._failure)
            return answer
        self._inbox.append((event, answer))
        if not self._is_busy:
            self._host.spawn_drive(self)
        return answer

    async def command(self, event: e.Event) -> Decision:
        """Decide an event that somebody waits for; return when it is durable.

        A caller who is cancelled takes nothing along: the event is decided all the same.

        Raises:
            EventRefusedError: If the saga does not accept it.
            FsmSagaError: What stopped the coordinator.
        """
        return await asyncio.shield(self.ask(event))

    async def drive(self, event: e.Event | None = None) -> None:
        """Decide what has come in and go on with the calls it leads to, until none is left."""
        if event is not None and self._failure is None:
            self._inbox.append((event, None))
        while not self._is_busy:
            calls = await self._drain()
            if not calls:
                return
            for call in calls[1:]:
                self._host.spawn_call(self, call)
            outcome = await self.make_call(calls[0])
            if self._failure is None:
                self._inbox.append((outcome, None))

    async def make_call(self, call: CallTool) -> e.Event:
        """Make one call and return its outcome as an event."""
        self._host.check_alive()
        saga = self.saga
        step_id = saga.program.steps[call.step].step_id
        if failpoints.is_armed:
            failpoints.failpoint("before_call")
        if call.send_before is not None and self._host.clock.now() > call.send_before:
            # The process stood still since it wrote the intent: another may have sent the call,
            # and its tool may have forgotten it.
            return event_of(call, TOO_LATE, clock=self._host.clock)
        outcome = await self._host.runner.call(call, saga_id=saga.saga_id, step_id=step_id)
        if failpoints.is_armed:
            failpoints.failpoint("after_call")
        return event_of(call, outcome, clock=self._host.clock)

    async def _drain(self) -> list[CallTool]:
        """Decide everything in the inbox; return the calls to make.

        Only durable decisions are carried out. While an append is under way further events
        pile up in the inbox, so their order is the order in which they came.
        """
        calls: list[CallTool] = []
        self._is_busy = True
        try:
            while self._inbox:
                for call in calls:
                    # More is to be decided; what may be called already does not wait for it.
                    self._host.spawn_call(self, call)
                event, answer = self._inbox.popleft()
                calls = await self._step(event, answer)
        finally:
            self._is_busy = False
        return calls

    async def _step(
        self, event: e.Event, answer: asyncio.Future[Decision] | None
    ) -> list[CallTool]:
        try:
            decision = await self._decide_durably(event)
        except FsmSagaError as error:
            if answer is None:
                raise
            if not answer.done():
                answer.set_exception(error)
            # What one caller asked for wrongly is nothing to anybody else.
            if not isinstance(error, EventRefusedError | ConflictError):
                raise
            return []
        if failpoints.is_armed:
            failpoints.failpoint("before_effects")
        if answer is not None and not answer.done():
            answer.set_result(decision)
        return self._carry_out(decision)

    def _carry_out(self, decision: Decision) -> list[CallTool]:
        """Do what a durable decision orders, except the calls, which are returned."""
        calls: list[CallTool] = []
        for effect in decision.effects:
            if isinstance(effect, CallTool):
                calls.append(effect)
            elif isinstance(effect, WakeAt):
                self._host.wake_at(self, effect)
        if decision.records:
            self._host.saga_changed(self, decision)
        if self.on_rest and is_at_rest(self.saga):
            self._tell_it_rests()
        return calls

    def _tell_it_rests(self) -> None:
        waiting, self.on_rest = self.on_rest, []
        for rested in waiting:
            if not rested.done():
                rested.set_result(self.saga)

    async def _decide_durably(self, event: e.Event) -> Decision:
        decision = decide(self.saga, event)
        for patience_s in (*APPEND_PATIENCE_S, None):
            if not decision.records:
                return decision
            if failpoints.is_armed:
                failpoints.failpoint("before_append")
            try:
                await self._append(decision)
                break
            except (StoreUnavailableError, ConflictError) as error:
                if patience_s is None:
                    raise
                if isinstance(error, StoreUnavailableError):
                    logger.warning("append failed, reading back: %s", error)
                    await self._host.clock.sleep(patience_s)
                if await self._was_written(decision):
                    break
                self._host.check_alive()
                decision = decide(self.saga, event)
        if failpoints.is_armed:
            failpoints.failpoint("after_append")
        self.saga = decision.saga
        return decision

    async def _append(self, decision: Decision) -> None:
        await self._host.store.append(
            Append(
                saga_id=self.saga.saga_id,
                position=self.saga.position,
                records=decision.records,
                head=head_of(decision.saga),
            )
        )

    async def _was_written(self, decision: Decision) -> bool:
        """Read back what became of an append whose reply was lost or refused (W4).

        After it, ``saga`` is what the journal says: either the append is there, or the saga
        stands where it stood, or somebody else appended and the event is decided anew.
        """
        try:
            journal = await self._host.store.load(self.saga.saga_id)
        except StoreUnavailableError:
            return False
        if journal is None:
            check(self.saga.position == 0, f"the journal of {self.saga.saga_id!r} is gone")
            return False
        before = self.saga.position
        if tuple(journal[before:]) == decision.records:
            return True
        if len(journal) > before:
            if before == 0:
                raise ConflictError(f"A saga {self.saga.saga_id!r} exists already.")
            self.saga = read_saga(journal)[0]
        return False
