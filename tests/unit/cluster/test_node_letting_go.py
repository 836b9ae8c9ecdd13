"""Nodes under a store that is slow to answer: nothing is taken twice, nothing keeps them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from fsm_saga.cluster import node as node_module
from fsm_saga.cluster import setbacks as setbacks_module
from fsm_saga.cluster.node import Node
from fsm_saga.errors import StoreUnavailableError
from fsm_saga.ports import Member, Store, Term
from fsm_saga.service.engine import Engine
from fsm_saga.stores.memory_cluster import MemoryCluster, MemorySeat
from fsm_saga.tools.registry import Registry
from fsm_saga.tools.runner import PythonRunner

PATIENCE_S = 10.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setbacks_module, "RETRY_S", (0.001,))
    monkeypatch.setattr(node_module, "REJOIN_S", 0.001)
    monkeypatch.setattr(node_module, "LOOK_S", 0.005)


def engine_over(store: Store) -> AbstractAsyncContextManager[Engine]:
    return Engine.over(store, PythonRunner(Registry([])))


class SlowSeat(MemorySeat):
    """A seat whose resignations are on their way until ``gate`` is open."""

    gate: asyncio.Event
    log: list[str]

    async def campaign(self, shard: int) -> Term | None:
        term = await super().campaign(shard)
        if term is not None:
            self.log.append(f"leads by {term.epoch}")
        return term

    async def resign(self, term: Term) -> None:
        self.log.append(f"resigns {term.epoch}")
        await self.gate.wait()
        await super().resign(term)
        self.log.append(f"has resigned {term.epoch}")


class SlowCluster(MemoryCluster):
    """One shard; who joins gets a ``SlowSeat``, once ``joining`` is open."""

    def __init__(self) -> None:
        super().__init__(shards=1)
        self.gate = asyncio.Event()
        self.joining = asyncio.Event()
        self.joining.set()
        self.asked_to_join = asyncio.Event()
        self.log: list[str] = []

    async def join(self, member: Member, *, ttl_s: float) -> MemorySeat:
        self.asked_to_join.set()
        await self.joining.wait()
        await super().join(member, ttl_s=ttl_s)
        seat = self.seats[member.member_id] = SlowSeat(self, member.member_id)
        seat.gate, seat.log = self.gate, self.log
        return seat


@asynccontextmanager
async def running(node: Node, cluster: SlowCluster) -> AsyncIterator[asyncio.Task[None]]:
    """Run the node; at the end of the block nothing keeps it any more."""
    task = asyncio.create_task(node.run())
    try:
        yield task
    finally:
        cluster.gate.set()
        cluster.joining.set()
        node.stop()
        async with asyncio.timeout(PATIENCE_S):
            await task


async def until(event: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await event.wait()


async def test_a_shard_is_not_taken_again_while_the_resignation_is_on_its_way() -> None:
    cluster = SlowCluster()
    failed, led = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def failing_once(store: Store) -> AsyncIterator[Engine]:
        if not failed.is_set():
            failed.set()
            raise StoreUnavailableError("The store failed: it was told to.")
        async with engine_over(store) as engine:
            led.set()
            yield engine

    node = Node(cluster, failing_once, Member(member_id="a", name="a", started_at=0.0))
    async with running(node, cluster) as task:
        await until(failed)
        await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
        assert not led.is_set()
        cluster.gate.set()
        await until(led)
        first = cluster.log[0].rpartition(" ")[2]
        assert cluster.log[1:3] == [f"resigns {first}", f"has resigned {first}"]
        assert cluster.log[3] != f"leads by {first}"
        node.stop()
        async with asyncio.timeout(PATIENCE_S):
            await task


async def test_who_stops_waits_for_the_resignations_before_it_gives_up_its_seat() -> None:
    cluster = SlowCluster()
    failed = asyncio.Event()

    @asynccontextmanager
    async def failing(store: Store) -> AsyncIterator[Engine]:
        failed.set()
        if not cluster.gate.is_set():
            raise StoreUnavailableError("The store failed: it was told to.")
        async with engine_over(store) as engine:
            yield engine

    node = Node(cluster, failing, Member(member_id="a", name="a", started_at=0.0))
    async with running(node, cluster) as task:
        await until(failed)
        await asyncio.sleep(0.005)
        node.stop()
        await asyncio.sleep(0.005)
        assert "a" in cluster.members
        cluster.gate.set()
        async with asyncio.timeout(PATIENCE_S):
            await task
        assert cluster.members == {}
        assert cluster.leaders == {}
        assert cluster.log[-1].startswith("has resigned")


async def test_who_is_to_stop_does_not_wait_for_a_store_that_lets_nobody_join() -> None:
    cluster = SlowCluster()
    cluster.joining.clear()
    node = Node(cluster, engine_over, Member(member_id="a", name="a", started_at=0.0))
    async with running(node, cluster) as task:
        await until(cluster.asked_to_join)
        node.stop()
        async with asyncio.timeout(1.0):
            await task
        assert cluster.members == {}


async def test_who_is_to_stop_just_when_it_has_joined_leaves_no_seat_behind() -> None:
    cluster = SlowCluster()
    cluster.gate.set()
    cluster.joining.clear()
    node = Node(cluster, engine_over, Member(member_id="a", name="a", started_at=0.0))
    async with running(node, cluster) as task:
        await until(cluster.asked_to_join)
        cluster.joining.set()
        node.stop()
        async with asyncio.timeout(PATIENCE_S):
            await task
        assert (cluster.members, cluster.seats) == ({}, {})
