"""A cluster inside one process: shards in memory, and leases that end when they are told to.

For tests of what leads and hands over, and for the conformance suite; ``memory://`` alone is a
store for one writer.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from fsm_saga.core.records import Record
from fsm_saga.errors import StoreUnavailableError
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
from fsm_saga.stores.memory import Memory, MemoryStore, finished_page
from fsm_saga.stores.refusals import no_command
from fsm_saga.stores.sharding import SHARDS_DEFAULT, shard_of


class MemoryCluster:
    """The ``ClusterStore`` port over memory."""

    def __init__(self, *, shards: int = SHARDS_DEFAULT, url: str = "memory://") -> None:
        numbers = itertools.count(1)
        self.memories = [Memory(numbers=numbers) for _ in range(shards)]
        self.members: dict[str, Member] = {}
        self.leaders: dict[int, Leader] = {}
        self.seats: dict[str, MemorySeat] = {}
        self._url = url
        self._changed = asyncio.Event()

    @property
    def url(self) -> str:
        """The URL it was opened by."""
        return self._url

    @property
    def shards(self) -> int:
        """The number of shards."""
        return len(self.memories)

    @property
    def reader(self) -> Store:
        """The store as readers see it."""
        return _MemoryReader(self)

    async def join(self, member: Member, *, ttl_s: float) -> MemorySeat:
        """Take a seat; its lease ends with ``expire`` alone, whatever ``ttl_s`` is."""
        seat = self.seats[member.member_id] = MemorySeat(self, member.member_id)
        self.members[member.member_id] = member
        self.tell()
        return seat

    async def roster(self) -> Roster:
        """Return who is there and who leads."""
        return Roster(members=dict(self.members), leaders=dict(self.leaders))

    def expire(self, member_id: str) -> None:
        """End a member's lease, and with it all that it leads. It is not told: see ``notice``."""
        self.members.pop(member_id, None)
        for shard in [s for s, leader in self.leaders.items() if leader.member_id == member_id]:
            del self.leaders[shard]
        self.tell()

    def memory_of(self, saga_id: str) -> Memory:
        """Return the memory of the saga's shard."""
        return self.memories[shard_of(saga_id, self.shards)]

    def tell(self) -> None:
        """Wake everybody who waits for a change of the roster."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self) -> None:
        """Return at the next change of the roster."""
        await self._changed.wait()

    async def close(self) -> None:
        """Leave every seat."""
        for seat in list(self.seats.values()):
            await seat.leave()


class MemorySeat:
    """The ``Seat`` port over a ``MemoryCluster``."""

    def __init__(self, cluster: MemoryCluster, member_id: str) -> None:
        self._cluster = cluster
        self._member_id = member_id
        self._lost = asyncio.Event()

    @property
    def member_id(self) -> str:
        """Whose seat it is."""
        return self._member_id

    async def announce(self, member: Member) -> None:
        """See ``Seat.announce``."""
        self._check_member("Its record")
        self._cluster.members[self._member_id] = member
        self._cluster.tell()

    async def roster(self) -> Roster:
        """See ``Seat.roster``."""
        return await self._cluster.roster()

    async def wait_change(self, timeout_s: float) -> None:
        """See ``Seat.wait_change``."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._cluster.changed()
        except TimeoutError:
            pass

    async def campaign(self, shard: int) -> Term | None:
        """See ``Seat.campaign``."""
        self._check_member(f"The leadership of shard {shard}")
        leader = self._cluster.leaders.get(shard)
        if leader is None:
            memory = self._cluster.memories[shard]
            memory.epoch += 1
            leader = Leader(shard=shard, epoch=memory.epoch, member_id=self._member_id)
            self._cluster.leaders[shard] = leader
            self._cluster.tell()
        is_mine = leader.member_id == self._member_id
        return Term(shard=shard, epoch=leader.epoch) if is_mine else None

    def store(self, *terms: Term) -> Store:
        """See ``Seat.store``."""
        return _MemoryWriter(self._cluster, terms)

    async def resign(self, term: Term) -> None:
        """See ``Seat.resign``."""
        leader = self._cluster.leaders.get(term.shard)
        if leader is not None and (leader.member_id, leader.epoch) == (self._member_id, term.epoch):
            self._cluster.memories[term.shard].epoch += 1
            del self._cluster.leaders[term.shard]
            self._cluster.tell()

    async def wait_lost(self) -> None:
        """See ``Seat.wait_lost``."""
        await self._lost.wait()

    def notice(self) -> None:
        """Let the member know that its lease has ended."""
        self._lost.set()

    async def leave(self) -> None:
        """See ``Seat.leave``."""
        self._lost.set()
        if self._cluster.seats.get(self._member_id) is self:
            del self._cluster.seats[self._member_id]
            self._cluster.expire(self._member_id)

    def _check_member(self, what: str) -> None:
        if self._member_id not in self._cluster.members:
            raise StoreUnavailableError(
                f"{what} was not written: the lease of member {self._member_id!r} has ended. "
                "Join again.",
                reason="the lease has ended",
            )


