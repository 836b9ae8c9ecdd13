"""The tools as one coordinator sees them: behind a network that loses, delays and repeats."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from fsm_saga.coordinator.replies import event_of
from fsm_saga.core.contract import ToolFacts
from fsm_saga.core.effects import CallTool
from fsm_saga.core.states import Direction, StepStatus
from fsm_saga.ports import CallOutcome, OutcomeKind
from fsm_saga.simulation.chance import Draw, between
from fsm_saga.simulation.storage import leads

if TYPE_CHECKING:
    from fsm_saga.coordinator.coordinator import Coordinator
    from fsm_saga.simulation.node import Node

QUICK_S = (0.001, 0.1)
HELD_S_MAX = 60.0
REFUSED_HERE = CallOutcome(OutcomeKind.REJECTED, error="no thread was free", was_sent=True)
MAYBE_SENT_BEFORE = CallOutcome(OutcomeKind.UNKNOWN, error="not sent; an earlier copy was")


class _Call:
    """One call of the runner, for the copies and replies that belong to it."""

    __slots__ = ("is_over", "name", "reply", "request", "saga_id", "sent_at")

    def __init__(
        self, request: CallTool, saga_id: str, name: str, reply: asyncio.Future[CallOutcome | None]
    ) -> None:
        self.request = request
        self.saga_id = saga_id
        self.name = name
        self.reply = reply
        self.sent_at = 0.0
        self.is_over = False


class SimRunner:
    """The ``ToolRunner`` port for one term of one coordinator."""

    coordinator: Coordinator

    def __init__(self, node: Node, epoch: int) -> None:
        self._node = node
        self._world = node.world
        self._tools = node.tools
        self._epoch = epoch
        self._process = node.process

    @property
    def catalogue(self) -> Mapping[str, ToolFacts]:
        """What the checks and the compiler may know of each tool, by name."""
        return self._tools.catalogue

    async def call(self, request: CallTool, *, saga_id: str, step_id: int | str) -> CallOutcome:
        """See ``ToolRunner.call``."""
        node, world = self._node, self._world
        place = f"{saga_id}.{request.step}.{request.direction}{request.call or ''}"
        name = world.chance.next_name(place)
        draw = world.chance.draw(name)
        # A pause from here on is to the tool what a slow network is: the copy is on its way.
        sent_at = world.loop.time()
        await node.point(name, draw[0], draw[1], draw[2])
        if world.happens("not-sent", name, draw[3]):
            is_first = request.attempt <= 1 and not request.is_repeat
            return REFUSED_HERE if is_first else MAYBE_SENT_BEFORE
        node.watch.sent(node, self.coordinator, request, saga_id)
        if not leads(node.storage, self._epoch):
            world.counts["stale leader calls"] += 1
        call = _Call(request, saga_id, name, world.loop.create_future())
        call.sent_at = sent_at
        world.note(node.name, "calls", name)
        self._send(call, name, draw)
        if self._may_be_doubled(request) and world.happens("duplicate", name, draw[4]):
            second = f"{name}b"
            self._send(call, second, world.chance.draw(second))
        expiry = world.loop.call_later(request.timeout_s, _give_up, call.reply)
        try:
            outcome = await call.reply
        finally:
            call.is_over = True
            expiry.cancel()
        if outcome is None:
            why = f"no answer within {request.timeout_s:g} s"
            outcome = CallOutcome(OutcomeKind.UNKNOWN, error=why)
        world.counts[f"{request.direction} {outcome.kind.value}"] += 1
        await node.point(f"{name}.end", (draw[0] * 97.0) % 1.0, (draw[1] * 97.0) % 1.0, draw[2])
        return outcome

    def _may_be_doubled(self, request: CallTool) -> bool:
        # Of a tool that forgets its refusals the engine takes a refusal to be about the one copy
        # that it sent; that the network makes no others is what it assumes there (rows K to M2).
        contract = self._tools.catalogue[request.tool].contract
        return contract.dedupe and contract.sticky_failures

    def _send(self, call: _Call, name: str, draw: Draw) -> None:
        """Let a copy travel to its tool, or lose it on the way."""
        world, node, request = self._world, self._node, call.request
        delay_s = self._delay_s(name, draw, request)
        is_cut = world.loop.time() < node.tools_cut_until
        stuck = f"{call.saga_id}.{request.step}.{request.direction}"
        is_stuck = world.happens("never-answers", stuck, world.chance.draw(f"stuck.{stuck}")[0])
        if is_cut or is_stuck or world.happens("request-lost", name, draw[6]):
            return
        world.in_flight += 1
        draw = world.chance.draw(f"{name}.way")
        is_held = request.direction is Direction.DO and world.happens(
            "held-for-undo", name, draw[0]
        )

        def arrive() -> None:
            world.in_flight -= 1
            self._arrive(call, name, draw)

        def release() -> None:
            world.loop.call_world(delay_s, arrive)

        if is_held:
            self._tools.held.setdefault(request.req_id, []).append(release)
        else:
            release()

    def _delay_s(self, name: str, draw: Draw, request: CallTool) -> float:
        world, timeout_s = self._world, request.timeout_s
        has_deadline = self._tools.catalogue[request.tool].contract.deadline
        if has_deadline and request.not_after is not None:
            left_s = request.not_after - world.now()
            number = world.chance.draw(f"{name}.deadline")[0]
            if left_s < HELD_S_MAX and world.happens("held-for-deadline", name, number):
                return max(left_s + between(-0.5, 0.1, draw[7]), QUICK_S[0])
        if world.happens("slow", name, draw[5]):
            return between(0.1, 2 * timeout_s, draw[7])
        if world.happens("very-slow", name, 1.0 - draw[5]):
            return between(timeout_s, 10 * timeout_s, draw[7])
        return between(*QUICK_S, draw[7])

    def _arrive(self, call: _Call, name: str, draw: Draw) -> None:
        world, request = self._world, call.request
        deduped = world.counts["action deduped"]
        outcome = self._tools.arrive(request, call.saga_id, sent_at=call.sent_at)
        if outcome is None:
            return
        if world.counts["action deduped"] > deduped and not leads(self._node.storage, self._epoch):
            world.counts["stale leader's call deduped"] += 1
        is_cut = world.loop.time() < self._node.tools_cut_until
        if is_cut or world.happens("reply-lost", name, draw[1]):
            return
        world.in_flight += 1
        delay_s = between(*QUICK_S, draw[2])
        if world.happens("slow", f"{name}.reply", draw[3]):
            delay_s = between(0.1, 2 * request.timeout_s, draw[2])
        world.loop.call_world(delay_s, self._reply, call, name, outcome, draw)

    def _reply(self, call: _Call, name: str, outcome: CallOutcome, draw: Draw) -> None:
        world, request = self._world, call.request
        world.in_flight -= 1
        process, node = self._process, self._node
        if process is None or process.is_dead:
            return
        if request.direction is Direction.UNDO and outcome.kind is OutcomeKind.OK:
            for release in self._tools.held.pop(request.undoes or "", ()):
                world.counts["action held until its undo was acknowledged"] += 1
                release()
        if not call.reply.done() and not call.is_over:
            node.watch.replied(call.saga_id, request.step)
            call.reply.set_result(outcome)
        elif world.happens("late-reply", name, draw[4]):
            self._late_reply(call, outcome, name, draw)

    def _late_reply(self, call: _Call, outcome: CallOutcome, name: str, draw: Draw) -> None:
        """Tell the engine of a reply that nobody waits for; a second one may contradict."""
        world, process = self._world, self._process
        status = self._node.watch.status_of(call.saga_id, call.request.step)
        is_settled = status in (StepStatus.SUCCEEDED, StepStatus.COMPENSATED)
        if is_settled and world.happens("other-answer", name, draw[5]):
            kind = OutcomeKind.REJECTED if outcome.kind is OutcomeKind.OK else OutcomeKind.OK
            outcome = CallOutcome(kind, output={"id": "another"}, error="no, after all")
        if process is not None:
            process.call_soon(self._feed, call, outcome)

    def _feed(self, call: _Call, outcome: CallOutcome) -> None:
        if self.coordinator.failure is not None:
            return
        driver = self.coordinator.driver(call.saga_id)
        if driver is not None:
            self._world.counts["late reply"] += 1
            event = event_of(call.request, outcome, clock=self.coordinator.clock)
            self.coordinator.spawn_drive(driver, event)


def _give_up(reply: asyncio.Future[CallOutcome | None]) -> None:
    if not reply.done():
        reply.set_result(None)
