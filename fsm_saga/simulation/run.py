"""One seed: set up, faults, healing, a bounded way to the end, the last messages, the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fsm_saga.simulation.chance import Draw
from fsm_saga.simulation.clients import Client
from fsm_saga.simulation.election import LeaseElection
from fsm_saga.simulation.judge import bound_s, judge_end
from fsm_saga.simulation.node import Node
from fsm_saga.simulation.plans import PLAN_COUNT, Sketch, sketch_of
from fsm_saga.simulation.purity import pure
from fsm_saga.simulation.scene import Scene
from fsm_saga.simulation.storage import Storage
from fsm_saga.simulation.tools import ToolWorld
from fsm_saga.simulation.trouble import SKEW_S, Trouble
from fsm_saga.simulation.watch import Watch
from fsm_saga.simulation.world import Entry, Violation, World

HEAL_AT_S = 25.0
DRAIN_S = 120.0
SETTLE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one seed.

    Attributes:
        faults: The faults that happened, by name, with the time of the first.
        counts: How often each thing happened that must happen sometimes.
        is_cluster: It was a run of nodes that share shards.
    """

    seed: int
    violations: tuple[Violation, ...]
    faults: Mapping[str, float]
    counts: Mapping[str, int]
    trace: tuple[Entry, ...]
    trace_hash: str
    virtual_s: float
    watch: Watch
    is_cluster: bool = False

    @property
    def is_sound(self) -> bool:
        """True if everything held."""
        return not self.violations

    @property
    def codes(self) -> frozenset[str]:
        """The codes of what did not hold."""
        return frozenset(violation.code for violation in self.violations)


class Run:
    """One seed's run. ``only`` names the faults that may happen; None allows all.

    With a ``scene``, it is of that one plan and its tools, and of no plan of the seed's.
    """

    is_cluster = False

    def __init__(
        self, seed: int, *, only: frozenset[str] | None = None, scene: Scene | None = None
    ) -> None:
        self.scene = scene
        if scene is None:
            world = self.world = World(seed, only=only)
            self.tools = ToolWorld(world)
        else:
            world = self.world = World(seed, only=only, without=scene.without)
            self.tools = ToolWorld(world, scene.catalogue, scene.outputs)
        self._set_up(world.chance.draw("setup"))
        self.watch.on_change.append(self._tell_client)

    def _set_up(self, draw: Draw) -> None:
        """Put the machines, the store and those who use them there."""
        world = self.world
        self.watch = self.tools.watcher = Watch(world, self.tools)
        self.storage = Storage(world.loop, self.watch)
        count = 1 + (draw[0] > 0.3) + (draw[0] > 0.75)
        self.nodes: Sequence[Node] = [
            Node(f"n{index}", world, self.storage, self.tools, self.watch) for index in range(count)
        ]
        self.trouble = Trouble(world, self.storage, self.nodes, self.watch)
        self.clients = self._clients(draw)

    def _clients(self, draw: Draw) -> dict[str, Client]:
        world = self.world
        if self.scene is not None:
            return {self.scene.saga_id: self._client(self.scene.saga_id, self.scene.sketch)}
        count = 1
        if world.happens("another-saga", "s1", draw[1]):
            count += 1
            count += world.happens("third-saga", "s2", draw[2])
        found = {}
        for index in range(count):
            saga_id, number = f"s{index}", int(draw[3 + index] * PLAN_COUNT)
            found[saga_id] = self._client(saga_id, self._sketch(number))
        return found

    def _sketch(self, number: int) -> Sketch:
        """Return the plan of this number, or the next for which the clocks are good enough."""
        for step in range(PLAN_COUNT):
            found = sketch_of((number + step) % PLAN_COUNT)
            if not (self.trouble.clock_jumps and found.is_timed):
                return found
        raise RuntimeError("every plan needs clocks that are right")

    def _client(self, saga_id: str, sketch: Sketch) -> Client:
        return Client(
            saga_id,
            sketch,
            world=self.world,
            nodes=self.nodes,
            storage=self.storage,
            tools=self.tools,
            watch=self.watch,
            is_fixed=self.scene is not None,
        )

    def _tell_client(self, saga_id: str) -> None:
        self.clients[saga_id].saga_changed()

    def _is_open(self) -> bool:
        return not all(client.is_done for client in self.clients.values())

    def _is_moving(self) -> bool:
        return self.world.in_flight > 0 or self._is_open()

    def run(self) -> Verdict:
        """Run the seed to its verdict."""
        world, loop = self.world, self.world.loop
        self._go_wrong()
        end = loop.time() + self._bound_s()
        if not loop.run_while(self._is_moving, until=end):
            self._judge_liveness()
        loop.run_while(lambda: world.in_flight > 0, until=loop.time() + DRAIN_S)
        loop.run_while(lambda: True, until=loop.time() + SETTLE_S)
        judge_end(world, self.storage, self.tools, self.watch, self.clients.values())
        return Verdict(
            seed=world.seed,
            violations=tuple(world.violations),
            faults=world.faults.happened,
            counts=Counter(world.counts),
            trace=tuple(world.trace),
            trace_hash=world.trace_hash(),
            virtual_s=loop.time(),
            watch=self.watch,
            is_cluster=self.is_cluster,
        )

    def _go_wrong(self) -> None:
        """Let everything run, and go wrong for a while, and heal it."""
        election = LeaseElection(self.storage)
        for node in self.nodes:
            node.start(election)
        self._begin()
        heal_at_s = HEAL_AT_S if self.scene is None else self.scene.heal_at_s
        self.world.loop.run_while(self._is_open, until=heal_at_s)
        self.trouble.heal(self.tools, election)

    def _begin(self) -> None:
        """Let the clients come, and plan what will go wrong."""
        for client in self.clients.values():
            task = self.world.spawn(client.live())
            task.add_done_callback(_raise_failure)
        self.trouble.plan()
        if any(node.clock_offset_s for node in self.nodes):
            self.tools.clocks_differ_s = 2 * SKEW_S

    def _bound_s(self) -> float:
        watched = self.watch.sagas.values()
        return self.trouble.longest_s + max(
            (bound_s(w.saga.program) for w in watched), default=60.0
        )

    def _judge_liveness(self) -> None:
        for saga_id, client in self.clients.items():
            watched = self.watch.sagas.get(saga_id)
            if not client.is_done:
                state = "not there" if watched is None else str(watched.saga.state)
                self.world.broken("V1", f"{saga_id} is {state} and does not come to an end")


def _raise_failure(task: Any) -> None:  # a task of any kind
    if not task.cancelled():
        task.result()


def run_seed(seed: int, *, only: frozenset[str] | None = None) -> Verdict:
    """Return what becomes of a seed, always the same.

    Args:
        seed: Decides everything.
        only: The faults that may happen; None allows all that the seed draws.
    """
    with pure():
        run = Run(seed, only=only)
        try:
            return run.run()
        finally:
            run.world.loop.close()
