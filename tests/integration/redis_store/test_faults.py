"""The store in Redis when its server dies, stands still, is full, or forgets what it confirmed."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis_py

from fsm_saga.errors import ConflictError, FencedError, StoreError, StoreUnavailableError
from fsm_saga.ports import Member, Store
from fsm_saga.stores import redis_link
from fsm_saga.stores.redis_cluster import look_at_redis
from fsm_saga.stores.redis_layout import AppendValue
from fsm_saga.stores.redis_store import RedisStore
from tests.conformance.samples import (
    append_of,
    command_of,
    started,
    store_saga,
    submitted,
    succeeded,
)
from tests.integration.redis_store.rigs import cluster_at, coordinator_at, led
from tests.support.servers.proxy import FaultProxy, Way
from tests.support.servers.redis import RedisServer

NewRedis = Callable[..., RedisServer]
NewProxy = Callable[[int], FaultProxy]

SOON_S = 0.5
PATIENCE_S = 15.0


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less for an answer than outside of tests."""
    monkeypatch.setattr(redis_link, "ANSWER_S_MAX", SOON_S)


@pytest.fixture
def server(new_redis: NewRedis) -> RedisServer:
    return new_redis()


@pytest.fixture
def proxy(server: RedisServer, new_proxy: NewProxy) -> FaultProxy:
    return new_proxy(server.port)


@pytest.fixture
def url(proxy: FaultProxy) -> str:
    return f"redis://{proxy.address}"


