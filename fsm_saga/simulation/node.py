"""Machines, and the coordinators that run on them one after the other.

A node's process is killed, paused and cut off; the engine in it is the real one. How it comes to
lead is behind ``Election``: here a small one plays that part, and another can take its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from fsm_saga.coordinator.coordinator import Coordinator
from fsm_saga.core.decide import Decision
from fsm_saga.core.saga import Saga
from fsm_saga.errors import FsmSagaError
from fsm_saga.ports import ToolRunner
from fsm_saga.service.engine import Engine
from fsm_saga.simulation.chance import between
from fsm_saga.simulation.loop import Condition, Process
from fsm_saga.simulation.runner import SimRunner
from fsm_saga.simulation.storage import LEASE_TTL_S, Storage
from fsm_saga.simulation.store import SimStore
from fsm_saga.simulation.world import World

if TYPE_CHECKING:
    from fsm_saga.simulation.tools import ToolWorld
    from fsm_saga.simulation.watch import Watch

ACTIVE_MAX = 100
RESCAN_S = 2.0
RETRY_ELECTION_S = 0.3
WATCH_S = 20.0
LINGER_S = 1.5


class Election(Protocol):
    """How a process comes to lead, and hears that it no longer does."""

    async def campaign(self, node: Node) -> int:
        """Return the epoch in which the node's process leads, once it does."""

    async def wait_lost(self, node: Node, epoch: int) -> None:
        """Return once the process has heard that its term is over."""

    async def resign(self, node: Node, epoch: int) -> None:
        """Let others lead."""


class NodeRunner(ToolRunner, Protocol):
    """The tools of one term, which may want to know whose."""

    coordinator: Coordinator


