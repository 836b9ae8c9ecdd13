"""The far end of a store that nodes share: members, leaders of shards, leases, and the fence.

As in etcd: a member's key and the keys of what it leads hang on a lease, a put with another lease
takes the key over from the first, and an epoch is never given twice. Here nothing is lost or slow;
that is played between a node and this (``seat.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from fsm_saga.errors import FsmSagaError
from fsm_saga.ports import Append, Command, Head, Leader, Member, Roster
from fsm_saga.simulation.storage import LEASE_TTL_S, Storage, StorageWatcher
from fsm_saga.simulation.world import World
from fsm_saga.stores.sharding import shard_of


class SeatLease:
    """A lease; what hangs on it goes with it."""

    __slots__ = ("expires_at", "lease_id")

    def __init__(self, lease_id: str, expires_at: float) -> None:
        self.lease_id = lease_id
        self.expires_at = expires_at


class LeaderKey(NamedTuple):
    """Who leads a shard, and the lease by which it does."""

    epoch: int
    member_id: str
    lease_id: str


class Move(NamedTuple):
    """A shard that got a leader."""

    at: float
    shard: int
    member_id: str


class ShardedStorage(Storage):
    """One store for all nodes of a cluster.

    Attributes:
        members: What each member says of itself, with the lease of its key.
        leaders: The keys of those who lead, by shard.
        moves: Every term that was ever won, in order.
        listeners: Called at each change of members or leaders, by lease.
    """

    def __init__(self, world: World, watcher: StorageWatcher, *, shards: int) -> None:
        super().__init__(world.loop, watcher)
        self.shards = shards
        self.leases: dict[str, SeatLease] = {}
        self.members: dict[str, tuple[Member, str]] = {}
        self.leaders: dict[int, LeaderKey] = {}
        self.moves: list[Move] = []
        self.listeners: dict[str, Callable[[], None]] = {}
        self._world = world
        self._term_of: dict[int, LeaderKey] = {}
        self._heard: dict[str, str] = {}

    # Leases.

    def grant(self, lease_id: str) -> None:
        """Make a lease; asked for again it is the same one."""
        if lease_id not in self.leases:
            lease = SeatLease(lease_id, self._loop.time() + LEASE_TTL_S)
            self.leases[lease_id] = lease
            self._loop.call_world(LEASE_TTL_S, self._look, lease)

    def renew(self, lease_id: str) -> bool:
        """Let the lease begin anew, and return whether it still lived."""
        lease = self.leases.get(lease_id)
        if lease is not None:
            lease.expires_at = self._loop.time() + LEASE_TTL_S
        return lease is not None

    def end(self, lease_id: str, why: str) -> None:
        """End a lease, with all that hangs on it."""
        if self.leases.pop(lease_id, None) is None:
            return
        self._world.counts[f"lease {why}"] += 1
        self._world.note("store", "ends a lease", f"{lease_id} {why}")
        for member_id in [i for i, (_, by) in self.members.items() if by == lease_id]:
            del self.members[member_id]
        for shard in [s for s, key in self.leaders.items() if key.lease_id == lease_id]:
            del self.leaders[shard]
        self.tell()

    def _look(self, lease: SeatLease) -> None:
        if self.leases.get(lease.lease_id) is not lease:
            return
        left_s = lease.expires_at - self._loop.time()
        if left_s > 1e-9:
            self._loop.call_world(left_s, self._look, lease)
        else:
            self.end(lease.lease_id, "expired")

    # Members and leaders.

    def put_member(self, lease_id: str, member: Member) -> bool:
        """Write what a member says of itself; False if its lease has ended."""
        if lease_id not in self.leases:
            return False
        if member.member_id not in self.members and self._heard.get(member.member_id) == lease_id:
            self._world.counts["member key restored"] += 1
        self._heard[member.member_id] = lease_id
        self.members[member.member_id] = (member, lease_id)
        self.tell()
        return True

    def forget_member(self, member_id: str) -> None:
        """Delete a member's key, as a person with a client might; its lease lives on."""
        if self.members.pop(member_id, None) is not None:
            self.tell()

    def campaign(self, lease_id: str, member_id: str, shard: int) -> LeaderKey | None:
        """Return who leads the shard by now; None if the lease has ended."""
        if lease_id not in self.leases:
            return None
        key = self.leaders.get(shard)
        if key is None:
            self.epoch += 1
            self._watcher.elected(self.epoch)
            key = LeaderKey(self.epoch, member_id, lease_id)
            self.leaders[shard] = self._term_of[self.epoch] = key
            if any(not head.is_final for head in self.heads_in(shard, limit=None)):
                self._world.counts["shard moved with a saga under way"] += 1
            self.moves.append(Move(self._loop.time(), shard, member_id))
            self._world.note("store", "elects", f"shard-{shard} {member_id} epoch {self.epoch}")
            self.tell()
        return key

    def resign(self, shard: int, epoch: int) -> None:
        """Delete the key of the shard's leader if it is still of that epoch."""
        key = self.leaders.get(shard)
        if key is not None and key.epoch == epoch:
            self._world.counts["handed over"] += 1
            del self.leaders[shard]
            self.tell()

    def forget_leader(self, shard: int) -> None:
        """Delete the key by which the shard is led, as a person with a client might."""
        if self.leaders.pop(shard, None) is not None:
            self.tell()

    def roster(self) -> Roster:
        """Return who is there and who leads."""
        return Roster(
            members={member_id: member for member_id, (member, _) in self.members.items()},
            leaders={
                shard: Leader(shard=shard, epoch=key.epoch, member_id=key.member_id)
                for shard, key in self.leaders.items()
            },
        )

    def tell(self) -> None:
        """Tell everybody who listens that something has changed."""
        for listener in list(self.listeners.values()):
            listener()

    # What a leader writes.

    def shard_of(self, saga_id: str) -> int:
        """Return the saga's shard."""
        return shard_of(saga_id, self.shards)

    def leader_of(self, saga_id: str) -> int | None:
        """Return the epoch of whoever may write this saga now, or None."""
        key = self.leaders.get(self.shard_of(saga_id))
        return None if key is None else key.epoch

    def is_led_in(self, epoch: int) -> bool:
        """Return whether whoever got this epoch leads now."""
        return any(key.epoch == epoch for key in self.leaders.values())

    def append_by(self, member_id: str, epoch: int, append: Append) -> FsmSagaError | None:
        """Write for a member, or return why not. Of each term one member may write (L1)."""
        refusal = self.append(epoch, append)
        term = self._term_of.get(epoch)
        if refusal is None and (term is None or term.member_id != member_id):
            message = f"{append.saga_id}: {member_id} wrote in epoch {epoch}, which is not its own"
            self._world.broken("L1", message)
        return refusal

    def heads_in(self, shard: int, *, limit: int | None) -> Sequence[Head]:
        """Return the heads of the shard's unfinished sagas, newest first."""
        heads = self.heads(only_unfinished=True, limit=None)
        own = [head for head in heads if self.shard_of(head.saga_id) == shard]
        return own if limit is None else own[: max(limit, 0)]

    def pending_in(self, shard: int) -> Sequence[Command]:
        """Return the shard's commands without an answer."""
        return tuple(c for c in self.pending() if self.shard_of(c.saga_id) == shard)
