"""Taking up those sagas last whose calls may have ended the process before (D-30).

After an unclean end nobody knows which of the calls in flight was the cause. The first two times
all are sent again at once, as after any crash. What was under way at each of these ends waits
until the others have had their answers, and is then sent one saga at a time, the least
suspicious first: so a call that does end its process takes no other along, time after time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fsm_saga.core.due import interruptions
from fsm_saga.core.saga import Saga
from fsm_saga.errors import FsmSagaError

if TYPE_CHECKING:
    from fsm_saga.coordinator.coordinator import Coordinator

logger = logging.getLogger("fsm_saga.coordinator")

SUSPECT_ENDS_MIN = 2
"""Ends of the process that a call was sent again after and had no answer: from here on it waits."""


def is_suspect(saga: Saga) -> bool:
    """Return whether the saga is to be taken up after the others, and alone."""
    return interruptions(saga) >= SUSPECT_ENDS_MIN


class Suspects:
    """The sagas of one coordinator that wait to be taken up, and those who wait for them."""

    def __init__(self, coordinator: Coordinator) -> None:
        """Take up nothing yet."""
        self._coordinator = coordinator
        self._waiters: dict[str, list[asyncio.Future[None]]] = {}

    def __contains__(self, saga_id: str) -> bool:
        return saga_id in self._waiters

    def take_up(self, sagas: Sequence[Saga], *, after: Sequence[str]) -> None:
        """Take these sagas up in turn, once the calls of those in ``after`` are answered."""
        new = [saga for saga in sagas if saga.saga_id not in self]
        if not new:
            return
        saga_ids = [saga.saga_id for saga in sorted(new, key=interruptions)]
        self._waiters.update({saga_id: [] for saga_id in saga_ids})
        self._coordinator.spawn(self._take_up(saga_ids, after), name="suspects")

    async def wait(self, saga_id: str) -> None:
        """Return once the saga is taken up; at once if it does not wait for that."""
        if saga_id in self._waiters:
            waiter = self._coordinator.new_waiter()
            self._waiters[saga_id].append(waiter)
            await waiter

    async def _take_up(self, saga_ids: Sequence[str], after: Sequence[str]) -> None:
        for saga_id in after:
            await self._answered(saga_id)
        for saga_id in saga_ids:
            if await self._take_up_one(saga_id):
                await self._answered(saga_id)

    async def _take_up_one(self, saga_id: str) -> bool:
        """Return whether the saga is taken up; if not, it is known why, and may be tried again."""
        try:
            await self._coordinator.take_up(saga_id)
        except FsmSagaError as error:
            # A coordinator that has stopped told everybody who waits itself.
            if self._coordinator.failure is not None:
                return False
            logger.warning("saga %r was left alone: %s", saga_id, error)
            self._coordinator.recovery.failed(saga_id, error)
            return False
        finally:
            for waiter in self._waiters.pop(saga_id):
                if not waiter.done():
                    waiter.set_result(None)
        return True

    async def _answered(self, saga_id: str) -> None:
        """Return once no call is in flight that an end of the process had interrupted."""
        try:
            await self._coordinator.wait_until(saga_id, lambda saga: not interruptions(saga))
        except FsmSagaError as error:
            logger.warning("saga %r is not waited for: %s", saga_id, error)
