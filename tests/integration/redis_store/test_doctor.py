"""``doctor`` tells what a Redis promises, and makes nothing in it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis.asyncio as redis_py

from fsm_saga.cli.checks import Level
from fsm_saga.cli.checks_redis import is_in_redis, redis_findings
from fsm_saga.stores.opening import open_store
from tests.conformance.samples import command_of, store_saga
from tests.support.servers.process import free_port
from tests.support.servers.redis import RedisServer


async def levels_of(url: str) -> dict[str, Level]:
    return {finding.name: finding.level for finding in await redis_findings(url)}


def test_only_urls_of_redis_are_its_affair() -> None:
    assert is_in_redis("redis://host")
    assert is_in_redis("rediss://host")
    assert not is_in_redis("sqlite:///redis.db")


async def test_a_sound_server_is_told_before_and_after_a_store_is_made(
    redis: RedisServer, server_prefix: str
) -> None:
    url = f"{redis.url}?prefix={server_prefix}"
    found = await redis_findings(url)
    assert [finding.level for finding in found] == [Level.OK, Level.OK]
    assert "can be made" in found[0].message
    async with redis_py.Redis.from_url(redis.url) as admin:
        assert await admin.keys(f"{server_prefix}:*") == []
    async with open_store(url) as store:
        await store_saga(store, "trip-7")
        await store.post_command(command_of("trip-7"))
        (whole, writer, durability) = await redis_findings(url)
    assert "1 unfinished saga" in whole.message
    assert "written by" in writer.message
    assert "a failover may still lose some" in durability.message
    assert await levels_of(url) == {
        "store": Level.OK,
        "decisions": Level.WARN,
        "writer": Level.OK,
        "durability": Level.OK,
    }


async def test_a_server_that_syncs_each_second_is_warned_of(
    new_redis: Callable[..., RedisServer],
) -> None:
    server = new_redis(appendfsync="everysec")
    assert await levels_of(server.url) == {"store": Level.OK, "durability": Level.WARN}


@pytest.mark.parametrize("is_there", [False, True])
async def test_a_server_that_cannot_be_used_fails_with_the_reason(
    new_redis: Callable[..., RedisServer], is_there: bool
) -> None:
    if is_there:
        url, reason = new_redis(appendonly=False).url, "appendonly no"
    else:
        url, reason = f"redis://:secret@127.0.0.1:{free_port()}", "cannot be reached"
    (found,) = await redis_findings(url)
    assert found.level is Level.FAIL
    assert reason in found.message
    assert "secret" not in found.message
