"""Opening a store in Redis: whatever is wrong with server, URL or prefix is told plainly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import redis.asyncio as redis_py

from fsm_saga.errors import (
    CorruptRecordError,
    StoreError,
    StoreLockedError,
    StoreUnavailableError,
    StoreVersionError,
)
from fsm_saga.stores import redis_link
from fsm_saga.stores.opening import open_store
from fsm_saga.stores.redis_cluster import look_at_redis
from tests.conformance.samples import command_of, store_saga
from tests.integration.redis_store.rigs import cluster_at, coordinator_at
from tests.support.servers.certificates import Certificates, make_certificates
from tests.support.servers.process import free_port
from tests.support.servers.redis import RedisServer

NewRedis = Callable[..., RedisServer]


async def refusal_of(url: str) -> StoreError:
    with pytest.raises(StoreError) as caught:
        async with cluster_at(url, shards=None):
            pass
    assert "was not opened" in caught.value.message
    assert "secret" not in caught.value.message
    return caught.value


# --- what the server promises ---------------------------------------------------------------------


async def test_a_server_without_a_journal_is_refused_unless_losses_are_allowed(
    new_redis: NewRedis,
) -> None:
    server = new_redis(appendonly=False)
    refusal = await refusal_of(server.url)
    assert "appendonly no" in refusal.message
    assert "'durability=relaxed'" in refusal.message
    async with coordinator_at(f"{server.url}?durability=relaxed") as ours:
        await store_saga(ours.store, "trip-7")
    assert "loses what it had confirmed" in (await look_at_redis(server.url)).warning


async def test_a_server_that_syncs_each_second_is_used_with_a_warning(
    new_redis: NewRedis, caplog: pytest.LogCaptureFixture
) -> None:
    server = new_redis(appendfsync="everysec")
    async with coordinator_at(server.url) as ours:
        await store_saga(ours.store, "trip-7")
    assert "appendfsync is 'everysec'" in caplog.text
    assert "appendfsync always" in (await look_at_redis(server.url)).warning


async def test_a_server_that_keeps_its_word_is_opened_without_a_warning(
    redis: RedisServer, server_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with coordinator_at(f"{redis.url}?prefix={server_prefix}"):
        assert caplog.text == ""
    look = await look_at_redis(redis.url)
    assert (look.refusal, look.warning) == ("", "")


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_server_that_throws_keys_away_is_refused(new_redis: NewRedis, policy: str) -> None:
    server = new_redis(options=["--maxmemory-policy", policy])
    assert "maxmemory-policy noeviction" in (await refusal_of(server.url)).message
    relaxed = await refusal_of(f"{server.url}?durability=relaxed")
    assert policy in relaxed.message


async def test_a_replica_is_refused_and_so_is_a_server_of_a_redis_cluster(
    new_redis: NewRedis,
) -> None:
    leader = new_redis()
    replica = new_redis(options=["--replicaof", f"127.0.0.1 {leader.port}"])
    assert "is a replica" in (await refusal_of(replica.url)).message
    spread = new_redis(options=["--cluster-enabled", "yes"])
    assert "Redis Cluster" in (await refusal_of(spread.url)).message


async def test_a_user_that_may_not_ask_the_server_gets_a_way_out(new_redis: NewRedis) -> None:
    server = new_redis(options=["--user", "app", "on", ">secret", "~*", "&*", "+@all", "-info"])
    url = f"redis://app:secret@{server.address}"
    assert "Let this user ask INFO" in (await refusal_of(url)).message
    async with coordinator_at(f"{url}?durability=relaxed") as ours:
        await store_saga(ours.store, "trip-7")


# --- who may come in ------------------------------------------------------------------------------


async def test_a_wrong_or_missing_password_is_told_and_never_repeated(
    new_redis: NewRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = new_redis(password="secret")
    for user in (":secret2@", "", "nobody:secret@"):
        refusal = await refusal_of(f"redis://{user}{server.address}/0")
        assert not isinstance(refusal, StoreUnavailableError)
        assert "check user and password" in refusal.message
    async with coordinator_at(server.url) as ours:
        assert ours.cluster.url == f"redis://{server.address}/0"
    monkeypatch.setenv("FSM_SAGA_REDIS_PASSWORD", "secret")
    async with coordinator_at(f"redis://{server.address}") as ours:
        await store_saga(ours.store, "trip-7")


async def test_tls_is_spoken_and_a_stranger_is_not_believed(
    new_redis: NewRedis, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = new_redis(tls=certificates, password="secret")
    own = f"&cert={certificates.client_cert}&key={certificates.client_key}"
    async with coordinator_at(f"{server.url}?ca={certificates.ca}{own}") as ours:
        await store_saga(ours.store, "trip-7")
    stranger = make_certificates(tmp_path_factory.mktemp("stranger"))
    assert "cannot be reached" in (await refusal_of(f"{server.url}?ca={stranger.ca}{own}")).message
    plain = server.url.replace("rediss://", "redis://")
    assert isinstance(await refusal_of(plain), StoreError)


async def test_a_server_that_is_not_there_or_does_not_answer_is_told(
    new_redis: NewRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_link, "ANSWER_S_MAX", 0.3)
    refusal = await refusal_of(f"redis://127.0.0.1:{free_port()}")
    assert isinstance(refusal, StoreUnavailableError)
    assert "cannot be reached" in refusal.message
    server = new_redis()
    server.pause()
    assert "did not answer" in (await refusal_of(server.url)).message


async def test_a_database_that_the_server_does_not_have_is_told(redis: RedisServer) -> None:
    refusal = await refusal_of(f"redis://{redis.address}/99")
    assert "name a database that the server has" in refusal.message


# --- what lies there ------------------------------------------------------------------------------


async def test_a_prefix_with_what_is_not_ours_is_refused_and_left_alone(
    redis: RedisServer, server_prefix: str
) -> None:
    url = f"{redis.url}?prefix={server_prefix}"
    async with redis_py.Redis.from_url(redis.url) as admin:
        await admin.set(f"{server_prefix}:session:1", "somebody else's")
        refusal = await refusal_of(url)
        assert f"{server_prefix}:session:1" in refusal.message
        assert await admin.keys(f"{server_prefix}:*") == [f"{server_prefix}:session:1".encode()]
        await admin.rename(f"{server_prefix}:session:1", f"{server_prefix}:meta")
        with pytest.raises(StoreError, match="somebody else has written"):
            async with cluster_at(url):
                pass


async def test_a_store_of_a_newer_version_or_of_other_shards_is_refused(
    redis: RedisServer, server_prefix: str
) -> None:
    url = f"{redis.url}?prefix={server_prefix}"
    async with cluster_at(url, shards=3) as made, cluster_at(url, shards=None) as again:
        assert made.shards == again.shards == 3
    with pytest.raises(StoreError, match="made with 3"):
        async with cluster_at(url, shards=4):
            pass
    with pytest.raises(StoreError, match="1 to 256"):
        async with cluster_at(url, shards=0):
            pass
    async with redis_py.Redis.from_url(redis.url) as admin:
        await admin.hset(f"{server_prefix}:meta", "format", "2")
        with pytest.raises(StoreVersionError, match="it has format 2"):
            async with cluster_at(url):
                pass
        await admin.hset(f"{server_prefix}:meta", "format", "new")
        with pytest.raises(CorruptRecordError):
            async with cluster_at(url):
                pass


async def test_two_that_make_a_store_at_once_make_the_same_one(
    redis: RedisServer, server_prefix: str
) -> None:
    url = f"{redis.url}?prefix={server_prefix}"

    async def shards_seen() -> int:
        async with cluster_at(url, shards=None) as cluster:
            return cluster.shards

    assert len(set(await asyncio.gather(*(shards_seen() for _ in range(8))))) == 1


# --- one writer -----------------------------------------------------------------------------------


async def test_reading_makes_no_store(redis: RedisServer, server_prefix: str) -> None:
    url = f"{redis.url}?prefix={server_prefix}"
    for _ in range(2):
        with pytest.raises(StoreError, match="no store was made"):
            async with open_store(url, mode="read"):
                pass


async def test_a_second_writer_is_refused_while_the_first_lives_and_readers_are_not(
    redis: RedisServer, server_prefix: str
) -> None:
    url = f"{redis.url}?prefix={server_prefix}"
    async with open_store(url) as writer:
        await store_saga(writer, "trip-7")
        with pytest.raises(StoreLockedError, match="was not opened for writing"):
            async with open_store(url):
                pass
        async with open_store(url, mode="read") as reader:
            assert len(await reader.heads()) == 1
            number = await reader.post_command(command_of("trip-7"))
        assert [command.number for command in await writer.pending_commands()] == [number]
    async with open_store(url) as writer:
        assert len(await writer.heads(only_unfinished=True)) == 1
