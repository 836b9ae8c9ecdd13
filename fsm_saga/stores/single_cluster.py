"""The ``ClusterStore`` port over a store that has one writer at a time: SQLite, memory.

There is one shard, and whoever is the store's writer leads it. To campaign is to try to become
that, to resign is to close the store. So several processes may serve one file, one of them at work
and the others standing by: the lock of the operating system ends with the process that holds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from fsm_saga.core.records import Record
from fsm_saga.errors import StoreError, StoreLockedError, StoreUnavailableError
from fsm_saga.ports import (
    Append,
    Command,
    FinishedPage,
    Head,
    Leader,
    Member,
    Roster,
    Store,
    Term,
)
from fsm_saga.stores.refusals import closed

SHARD = 0
LOCK_LOOK_S = 0.1
"""Between two looks of one that stands by whether the writer is gone."""


class Place(Protocol):
    """Where the one store is: what can be done there before one has it open."""

    @property
    def url(self) -> str:
        """The URL of the store."""

    async def check(self) -> None:
        """Return if a store of ours is there, or can be made.

        Raises:
            StoreError: It cannot.
        """

    async def open_writer(self) -> Store:
        """Return the store, open for writing.

        Raises:
            StoreLockedError: Another has it.
            StoreError: It cannot be opened.
        """

    async def open_reader(self) -> Store:
        """Return the store, open for reading.

        Raises:
            StoreError: There is none, or it cannot be read.
        """

    async def writer(self) -> tuple[Member, int] | None:
        """Return who has it open for writing, and the epoch, as far as that is known."""

    async def release(self) -> None:
        """Let go of what the place holds itself."""


class SingleCluster:
    """Members that take turns as the writer of one store."""

    def __init__(self, place: Place) -> None:
        """See the place; nothing is opened before somebody campaigns or reads."""
        self._place = place
        self._seats: dict[str, SingleSeat] = {}
        self._reader = _LateReader(place)

    @classmethod
    async def open(cls, place: Place, *, shards: int | None = None) -> SingleCluster:
        """Return the cluster of a store that is there, or can be made.

        Raises:
            StoreError: It cannot, or more shards than one are asked for.
        """
        if shards not in (None, 1):
            raise StoreError(
                f"Store {place.url!r} was not opened with {shards} shards: it has one writer, so "
                "it has one shard. Leave the number of shards out, or use a store on a server."
            )
        await place.check()
        return cls(place)

    @property
    def url(self) -> str:
        """The URL it was opened by."""
        return self._place.url

    @property
    def shards(self) -> int:
        """One."""
        return 1

    @property
    def reader(self) -> Store:
        """The store as readers see it; opened when it is first asked for something."""
        return self._reader

    async def join(self, member: Member, *, ttl_s: float) -> SingleSeat:
        """Take a seat. There is no lease: the lock ends with the process, whatever ``ttl_s`` is."""
        await self._place.check()
        seat = self._seats[member.member_id] = SingleSeat(self, self._place, member)
        return seat

    async def roster(self) -> Roster:
        """Return the members of this process, and the writer wherever it is."""
        leader = next((seat.leader for seat in self._seats.values() if seat.leader), None)
        found = await self._place.writer() if leader is None else None
        members = {seat.member_id: seat.member for seat in self._seats.values()}
        if found is not None:
            writer, epoch = found
            members[writer.member_id] = writer
            leader = Leader(shard=SHARD, epoch=epoch, member_id=writer.member_id)
        return Roster(members=members, leaders={} if leader is None else {SHARD: leader})

    def forget(self, member_id: str) -> None:
        """Let a member go that has left its seat."""
        self._seats.pop(member_id, None)

    async def close(self) -> None:
        """Leave every seat and close the store."""
        for seat in list(self._seats.values()):
            await seat.leave()
        await self._reader.close()
        await self._place.release()


class SingleSeat:
    """The ``Seat`` port over the one store."""

    def __init__(self, cluster: SingleCluster, place: Place, member: Member) -> None:
        """Sit down; ``member`` is what others in this process see."""
        self.member = member
        self._cluster = cluster
        self._place = place
        self._store: Store | None = None
        self._left = asyncio.Event()

    @property
    def member_id(self) -> str:
        """Whose seat it is."""
        return self.member.member_id

    @property
    def leader(self) -> Leader | None:
        """This member as the leader, or None if it is not."""
        if self._store is None:
            return None
        return Leader(shard=SHARD, epoch=self._store.epoch, member_id=self.member_id)

    async def announce(self, member: Member) -> None:
        """See ``Seat.announce``; other processes do not learn of it."""
        self.member = member

    async def roster(self) -> Roster:
        """See ``Seat.roster``."""
        return await self._cluster.roster()

    async def wait_change(self, timeout_s: float) -> None:
        """See ``Seat.wait_change``: whoever stands by looks often, for nobody tells it."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + timeout_s
        while (left_s := give_up_at - loop.time()) > 0:
            await asyncio.sleep(min(LOCK_LOOK_S, left_s))
            if self._store is None and await self._place.writer() is None:
                return

    async def campaign(self, shard: int) -> Term | None:
        """See ``Seat.campaign``."""
        if self._left.is_set():
            raise StoreUnavailableError(
                f"Store {self._place.url!r} was not opened: member {self.member_id!r} has left. "
                "Join again.",
                reason="the seat was left",
            )
        if self._store is None:
            try:
                self._store = await self._place.open_writer()
            except StoreLockedError:
                return None
        return Term(shard=shard, epoch=self._store.epoch)

    def store(self, *terms: Term) -> Store:
        """See ``Seat.store``.

        Raises:
            StoreError: This seat does not lead, or no longer by that term.
        """
        if self._store is None or any(term.epoch != self._store.epoch for term in terms):
            raise closed(self._place.url)
        return self._store

    async def resign(self, term: Term) -> None:
        """See ``Seat.resign``."""
        store = self._store
        if store is None or store.epoch != term.epoch:
            return
        # The file is free before the roster says that nobody leads.
        try:
            await store.close()
        finally:
            # One that failed to close is closed all the same: to campaign is to open it anew.
            if self._store is store:
                self._store = None

    async def wait_lost(self) -> None:
        """See ``Seat.wait_lost``: a lock that is held is not lost."""
        await self._left.wait()

    async def leave(self) -> None:
        """See ``Seat.leave``."""
        self._left.set()
        self._cluster.forget(self.member_id)
        if self._store is not None:
            store, self._store = self._store, None
            await store.close()


