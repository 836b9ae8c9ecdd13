"""Nodes of which one alone has a fault: the others lead what it cannot, and it does the rest."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from msgspec.structs import replace

from fsm_saga.cluster import node as node_module
from fsm_saga.cluster import setbacks as setbacks_module
from fsm_saga.cluster.node import Node
from fsm_saga.cluster.setbacks import Setbacks
from fsm_saga.errors import InvariantBrokenError, StoreUnavailableError
from fsm_saga.ports import Member, Store, Term
from fsm_saga.service.engine import Engine
from fsm_saga.stores.memory_cluster import MemoryCluster, MemorySeat
from fsm_saga.tools.registry import Registry
from fsm_saga.tools.runner import PythonRunner

PATIENCE_S = 15.0
SHARDS = 4
EngineOver = Callable[[Store], AbstractAsyncContextManager[Engine]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setbacks_module, "RETRY_S", (0.02,))
    monkeypatch.setattr(node_module, "REJOIN_S", 0.005)
    monkeypatch.setattr(node_module, "LOOK_S", 0.02)


def engine_over(store: Store) -> AbstractAsyncContextManager[Engine]:
    return Engine.over(store, PythonRunner(Registry([])))


class BadDisk:
    """Engines over some shards do not come up here as long as ``shards`` has them."""

    def __init__(self, *shards: int) -> None:
        self.shards = set(shards)
        self.tries: Counter[int] = Counter()
        self.shard_of: Callable[[Store], int]

    @asynccontextmanager
    async def engine_over(self, store: Store) -> AsyncIterator[Engine]:
        shard = self.shard_of(store)
        self.tries[shard] += 1
        if shard in self.shards:
            raise InvariantBrokenError("The disk is broken.")
        async with engine_over(store) as engine:
            yield engine


class Running:
    """Some nodes of one cluster in memory, each in a task of its own."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self.cluster = cluster
        self.nodes: dict[str, Node] = {}
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, over: EngineOver = engine_over) -> Node:
        member = Member(member_id=name, name=name, started_at=0.0)
        node = self.nodes[name] = Node(self.cluster, over, member)
        self.tasks.append(asyncio.create_task(node.run()))
        return node

    def start_with(self, name: str, disk: BadDisk) -> Node:
        disk.shard_of = self.shard_by_epoch
        return self.start(name, disk.engine_over)

    def shard_by_epoch(self, store: Store) -> int:
        (shard,) = [
            shard
            for shard, leader in self.cluster.leaders.items()
            if leader.epoch == store.epoch and self.cluster.memories[shard].epoch == store.epoch
        ]
        return shard

    def leads(self, name: str) -> set[int]:
        """Return the shards that run on a node."""
        return {s for s, led in self.nodes[name].led.items() if led.engine is not None}


class FarEpochs(MemoryCluster):
    """A cluster each of whose shards has epochs of its own, so that they tell the shard."""

    def __init__(self) -> None:
        super().__init__(shards=SHARDS)
        for shard, memory in enumerate(self.memories):
            memory.epoch = 10_000 * shard


@pytest.fixture
def cluster() -> MemoryCluster:
    return FarEpochs()


@asynccontextmanager
async def running(cluster: MemoryCluster) -> AsyncIterator[Running]:
    them = Running(cluster)
    try:
        yield them
    finally:
        for node in them.nodes.values():
            node.stop()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*them.tasks)


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110  # what is waited for tells nobody
            await asyncio.sleep(0.002)


async def test_what_fails_on_one_member_is_led_by_another_and_it_leads_others_instead(
    cluster: MemoryCluster,
) -> None:
    disk = BadDisk(1)
    async with running(cluster) as them:
        first = them.start_with("a", disk)
        await until(lambda: them.leads("a") == {0, 2, 3})
        them.start("b")
        await until(lambda: 1 in them.leads("b") and len(them.leads("b")) == SHARDS / 2)
        tries = disk.tries[1]
        for _ in range(10):
            await asyncio.sleep(0.01)
        assert disk.tries[1] == tries
        assert list(cluster.members["a"].avoids) == [1]
        assert (len(them.leads("a")), first.obstacles) == (2, ())


async def test_alone_a_member_goes_on_trying_what_it_avoids(cluster: MemoryCluster) -> None:
    disk = BadDisk(1)
    async with running(cluster) as them:
        node = them.start_with("a", disk)
        await until(lambda: disk.tries[1] > 3)
        assert list(cluster.members["a"].avoids) == [1]
        assert node.obstacles == ("shard 1 stopped: The disk is broken. [invariant-broken]",)
        disk.shards.clear()
        await until(lambda: len(them.leads("a")) == SHARDS)
        await until(lambda: not cluster.members["a"].avoids)
        assert not node.obstacles


