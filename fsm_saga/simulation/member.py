"""A machine whose process is a member of a cluster: the real node, hosting real engines.

``fsm_saga.cluster`` runs here as it does in ``fsm-saga serve``; the store that it shares with
others, its lease, its clock and its tools are played.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fsm_saga.cluster.hosting import Host
from fsm_saga.coordinator.coordinator import Coordinator
from fsm_saga.core.effects import CallTool
from fsm_saga.errors import FsmSagaError, StoreError
from fsm_saga.ports import CallOutcome, Member, Store, ToolRunner
from fsm_saga.service.engine import Engine
from fsm_saga.simulation.chance import between
from fsm_saga.simulation.loop import Condition, Process
from fsm_saga.simulation.node import ACTIVE_MAX, Election, Node, SimClock
from fsm_saga.simulation.runner import SimRunner
from fsm_saga.simulation.seat import ShardStore, SimCluster, SimSeat
from fsm_saga.simulation.sharded import ShardedStorage
from fsm_saga.simulation.storage import LEASE_TTL_S
from fsm_saga.simulation.tools import ToolWorld
from fsm_saga.simulation.watch import Watch
from fsm_saga.simulation.world import World

if TYPE_CHECKING:
    from fsm_saga.core.decide import Decision
    from fsm_saga.core.saga import Saga

TWICE_S_MAX = 3.0
STUBBORN_S_MAX = 9.0
"""Longer than a node waits for an engine that was told to stop."""
STOP_S_MAX = 9.0
"""An announcement, an engine that does not stop, two resignations and the leaving, unanswered."""
GRACE_S = 0.05
"""For so long after its lease has ended here a node may still make calls."""


class MemberNode(Node):
    """A machine of a cluster.

    Attributes:
        engines: What serves here, by shard, with the epoch of its term.
        seats: The seat of each term that was won here.
        given_up: The epochs that were resigned here.
        others: All machines of the cluster.
        failing: Shards whose engine does not start on this machine for now.
        went_on_at: When it last went on after a pause.
    """

    storage: ShardedStorage

    def __init__(
        self, name: str, world: World, storage: ShardedStorage, tools: ToolWorld, watch: Watch
    ) -> None:
        super().__init__(name, world, storage, tools, watch)
        self.host: SimHost | None = None
        self.engines: dict[int, tuple[int, Engine]] = {}
        self.seats: dict[int, SimSeat] = {}
        self.given_up: dict[int, None] = {}
        self.failing: dict[int, None] = {}
        self.others: Sequence[MemberNode] = ()
        self.went_on_at = 0.0
        self._back_after_s = 0.0

    @property
    def member_id(self) -> str:
        """Who it is in the cluster as long as this process lives."""
        return "" if self.process is None else self.process.name

    def engine_of(self, saga_id: str) -> Engine | None:
        """Return the engine that would serve this saga here, or None."""
        found = self.engines.get(self.storage.shard_of(saga_id))
        return None if found is None else found[1]

    def start(self, election: Election | None = None) -> None:
        """Start a process, which joins the cluster."""
        self._begin().spawn(self._join())

    def _restart(self) -> None:
        if self.process is None and not self.is_left_dead:
            self.start()

    async def _join(self) -> None:
        process = self.process
        if process is None:
            return
        member = Member(member_id=process.name, name=self.name, started_at=SimClock(self).now())
        self.host = SimHost(self, member)
        await self.host.node.run()
        self.world.note(self.name, "has left")
        if any(engine.coordinator.failure is None for _, engine in self.engines.values()):
            self.world.broken("L5", f"{self.name} has left, and an engine of its goes on")
        process.kill()
        self._forget()
        if not self.is_left_dead:
            is_calm = self.world.faults.is_over
            self.world.loop.call_world(0.0 if is_calm else self._back_after_s, self._restart)

    def _forget(self) -> None:
        self.process = self.host = None
        self.engines.clear()
        self.seats.clear()
        self.given_up.clear()

    def leave(self, *, back_after_s: float | None) -> None:
        """Stop the process as an operator does; it hands over first. None: for good."""
        host, process = self.host, self.process
        if host is None or process is None:
            return
        self.world.note(self.name, "is told to stop")
        process.call_soon(host.node.stop)
        told_at = self.world.loop.time()
        self.world.loop.call_world(STOP_S_MAX, self._judge_stop, process, told_at)
        self.is_left_dead = back_after_s is None
        self._back_after_s = back_after_s or 0.0

    def _judge_stop(self, process: Process, told_at: float) -> None:
        """Judge that whoever was told to stop has ended, whatever the store did (HAND)."""
        is_going = process is self.process and process.condition is Condition.RUNNING
        if is_going and self.went_on_at < told_at:
            message = f"{process.name} has not ended {STOP_S_MAX:g} s after it was told to stop"
            self.world.broken("HAND", message)

    def crash(self, why: str, *, back_after_s: float | None = None) -> None:
        """Kill the process, and start another after a while."""
        super().crash(why, back_after_s=back_after_s)
        if self.process is None:
            self._forget()

    def pause(self, length_s: float) -> None:
        """Freeze the process, as SIGSTOP does; nobody renews its lease meanwhile."""
        self.world.counts["paused beyond its lease"] += length_s > LEASE_TTL_S and self.is_up
        super().pause(length_s)

    def served(self, shard: int, epoch: int, engine: Engine) -> None:
        """Take notice that an engine serves a shard from now on."""
        self.engines[shard] = (epoch, engine)
        counts = self.world.counts
        counts["served a term that was over"] += not self.storage.is_led_in(epoch)
        counts["two serve one shard"] += any(
            shard in other.engines for other in self.others if other is not self
        )
        self.world.note(self.name, "serves", f"shard {shard} epoch {epoch}")

    def served_no_more(self, shard: int, epoch: int) -> None:
        """Take notice that an engine was left."""
        self.world.counts["engine outlived its term"] += epoch in self.given_up
        if self.engines.get(shard, (0, None))[0] == epoch:
            del self.engines[shard]
        self.world.note(self.name, "serves no more", f"shard {shard} epoch {epoch}")

    def judge_call(self, epoch: int, saga_id: str) -> None:
        """Judge that a call goes out now in a term of this node's (L5)."""
        seat, now = self.seats.get(epoch), self.world.loop.time()
        if epoch in self.given_up:
            self.world.broken("L5", f"{self.name} calls for {saga_id} in a term it has given up")
        if seat is not None and seat.lost_at is not None:
            since_s = now - max(seat.lost_at, self.went_on_at)
            if since_s > GRACE_S:
                message = f"{self.name} calls for {saga_id} {since_s:.3f} s after its lease ended"
                self.world.broken("L5", message)

    def repeated_after_s(self, name: str) -> float | None:
        """Return how much later a request to the store is carried out again; None if it is not."""
        draw = self.world.chance.draw(f"{name}.twice")
        if not self.world.happens("store-twice", name, draw[0]):
            return None
        self.world.counts["request carried out twice"] += 1
        return between(0.001, TWICE_S_MAX, draw[1] ** 2)

    async def point_at(self, what: str) -> None:
        """Be killed or paused at this point of the host, if that is to happen."""
        name = self.world.chance.next_name(f"{what}.{self.name}")
        crash, pause, length, *_rest = self.world.chance.draw(name)
        await self.point(name, crash, pause, length)

    async def point_asleep(self) -> None:
        """Be killed while waiting, if that is to happen."""
        name = self.world.chance.next_name(f"waits.{self.name}")
        if self.world.happens("crash-asleep", name, self.world.chance.draw(name)[0]):
            await self.crash_here("while it waits")

    def revive(self) -> None:
        """Put everything right that is wrong with the node."""
        super().revive()
        self.failing.clear()

    def recover_badly(self) -> None:
        """Be killed just after a shard's sagas were taken up, if that is to happen again."""
        self._crash_again()

    def _go_on(self, process: Process) -> None:
        if process.condition is Condition.PAUSED:
            self.went_on_at = self.world.loop.time()
        super()._go_on(process)


