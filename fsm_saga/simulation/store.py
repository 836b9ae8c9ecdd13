"""The store as one coordinator sees it: behind a network that loses and delays, and fenced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from fsm_saga.core.records import Record
from fsm_saga.errors import (
    ConflictError,
    CorruptRecordError,
    FsmSagaError,
    StoreUnavailableError,
)
from fsm_saga.ports import Append, Command, FinishedPage, Head
from fsm_saga.simulation.chance import between
from fsm_saga.simulation.storage import URL

if TYPE_CHECKING:
    from fsm_saga.simulation.node import Node

T = TypeVar("T")

TIMEOUT_S = 1.0
QUICK_S = (0.0005, 0.02)


async def ask_storage(
    node: Node, place: str, execute: Callable[[], T], *, on_reply: Callable[[], None] | None = None
) -> T:
    """Have the store's far end do something and return what it returned.

    ``on_reply`` is called when the reply has reached the node, as part of the world.

    Raises:
        StoreUnavailableError: Nothing was heard in time. It was done, or not, or will be.
    """
    world = node.world
    name = world.chance.next_name(place)
    loss, back, slow, amount, amount_back, crash, pause, length = world.chance.draw(name)
    await node.point(name, crash, pause, length)
    loop = world.loop
    reply: asyncio.Future[T] = loop.create_future()
    process = node.process
    there_s = between(*QUICK_S, amount)
    back_s = between(*QUICK_S, amount_back)
    if world.happens("store-slow", name, slow):
        there_s = between(0.05, 0.9 * TIMEOUT_S, amount)
    elif world.happens("store-late", name, 1.0 - slow):
        there_s = between(TIMEOUT_S, 3 * TIMEOUT_S, amount)
    is_lost = node.is_mute or world.happens("store-lost", name, loss)
    is_heard = not world.happens("store-reply-lost", name, back)

    def arrive() -> None:
        found = execute()
        if world.happens("crash-sent", name, (crash * 97.0) % 1.0) and node.process is process:
            node.crash(f"while {name} is under way")
        elif is_heard and not node.is_deaf:
            loop.call_world(back_s, answer, found)

    def answer(found: T) -> None:
        if process is None or process.is_dead or reply.done():
            return
        if world.happens("crash-after", name, (crash * 89.0) % 1.0):
            node.crash(f"after {name}")
            return
        if on_reply is not None:
            on_reply()
        reply.set_result(found)

    if not is_lost:
        loop.call_world(there_s, arrive)
        again_s = node.repeated_after_s(name)
        if again_s is not None:
            loop.call_world(there_s + again_s, execute)
    expiry = loop.call_later(TIMEOUT_S, _give_up, reply)
    try:
        return await reply
    finally:
        expiry.cancel()


def _give_up(reply: asyncio.Future[Any]) -> None:
    if not reply.done():
        reply.set_exception(
            StoreUnavailableError(
                f"Store {URL!r} did not answer within {TIMEOUT_S:g} s. What was being written may "
                "or may not be there: read back first."
            )
        )


class SimStore:
    """The ``Store`` port for one term of one coordinator."""

    def __init__(self, node: Node, epoch: int) -> None:
        self._node = node
        self._storage = node.storage
        self._epoch = epoch
        self._unknown: dict[str, int] = {}

    @property
    def url(self) -> str:
        """The URL it was opened by."""
        return URL

    @property
    def epoch(self) -> int:
        """This term's fencing number."""
        return self._epoch

    async def append(self, append: Append) -> None:
        """See ``Store.append``."""
        node, storage, saga_id = self._node, self._storage, append.saga_id
        world = node.world
        end = append.head.position

        def told() -> None:
            journal = storage.journals.get(saga_id)
            if journal is not None and is_done[0]:
                journal.acknowledged = max(journal.acknowledged, end)

        is_done = [False]

        def execute() -> FsmSagaError | None:
            refusal = self._write(append)
            is_done[0] = refusal is None
            return refusal

        name = world.chance.next_name(f"conflict.{saga_id}")
        conflict, *_rest = world.chance.draw(name)
        if world.loop.time() < storage.is_closed_until:
            await asyncio.sleep(QUICK_S[1])
            raise StoreUnavailableError(f"Store {URL!r} takes no writes: it has no space left.")
        if world.happens("store-conflict", name, conflict):
            await asyncio.sleep(QUICK_S[1])
            raise ConflictError(f"Somebody appended to saga {saga_id!r} first.")
        try:
            refusal = await ask_storage(node, f"append.{saga_id}", execute, on_reply=told)
        except StoreUnavailableError:
            self._unknown[saga_id] = append.position
            raise
        if refusal is not None:
            raise refusal

    async def load(self, saga_id: str) -> tuple[Record, ...] | None:
        """See ``Store.load``."""

        def read() -> tuple[Record, ...] | CorruptRecordError | None:
            try:
                return self._storage.load(saga_id)
            except CorruptRecordError as error:
                return error

        found = await ask_storage(self._node, f"load.{saga_id}", read)
        if isinstance(found, CorruptRecordError):
            self._node.watch.corruption_seen(saga_id)
            raise found
        if saga_id in self._storage.journals and self._storage.journals[saga_id].is_corrupt:
            self._node.watch.damage_missed(saga_id)
        position = self._unknown.pop(saga_id, None)
        if position is not None:
            is_applied = found is not None and len(found) > position
            word = "applied" if is_applied else "not applied"
            self._node.world.counts[f"unknown append found {word}"] += 1
        return found

    async def head(self, saga_id: str) -> Head | None:
        """See ``Store.head``."""
        journals = self._storage.journals

        def read() -> Head | None:
            return journals[saga_id].head if saga_id in journals else None

        return await ask_storage(self._node, f"head.{saga_id}", read)

    async def heads(
        self, *, only_unfinished: bool = False, limit: int | None = None
    ) -> Sequence[Head]:
        """See ``Store.heads``."""
        return await ask_storage(
            self._node,
            "heads",
            lambda: self._heads(only_unfinished=only_unfinished, limit=limit),
        )

    async def finished(self, *, after: str = "", limit: int) -> FinishedPage:
        """See ``Store.finished``; a run has few sagas, which come all at once."""
        heads = await self.heads()
        return FinishedPage(heads=[head for head in heads if head.is_final], after="")

    async def remove(self, saga_id: str, *, position: int | None = None) -> None:
        """See ``Store.remove``; nothing is collected within a run."""
        raise ConflictError(f"Saga {saga_id!r} was not removed: a run keeps all of them.")

    async def post_command(self, command: Command) -> int:
        """See ``Store.post_command``."""
        return await ask_storage(
            self._node, f"post.{command.saga_id}", lambda: self._storage.post(command)
        )

    async def pending_commands(self) -> Sequence[Command]:
        """See ``Store.pending_commands``; it answers when there is one, or after a while.

        The wait is a watch: a hint, which may end for no reason.
        """
        node, storage = self._node, self._storage
        world = node.world
        if not self._pending():
            posted: asyncio.Future[None] = world.loop.create_future()
            storage.on_command.append(posted)
            name = world.chance.next_name(f"watch.{node.name}")
            draw = world.chance.draw(name)
            is_reset = world.happens("watch-reset", name, draw[0])
            world.counts["watch reset"] += is_reset
            length_s = node.watch_s * (0.1 * draw[1] if is_reset else 1.0)
            expiry = world.loop.call_later(length_s, _end_watch, posted)
            try:
                await posted
            finally:
                expiry.cancel()
        return await ask_storage(node, "pending", self._pending)

    async def answer_command(self, number: int, answer: Mapping[str, Any]) -> None:
        """See ``Store.answer_command``."""
        refusal = await ask_storage(
            self._node, "answer", lambda: self._storage.answer(self._epoch, number, answer)
        )
        if refusal is not None:
            raise refusal

    async def command_answer(self, number: int) -> Mapping[str, Any] | None:
        """See ``Store.command_answer``."""
        commands = self._storage.commands
        return await ask_storage(self._node, "answered", lambda: commands[number].answer)

    async def saga_commands(self, saga_id: str) -> Sequence[Command]:
        """See ``Store.saga_commands``."""
        commands = self._storage.commands.values()
        return await ask_storage(
            self._node, "commands", lambda: [c for c in commands if c.saga_id == saga_id]
        )

    async def close(self) -> None:
        """Release nothing: the far end goes on."""

    # What the far end does, when the request has arrived there.

    def _write(self, append: Append) -> FsmSagaError | None:
        return self._storage.append(self._epoch, append)

    def _heads(self, *, only_unfinished: bool, limit: int | None) -> Sequence[Head]:
        return self._storage.heads(only_unfinished=only_unfinished, limit=limit)

    def _pending(self) -> Sequence[Command]:
        return self._storage.pending()


def _end_watch(posted: asyncio.Future[None]) -> None:
    if not posted.done():
        posted.set_result(None)
