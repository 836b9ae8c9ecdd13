"""Carrying out what other processes left in the store: in order for each saga, together for many.

A burst of submissions shares the store's commits only if they are under way at the same time.

What is left over from an earlier leader may have been carried out and not answered. It is looked
for in the journal before it is carried out.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fsm_saga.coordinator.coordinator import Coordinator
from fsm_saga.errors import FencedError, StoreError
from fsm_saga.ports import Command

logger = logging.getLogger("fsm_saga.service")

COMMAND_POLL_S = 0.2
HINTED_POLL_S = 2.0
"""Between two looks at a store that tells when something comes in: it may fail to."""
BUSY_POLL_S = 0.02
"""Between two looks while commands keep coming."""
FAIL_PAUSE_S = 0.5
"""Before a command is tried again that the store failed at."""
OBEYED_MAX = 64
"""Commands that are carried out at a time."""

Obey = Callable[[Command], Awaitable[Mapping[str, Any] | None]]


class CommandServer:
    """Carries out the commands in a coordinator's store.

    Attributes:
        answered: How many were answered since the start.
    """

    def __init__(self, coordinator: Coordinator, obey: Obey, recall: Obey | None = None) -> None:
        """See the store.

        Args:
            coordinator: Whose store and tasks are used.
            obey: Carries a command out and returns its answer; None leaves it to another
                coordinator.
            recall: Returns the answer to a command that was carried out already; None if it was
                not. Asked of commands of which that may be so.
        """
        self.answered = 0
        self._coordinator = coordinator
        self._store = coordinator.store
        self._obey = obey
        self._recall = recall
        self._doubted: set[int] = set()
        self._is_new = True
        self._again = asyncio.Event()
        self._known: set[int] = set()
        self._answers: dict[int, Mapping[str, Any]] = {}
        self._answered: set[int] = set()
        self._queues: dict[str, deque[Command]] = {}
        self._places = asyncio.Semaphore(OBEYED_MAX)
        self._is_failing = False

    async def run(self) -> None:
        """Look for commands and carry them out, until cancelled.

        A store that does not answer is asked again later: sagas notice it themselves when they
        append, and say so.
        """
        while True:
            found = False
            # A look that began before an answer was written may still show its command. What was
            # answered before this look began is in no later one.
            gone, self._answered = self._answered, set()
            self._again.clear()
            try:
                for command in await self._store.pending_commands():
                    if command.number not in self._known:
                        found = True
                        self._take(command)
                self._known -= gone
                self._is_failing = False
            except StoreError as error:
                self._answered |= gone
                self._fail(error)
                await self._coordinator.clock.sleep(COMMAND_POLL_S)
                continue
            # What an earlier leader may have begun was there before this one led.
            self._is_new = self._is_new and found
            if found:
                await self._coordinator.clock.sleep(BUSY_POLL_S)
            else:
                await self._wait()

    async def _wait(self) -> None:
        """Return when it is time to look again."""
        wait_command = getattr(self._store, "wait_command", None)
        if wait_command is None:
            await self._coordinator.clock.sleep(COMMAND_POLL_S)
            return
        waits = [
            asyncio.ensure_future(wait_command(HINTED_POLL_S)),
            asyncio.ensure_future(self._again.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            await asyncio.wait(waits)

    def _take(self, command: Command) -> None:
        """Have it carried out after what was left for the same saga before."""
        self._known.add(command.number)
        if self._is_new:
            self._doubted.add(command.number)
        queue = self._queues.get(command.saga_id)
        if queue is not None:
            queue.append(command)
            return
        self._queues[command.saga_id] = deque([command])
        self._coordinator.spawn(self._work(command.saga_id), name="command")

    async def _work(self, saga_id: str) -> None:
        queue = self._queues[saga_id]
        try:
            while queue:
                async with self._places:
                    await self._carry_out(queue[0])
                queue.popleft()
        except FencedError as error:
            # Another leads; it finds the commands that have no answer.
            self._coordinator.stop(error)
        except StoreError as error:
            # The next look finds it again, and those behind it.
            self._fail(error)
            await self._coordinator.clock.sleep(FAIL_PAUSE_S)
        finally:
            self._known.difference_update(command.number for command in queue)
            del self._queues[saga_id]
            if queue:
                self._again.set()

    async def _carry_out(self, command: Command) -> None:
        number = command.number
        # One that was carried out, and whose answer was lost, is not carried out again.
        answer = self._answers.get(number) or await self._done(command)
        if self._coordinator.failure is not None:
            return  # what is said now tells of this coordinator's end, not of the command
        if answer is None:
            return  # left for another; it stays known, so it is not tried again here
        self._answers[number] = answer
        self._doubted.discard(number)
        await self._store.answer_command(number, answer)
        del self._answers[number]
        self._answered.add(number)
        self.answered += 1

    async def _done(self, command: Command) -> Mapping[str, Any] | None:
        """Carry it out, unless that was done before, and return the answer."""
        if self._recall is not None and command.number in self._doubted:
            answer = await self._recall(command)
            if answer is not None:
                return answer
        try:
            return await self._obey(command)
        except StoreError:
            self._doubted.add(command.number)
            raise

    def _fail(self, error: StoreError) -> None:
        if not self._is_failing:
            logger.warning("commands from other processes cannot be read or answered: %s", error)
        self._is_failing = True