async def test_what_fails_on_all_members_is_tried_by_them_until_it_runs_on_one(
    cluster: MemoryCluster,
) -> None:
    first, second = BadDisk(1), BadDisk(1)
    async with running(cluster) as them:
        them.start_with("a", first)
        await until(lambda: first.tries[1])
        second.shard_of = them.shard_by_epoch
        them.start("b", second.engine_over)
        await until(lambda: second.tries[1])
        tries = first.tries[1] + second.tries[1]
        await until(lambda: first.tries[1] + second.tries[1] > tries)
        first.shards.clear()
        second.shards.clear()
        await until(lambda: len(them.leads("a") | them.leads("b")) == SHARDS)


async def test_a_member_gets_its_share_back_when_it_avoids_a_shard_no_more(
    cluster: MemoryCluster,
) -> None:
    disk = BadDisk(*range(SHARDS))
    async with running(cluster) as them:
        node = them.start_with("a", disk)
        them.start("b")
        await until(lambda: len(them.leads("b")) == SHARDS)
        disk.shards.clear()
        node._setbacks = Setbacks()  # as if the time were over
        await until(lambda: len(them.leads("a")) == SHARDS / 2 == len(them.leads("b")))


class BadCampaigns(MemorySeat):
    """A seat that the store lets campaign for some shards only."""

    refused: set[int]

    async def campaign(self, shard: int) -> Term | None:
        if shard in self.refused:
            raise StoreUnavailableError(f"Shard {shard} is out of reach: it was told to be.")
        return await super().campaign(shard)


class PickyCluster(MemoryCluster):
    def __init__(self, *refused: int) -> None:
        super().__init__(shards=SHARDS)
        self.refused = set(refused)

    async def join(self, member: Member, *, ttl_s: float) -> MemorySeat:
        await super().join(member, ttl_s=ttl_s)
        seat = self.seats[member.member_id] = BadCampaigns(self, member.member_id)
        seat.refused = self.refused
        return seat


async def test_a_shard_that_cannot_be_campaigned_for_keeps_no_other_from_being_led() -> None:
    cluster = PickyCluster(0, 2)
    async with running(cluster) as them:
        node = them.start("a")
        await until(lambda: them.leads("a") == {1, 3})
        await until(lambda: any("out of reach" in each for each in node.obstacles))
        cluster.refused.clear()
        await until(lambda: len(them.leads("a")) == SHARDS)
        await until(lambda: node.obstacles == ())


class DeletableSeat(MemorySeat):
    """A seat whose record can be put back as long as its lease lives, like one in etcd."""

    async def announce(self, member: Member) -> None:
        self._cluster.members[self.member_id] = member
        self._cluster.tell()


class DeletableCluster(MemoryCluster):
    async def join(self, member: Member, *, ttl_s: float) -> MemorySeat:
        await super().join(member, ttl_s=ttl_s)
        seat = self.seats[member.member_id] = DeletableSeat(self, member.member_id)
        return seat


def delete(cluster: MemoryCluster) -> None:
    del cluster.members["a"]
    cluster.tell()


def change(cluster: MemoryCluster) -> None:
    cluster.members["a"] = replace(cluster.members["a"], is_ready=False, name="")
    cluster.tell()


@pytest.mark.parametrize("harm", [delete, change])
async def test_a_member_whose_record_is_harmed_announces_itself_again_and_loses_no_shard(
    harm: Callable[[MemoryCluster], None],
) -> None:
    cluster = DeletableCluster(shards=SHARDS)
    async with running(cluster) as them:
        node = them.start("a")
        await until(lambda: len(them.leads("a")) == SHARDS)
        terms = {shard: led.term for shard, led in node.led.items()}
        harm(cluster)
        await until(lambda: "a" in cluster.members and cluster.members["a"].is_ready)
        assert cluster.members["a"].name == "a"
        await asyncio.sleep(0.01)
        assert {shard: led.term for shard, led in node.led.items()} == terms


async def test_an_engine_that_does_not_stop_keeps_nobody_from_its_shard(
    cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "RELEASE_S", 0.02)
    let_go = asyncio.Event()

    @asynccontextmanager
    async def hanging_over(store: Store) -> AsyncIterator[Engine]:
        async with engine_over(store) as engine:
            try:
                yield engine
            finally:
                while not let_go.is_set():
                    try:
                        await let_go.wait()
                    except asyncio.CancelledError:
                        continue

    hanging: list[asyncio.Task[None]] = []
    try:
        async with running(cluster) as them:
            node = them.start("a", hanging_over)
            await until(lambda: len(them.leads("a")) == SHARDS)
            hanging += [led.task for led in node.led.values() if led.task]
            them.start("b")
            await until(lambda: len(them.leads("b")) == SHARDS / 2)
            assert len(them.leads("a")) == SHARDS / 2
            node.stop()
            await until(lambda: len(them.leads("b")) == SHARDS)
            assert "a" not in cluster.members
    finally:
        let_go.set()
        await asyncio.gather(*hanging, return_exceptions=True)
