"""What happens to the members of a cluster, beside what happens to any machine."""

from __future__ import annotations

from collections.abc import Sequence

from fsm_saga.simulation.chance import between, pick
from fsm_saga.simulation.election import LeaseElection
from fsm_saga.simulation.member import MemberNode
from fsm_saga.simulation.node import Node
from fsm_saga.simulation.sharded import ShardedStorage
from fsm_saga.simulation.tools import ToolWorld
from fsm_saga.simulation.trouble import SPAN_S, Trouble, release
from fsm_saga.simulation.watch import Watch
from fsm_saga.simulation.world import World

CUT_S_MAX = 9.0
AWAY_S_MAX = 6.0
FAILING_S_MAX = 14.0
FOR_GOOD_SHARE = 0.25


class ClusterTrouble(Trouble):
    """The machine-wide faults of one run of a cluster."""

    def __init__(
        self, world: World, storage: ShardedStorage, nodes: Sequence[MemberNode], watch: Watch
    ) -> None:
        super().__init__(world, storage, nodes, watch)
        self._members = nodes
        self._shared = storage

    def start(self) -> None:
        """Start the nodes; some come later."""
        for node in self._members:
            draw = self._world.chance.draw(f"joins.{node.name}")
            if self._world.happens("joins-late", node.name, draw[0]):
                self._world.loop.call_world(between(0.5, SPAN_S, draw[1]), self._start, node)
            else:
                node.start()

    def _start(self, node: MemberNode) -> None:
        if node.process is None and not node.is_left_dead:
            node.start()

    def plan(self) -> None:
        """Set the timers of what will happen."""
        super().plan()
        world, loop = self._world, self._world.loop
        for node in self._members:
            self._plan_member(node)
        for count in range(3):
            draw = world.chance.draw(f"member-lost.{count}")
            if world.happens("member-lost", str(count), draw[0]):
                loop.call_world(between(0.5, SPAN_S, draw[1]), self._lose_member, draw[2])
            if world.happens("leader-lost", str(count), draw[3]):
                loop.call_world(between(0.5, SPAN_S, draw[4]), self._lose_leader, draw[5])

    def _plan_member(self, node: MemberNode) -> None:
        world, loop, name = self._world, self._world.loop, node.name
        draw = world.chance.draw(f"member.{name}")
        more = world.chance.draw(f"member.{name}.more")
        if world.happens("cut-requests", name, draw[0]):
            loop.call_world(between(0.0, SPAN_S, draw[1]), self._cut, node, draw[2], True)
        if world.happens("cut-replies", name, draw[3]):
            loop.call_world(between(0.0, SPAN_S, draw[4]), self._cut, node, draw[5], False)
        if world.happens("leaves", name, draw[6]):
            back_after_s = None if more[0] < FOR_GOOD_SHARE else AWAY_S_MAX * more[1] ** 2
            loop.call_world(between(0.5, SPAN_S, draw[7]), self._leave, node, back_after_s)
        if world.happens("engine-fails", name, more[2]):
            shard = pick(range(self._shared.shards), more[3])
            loop.call_world(between(0.0, 4.0, more[4] ** 2), self._fail, node, shard, more[5])

    def _cut(self, node: MemberNode, share: float, is_mute: bool) -> None:
        world = self._world
        if world.faults.is_over:
            return
        until = world.loop.time() + CUT_S_MAX * share
        if is_mute:
            node.requests_cut_until = until
        else:
            node.replies_cut_until = until
        world.counts["cut from requests" if is_mute else "cut from replies"] += 1
        what = "is not heard by the store" if is_mute else "does not hear the store"
        world.note(node.name, what, f"{CUT_S_MAX * share:.3f} s")

    def _jump(self, node: Node, jump_s: float) -> None:
        self._world.counts["clock jumped"] += not self._world.faults.is_over
        super()._jump(node, jump_s)

    def _leave(self, node: MemberNode, back_after_s: float | None) -> None:
        if not self._world.faults.is_over:
            self._world.counts["stopped by hand"] += node.host is not None
            node.leave(back_after_s=back_after_s)

    def _fail(self, node: MemberNode, shard: int, share: float) -> None:
        if self._world.faults.is_over:
            return
        node.failing[shard] = None
        self._world.note(node.name, "cannot start", f"an engine of shard {shard}")
        self._world.loop.call_world(FAILING_S_MAX * share, node.failing.pop, shard, None)

    def _lose_member(self, number: float) -> None:
        if self._shared.members and not self._world.faults.is_over:
            member_id = pick(list(self._shared.members), number)
            self._world.counts["member key deleted"] += 1
            self._world.note("store", "loses a member", member_id)
            self._shared.forget_member(member_id)

    def _lose_leader(self, number: float) -> None:
        """Delete a leader's key, if there is a choice where something is under way."""
        storage = self._shared
        busy = [s for s in storage.leaders if storage.heads_in(s, limit=1)]
        shards = busy or list(storage.leaders)
        if shards and not self._world.faults.is_over:
            shard = pick(shards, number)
            self._world.counts["leader key deleted"] += 1
            self._world.note("store", "loses a leader", f"shard-{shard}")
            storage.forget_leader(shard)

    def _lose_lease(self) -> None:
        if self._shared.leases and not self._world.faults.is_over:
            name = self._world.chance.next_name("lost lease")
            lease_id = pick(list(self._shared.leases), self._world.chance.draw(name)[0])
            self._shared.end(lease_id, "was lost by the store")

    def heal(self, tools: ToolWorld, election: LeaseElection | None = None) -> None:
        """Let nothing new go wrong, and put right what is; a minority may stay dead."""
        self._calm()
        if all(node.is_left_dead for node in self._members):
            self._members[0].is_left_dead = False
        for node in self._members:
            self._start(node)
        release(tools)