class _MemoryReader:
    """Every shard as readers see it."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self._cluster = cluster
        self._shards = [MemoryStore(cluster.url, memory, epoch=0) for memory in cluster.memories]

    @property
    def url(self) -> str:
        """The URL it was opened by."""
        return self._cluster.url

    @property
    def epoch(self) -> int:
        """The newest of its terms' epochs, 0 for a reader."""
        return 0

    async def append(self, append: Append) -> None:
        """See ``Store.append``."""
        await self._of(append.saga_id).append(append)

    async def load(self, saga_id: str) -> tuple[Record, ...] | None:
        """See ``Store.load``."""
        return await self._of(saga_id).load(saga_id)

    async def head(self, saga_id: str) -> Head | None:
        """See ``Store.head``."""
        return await self._of(saga_id).head(saga_id)

    async def heads(
        self, *, only_unfinished: bool = False, limit: int | None = None
    ) -> Sequence[Head]:
        """See ``Store.heads``."""
        found = [
            (-saga.number, saga.head)
            for memory in (self._own_memories() if only_unfinished else self._cluster.memories)
            for saga in memory.sagas.values()
            if not (only_unfinished and saga.head.is_final)
        ]
        heads = [head for _number, head in sorted(found, key=lambda pair: pair[0])]
        return heads if limit is None else heads[: max(limit, 0)]

    async def finished(self, *, after: str = "", limit: int) -> FinishedPage:
        """See ``Store.finished``. A leader's are those of its shards."""
        return finished_page(self._own_memories(), after=after, limit=limit)

    async def remove(self, saga_id: str, *, position: int | None = None) -> None:
        """See ``Store.remove``."""
        await self._of(saga_id).remove(saga_id, position=position)

    async def post_command(self, command: Command) -> int:
        """See ``Store.post_command``."""
        return await self._of(command.saga_id).post_command(command)

    async def pending_commands(self) -> Sequence[Command]:
        """See ``Store.pending_commands``."""
        found = [
            command
            for memory in self._own_memories()
            for command in memory.commands.values()
            if command.answer is None
        ]
        return sorted(found, key=lambda command: command.number)

    async def answer_command(self, number: int, answer: Mapping[str, Any]) -> None:
        """See ``Store.answer_command``."""
        for shard in self._shards:
            if number in shard.memory.commands:
                await shard.answer_command(number, answer)
                return
        raise no_command(number)

    async def command_answer(self, number: int) -> Mapping[str, Any] | None:
        """See ``Store.command_answer``."""
        for shard in self._shards:
            answer = await shard.command_answer(number)
            if answer is not None:
                return answer
        return None

    async def saga_commands(self, saga_id: str) -> Sequence[Command]:
        """See ``Store.saga_commands``."""
        return await self._of(saga_id).saga_commands(saga_id)

    async def close(self) -> None:
        """Do nothing: the cluster holds what there is to close."""

    def _own_memories(self) -> Sequence[Memory]:
        return self._cluster.memories

    def _of(self, saga_id: str) -> MemoryStore:
        return self._shards[shard_of(saga_id, self._cluster.shards)]


class _MemoryWriter(_MemoryReader):
    """Some shards as their leader writes them; the others can be read."""

    def __init__(self, cluster: MemoryCluster, terms: Sequence[Term]) -> None:
        super().__init__(cluster)
        self._terms = terms
        for term in terms:
            memory = cluster.memories[term.shard]
            self._shards[term.shard] = MemoryStore(cluster.url, memory, epoch=term.epoch)

    @property
    def epoch(self) -> int:
        """The newest of its terms' epochs."""
        return max((term.epoch for term in self._terms), default=0)

    def _own_memories(self) -> Sequence[Memory]:
        return [self._cluster.memories[term.shard] for term in self._terms]
