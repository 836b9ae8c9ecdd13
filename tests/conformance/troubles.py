"""Troubles of real servers: each comes, lasts a while, is over, and is counted if it bit.

What is lost on the way is lost with its connection, as in any network of TCP: a proxy that threw
bytes away and went on would try the framing of HTTP/2, which is another test's matter.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import redis.asyncio as redis_py

from fsm_saga.ports import ClusterStore
from fsm_saga.stores.etcd_cluster import open_etcd_cluster
from fsm_saga.stores.redis_cluster import open_redis_cluster
from tests.support.servers.etcd import EtcdCluster, EtcdServer
from tests.support.servers.proxy import FaultProxy, Way
from tests.support.servers.redis import RedisServer

LOST_S = 1.2
"""Longer than a client of either store waits for the answer to a write."""
CUT_S = 0.4
CALM_S = 0.3
APPENDS_BETWEEN = 6
RECOVERED_S_MAX = 15.0
AGAIN_S = 0.05
DOWN_S = 0.3
STILL_S = 2.6
"""Longer than the members of etcd wait before they elect another leader."""
REDIS_STILL_S = 0.9
PREFIX = "troubled"

Trouble = Callable[[], Awaitable[bool]]


class Network:
    """The troubles of the ways to the servers."""

    def __init__(self, proxies: Sequence[FaultProxy]) -> None:
        self._proxies = proxies

    @property
    def troubles(self) -> dict[str, Trouble]:
        """All of them, by name."""
        return {
            "requests are lost": lambda: self._lose(Way.TO_SERVER),
            "answers are lost": lambda: self._lose(Way.TO_CLIENT),
            "requests come late": self._be_late,
            "connections are cut": self._cut,
        }

    async def _lose(self, way: Way) -> bool:
        before = self._seen(way)
        for proxy in self._proxies:
            proxy.blackhole(way)
        await asyncio.sleep(LOST_S)
        has_bitten = self._seen(way) > before
        for proxy in self._proxies:
            proxy.reset()
            proxy.heal()
        return has_bitten

    async def _be_late(self) -> bool:
        before = self._seen(Way.TO_SERVER)
        for proxy in self._proxies:
            proxy.hold(Way.TO_SERVER)
        await asyncio.sleep(LOST_S)
        for proxy in self._proxies:
            proxy.heal()
        return self._seen(Way.TO_SERVER) > before

    async def _cut(self) -> bool:
        has_bitten = any(proxy.open_connections for proxy in self._proxies)
        for proxy in self._proxies:
            proxy.cut()
        await asyncio.sleep(CUT_S)
        for proxy in self._proxies:
            proxy.heal()
        return has_bitten

    def _seen(self, way: Way) -> int:
        return sum(proxy.bytes_seen(way) for proxy in self._proxies)


class EtcdSite:
    """Three members of etcd, each behind a proxy."""

    def __init__(self, servers: EtcdCluster, new_proxy: Callable[[int], FaultProxy]) -> None:
        self._servers = servers
        self._proxies = [new_proxy(member.port) for member in servers.members]
        self.troubles: dict[str, Trouble] = {
            **Network(self._proxies).troubles,
            "the leading server is killed": self._kill,
            "the leading server stands still": self._pause,
            "another takes the shard": self._depose,
        }

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[ClusterStore]:
        """Open the store through the proxies."""
        hosts = ",".join(proxy.address for proxy in self._proxies)
        cluster = await open_etcd_cluster(f"etcd://{hosts}/{PREFIX}", shards=1)
        try:
            yield cluster
        finally:
            await cluster.close()

    async def _kill(self) -> bool:
        leader = await self._leader()
        leader.kill()
        await asyncio.sleep(DOWN_S)
        newer = await self._leader()
        await asyncio.to_thread(leader.start)
        return newer is not leader

    async def _pause(self) -> bool:
        leader = await self._leader()
        leader.pause()
        try:
            await asyncio.sleep(STILL_S)
            newer = await self._leader()
        finally:
            leader.resume()
        return newer is not leader

    async def _depose(self) -> bool:
        """Delete the leader's key behind its back, as if its lease had ended early."""
        key = b64encode(f"{PREFIX}/cluster/leaders/0000".encode()).decode()
        server = await self._leader()
        try:
            done = await asyncio.to_thread(server.call, "kv/deleterange", {"key": key})
        except OSError:
            return False
        return int(done.get("deleted", 0)) == 1

    async def _leader(self) -> EtcdServer:
        return await asyncio.to_thread(self._servers.leader)


class RedisSite:
    """A Redis behind a proxy."""

    def __init__(self, server: RedisServer, new_proxy: Callable[[int], FaultProxy]) -> None:
        self.port = server.port
        self._server = server
        self._proxy = new_proxy(server.port)
        self.troubles: dict[str, Trouble] = {
            **Network([self._proxy]).troubles,
            "the server is killed": self._kill,
            "the server stands still": self._pause,
            "another takes the shard": self._depose,
        }

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[ClusterStore]:
        """Open the store through the proxy."""
        async with connected_redis(f"redis://{self._proxy.address}") as cluster:
            yield cluster

    async def _kill(self) -> bool:
        has_bitten = self._proxy.open_connections > 0
        self._server.kill()
        await asyncio.sleep(DOWN_S)
        await asyncio.to_thread(self._server.start)
        return has_bitten

    async def _pause(self) -> bool:
        before = self._proxy.bytes_seen(Way.TO_SERVER)
        self._server.pause()
        try:
            await asyncio.sleep(REDIS_STILL_S)
        finally:
            self._server.resume()
        return self._proxy.bytes_seen(Way.TO_SERVER) > before

    async def _depose(self) -> bool:
        """Delete the leases behind their holders' backs, as if they had ended early."""
        deleted = 0
        async with redis_py.Redis.from_url(self._server.url) as client:
            async for lease in client.scan_iter(f"{PREFIX}:member:*"):
                deleted += await client.delete(lease)
        return deleted > 0


@asynccontextmanager
async def connected_redis(address: str, *, may_create: bool = True) -> AsyncIterator[ClusterStore]:
    """Open the store in the Redis at ``address``."""
    url = f"{address}?prefix={PREFIX}"
    cluster = await open_redis_cluster(url, shards=1 if may_create else None, may_create=may_create)
    try:
        yield cluster
    finally:
        await cluster.close()


async def suffer(
    site: EtcdSite | RedisSite, names: Sequence[str], counts: Counter[str]
) -> Counter[str]:
    """Let these troubles come one after the other; return how often each has bitten.

    Before each of them and after the last, work goes on, as ``counts`` of what is done tells.

    Raises:
        TimeoutError: It does not.
    """
    bitten: Counter[str] = Counter()
    await _go_on(counts)
    for name in names:
        bitten[name] += await site.troubles[name]()
        await _go_on(counts)
    return bitten


async def _go_on(counts: Counter[str]) -> None:
    wanted = counts["appends"] + APPENDS_BETWEEN
    await asyncio.sleep(CALM_S)
    async with asyncio.timeout(RECOVERED_S_MAX):
        while counts["appends"] < wanted:  # noqa: ASYNC110  # a count tells nobody
            await asyncio.sleep(AGAIN_S)
