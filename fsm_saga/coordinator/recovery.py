"""Taking up what is unfinished: all that can be, now or as soon as the store answers again.

A saga whose journal cannot be read stops alone. One that the store did not answer for is tried
again for as long as the coordinator lives: nobody else would take it up before the next start.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from fsm_saga.coordinator.suspects import is_suspect
from fsm_saga.core.program import Program
from fsm_saga.core.saga import Saga
from fsm_saga.errors import (
    ConflictError,
    FsmSagaError,
    StoreError,
    StoreUnavailableError,
    UnknownSagaError,
)

if TYPE_CHECKING:
    from fsm_saga.coordinator.coordinator import Coordinator

logger = logging.getLogger("fsm_saga.coordinator")

DELAY_S_MIN = 0.5
DELAY_S_MAX = 10.0


class Recovery:
    """The unfinished sagas that one coordinator has not taken up, and why.

    Attributes:
        left_alone: Why, by saga. What is tried again stands here until it is taken up.
    """

    def __init__(self, coordinator: Coordinator) -> None:
        """Take up nothing yet."""
        self.left_alone: dict[str, str] = {}
        self._coordinator = coordinator
        # Those to be tried again, the one that waits longest first, with who waits for them.
        self._again: dict[str, list[asyncio.Future[None]]] = {}
        self._is_trying = False

    def __contains__(self, saga_id: str) -> bool:
        return saga_id in self._again

    async def run(self) -> list[str]:
        """Take up every unfinished saga whose tools are at hand, and return their ids.

        Raises:
            StoreError: If the store does not say which there are, or failed for good.
        """
        heads = await self._coordinator.store.heads(only_unfinished=True)
        listed = {head.saga_id for head in heads}
        for saga_id in [each for each in self.left_alone if each not in listed]:
            self.is_settled(saga_id)
        taken: list[str] = []
        suspects: list[Saga] = []
        for head in heads:
            found = await self._take_up(head.saga_id)
            if found is not None:
                suspects.append(found)
            elif head.saga_id not in self.left_alone:
                taken.append(head.saga_id)
        self._coordinator.suspects.take_up(suspects, after=taken)
        return [*taken, *(saga.saga_id for saga in suspects)]

    async def _take_up(self, saga_id: str) -> Saga | None:
        """Take the saga up, or write down why not; return it if it has to wait for its turn."""
        coordinator = self._coordinator
        try:
            saga = await coordinator.stored(saga_id)
            missing = coordinator.missing_tools(saga)
            if missing:
                self._leave(saga_id, f"its tools are not given: {', '.join(missing)}")
            elif coordinator.driver(saga_id) is None and is_suspect(saga):
                self.is_settled(saga_id)
                return saga
            else:
                await coordinator.take_up(saga_id)
        except (StoreError, UnknownSagaError) as error:
            self.failed(saga_id, error)
        return None

    def failed(self, saga_id: str, error: FsmSagaError) -> None:
        """Leave a saga that could not be taken up alone, for now if the store did not answer.

        A head without a journal is such a saga as well: one that was damaged, or removed since it
        was listed.

        Raises:
            FsmSagaError: If the coordinator has stopped, which is no trouble of one saga.
        """
        self._coordinator.check_alive()
        if not isinstance(error, StoreUnavailableError | ConflictError):
            self._leave(saga_id, str(error))
            return
        self.left_alone[saga_id] = f"tried again soon: {error}"
        # What failed now goes behind those that have waited longer.
        self._again[saga_id] = self._again.pop(saga_id, [])
        if not self._is_trying:
            self._is_trying = True
            self._coordinator.spawn(self._try_again(), name="recovery")

    def _leave(self, saga_id: str, why: str) -> None:
        self.is_settled(saga_id)
        self.left_alone[saga_id] = why

    def is_settled(self, saga_id: str) -> None:
        """Take notice that the saga is taken up, or that nothing is left to take up."""
        self.left_alone.pop(saga_id, None)
        for waiter in self._again.pop(saga_id, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, saga_id: str) -> None:
        """Return once the saga is not tried again any more; at once if it is not."""
        if saga_id in self._again:
            waiter = self._coordinator.new_waiter()
            self._again[saga_id].append(waiter)
            await waiter

    async def _try_again(self) -> None:
        """Try what is left, one after the other, until nothing is; the first failure ends a round.

        A store that does not answer is not asked for each saga.
        """
        delay_s = DELAY_S_MIN
        while self._again:
            await self._coordinator.clock.sleep(delay_s)
            delay_s = min(2 * delay_s, DELAY_S_MAX)
            for saga_id in list(self._again):
                if saga_id not in self._again:
                    continue
                try:
                    found = await self._take_up(saga_id)
                except FsmSagaError:
                    # A coordinator that has stopped told everybody who waits itself.
                    return
                if found is not None:
                    self._coordinator.suspects.take_up((found,), after=())
                if saga_id in self._again:
                    break
                delay_s = DELAY_S_MIN
        self._is_trying = False


def tools_of(program: Program) -> set[str]:
    """Return the names of all tools that a program may call."""
    names: set[str] = set()
    for step in program.steps:
        names.add(step.action.tool)
        if step.undo is not None:
            names.add(step.undo.tool)
        if step.check is not None:
            names.add(step.check.tool)
    return names