class StartFailedError(RuntimeError):
    """Played: an engine does not start here, and the cluster must not fall over it."""


class SimHost(Host):
    """The real host of one process, with eyes on what it does."""

    def __init__(self, node: MemberNode, member: Member) -> None:
        self._sim = node
        super().__init__(
            SimCluster(node),
            SimRunner(node, 0),
            member,
            ttl_s=LEASE_TTL_S,
            active_max=ACTIVE_MAX,
            instruments=(Eyes(node),),
            clock=SimClock(node),
        )

    @asynccontextmanager
    async def _engine_over(self, store: Store) -> AsyncIterator[Engine]:
        node, world = self._sim, self._sim.world
        if not isinstance(store, ShardStore):
            raise TypeError(f"an engine over {store!r}")
        shard, epoch = store.term.shard, store.term.epoch
        world.note(node.name, "leads", f"shard {shard} epoch {epoch}")
        try:
            await node.point_at("begins")
            async with super()._engine_over(store) as engine:
                node.served(shard, epoch, engine)
                node.recover_badly()
                yield engine
        except FsmSagaError as error:
            node.watch.coordinator_stopped(node, epoch, error)
            raise
        except StartFailedError:
            raise
        except Exception as error:
            # boundary: the node goes on without this shard; that there is a bug must be seen.
            world.broken("TOTAL", f"the engine of shard {shard} on {node.name}: {error!r}")
            raise
        finally:
            node.served_no_more(shard, epoch)
            await node.point_at("is left")


