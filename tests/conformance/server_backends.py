"""The stores under test that live in servers; ``test_clusters.py`` has them in shards."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import redis.asyncio as redis_py

from fsm_saga.ports import ClusterStore, Member, Store, Term
from fsm_saga.stores.etcd_cluster import open_etcd_cluster
from fsm_saga.stores.redis_cluster import open_redis_cluster
from tests.support.servers.etcd import EtcdServer
from tests.support.servers.redis import RedisServer

SHARDS = 1
TTL_S = 5.0


class EtcdBackend:
    """A prefix in an etcd."""

    def __init__(self, server: EtcdServer, prefix: str, *, options: str = "") -> None:
        self._server = server
        self._prefix = prefix
        self._options = options

    @asynccontextmanager
    async def writer(self) -> AsyncIterator[Store]:
        async with self._connected() as cluster, leading_all(cluster) as store:
            yield store

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[Store]:
        async with self._connected() as cluster:
            yield cluster.reader

    @asynccontextmanager
    async def usurper(self) -> AsyncIterator[Store]:
        for key in self._server.keys(f"{self._prefix}/cluster/leaders/"):
            self._server.call("kv/deleterange", {"key": b64encode(key.encode()).decode()})
        async with self.writer() as store:
            yield store

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[ClusterStore]:
        url = f"etcd://{self._server.address}/{self._prefix}{self._options}"
        cluster = await open_etcd_cluster(url, shards=SHARDS)
        try:
            yield cluster
        finally:
            await cluster.close()


class RedisBackend:
    """A prefix in a Redis."""

    def __init__(self, server: RedisServer, prefix: str) -> None:
        self._server = server
        self._prefix = prefix

    @asynccontextmanager
    async def writer(self) -> AsyncIterator[Store]:
        async with self._connected() as cluster, leading_all(cluster) as store:
            yield store

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[Store]:
        async with self._connected() as cluster:
            yield cluster.reader

    @asynccontextmanager
    async def usurper(self) -> AsyncIterator[Store]:
        async with redis_py.Redis.from_url(self._server.url) as client:
            async for lease in client.scan_iter(f"{self._prefix}:member:*"):
                await client.delete(lease)
        async with self.writer() as store:
            yield store

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[ClusterStore]:
        url = f"{self._server.url}?prefix={self._prefix}"
        cluster = await open_redis_cluster(url, shards=SHARDS)
        try:
            yield cluster
        finally:
            await cluster.close()


@asynccontextmanager
async def leading_all(cluster: ClusterStore) -> AsyncIterator[Store]:
    """Give the store as the leader of every shard."""
    name = uuid4().hex
    seat = await cluster.join(Member(member_id=name, name=name, started_at=0.0), ttl_s=TTL_S)
    try:
        terms: list[Term] = []
        for shard in range(cluster.shards):
            term = await seat.campaign(shard)
            assert term is not None
            terms.append(term)
        yield seat.store(*terms)
    finally:
        await seat.leave()


@contextmanager
def open_etcd(request: pytest.FixtureRequest, _directory: Path) -> Iterator[EtcdBackend]:
    """Give a prefix of its own in the etcd of the session."""
    yield EtcdBackend(request.getfixturevalue("etcd"), request.getfixturevalue("server_prefix"))


@contextmanager
def open_etcd3(request: pytest.FixtureRequest, _directory: Path) -> Iterator[EtcdBackend]:
    """Give the same, over the ``etcd3`` package."""
    yield EtcdBackend(
        request.getfixturevalue("etcd"),
        request.getfixturevalue("server_prefix"),
        options="?transport=etcd3",
    )


@contextmanager
def open_redis(request: pytest.FixtureRequest, _directory: Path) -> Iterator[RedisBackend]:
    """Give a prefix of its own in the Redis of the session."""
    yield RedisBackend(request.getfixturevalue("redis"), request.getfixturevalue("server_prefix"))
