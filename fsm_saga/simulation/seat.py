"""A node's way to the store that nodes share: its seat, whose lease it renews by itself.

Everything goes over the network that loses and delays (``ask_storage``), as a node would meet it
with etcd: a request may be carried out after it was given up, a lease ends here before it ends
there, and what the store tells of changes is a hint that may be lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from fsm_saga.errors import FsmSagaError, StoreError, StoreUnavailableError
from fsm_saga.ports import Append, Command, Head, Member, Roster, Store, Term
from fsm_saga.simulation.chance import between
from fsm_saga.simulation.sharded import LeaderKey, ShardedStorage
from fsm_saga.simulation.storage import LEASE_TTL_S, URL
from fsm_saga.simulation.store import QUICK_S, SimStore, ask_storage

if TYPE_CHECKING:
    from fsm_saga.simulation.member import MemberNode

T = TypeVar("T")

MARGIN_S = 0.5
"""How long before the store a seat takes its lease for ended."""
RENEWALS_PER_TTL = 3
RETRY_S = 0.1


class SimCluster:
    """The ``ClusterStore`` port for one process of one node."""

    def __init__(self, node: MemberNode) -> None:
        self._node = node
        self._count = 0

    @property
    def url(self) -> str:
        """The URL it was opened by."""
        return URL

    @property
    def shards(self) -> int:
        """The number of shards."""
        return self._node.storage.shards

    @property
    def reader(self) -> Store:
        """The store as readers see it."""
        return SimStore(self._node, 0)

    async def join(self, member: Member, *, ttl_s: float) -> SimSeat:
        """See ``ClusterStore.join``; a lease lasts as long as all leases of a run do."""
        node = self._node
        self._count += 1
        seat = SimSeat(node, member.member_id, f"{member.member_id}/{self._count}")
        await seat.open()
        try:
            await seat.announce(member)
        except BaseException:  # boundary: whatever it was, nobody sits there
            await seat.leave()
            raise
        node.world.counts["joined"] += 1
        return seat

    async def roster(self) -> Roster:
        """Return who is there and who leads."""
        node = self._node
        return await ask_storage(node, f"roster.{node.name}", node.storage.roster)

    async def close(self) -> None:
        """Release nothing: the far end goes on."""


class SimSeat:
    """The ``Seat`` port: a lease, renewed as long as the process lives, and what hangs on it.

    Attributes:
        lost_at: When the process took its lease for ended, or None.
    """

    def __init__(self, node: MemberNode, member_id: str, lease_id: str) -> None:
        self.lost_at: float | None = None
        self._node = node
        self._storage: ShardedStorage = node.storage
        self._loop = node.world.loop
        self._process = node.process
        self._member_id = member_id
        self._lease_id = lease_id
        self._valid_until = 0.0
        self._lost = asyncio.Event()
        self._changed = asyncio.Event()
        self._is_hinted = False
        self._keeping: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Get the lease, and renew it from now on; a lost answer is asked for again.

        Raises:
            StoreUnavailableError: For as long as a lease lives the store gave no answer.
        """
        first_at = self._loop.time()
        while True:
            try:
                await self._ask("grant", lambda: self._storage.grant(self._lease_id))
                break
            except StoreUnavailableError:
                if self._loop.time() - first_at >= LEASE_TTL_S - MARGIN_S:
                    raise
                await asyncio.sleep(RETRY_S)
        self._valid_until = first_at + LEASE_TTL_S - MARGIN_S
        self._keeping = asyncio.create_task(self._keep_alive(), name="lease")
        self._storage.listeners[self._lease_id] = self._told

    @property
    def member_id(self) -> str:
        """Whose seat it is."""
        return self._member_id

    async def announce(self, member: Member) -> None:
        """See ``Seat.announce``."""
        if not await self._ask("announce", lambda: self._put(member)):
            raise self._gone("Its record")

    def _put(self, member: Member) -> bool:
        return self._storage.put_member(self._lease_id, member)

    async def roster(self) -> Roster:
        """See ``Seat.roster``."""
        return await self._ask("roster", self._storage.roster)

    async def wait_change(self, timeout_s: float) -> None:
        """See ``Seat.wait_change``."""
        await self._node.point_asleep()
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            pass
        self._changed.clear()

    async def campaign(self, shard: int) -> Term | None:
        """See ``Seat.campaign``."""

        def execute() -> LeaderKey | None:
            return self._storage.campaign(self._lease_id, self._member_id, shard)

        try:
            key = await self._ask(f"campaign.{shard}", execute)
        except StoreUnavailableError:
            won = self._storage.leaders.get(shard)
            is_won = won is not None and won.lease_id == self._lease_id
            self._node.world.counts["campaign won and not heard"] += is_won
            raise
        if key is None:
            raise self._gone(f"The leadership of shard {shard}")
        if key.lease_id != self._lease_id:
            return None
        return Term(shard=shard, epoch=key.epoch)

    def store(self, *terms: Term) -> Store:
        """See ``Seat.store``; a node asks for one shard at a time."""
        (term,) = terms
        self._node.seats[term.epoch] = self
        # A resignation that was lost, and the same term won once more.
        self._node.given_up.pop(term.epoch, None)
        return ShardStore(self._node, term)

    async def resign(self, term: Term) -> None:
        """See ``Seat.resign``."""
        self._node.given_up[term.epoch] = None
        await self._ask(
            f"resign.{term.shard}", lambda: self._storage.resign(term.shard, term.epoch)
        )

    async def wait_lost(self) -> None:
        """See ``Seat.wait_lost``."""
        await self._lost.wait()

    async def leave(self) -> None:
        """See ``Seat.leave``."""
        self._storage.listeners.pop(self._lease_id, None)
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            self._keeping = None
        if self._is_alive():
            self._lose()
            try:
                await self._ask("leave", lambda: self._storage.end(self._lease_id, "given back"))
            except StoreUnavailableError:
                self._node.world.note(self._node.name, "leaves its lease to its end")

    async def _ask(self, what: str, execute: Callable[[], T]) -> T:
        return await ask_storage(self._node, f"{what}.{self._node.name}", execute)

    def _gone(self, what: str) -> StoreError:
        return StoreUnavailableError(
            f"{what} was not written: the lease of member {self._member_id!r} has ended. "
            "Join again."
        )

    # The lease.

    def _is_alive(self) -> bool:
        if not self._lost.is_set() and self._loop.time() >= self._valid_until:
            self._node.world.counts["lease ended here first"] += 1
            self._lose()
        return not self._lost.is_set()

    def _lose(self) -> None:
        if not self._lost.is_set():
            self.lost_at = self._loop.time()
            self._lost.set()

    async def _keep_alive(self) -> None:
        pause_s = LEASE_TTL_S / RENEWALS_PER_TTL
        while self._is_alive():
            left_s = self._valid_until - self._loop.time()
            await asyncio.sleep(min(pause_s, left_s))
            pause_s = LEASE_TTL_S / RENEWALS_PER_TTL
            sent_at = self._loop.time()
            if sent_at >= self._valid_until:
                continue
            try:
                async with asyncio.timeout_at(self._valid_until):
                    is_known = await self._ask("renew", lambda: self._storage.renew(self._lease_id))
            except (StoreUnavailableError, TimeoutError):
                pause_s = RETRY_S
                continue
            if not is_known:
                self._node.world.counts["told that its lease has ended"] += 1
                self._lose()
            elif self._is_alive():
                self._valid_until = sent_at + LEASE_TTL_S - MARGIN_S

    # Hints.

    def _told(self) -> None:
        """Have the change heard here after a while; several at a time are one."""
        if self._is_hinted:
            return
        self._is_hinted = True
        world = self._node.world
        name = world.chance.next_name(f"hint.{self._node.name}")
        draw = world.chance.draw(name)
        world.loop.call_world(between(*QUICK_S, draw[0]), self._hear, name, draw[1])

    def _hear(self, name: str, number: float) -> None:
        self._is_hinted = False
        process = self._process
        if process is None or process.is_dead:
            self._storage.listeners.pop(self._lease_id, None)
            return
        world = self._node.world
        if self._node.is_deaf or world.happens("watch-reset", name, number):
            world.counts["hint lost"] += 1
            return
        process.call_soon(self._changed.set)


class ShardStore(SimStore):
    """The ``Store`` port for one term of one shard."""

    def __init__(self, node: MemberNode, term: Term) -> None:
        super().__init__(node, term.epoch)
        self.term = term
        self._shared: ShardedStorage = node.storage
        self._writer = "" if node.process is None else node.process.name

    def _write(self, append: Append) -> FsmSagaError | None:
        return self._shared.append_by(self._writer, self._epoch, append)

    def _heads(self, *, only_unfinished: bool, limit: int | None) -> Sequence[Head]:
        if only_unfinished:
            return self._shared.heads_in(self.term.shard, limit=limit)
        return self._shared.heads(only_unfinished=False, limit=limit)

    def _pending(self) -> Sequence[Command]:
        return self._shared.pending_in(self.term.shard)
