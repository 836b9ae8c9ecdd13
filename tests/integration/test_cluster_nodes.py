"""Nodes on real servers: what somebody deletes by hand, and what one of them alone cannot do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from fsm_saga.cluster.node import Node
from fsm_saga.errors import InvariantBrokenError
from fsm_saga.etcd.data import Delete, Put, Txn
from fsm_saga.ports import ClusterStore, Command, Member, Roster, Store
from fsm_saga.service.engine import Engine
from fsm_saga.stores.etcd_cluster import EtcdCluster, open_etcd_cluster
from fsm_saga.stores.etcd_store import EtcdStore
from fsm_saga.stores.opening import open_cluster
from fsm_saga.tools.registry import Registry
from fsm_saga.tools.runner import PythonRunner
from tests.support.servers.etcd import EtcdServer
from tests.support.servers.redis import RedisServer

PATIENCE_S = 30.0
SHARDS = 4


@asynccontextmanager
async def engine_over(store: Store) -> AsyncIterator[Engine]:
    async with Engine.over(store, PythonRunner(Registry([]))) as engine:
        yield engine


def member(name: str) -> Member:
    return Member(member_id=name, name=name, started_at=0.0)


@asynccontextmanager
async def running(*nodes: Node) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(node.run()) for node in nodes]
    try:
        yield
    finally:
        for node in nodes:
            node.stop()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*tasks)


def leads(node: Node) -> set[int]:
    return {shard for shard, led in node.led.items() if led.engine is not None}


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110  # what is waited for tells nobody
            await asyncio.sleep(0.02)


async def until_roster(cluster: ClusterStore, is_so: Callable[[Roster], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_so(await cluster.roster()):  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.02)


async def remove(cluster: EtcdCluster, key: bytes) -> None:
    await cluster.link.transport.txn(Txn(success=(Delete(key=key),)))


async def spoil(cluster: EtcdCluster, key: bytes) -> None:
    # Without the lease, so that it would outlive its member.
    await cluster.link.transport.txn(Txn(success=(Put(key=key, value=b"spoiled"),)))


@pytest.mark.parametrize("harm", [remove, spoil])
async def test_a_member_whose_key_is_harmed_by_hand_is_there_again_and_has_lost_no_shard(
    etcd: EtcdServer, server_prefix: str, harm: Callable[..., object]
) -> None:
    cluster = await open_etcd_cluster(f"etcd://{etcd.address}/{server_prefix}", shards=SHARDS)
    first, second = (Node(cluster, engine_over, member(name)) for name in "ab")
    try:
        async with running(first, second):
            await until(lambda: len(leads(first)) == len(leads(second)) == SHARDS / 2)
            terms = {shard: led.term for shard, led in first.led.items()}
            key = cluster.link.layout.member("a")
            await harm(cluster, key)  # type: ignore[misc]  # one of the two above
            await until_roster(
                cluster, lambda roster: "a" in roster.members and roster.members["a"].is_ready
            )
            await asyncio.sleep(1.5)  # longer than a look
            assert {shard: led.term for shard, led in first.led.items()} == terms
            assert len(leads(second)) == SHARDS / 2
        # It hangs on the lease again, as before.
        assert (await cluster.roster()).members == {}
    finally:
        await cluster.close()


@pytest.fixture(params=["etcd", "redis"])
def url(request: pytest.FixtureRequest, server_prefix: str) -> str:
    server: EtcdServer | RedisServer = request.getfixturevalue(request.param)
    if request.param == "etcd":
        return f"etcd://{server.address}/{server_prefix}"
    return f"redis://{server.address}/0?prefix={server_prefix}"


async def test_a_shard_that_fails_on_one_member_only_is_led_by_another(url: str) -> None:
    tried = 0

    @asynccontextmanager
    async def half_broken_over(store: Store) -> AsyncIterator[Engine]:
        nonlocal tried
        tried += 1
        if tried > SHARDS / 2:
            raise InvariantBrokenError("The disk is full.")
        async with engine_over(store) as engine:
            yield engine

    async with AsyncExitStack() as stack:
        clusters = [
            await stack.enter_async_context(open_cluster(url, shards=SHARDS)) for _ in range(2)
        ]
        first = Node(clusters[0], half_broken_over, member("a"))
        second = Node(clusters[1], engine_over, member("b"))
        await stack.enter_async_context(running(first))
        await until(lambda: len(leads(first)) == SHARDS / 2 and tried > SHARDS)
        await stack.enter_async_context(running(second))
        await until(lambda: len(leads(first)) == len(leads(second)) == SHARDS / 2)
        assert leads(first) | leads(second) == set(range(SHARDS))
        roster = await clusters[1].roster()
        assert set(roster.members["a"].avoids) == leads(second)


CANCEL = Command(saga_id="trip", kind="cancel", body={})


async def test_who_leads_is_told_at_once_of_a_command_that_another_process_left(
    etcd: EtcdServer, server_prefix: str
) -> None:
    here, there = [
        await open_etcd_cluster(f"etcd://{etcd.address}/{server_prefix}", shards=1)
        for _ in range(2)
    ]
    try:
        seat = await here.join(member("a"), ttl_s=30.0)
        term = await seat.campaign(0)
        assert term is not None
        store = seat.store(term)
        assert isinstance(store, EtcdStore)
        assert await store.pending_commands() == []
        await store.wait_command(0.5)  # the watch begins, which is a hint too
        await store.pending_commands()
        waiting = asyncio.ensure_future(store.wait_command(PATIENCE_S))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        number = await there.reader.post_command(CANCEL)
        await asyncio.wait_for(waiting, PATIENCE_S / 3)
        assert [command.number for command in await store.pending_commands()] == [number]
    finally:
        await there.close()
        await here.close()


async def test_a_new_term_begins_with_a_look_whatever_the_watch_has_told(
    etcd: EtcdServer, server_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = await open_etcd_cluster(f"etcd://{etcd.address}/{server_prefix}", shards=1)
    try:
        seat = await cluster.join(member("a"), ttl_s=30.0)
        term = await seat.campaign(0)
        assert term is not None
        before = seat.store(term)
        await asyncio.sleep(0.5)
        assert await before.pending_commands() == []
        await asyncio.sleep(0.5)
        assert await before.pending_commands() == []
        monkeypatch.setattr(cluster.link, "notice", lambda shard: None)
        await cluster.reader.post_command(CANCEL)
        assert await before.pending_commands() == []
        assert len(await seat.store(term).pending_commands()) == 1
    finally:
        await cluster.close()
