"""Nodes that share shards: fair shares, handing over, and letting go of what is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from fsm_saga.cluster import node as node_module
from fsm_saga.cluster import setbacks as setbacks_module
from fsm_saga.cluster.node import Led, Node
from fsm_saga.errors import StoreUnavailableError
from fsm_saga.plan.model import Plan
from fsm_saga.ports import Member, Roster, Store, Term
from fsm_saga.service.engine import Engine
from fsm_saga.service.submitting import submission
from fsm_saga.stores.memory_cluster import MemoryCluster
from fsm_saga.tools.context import CallContext
from fsm_saga.tools.python import tool
from fsm_saga.tools.registry import Registry
from fsm_saga.tools.runner import PythonRunner

PATIENCE_S = 20.0
SHARDS = 6


class World:
    """What the tools did, and a gate in front of them."""

    def __init__(self) -> None:
        self.effects: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.gate = asyncio.Event()
        self.gate.set()


world: World


@tool
async def book(ctx: CallContext) -> dict[str, str]:
    world.calls[ctx.saga_id] += 1
    await world.gate.wait()
    world.effects[ctx.req_id] = 1
    return {"id": ctx.req_id}


@tool
async def cancel(id: str) -> None: ...


def plan_of(task_id: str) -> Plan:
    rollback = {"tool": "cancel", "params": {"id": "$output.step_1.id"}}
    steps: list[dict[str, Any]] = [
        {"step_id": i, "name": "book", "tool": "book", "params": {}} for i in (1, 2)
    ]
    steps[0]["rollback"] = rollback
    steps[1]["rollback"] = {"tool": "cancel", "params": {"id": "$output.step_2.id"}}
    return Plan.of({"task_id": task_id, "steps": steps})


@pytest.fixture(autouse=True)
def fresh_world(monkeypatch: pytest.MonkeyPatch) -> None:
    global world
    world = World()
    monkeypatch.setattr(setbacks_module, "RETRY_S", (0.01,))
    monkeypatch.setattr(node_module, "REJOIN_S", 0.01)


def engine_over(store: Store) -> AbstractAsyncContextManager[Engine]:
    return Engine.over(store, PythonRunner(Registry([book, cancel])))


def node_of(cluster: MemoryCluster, name: str) -> Node:
    member = Member(member_id=name, name=name, started_at=0.0)
    return Node(cluster, engine_over, member)


class Running:
    """Some nodes of one cluster, each in a task of its own."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster(shards=SHARDS)
        self.nodes: dict[str, Node] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str) -> Node:
        node = self.nodes[name] = node_of(self.cluster, name)
        self.tasks[name] = asyncio.create_task(node.run())
        return node

    async def stop(self, name: str) -> None:
        self.nodes[name].stop()
        async with asyncio.timeout(PATIENCE_S):
            await self.tasks.pop(name)

    def loads(self) -> Counter[str]:
        return Counter(leader.member_id for leader in self.cluster.leaders.values())

    async def submit(self, task_id: str) -> None:
        await self.cluster.reader.post_command(submission(plan_of(task_id)))

    async def states(self) -> dict[str, str]:
        return {head.saga_id: head.state for head in await self.cluster.reader.heads()}


@asynccontextmanager
async def running(*names: str) -> AsyncIterator[Running]:
    them = Running()
    for name in names:
        them.start(name)
    try:
        yield them
    finally:
        for name in list(them.tasks):
            await them.stop(name)


def engines_of(node: Node) -> int:
    return sum(led.engine is not None for led in node.led.values())


def is_busy(led: Led) -> bool:
    return led.engine is not None and led.engine.coordinator.active_count > 0


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110  # what is waited for tells nobody
            await asyncio.sleep(0.005)