class _LateReader:
    """The store for readers, opened by the first question: the writer may yet have to make it."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._store: Store | None = None
        self._turn = asyncio.Lock()

    @property
    def url(self) -> str:
        return self._place.url

    @property
    def epoch(self) -> int:
        return 0

    async def append(self, append: Append) -> None:
        await (await self._opened()).append(append)

    async def load(self, saga_id: str) -> tuple[Record, ...] | None:
        return await (await self._opened()).load(saga_id)

    async def head(self, saga_id: str) -> Head | None:
        return await (await self._opened()).head(saga_id)

    async def heads(
        self, *, only_unfinished: bool = False, limit: int | None = None
    ) -> Sequence[Head]:
        return await (await self._opened()).heads(only_unfinished=only_unfinished, limit=limit)

    async def finished(self, *, after: str = "", limit: int) -> FinishedPage:
        return await (await self._opened()).finished(after=after, limit=limit)

    async def remove(self, saga_id: str, *, position: int | None = None) -> None:
        await (await self._opened()).remove(saga_id, position=position)

    async def post_command(self, command: Command) -> int:
        return await (await self._opened()).post_command(command)

    async def pending_commands(self) -> Sequence[Command]:
        return await (await self._opened()).pending_commands()

    async def answer_command(self, number: int, answer: Mapping[str, Any]) -> None:
        await (await self._opened()).answer_command(number, answer)

    async def command_answer(self, number: int) -> Mapping[str, Any] | None:
        return await (await self._opened()).command_answer(number)

    async def saga_commands(self, saga_id: str) -> Sequence[Command]:
        return await (await self._opened()).saga_commands(saga_id)

    async def close(self) -> None:
        async with self._turn:
            store, self._store = self._store, None
            if store is not None:
                await store.close()

    async def _opened(self) -> Store:
        async with self._turn:
            if self._store is None:
                self._store = await self._place.open_reader()
            return self._store
