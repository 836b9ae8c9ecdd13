"""One seed of a cluster: real nodes that share shards, faults, healing, an end of one, the verdict.

It is a run like any other (``run.py``): the same world, tools, people and oracles. What is added
is who leads: several shards, nodes of ``fsm_saga.cluster``, and what must hold of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from fsm_saga.simulation.chance import Draw, between, pick
from fsm_saga.simulation.clients import Client
from fsm_saga.simulation.cluster_judge import (
    HAND_OVER_S_MAX,
    MOVES_MAX,
    SETTLE_S_MAX,
    TAKE_OVER_S_MAX,
    ClusterJudge,
)
from fsm_saga.simulation.cluster_trouble import ClusterTrouble
from fsm_saga.simulation.member import ClusterWatch, MemberNode
from fsm_saga.simulation.plans import PLAN_COUNT
from fsm_saga.simulation.purity import pure
from fsm_saga.simulation.run import Run, Verdict
from fsm_saga.simulation.sharded import ShardedStorage
from fsm_saga.simulation.storage import LEASE_TTL_S

SHARDS_MAX = 5
SAGAS_MAX = 4
ARRIVAL_S_MAX = 8.0
POSTED_SHARE = 0.3
TROUBLE_S = (8.0, 20.0)
ECHO_S = 4.0
"""By then what was on its way when the world was healed has arrived."""
LOOK_S = 0.25
STEADY_S = 5.0
LATE_S = 0.4
LOST_SHARE = 0.25
RESTORED_S_MAX = 2.5
FAILING_SHARE = 0.25
ELSEWHERE_S_MAX = 6.0
"""Two tries of a member whose engine does not start, and a look of the others."""


class ClusterRun(Run):
    """One seed's run of a cluster. ``only`` names the faults that may happen; None allows all."""

    is_cluster = True
    storage: ShardedStorage

    def _set_up(self, draw: Draw) -> None:
        world = self.world
        self.watch = self.tools.watcher = ClusterWatch(world, self.tools)
        shards = 1 + int(SHARDS_MAX * draw[0])
        storage = self.storage = ShardedStorage(world, self.watch, shards=shards)
        count = 1 + (draw[1] > 0.1) + (draw[1] > 0.5) + (draw[1] > 0.9)
        self.members = [
            MemberNode(f"n{index}", world, storage, self.tools, self.watch)
            for index in range(count)
        ]
        for member in self.members:
            member.others = self.members
        self.nodes = self.members
        self.cluster_trouble = ClusterTrouble(world, storage, self.members, self.watch)
        self.trouble = self.cluster_trouble
        self.judge = ClusterJudge(world, storage, self.members)
        self._is_late: asyncio.Future[None] = world.loop.create_future()
        self._ends = world.chance.draw("the end")
        self.clients = self._clients(draw)

    def _clients(self, draw: Draw) -> dict[str, Client]:
        """Return the clients of the faulty time, and one that comes after it."""
        found = {}
        for index in range(SAGAS_MAX):
            saga_id = f"s{index}"
            own = self.world.chance.draw(f"cluster.{saga_id}")
            # They happen twice as often as in a run of one shard.
            if index and not self.world.happens("another-saga", saga_id, own[0] / 2):
                continue
            arrival = asyncio.sleep(ARRIVAL_S_MAX * own[1] ** 2)
            found[saga_id] = self._new_client(saga_id, own, arrival)
        late = self.world.chance.draw("cluster.late")
        found["late"] = self._new_client("late", late, self._is_late)
        return found

    def _new_client(self, saga_id: str, own: Draw, arrival: Awaitable[None]) -> Client:
        return Client(
            saga_id,
            self._sketch(int(own[2] * PLAN_COUNT)),
            world=self.world,
            nodes=self.nodes,
            storage=self.storage,
            tools=self.tools,
            watch=self.watch,
            arrival=arrival,
            is_posting=own[3] < POSTED_SHARE,
        )

    def _go_wrong(self) -> None:
        loop = self.world.loop
        self.cluster_trouble.start()
        self._begin()
        loop.run_while(lambda: True, until=between(*TROUBLE_S, self._ends[0]))
        moves = len(self.storage.moves)
        self.cluster_trouble.heal(self.tools)
        healed_at = loop.time()
        self._pass(ECHO_S)
        self._settle(until=healed_at + SETTLE_S_MAX)
        self.judge.judge_moves(moves, most=MOVES_MAX, when="while it settled")
        moves, is_avoiding = len(self.storage.moves), self.judge.is_avoiding
        self._pass(STEADY_S)
        # What was left to others for a while may come back.
        self.judge.judge_moves(moves, most=int(is_avoiding), when="while nothing happened")
        if not self.world.violations:
            # What did not settle would only fail once more, and in other words.
            self._lose_something()
            self._end_one()
        else:
            self._is_late.set_result(None)

    def _lose_something(self) -> None:
        if self._ends[4] < LOST_SHARE:
            self._lose_member()
        elif self._ends[4] < LOST_SHARE + FAILING_SHARE and len(self.judge.living) > 1:
            self._fail_engine()

    def _pass(self, seconds: float) -> None:
        loop = self.world.loop
        loop.run_while(lambda: True, until=loop.time() + seconds)

    def _settle(self, *, until: float) -> None:
        """Go on until the cluster is as it ought to be, or ought to have been."""
        while self.judge.unsettled() is not None and self.world.loop.time() < until:
            self._pass(LOOK_S)
        self.judge.judge_settled("healed")

    def _lose_member(self) -> None:
        """Delete a member's key: it comes back, and no shard changes hands for it."""
        member_id = pick(list(self.storage.members), self._ends[5])
        moves, is_avoiding = len(self.storage.moves), self.judge.is_avoiding
        self.world.note("store", "loses a member", member_id)
        self.world.counts["member key deleted"] += 1
        self.storage.forget_member(member_id)
        self._pass(RESTORED_S_MAX)
        self.judge.judge_settled("after its key was deleted")
        self.judge.judge_moves(
            moves, most=int(is_avoiding), when="after a member's key was deleted"
        )

    def _fail_engine(self) -> None:
        """Have a shard's engine start no more where it ran: another member leads it then."""
        shard = pick(list(self.storage.leaders), self._ends[5])
        member_id = self.storage.leaders[shard].member_id
        node = next(node for node in self.members if node.member_id == member_id)
        node.failing[shard] = None
        self.world.note(node.name, "cannot start", f"an engine of shard {shard}")
        self.storage.forget_leader(shard)
        self._pass(ELSEWHERE_S_MAX)
        self.judge.judge_served(shard, member_id, ELSEWHERE_S_MAX)
        self.world.counts["led by one whose engine starts"] += 1
        node.failing.clear()

    def _end_one(self) -> None:
        """Have one member end, or come, while a saga is under way."""
        world, draw = self.world, self._ends
        self._is_late.set_result(None)
        self._pass(LATE_S + 2.0 * draw[1] ** 2)
        living = self.judge.living
        dead = [node for node in self.members if node.is_left_dead]
        if len(living) > 1 and draw[2] < 0.8:
            node = pick(living, draw[3])
            member_id = node.member_id
            shards = self.judge.inherited_from(member_id)
            if draw[2] < 0.4:
                world.counts["ended by a stop"] += 1
                node.leave(back_after_s=None)
                within_s = HAND_OVER_S_MAX
            else:
                world.counts["ended by a crash"] += 1
                node.crash("at the end", back_after_s=0.0)
                node.is_left_dead = True
                within_s = TAKE_OVER_S_MAX
            self._pass(within_s)
            self.judge.judge_handed_over(shards, member_id, within_s)
        elif dead:
            world.counts["came at the end"] += 1
            dead[0].is_left_dead = False
            dead[0].start()
        self._pass(1.0)
        self._settle(until=world.loop.time() + LEASE_TTL_S)


def run_cluster_seed(seed: int, *, only: frozenset[str] | None = None) -> Verdict:
    """Return what becomes of a seed of a cluster, always the same.

    Args:
        seed: Decides everything.
        only: The faults that may happen; None allows all that the seed draws.
    """
    with pure():
        run = ClusterRun(seed, only=only)
        try:
            return run.run()
        finally:
            run.world.loop.close()