async def append_until_it_works(store: Store, saga_id: str, position: int) -> None:
    """Append as a coordinator does: after a failure it reads back first."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(StoreUnavailableError, ConflictError):
                await store.append(append_of(saga_id, position, started(position)))
                return
            await asyncio.sleep(0.02)
            if await is_there(store, saga_id, position):
                return


async def is_there(store: Store, saga_id: str, position: int) -> bool:
    try:
        journal = await store.load(saga_id)
    except StoreUnavailableError:
        return False
    return journal is not None and len(journal) > position


# --- replies and requests that are lost -----------------------------------------------------------


async def test_an_append_whose_reply_is_lost_is_there_and_is_told_as_unknown(
    url: str, proxy: FaultProxy
) -> None:
    async with coordinator_at(url) as ours:
        await store_saga(ours.store, "trip-7")
        proxy.blackhole(Way.TO_CLIENT)
        with pytest.raises(StoreUnavailableError, match="may or may not be there"):
            await ours.store.append(append_of("trip-7", 3))
        proxy.heal()
        assert len(await ours.store.load("trip-7") or ()) == 4
        await ours.store.append(append_of("trip-7", 4))


async def test_an_append_that_never_arrives_is_told_as_unknown_and_is_not_there(
    url: str, proxy: FaultProxy
) -> None:
    async with coordinator_at(url) as ours:
        await store_saga(ours.store, "trip-7")
        proxy.blackhole(Way.TO_SERVER)
        with pytest.raises(StoreUnavailableError, match="did not answer within"):
            await ours.store.append(append_of("trip-7", 3))
        proxy.heal()
        assert len(await ours.store.load("trip-7") or ()) == 3
        await ours.store.append(append_of("trip-7", 3))


async def test_an_append_that_arrives_late_changes_nothing_any_more(
    url: str, proxy: FaultProxy, server: RedisServer
) -> None:
    async with coordinator_at(url) as ours, cluster_at(server.url) as beside:
        await store_saga(ours.store, "trip-7")
        proxy.hold(Way.TO_SERVER)
        with pytest.raises(StoreUnavailableError):
            await ours.store.append(append_of("trip-7", 3, started(99)))
        # The same coordinator, by a way that is free.
        again = beside._commits
        await again.append(ours.seat._leads[0], redis_value("trip-7", 3, started(3)))
        seen = proxy.bytes_seen(Way.TO_CLIENT)
        proxy.heal()
        await ours.cluster.reader.head("trip-7")
        assert proxy.bytes_seen(Way.TO_CLIENT) > seen
        journal = await beside.reader.load("trip-7") or ()
        assert [getattr(record, "step", None) for record in journal[3:]] == [3]


def redis_value(saga_id: str, position: int, record: Any) -> Any:
    return AppendValue(append_of(saga_id, position, record))


@pytest.mark.parametrize("fault", ["garble", "truncate", "reset", "duplicate"])
async def test_a_broken_answer_is_an_unknown_outcome_and_never_a_wrong_one(
    url: str, proxy: FaultProxy, fault: str
) -> None:
    async with coordinator_at(url) as ours:
        await store_saga(ours.store, "trip-7")
        for position in range(3, 9):
            match fault:
                case "garble":
                    proxy.garble(1, Way.TO_CLIENT)
                case "truncate":
                    proxy.truncate(position % 5, Way.TO_CLIENT)
                case "reset":
                    proxy.reset()
                case _:
                    proxy.duplicate(1, Way.TO_CLIENT)
            await append_until_it_works(ours.store, "trip-7", position)
            proxy.heal()
        journal = await ours.store.load("trip-7") or ()
        assert journal[3:] == tuple(started(position) for position in range(3, 9))


async def test_a_command_whose_reply_is_lost_may_be_there_and_is_told_so(
    url: str, proxy: FaultProxy
) -> None:
    async with coordinator_at(url) as ours:
        proxy.blackhole(Way.TO_CLIENT)
        with pytest.raises(StoreUnavailableError, match="is not known"):
            await ours.store.post_command(command_of("trip-7"))
        proxy.heal()
        number = await ours.store.post_command(command_of("trip-7"))
        assert [c.number for c in await ours.store.pending_commands()] == [number]


# --- servers that die and stand still -------------------------------------------------------------


async def test_whatever_was_confirmed_is_there_after_kills_under_load(server: RedisServer) -> None:
    confirmed: Counter[str] = Counter()
    due = asyncio.Event()

    async def work(store: Store, saga_id: str) -> None:
        for position in range(60):
            await append_until_it_works(store, saga_id, position)
            confirmed[saga_id] += 1
            if confirmed.total() % 150 == 0:
                due.set()

    async def kill() -> None:
        for _ in range(3):
            await due.wait()
            due.clear()
            server.kill()
            await asyncio.to_thread(server.start)

    async with coordinator_at(server.url, ttl_s=60.0) as ours:
        sagas = [f"trip-{number}" for number in range(10)]
        await asyncio.gather(kill(), *(work(ours.store, saga_id) for saga_id in sagas))
        for saga_id in sagas:
            assert await ours.store.load(saga_id) == tuple(started(n) for n in range(60))
        assert len(await ours.store.heads(only_unfinished=True)) == 10


async def test_a_leader_steps_down_by_its_own_clock_and_is_fenced_when_another_has_come(
    server: RedisServer, proxy: FaultProxy, url: str
) -> None:
    async with coordinator_at(url, ttl_s=1.0) as old, cluster_at(server.url) as beside:
        await store_saga(old.store, "trip-7")
        proxy.blackhole()
        async with asyncio.timeout(2.0):
            await old.seat.wait_lost()
        await asyncio.sleep(0.2)
        new = await led(beside)
        assert new.term.epoch > old.term.epoch
        proxy.heal()
        with pytest.raises(FencedError, match=f"epoch {new.term.epoch} leads"):
            await old.store.append(append_of("trip-7", 3))
        with pytest.raises(StoreUnavailableError, match="lease"):
            await old.seat.campaign(0)
        await new.store.append(append_of("trip-7", 3))


async def test_a_leader_keeps_its_seat_through_a_short_standstill(server: RedisServer) -> None:
    async with coordinator_at(server.url, ttl_s=4.0) as ours:
        await store_saga(ours.store, "trip-7")
        server.pause()
        with pytest.raises(StoreUnavailableError):
            await ours.store.append(append_of("trip-7", 3))
        server.resume()
        await append_until_it_works(ours.store, "trip-7", 3)
        await asyncio.sleep(1.0)
        assert (await ours.cluster.roster()).leaders[0].epoch == ours.term.epoch
        assert await ours.seat.campaign(0) == ours.term


async def test_what_was_sent_to_a_paused_server_and_done_again_is_done_once(
    server: RedisServer,
) -> None:
    async with coordinator_at(server.url, ttl_s=30.0) as ours:
        for position in range(6):
            server.pause()
            with pytest.raises(StoreUnavailableError):
                await ours.store.append(append_of("trip-7", position, started(position)))
            server.resume()
            await append_until_it_works(ours.store, "trip-7", position)
        assert await ours.store.load("trip-7") == tuple(started(n) for n in range(6))


async def test_a_member_that_joins_again_under_its_id_ends_the_terms_that_it_had(
    server: RedisServer,
) -> None:
    async with coordinator_at(server.url) as ours, cluster_at(server.url) as beside:
        member = (await ours.seat.roster()).members[ours.seat.member_id]
        again = await beside.join(member, ttl_s=5.0)
        with pytest.raises(FencedError):
            await ours.store.append(append_of("trip-7", 0, submitted("trip-7")))
        term = await again.campaign(0)
        assert term is not None
        assert term.epoch > ours.term.epoch


# --- servers that are full, or forget -------------------------------------------------------------


async def test_a_full_server_refuses_and_the_store_goes_on_when_there_is_room(
    server: RedisServer,
) -> None:
    async with (
        coordinator_at(server.url) as ours,
        redis_py.Redis.from_url(server.url) as admin,
    ):
        await store_saga(ours.store, "trip-7")
        await admin.config_set("maxmemory", "100kb")
        with pytest.raises(StoreUnavailableError, match="memory limit"):
            await ours.store.append(append_of("trip-7", 3))
        assert len(await ours.store.load("trip-7") or ()) == 3
        await admin.config_set("maxmemory", "0")
        await ours.store.append(append_of("trip-7", 3))


async def test_a_server_that_lost_what_it_had_confirmed_is_written_no_more(
    server: RedisServer, tmp_path: Path
) -> None:
    async with coordinator_at(server.url, ttl_s=60.0) as ours:
        await store_saga(ours.store, "trip-7")
        server.kill()
        shutil.copytree(server.directory / "appendonlydir", tmp_path / "old")
        server.start()
        await append_until_it_works(ours.store, "trip-7", 3)
        server.kill()
        server.wipe()
        shutil.copytree(tmp_path / "old", server.directory / "appendonlydir")
        server.start()
        with pytest.raises(StoreError, match="lost what it had confirmed") as caught:
            await ours.store.append(append_of("trip-7", 3, succeeded()))
        assert caught.value.facts == {"shard": 0, "found": 2, "confirmed": 3}
        assert len(await ours.store.load("trip-7") or ()) == 3


async def test_a_loss_that_comes_with_another_leader_is_noticed_by_who_has_seen_more(
    server: RedisServer, tmp_path: Path
) -> None:
    """As after a failover to a replica that lagged: the leader is gone, and so are its last words.

    One that was a member meanwhile knows what the server had confirmed, leads nothing there, and
    keeps those from leading who know nothing.
    """
    async with cluster_at(server.url) as witness_cluster:
        witness = await witness_cluster.join(
            Member(member_id="w", name="w", started_at=0.0), ttl_s=60.0
        )
        async with cluster_at(server.url) as cluster:
            ours = await led(cluster, ttl_s=60.0)
            await store_saga(ours.store, "trip-7")
            server.kill()
            shutil.copytree(server.directory / "appendonlydir", tmp_path / "old")
            server.start()
            await append_until_it_works(ours.store, "trip-7", 3)
            assert len((await witness.roster()).members) == 2
            await ours.seat.leave()
        server.kill()
        server.wipe()
        shutil.copytree(tmp_path / "old", server.directory / "appendonlydir")
        server.start()
        async with redis_py.Redis.from_url(server.url) as admin:
            await admin.delete(f"fsm-saga:member:{ours.seat.member_id}")  # its lease has ended
            with pytest.raises(StoreError, match="lost what it had confirmed") as caught:
                await witness.campaign(0)
            assert caught.value.facts == {"shard": 0, "found": 2, "confirmed": 3}
            async with cluster_at(server.url) as other:
                stranger = Member(member_id="s", name="s", started_at=0.0)
                with pytest.raises(StoreError, match="says so itself under the key"):
                    await other.join(stranger, ttl_s=5.0)
                assert len(await other.reader.load("trip-7") or ()) == 3
            look = await look_at_redis(server.url)
            assert "lost what it had confirmed" in look.refusal
            await admin.delete("fsm-saga:lost")  # a person knows better
            async with coordinator_at(server.url) as fresh:
                await fresh.store.append(append_of("trip-7", 3))
        await witness.leave()


async def test_a_leader_that_was_there_first_is_stopped_by_who_has_seen_more(
    server: RedisServer,
) -> None:
    """Somebody who knows nothing leads the server that went back before anybody looks."""
    async with (
        redis_py.Redis.from_url(server.url) as admin,
        cluster_at(server.url) as witness,
    ):
        async with coordinator_at(server.url) as ours:
            await store_saga(ours.store, "trip-7")
            await witness.roster()
            await ours.seat.leave()
        lost: Any = admin.hincrby("fsm-saga:commits", "0", -1)
        await lost
        async with coordinator_at(server.url) as new:
            await new.store.append(append_of("trip-8", 0, submitted("trip-8")))
            lost = admin.hincrby("fsm-saga:commits", "0", -1)
            await lost
            await witness.roster()
            with pytest.raises(StoreError, match="lost what it had confirmed"):
                await new.store.append(append_of("trip-8", 1))
            assert len(await new.store.load("trip-8") or ()) == 1


async def test_where_losses_are_allowed_nobody_stops_for_one(server: RedisServer) -> None:
    url = f"{server.url}?durability=relaxed"
    async with (
        redis_py.Redis.from_url(server.url) as admin,
        cluster_at(url) as witness,
    ):
        async with coordinator_at(url) as ours:
            await store_saga(ours.store, "trip-7")
            await witness.roster()
            await ours.seat.leave()
        lost: Any = admin.hincrby("fsm-saga:commits", "0", -1)
        await lost
        await witness.roster()
        async with coordinator_at(url) as new:
            await new.store.append(append_of("trip-8", 0, submitted("trip-8")))
        assert not await admin.exists("fsm-saga:lost")


async def test_a_server_that_forgot_everything_is_written_no_more(server: RedisServer) -> None:
    async with coordinator_at(server.url, ttl_s=60.0) as ours:
        await store_saga(ours.store, "trip-7")
        server.kill()
        server.wipe()
        server.start()
        with pytest.raises(FencedError, match="epoch None leads"):
            await ours.store.append(append_of("trip-7", 3))
        member = Member(member_id="again", name="again", started_at=0.0)
        with pytest.raises(StoreError, match="not the one that was opened"):
            await ours.cluster.join(member, ttl_s=5.0)
        async with cluster_at(server.url):  # somebody who knows of nothing makes another store
            with pytest.raises(StoreError, match="not the one that was opened"):
                await ours.cluster.join(member, ttl_s=5.0)


async def test_scripts_are_known_again_after_they_were_flushed(server: RedisServer) -> None:
    async with (
        coordinator_at(server.url) as ours,
        redis_py.Redis.from_url(server.url) as admin,
    ):
        await store_saga(ours.store, "trip-7")
        await admin.script_flush()
        await ours.store.append(append_of("trip-7", 3))
        assert len(await ours.store.heads()) == 1


# --- what comes between ---------------------------------------------------------------------------


async def test_a_lease_that_ended_is_never_taken_up_again(
    redis: RedisServer, server_prefix: str
) -> None:
    url = f"{redis.url}?prefix={server_prefix}"
    async with (
        coordinator_at(url, ttl_s=2.0) as ours,
        coordinator_at(f"{url}-other", ttl_s=2.0) as renewing,
        redis_py.Redis.from_url(redis.url) as admin,
    ):
        await admin.delete(f"{server_prefix}:member:{ours.seat.member_id}")
        member = Member(member_id=ours.seat.member_id, name="me", started_at=0.0)
        with pytest.raises(StoreUnavailableError, match="the lease of member"):
            await ours.seat.announce(member)
        await admin.delete(f"{server_prefix}-other:member:{renewing.seat.member_id}")
        async with asyncio.timeout(2.0):
            await ours.seat.wait_lost()
            await renewing.seat.wait_lost()
        assert (await ours.cluster.roster()).members == {}


async def test_a_saga_that_goes_on_while_it_is_removed_stays(
    redis: RedisServer, server_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with coordinator_at(f"{redis.url}?prefix={server_prefix}") as ours:
        await store_saga(ours.store, "trip-7", state="DONE")
        assert isinstance(ours.store, RedisStore)
        look = ours.store._saga

        async def look_and_go_on(saga_id: str) -> Any:
            seen = await look(saga_id)
            monkeypatch.undo()
            await ours.store.append(append_of("trip-7", 3, state="COMPENSATING(1)"))
            return seen

        monkeypatch.setattr(ours.store, "_saga", look_and_go_on)
        with pytest.raises(ConflictError, match="was not removed"):
            await ours.store.remove("trip-7")
        assert len(await ours.store.load("trip-7") or ()) == 4
        assert len(await ours.store.heads(only_unfinished=True)) == 1
