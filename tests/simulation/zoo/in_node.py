"""Bugs of who leads: a node of a cluster that campaigns, serves, lets go or shares out wrongly.

They are hunted in runs of a cluster, which have seeds of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from fsm_saga.cluster import node as node_module
from fsm_saga.cluster.node import Node
from fsm_saga.cluster.setbacks import Setbacks
from fsm_saga.errors import FsmSagaError
from fsm_saga.ports import Append, Command, Head, Roster, Seat
from fsm_saga.simulation import storage as storage_module
from fsm_saga.simulation.seat import ShardStore, SimSeat
from fsm_saga.simulation.sharded import ShardedStorage
from fsm_saga.simulation.storage import Journal, Storage
from tests.simulation.zoo.bug import bugs

Patch = pytest.MonkeyPatch
_REAL_REFUSAL = storage_module.refusal_of


def _lease_not_renewed(patch: Patch) -> None:
    """The node campaigns and serves, and nobody renews its lease."""

    async def keep_alive(self: SimSeat) -> None:
        await asyncio.sleep(self._valid_until - self._loop.time())
        self._lose()

    patch.setattr(SimSeat, "_keep_alive", keep_alive)


def _serves_on(patch: Patch) -> None:
    """That the lease has ended is not heard, and the engines go on."""

    async def wait_lost(self: SimSeat) -> None:
        await self._loop.create_future()

    patch.setattr(SimSeat, "wait_lost", wait_lost)


def _terms_not_compared(patch: Patch) -> None:
    """The store takes what anybody writes who has led the shard before."""

    def refusal(
        storage: Storage, epoch: int, append: Append, journal: Journal | None
    ) -> FsmSagaError | None:
        return _REAL_REFUSAL(storage, storage.leader_of(append.saga_id) or epoch, append, journal)

    patch.setattr(storage_module, "refusal_of", refusal)


def _given_away_while_served(patch: Patch) -> None:
    """The shard is another's to take before its engine has stopped."""

    async def release(self: Node, *asked: Any) -> None:  # the last of them are the shards
        seat, found = self.seat, [self.led.pop(s) for s in asked[-1] if s in self.led]
        for led in found:
            if seat is not None:
                await seat.resign(led.term)

    patch.setattr(Node, "_release", release)


def _assigned_anew_each_time(patch: Patch) -> None:
    """Who leads by now counts for nothing: each new term turns the wheel."""

    def assignment(roster: Roster, *, shards: int) -> dict[int, str]:
        able = sorted(roster.members)
        turn = max((leader.epoch for leader in roster.leaders.values()), default=0)
        return {shard: able[(shard + turn) % len(able)] for shard in range(shards)} if able else {}

    patch.setattr(node_module, "assignment", assignment)


def _all_to_the_first(patch: Patch) -> None:
    def assignment(roster: Roster, *, shards: int) -> dict[int, str]:
        able = sorted(roster.members)
        return dict.fromkeys(range(shards), able[0]) if able else {}

    patch.setattr(node_module, "assignment", assignment)


def _leaves_without_a_word(patch: Patch) -> None:
    """Whoever is stopped ends at once; the others wait for the end of its lease."""
    real = Node._give_up

    async def give_up(self: Node, seat: Seat, **how: Any) -> None:
        if not self._stopping.is_set():
            await real(self, seat, **how)

    patch.setattr(Node, "_give_up", give_up)


def _one_lease_for_life(patch: Patch) -> None:
    """Who has lost its lease never joins again."""

    async def run(self: Node) -> None:
        seat = await self._join()
        if seat is not None:
            await self._sit(seat)
        await self._stopping.wait()

    patch.setattr(Node, "run", run)


def _one_try_for_each_shard(patch: Patch) -> None:
    def may_try(self: Setbacks, shard: int, *, now: float) -> bool:
        return shard not in self._of

    patch.setattr(Setbacks, "may_try", may_try)


def _no_member_avoids_a_shard(patch: Patch) -> None:
    """A shard whose engine fails on one member is that member's to lead for ever."""
    patch.setattr(Setbacks, "avoided", lambda self, *, now: {})


def _unheard_term_is_nobodys(patch: Patch) -> None:
    """A campaign whose answer was lost is not found again by the next."""
    real = ShardedStorage.campaign

    def campaign(self: ShardedStorage, lease_id: str, member_id: str, shard: int) -> Any:
        found = real(self, lease_id, member_id, shard)
        is_new = found is not None and found.epoch not in self.__dict__.setdefault("told", {})
        self.__dict__["told"][found.epoch if found else 0] = None
        return found if found is None or is_new else found._replace(lease_id="another")

    patch.setattr(ShardedStorage, "campaign", campaign)


def _key_is_not_written_again(patch: Patch) -> None:
    """A member whose key was deleted goes on without one."""

    async def roster(self: Node, seat: Seat, failed: Any) -> Roster:
        return await seat.roster()

    patch.setattr(Node, "_roster", roster)


def _takes_up_all_shards(patch: Patch) -> None:
    def heads(self: ShardStore, *, only_unfinished: bool, limit: int | None) -> Sequence[Head]:
        return self._shared.heads(only_unfinished=only_unfinished, limit=limit)

    patch.setattr(ShardStore, "_heads", heads)


def _obeys_for_all_shards(patch: Patch) -> None:
    def pending(self: ShardStore) -> Sequence[Command]:
        return self._shared.pending()

    patch.setattr(ShardStore, "_pending", pending)


def _campaigns_for_what_is_led(patch: Patch) -> None:
    """The key of a leader is taken over while its lease lives."""
    real = ShardedStorage.campaign

    def campaign(self: ShardedStorage, lease_id: str, member_id: str, shard: int) -> Any:
        key = self.leaders.get(shard)
        if key is not None and key.lease_id != lease_id:
            del self.leaders[shard]
        return real(self, lease_id, member_id, shard)

    patch.setattr(ShardedStorage, "campaign", campaign)
    patch.setattr(Node, "_to_win", lambda self, *asked: sorted(asked[2] - self.led.keys()))


def _never_lets_go(patch: Patch) -> None:
    """A newcomer gets nothing of what is led already."""
    patch.setattr(Node, "_to_release", lambda self, *asked: ())


IN_NODE = bugs(
    "node",
    {
        "lease not renewed": ("FLAP LEAD MEMBER", _lease_not_renewed),
        "serves on without a lease": ("L5 MEMBER", _serves_on),
        "terms not compared": ("L1", _terms_not_compared),
        "shard given away while it is served": ("L5 LEAD", _given_away_while_served),
        "shards assigned anew each time": ("FLAP LEAD", _assigned_anew_each_time),
        "all shards to the first member": ("EVEN", _all_to_the_first),
        "stops without handing over": ("HAND", _leaves_without_a_word),
        "joins once and never again": ("MEMBER", _one_lease_for_life),
        "tries to lead each shard once": ("LEAD EVEN", _one_try_for_each_shard),
        "shard stays where it fails": ("LEAD", _no_member_avoids_a_shard),
        "term that was not heard is nobody's": ("LEAD", _unheard_term_is_nobodys),
        "deleted member key stays away": ("MEMBER FLAP", _key_is_not_written_again),
        "takes up the sagas of all shards": ("LEAD FLAP", _takes_up_all_shards),
        "obeys the commands of all shards": ("LEAD FLAP V1 HAND", _obeys_for_all_shards),
        "campaigns for what is led": ("FLAP LEAD", _campaigns_for_what_is_led),
        "lets go of nothing": ("EVEN", _never_lets_go),
    },
    is_cluster=True,
)
