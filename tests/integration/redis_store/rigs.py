"""A Redis store opened as coordinators do, for tests that make its server fail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

from fsm_saga.ports import Member, Store, Term
from fsm_saga.stores.redis_cluster import RedisCluster, open_redis_cluster
from fsm_saga.stores.redis_seat import RedisSeat

TTL_S = 5.0


@dataclass(slots=True)
class Coordinator:
    """A member that leads the only shard."""

    cluster: RedisCluster
    seat: RedisSeat
    term: Term
    store: Store


@asynccontextmanager
async def cluster_at(url: str, *, shards: int | None = 1) -> AsyncIterator[RedisCluster]:
    """Give the store at ``url``."""
    cluster = await open_redis_cluster(url, shards=shards)
    try:
        yield cluster
    finally:
        await cluster.close()


@asynccontextmanager
async def coordinator_at(url: str, *, ttl_s: float = TTL_S) -> AsyncIterator[Coordinator]:
    """Give a member that leads the only shard of the store at ``url``."""
    async with cluster_at(url) as cluster:
        yield await led(cluster, ttl_s=ttl_s)


async def led(cluster: RedisCluster, *, ttl_s: float = TTL_S) -> Coordinator:
    """Join and lead the only shard, which has to be free."""
    name = uuid4().hex
    seat = await cluster.join(Member(member_id=name, name=name, started_at=0.0), ttl_s=ttl_s)
    term = await seat.campaign(0)
    assert term is not None
    return Coordinator(cluster, seat, term, seat.store(term))
