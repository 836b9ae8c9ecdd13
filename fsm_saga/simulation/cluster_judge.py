"""What must hold of a cluster once nothing goes wrong any more: it is led, evenly, and at rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fsm_saga.simulation.member import MemberNode
from fsm_saga.simulation.sharded import ShardedStorage
from fsm_saga.simulation.storage import LEASE_TTL_S
from fsm_saga.simulation.world import World

SETTLE_S_MAX = 2 * LEASE_TTL_S + 12.0
"""By then a healed cluster is led: a lease and a rejoining, and the longest wait of a shard whose
engine failed time after time."""
HAND_OVER_S_MAX = 1.0
TAKE_OVER_S_MAX = LEASE_TTL_S + 2.0
MOVES_MAX = 4
"""Leaders that one shard may get while a healed cluster settles."""


class ClusterJudge:
    """Judges who leads, at the store and at the nodes."""

    def __init__(self, world: World, storage: ShardedStorage, nodes: Sequence[MemberNode]) -> None:
        self._world = world
        self._storage = storage
        self._nodes = nodes

    @property
    def living(self) -> Sequence[MemberNode]:
        """The nodes that ought to be members."""
        return [node for node in self._nodes if not node.is_left_dead]

    def unsettled(self) -> tuple[str, str] | None:
        """Return what is not as it ought to be, with its code; None if all is."""
        return (
            self._wrong_members()
            or self._wrong_leaders()
            or self._wrong_loads()
            or self._wrong_words()
        )

    def _wrong_members(self) -> tuple[str, str] | None:
        wanted = {node.member_id for node in self.living}
        if "" in wanted:
            return "MEMBER", "a node that ought to run does not"
        found = self._storage.members
        if wanted != set(found):
            return "MEMBER", f"the members are {sorted(found)}, and {sorted(wanted)} live"
        for member_id, (member, lease_id) in found.items():
            if lease_id not in self._storage.leases:
                return "MEMBER", f"the key of {member_id} has outlived its lease"
            if not member.is_ready or member.is_leaving:
                return "MEMBER", f"{member_id} says that it does not lead, and it could"
        return None

    def _wrong_leaders(self) -> tuple[str, str] | None:
        for shard in range(self._storage.shards):
            key = self._storage.leaders.get(shard)
            if key is None:
                return "LEAD", f"nobody leads shard {shard}"
            serving = {node.member_id: node.engines[shard][0] for node in self._serving(shard)}
            if serving != {key.member_id: key.epoch}:
                said = f"shard {shard} is led by {key.member_id} in epoch {key.epoch}"
                return "LEAD", f"{said}, and served by {serving}"
        return None

    @property
    def is_avoiding(self) -> bool:
        """True while a member leaves a shard to others, even if that is less fair."""
        return any(member.avoids for member, _ in self._storage.members.values())

    def _serving(self, shard: int) -> Sequence[MemberNode]:
        """Return the nodes whose engine serves the shard; one that was told to stop does not."""
        return [
            node
            for node in self._nodes
            if shard in node.engines and node.engines[shard][1].coordinator.failure is None
        ]

    def _wrong_loads(self) -> tuple[str, str] | None:
        if self.is_avoiding:
            return None
        loads = Counter({node.member_id: 0 for node in self.living})
        loads.update(key.member_id for key in self._storage.leaders.values())
        if max(loads.values()) - min(loads.values()) > 1:
            return "EVEN", f"the shards are shared out as {dict(loads)}"
        return None

    def _wrong_words(self) -> tuple[str, str] | None:
        """Hold what the nodes say of themselves against what they do."""
        for node in self.living:
            said = None if node.host is None else node.host.node
            if said is None or not said.has_seat or said.obstacles:
                why = "that it has no seat" if said is None else "; ".join(said.obstacles)
                return "READY", f"{node.name} leads what is its own, and says: {why}"
            led = sorted(self.led_by(node.member_id))
            if sorted(said.led) != led:
                return "READY", f"{node.name} says that it leads {sorted(said.led)}, it leads {led}"
        return None

    def judge_settled(self, when: str) -> None:
        """Judge that all is as it ought to be."""
        wrong = self.unsettled()
        if wrong is not None:
            self._world.broken(wrong[0], f"{when}: {wrong[1]}")

    def judge_moves(self, since: int, *, most: int, when: str) -> None:
        """Judge how often each shard got a leader since so many moves had been made (FLAP)."""
        moved = Counter(move.shard for move in self._storage.moves[since:])
        for shard, count in moved.items():
            if count > most:
                self._world.broken("FLAP", f"{when}: shard {shard} got {count} leaders")

    def judge_served(self, shard: int, but: str, within_s: float) -> None:
        """Judge that another serves a shard whose engine does not start on one member (LEAD)."""
        serving = [node.member_id for node in self._serving(shard)]
        if not serving or but in serving:
            message = f"{within_s:g} s after {but} could not any more, {serving} serve shard"
            self._world.broken("LEAD", f"{message} {shard}")

    def judge_handed_over(self, shards: Sequence[int], gone: str, within_s: float) -> None:
        """Judge that others lead what a member led that is gone (HAND)."""
        for shard in shards:
            key = self._storage.leaders.get(shard)
            if key is None or key.member_id == gone:
                message = f"{within_s:g} s after {gone} ended nobody else leads shard {shard}"
                self._world.broken("HAND", message)
        if gone in self._storage.members:
            self._world.broken("HAND", f"{within_s:g} s after {gone} ended its key is still there")

    def inherited_from(self, member_id: str) -> Sequence[int]:
        """Return what a member leads and another, on which it did not fail of late, can take."""
        others = [member for i, (member, _) in self._storage.members.items() if i != member_id]
        return [
            shard
            for shard in self.led_by(member_id)
            if any(shard not in member.avoids for member in others)
        ]

    def led_by(self, member_id: str) -> Sequence[int]:
        """Return the shards that a member leads."""
        return [s for s, key in self._storage.leaders.items() if key.member_id == member_id]