async def until_done(them: Running, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while list((await them.states()).values()).count("DONE") < count:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_three_nodes_share_the_shards_and_run_what_others_submit() -> None:
    async with running("a", "b", "c") as them:
        await until(lambda: them.loads() == {"a": 2, "b": 2, "c": 2})
        for number in range(30):
            await them.submit(f"trip-{number}")
        await until_done(them, 30)
    assert len(world.effects) == 60
    assert them.cluster.leaders == {}
    assert them.cluster.members == {}


async def test_a_newcomer_gets_its_share_and_sagas_under_way_go_on_there() -> None:
    async with running("a") as them:
        await until(lambda: them.loads() == {"a": SHARDS})
        world.gate.clear()
        for number in range(12):
            await them.submit(f"trip-{number}")
        await until(lambda: len(world.calls) == 12)
        them.start("b")
        await until(lambda: them.loads() == {"a": 3, "b": 3})
        await until(lambda: engines_of(them.nodes["b"]) == 3)
        world.gate.set()
        await until_done(them, 12)
    # Sent again by the new leader under the same req_id: no effect is made twice.
    assert len(world.effects) == 24


async def test_a_node_that_stops_hands_over_at_once() -> None:
    async with running("a", "b") as them:
        await until(lambda: them.loads() == {"a": 3, "b": 3})
        epochs = {s: leader.epoch for s, leader in them.cluster.leaders.items()}
        await them.stop("a")
        await until(lambda: them.loads() == {"b": SHARDS})
        taken = [s for s in range(SHARDS) if them.cluster.leaders[s].epoch > epochs[s]]
        assert len(taken) == 3
        assert "a" not in them.cluster.members


async def test_who_loses_its_lease_without_knowing_can_write_no_more_and_begins_anew() -> None:
    async with running("a") as them:
        await until(lambda: them.loads() == {"a": SHARDS})
        world.gate.clear()
        await them.submit("trip-1")
        await until(lambda: world.calls["trip-1"] == 1)
        old = next(led for led in them.nodes["a"].led.values() if is_busy(led))
        seat = them.cluster.seats["a"]
        them.cluster.expire("a")
        them.start("b")
        await until(lambda: them.loads()["b"] == SHARDS)
        await until(lambda: world.calls["trip-1"] == 2)
        world.gate.set()
        await until_done(them, 1)
        await until(lambda: old.task is not None and old.task.done())
        seat.notice()
        await until(lambda: them.loads() == {"a": 3, "b": 3})
    assert len(world.effects) == 2


async def test_a_shard_whose_engine_stops_is_led_again() -> None:
    them = Running()
    failures = iter(range(2))

    @asynccontextmanager
    async def failing_over(store: Store) -> AsyncIterator[Engine]:
        if next(failures, None) is not None:
            raise StoreUnavailableError("The store failed: it was told to.")
        async with Engine.over(store, PythonRunner(Registry([book, cancel]))) as engine:
            yield engine

    node = node_of(them.cluster, "a")
    node = Node(them.cluster, failing_over, node.member)
    them.nodes["a"], them.tasks["a"] = node, asyncio.create_task(node.run())
    try:
        await until(lambda: engines_of(node) == SHARDS)
        assert next(failures, None) is None
    finally:
        await them.stop("a")


async def test_each_engine_is_shown_to_whoever_wants_to_attach() -> None:
    seen: list[Term] = []
    async with running("a") as them:
        them.nodes["a"].attach = lambda term, engine: seen.append(term)
        await until(lambda: len(seen) == SHARDS)
    assert {term.shard for term in seen} == set(range(SHARDS))


async def test_what_a_store_refuses_is_told_once_and_is_in_the_way_until_it_answers(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    them = Running()
    failures = iter(range(5))
    monkeypatch.setattr(node_module, "LOOK_S", 0.01)
    roster = them.cluster.roster

    async def failing() -> Roster:
        if next(failures, None) is not None:
            raise StoreUnavailableError("The store failed: it was told to.")
        return await roster()

    monkeypatch.setattr(them.cluster, "roster", failing)
    caplog.set_level("INFO", "fsm_saga.cluster")
    node = them.start("a")
    try:
        await until(lambda: any("it was told to" in each for each in node.obstacles))
        await until(lambda: engines_of(node) == SHARDS)
        await until(lambda: node.obstacles == ())
    finally:
        await them.stop("a")
    assert caplog.text.count("the roster cannot be seen") == 1
    assert caplog.text.count("the store answers again") == 1


async def test_a_shard_that_was_stopped_is_in_the_way_until_it_is_led_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    them = Running()
    gate = asyncio.Event()
    monkeypatch.setattr(node_module, "LOOK_S", 0.01)

    @asynccontextmanager
    async def failing_over(store: Store) -> AsyncIterator[Engine]:
        if not gate.is_set():
            raise StoreUnavailableError("The disk is gone.")
        async with engine_over(store) as engine:
            yield engine

    node = Node(them.cluster, failing_over, node_of(them.cluster, "a").member)
    them.nodes["a"], them.tasks["a"] = node, asyncio.create_task(node.run())
    try:
        await until(lambda: any("The disk is gone" in each for each in node.obstacles))
        gate.set()
        await until(lambda: engines_of(node) == SHARDS)
        assert not node.obstacles
    finally:
        await them.stop("a")
    assert node.obstacles == ("it is handing over",)