class NodeTasks(asyncio.TaskGroup):
    """The task group of a process: nobody waits for it, and a failed task fails the process."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self._process = process

    def create_task(  # type: ignore[override]  # the coordinator uses no more of it
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Any = None
    ) -> asyncio.Task[Any]:
        """Run a coroutine in the process."""
        return self._process.spawn(coro)


class SimClock:
    """A node's clock, which may be wrong, and its chance."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def now(self) -> float:
        """Return what the node takes for the time."""
        world = self._node.world
        shown = world.now() + self._node.clock_offset_s
        world.true_at[shown] = world.loop.time()
        return shown

    def jitter(self) -> float:
        """Return a number in [0, 1)."""
        chance = self._node.world.chance
        return chance.draw(chance.next_name(f"jitter.{self._node.name}"))[0]

    def token(self) -> str:
        """Return a text that no other call returns."""
        chance = self._node.world.chance
        return chance.next_name("token")

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``, unless the process is killed meanwhile."""
        node = self._node
        chance = node.world.chance
        name = chance.next_name(f"sleep.{node.name}")
        if node.world.faults.rate("crash-asleep") > 0.0:
            number = chance.draw(name)[0]
            if node.world.happens("crash-asleep", name, number):
                await node.crash_here("asleep")
        await asyncio.sleep(seconds)


class Node:
    """A machine with a clock, a network and, most of the time, a process.

    Attributes:
        clock_offset_s: How far its clock is ahead of the true time.
        engine: The engine of the process that believes to lead, or None.
        epoch: The epoch in which it believes to lead.
        runner_of: Makes the tool runner of each term.
        watch_s: How long its watch on the store lasts where nothing ends it early.
    """

    def __init__(
        self, name: str, world: World, storage: Storage, tools: ToolWorld, watch: Watch
    ) -> None:
        self.name = name
        self.world = world
        self.storage = storage
        self.tools = tools
        self.watch = watch
        self.clock_offset_s = 0.0
        self.engine: Engine | None = None
        self.epoch = 0
        self.process: Process | None = None
        self.store_cut_until = 0.0
        self.tools_cut_until = 0.0
        self.requests_cut_until = 0.0
        self.replies_cut_until = 0.0
        self.is_left_dead = False
        self.runner_of: Callable[[Node, int], NodeRunner] = SimRunner
        self.watch_s = WATCH_S
        self._lives = 0
        self._crashes_left = 0
        self._election: Election | None = None

    @property
    def is_up(self) -> bool:
        """True while there is a process that is not paused."""
        return self.process is not None and self.process.condition is Condition.RUNNING

    @property
    def is_mute(self) -> bool:
        """True while nothing that it asks reaches the store."""
        return self.world.loop.time() < max(self.store_cut_until, self.requests_cut_until)

    @property
    def is_deaf(self) -> bool:
        """True while nothing that the store says reaches it."""
        return self.world.loop.time() < max(self.store_cut_until, self.replies_cut_until)

    def engine_of(self, saga_id: str) -> Engine | None:
        """Return the engine that would serve this saga here, or None."""
        return self.engine

    def start(self, election: Election) -> None:
        """Start a process."""
        self._election = election
        self._begin().spawn(self._live(election))

    def _begin(self) -> Process:
        """Return a new process, in which nothing runs yet."""
        self._lives += 1
        process = Process(f"{self.name}.{self._lives}", self.world.loop)
        process.on_failure = self._failed
        self.process = process
        self.world.note(self.name, "started")
        return process

    def _failed(self, error: BaseException) -> None:
        self.world.broken("TOTAL", f"a task of {self.name} failed: {error!r}")

    async def _live(self, election: Election) -> None:
        while True:
            epoch = await election.campaign(self)
            self.world.note(self.name, "leads", f"epoch {epoch}")
            await self._serve(election, epoch)
            self.world.note(self.name, "steps down", f"epoch {epoch}")
            await asyncio.sleep(RETRY_ELECTION_S)

    async def _serve(self, election: Election, epoch: int) -> None:
        process = self.process
        if process is None:
            return
        store = SimStore(self, epoch)
        runner = self.runner_of(self, epoch)
        clock = SimClock(self)
        coordinator = Coordinator(store, runner, clock, NodeTasks(process), active_max=ACTIVE_MAX)
        runner.coordinator = coordinator
        coordinator.listeners.append(self._told)
        engine = Engine(store, runner, clock, coordinator, allowed=None)
        self.epoch, self.engine = epoch, engine
        over: asyncio.Future[Any] = coordinator.new_waiter()
        lost = process.spawn(self._step_down_when_lost(election, epoch, over))
        coordinator.spawn(engine.desk.serve(), name="commands")
        scan = process.spawn(self._scan(engine))
        try:
            await over
        except FsmSagaError as error:
            self.watch.coordinator_stopped(self, epoch, error)
            # Whoever opened the engine need not leave it at once; it must be quiet by itself.
            name = self.world.chance.next_name(f"lingers.{self.name}")
            await asyncio.sleep(between(0.0, LINGER_S, self.world.chance.draw(name)[0]))
        self.engine = None
        lost.cancel()
        scan.cancel()
        coordinator.close()
        await election.resign(self, epoch)

    async def _step_down_when_lost(
        self, election: Election, epoch: int, over: asyncio.Future[Any]
    ) -> None:
        await election.wait_lost(self, epoch)
        if not over.done():
            self.world.counts["told that another leads"] += 1
            over.set_result(None)

    async def _scan(self, engine: Engine) -> None:
        """Take up what is unfinished once the store says what that is; the engine does the rest."""
        is_done = False
        while engine.coordinator.failure is None and not is_done:
            self.world.note(self.name, "scans")
            try:
                await engine.resume()
                is_done = True
            except FsmSagaError as error:
                self.world.note(self.name, "scan failed", error.code)
            self._crash_again()
            await asyncio.sleep(RESCAN_S)

    def _told(self, saga: Saga, decision: Decision) -> None:
        self.watch.told(self, saga, decision)

    # What happens to it.

    def crash(self, why: str, *, back_after_s: float | None = None) -> None:
        """Kill the process, and start another after a while."""
        process = self.process
        if process is None or process.is_dead:
            return
        world = self.world
        name = world.chance.next_name(f"crash.{self.name}")
        draw = world.chance.draw(name)
        process.kill()
        self.storage.holder_stops(process, left=draw[0])
        self.watch.crashed(self)
        world.note(self.name, "crashes", why)
        self.engine, self.process = None, None
        if back_after_s is None and world.happens("stays-dead", name, draw[1]):
            self.is_left_dead = True
            return
        if not self._crashes_left and world.happens("crash-loop", name, draw[2]):
            self._crashes_left = 1 + int(4 * draw[3])
        if back_after_s is None:
            back_after_s = between(0.0, 2 * LEASE_TTL_S, draw[4] ** 2)
        world.loop.call_world(back_after_s, self._restart)

    def _restart(self) -> None:
        if self.process is None and self._election is not None:
            self.start(self._election)

    def revive(self) -> None:
        """Put everything right that is wrong with the node."""
        self.clock_offset_s = 0.0
        self.store_cut_until = self.tools_cut_until = 0.0
        self.requests_cut_until = self.replies_cut_until = 0.0
        self._crashes_left = 0
        if self.process is not None and self.process.condition is Condition.PAUSED:
            self._go_on(self.process)

    def _crash_again(self) -> None:
        if self._crashes_left and not self.world.faults.is_over:
            self._crashes_left -= 1
            self.world.counts["crash in recovery"] += 1
            self.crash("in recovery, again")

    async def crash_here(self, why: str) -> None:
        """Kill the process in the middle of the coroutine that calls this."""
        self.crash(why)
        await self.world.loop.create_future()

    def pause(self, length_s: float) -> None:
        """Freeze the process, as SIGSTOP does; its lease runs on."""
        process = self.process
        if process is None or process.condition is not Condition.RUNNING:
            return
        process.pause()
        self.world.note(self.name, "pauses", f"{length_s:.3f} s")
        left = self.world.chance.draw(self.world.chance.next_name(f"pause.{self.name}"))[0]
        self.storage.holder_stops(process, left=left)
        self.world.loop.call_world(length_s, self._go_on, process)

    def _go_on(self, process: Process) -> None:
        if process.condition is not Condition.PAUSED:
            return
        self.world.note(self.name, "goes on")
        process.go_on()
        if self.store_cut_until <= self.world.loop.time():
            self.storage.holder_is_back(process)

    def cut_store(self, length_s: float) -> None:
        """Cut the node off from the store."""
        loop = self.world.loop
        self.store_cut_until = loop.time() + length_s
        self.world.note(self.name, "cut from store", f"{length_s:.3f} s")
        if self.process is not None:
            self.storage.holder_stops(self.process, left=0.7)
        loop.call_world(length_s, self._store_is_back)

    def _store_is_back(self) -> None:
        if self.is_up and self.process is not None:
            self.storage.holder_is_back(self.process)

    def cut_tools(self, length_s: float) -> None:
        """Cut the node off from the tools."""
        self.tools_cut_until = self.world.loop.time() + length_s
        self.world.note(self.name, "cut from tools", f"{length_s:.3f} s")

    def repeated_after_s(self, name: str) -> float | None:
        """Return how much later a request to the store is carried out again; None if it is not.

        A client that never repeats a write has a network that does not either; nodes that share
        shards are tried with one that does.
        """
        return None

    async def point(self, name: str, crash: float, pause: float, length: float) -> None:
        """Be killed or paused here, if that is to happen."""
        world = self.world
        if world.happens("crash-before", name, crash):
            await self.crash_here(f"before {name}")
        if world.happens("pause", name, pause):
            self.pause(between(0.1, 4.0, length) * LEASE_TTL_S)
            await asyncio.sleep(0)

    def ask(
        self, work: Callable[[Engine], Awaitable[Any]], *, saga_id: str = ""
    ) -> asyncio.Future[Any]:
        """Have the node's engine for this saga do something for a client.

        The future stays open for ever if the process dies, as a connection that hangs does.
        """
        answer: asyncio.Future[Any] = self.world.loop.create_future()
        engine, process = self.engine_of(saga_id), self.process
        if engine is None or process is None:
            return answer

        async def serve() -> None:
            try:
                found = await work(engine)
            except FsmSagaError as error:
                found = error
            if not answer.done():
                answer.set_result(found)

        process.call_soon(lambda: process.spawn(serve()))
        return answer
