"""What happens to whole machines and to the store: planned ahead for a seed, and healed."""

from __future__ import annotations

from collections.abc import Sequence

from fsm_saga.simulation.chance import between
from fsm_saga.simulation.election import LeaseElection
from fsm_saga.simulation.node import Node
from fsm_saga.simulation.plans import RETENTION_S
from fsm_saga.simulation.storage import Storage
from fsm_saga.simulation.tools import ToolWorld
from fsm_saga.simulation.watch import Watch
from fsm_saga.simulation.world import World

SPAN_S = 9.0
"""Most of what a saga does lies within; trouble comes early rather than late."""

SKEW_S = 2.0
JUMP_S = 1800.0


class Trouble:
    """The machine-wide faults of one run.

    Attributes:
        clock_jumps: Clocks are set far ahead and back in this run.
        longest_s: How much longer than its own calls a saga may take because of them.
    """

    def __init__(self, world: World, storage: Storage, nodes: Sequence[Node], watch: Watch) -> None:
        self.longest_s = 0.0
        self._world = world
        self._storage = storage
        self._nodes = nodes
        self._watch = watch
        draw = self._draw = world.chance.draw("trouble")
        self.clock_jumps = world.happens("clock-jump", "all", draw[0])

    def plan(self) -> None:
        """Set the timers of what will happen."""
        world, loop, draw = self._world, self._world.loop, self._draw
        for node in self._nodes:
            self._plan_node(node)
        if world.happens("outage", "all", draw[1]):
            length_s = RETENTION_S + between(10.0, 30.0, draw[2])
            self.longest_s += length_s
            loop.call_world(between(0.3, SPAN_S, draw[3] ** 2), self._outage, length_s)
        if world.happens("store-closed", "all", draw[4]):
            loop.call_world(between(0.1, SPAN_S, draw[5] ** 2), self._close_store)
        if world.happens("corrupt", "one", draw[6]):
            loop.call_world(between(0.3, SPAN_S, draw[7] ** 2), self._corrupt)
        for count in range(2):
            lost = world.chance.draw(f"lease-lost.{count}")
            if world.happens("lease-lost", str(count), lost[0]):
                loop.call_world(between(0.1, SPAN_S, lost[1] ** 2), self._lose_lease)

    def _plan_node(self, node: Node) -> None:
        world, loop = self._world, self._world.loop
        draw = world.chance.draw(f"trouble.{node.name}")
        if world.happens("clock-skew", node.name, draw[0]):
            node.clock_offset_s = between(-SKEW_S, SKEW_S, draw[1])
        if self.clock_jumps:
            jump_s = between(-JUMP_S, JUMP_S, draw[2])
            loop.call_world(between(0.0, SPAN_S, draw[3] ** 2), self._jump, node, jump_s)
        if world.happens("cut-store", node.name, draw[4]):
            loop.call_world(between(0.0, SPAN_S, draw[5] ** 2), node.cut_store, 10.0 * draw[6])
        if world.happens("cut-tools", node.name, draw[7]):
            loop.call_world(between(0.0, SPAN_S, draw[5] ** 2), node.cut_tools, 6.0 * draw[6])

    def _jump(self, node: Node, jump_s: float) -> None:
        if not self._world.faults.is_over:
            node.clock_offset_s += jump_s
            self._world.note(node.name, "clock jumps", f"{jump_s:.1f} s")

    def _outage(self, length_s: float) -> None:
        for node in self._nodes:
            node.crash("all go down", back_after_s=length_s)

    def _close_store(self) -> None:
        if not self._world.faults.is_over:
            self._storage.is_closed_until = self._world.loop.time() + between(
                2.0, 14.0, self._draw[5]
            )
            self._world.note("store", "takes no writes")

    def _lose_lease(self) -> None:
        lease = self._storage.lease
        if lease is not None and not self._world.faults.is_over:
            self._world.note("store", "loses the lease", f"epoch {lease.epoch}")
            self._storage.end_lease(lease.epoch)

    def _corrupt(self) -> None:
        """Damage a journal while nobody runs, as on a disk between two lives."""
        open_sagas = [
            i for i, journal in self._storage.journals.items() if not journal.head.is_final
        ]
        if not open_sagas or self._world.faults.is_over:
            return
        saga_id = open_sagas[0]
        for node in self._nodes:
            node.crash("the disk is damaged")
        self._watch.corrupt[saga_id] = None
        self._storage.damage(saga_id, self._draw[7])
        self._world.note("store", "is damaged", saga_id)
        for call in self._watch.on_change:
            call(saga_id)

    def heal(self, tools: ToolWorld, election: LeaseElection) -> None:
        """Let nothing new go wrong, and put right what is; a minority may stay dead."""
        self._calm()
        if all(node.is_left_dead for node in self._nodes):
            self._nodes[0].start(election)
        release(tools)

    def _calm(self) -> None:
        world = self._world
        world.note("faults", "end")
        world.faults.end()
        self._storage.is_closed_until = 0.0
        for node in self._nodes:
            node.revive()


def release(tools: ToolWorld) -> None:
    """Let everything arrive that was held back."""
    held, tools.held = tools.held, {}
    for releases in held.values():
        for let_go in releases:
            let_go()