class Eyes:
    """The instrument that gives each term its own tools and shows the oracles what it does."""

    def __init__(self, node: MemberNode) -> None:
        self._node = node
        self._runner: SimRunner | None = None
        self._epoch = 0

    def around_runner(self, runner: ToolRunner) -> ToolRunner:
        """Return the tools of a term, of which the store says which it is."""
        return TermRunner(self._node)

    def around_store(self, store: Store) -> Store:
        """Let the engine start, or not."""
        if isinstance(store, ShardStore) and store.term.shard in self._node.failing:
            self._node.world.counts["engine did not start"] += 1
            if store.term.epoch % 2:
                raise StoreError("The shard's journals cannot be read on this machine.")
            raise StartFailedError("A library that the tools need is missing on this machine.")
        return store

    def follow(self, engine: Engine) -> None:
        """See what the engine does."""
        runner, node = engine.runner, self._node
        if isinstance(runner, TermRunner):
            runner.begin(engine.coordinator)

        def told(saga: Saga, decision: Decision) -> None:
            node.watch.told(node, saga, decision)

        engine.coordinator.listeners.append(told)


class TermRunner(SimRunner):
    """The tools of one term."""

    def __init__(self, node: MemberNode) -> None:
        super().__init__(node, 0)

    def begin(self, coordinator: Coordinator) -> None:
        """Belong to the engine of a term."""
        self.coordinator = coordinator
        self._epoch = coordinator.store.epoch

    async def call(self, request: CallTool, *, saga_id: str, step_id: int | str) -> CallOutcome:
        """See ``ToolRunner.call``; some calls go on for a while after they were cancelled."""
        try:
            return await super().call(request, saga_id=saga_id, step_id=step_id)
        except asyncio.CancelledError:
            world = self._world
            name = world.chance.next_name(f"cancelled.{saga_id}.{request.step}")
            draw = world.chance.draw(name)
            if world.happens("stubborn", name, draw[0]):
                world.counts["cancelled in vain"] += 1
                await asyncio.sleep(between(0.5, STUBBORN_S_MAX, draw[1]))
            raise


class ClusterWatch(Watch):
    """The oracles, with those of who may call."""

    def sent(self, node: Node, coordinator: Coordinator, request: CallTool, saga_id: str) -> None:
        """Judge a call that goes out now."""
        super().sent(node, coordinator, request, saga_id)
        if isinstance(node, MemberNode):
            node.judge_call(coordinator.store.epoch, saga_id)
