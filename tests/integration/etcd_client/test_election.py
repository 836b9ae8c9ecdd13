"""Leases that end, leaders that follow each other, and a stale one that is refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from fsm_saga.etcd.channel import EtcdOptions
from fsm_saga.etcd.client import EtcdClient
from fsm_saga.etcd.data import KeyValue, Put, Range, Txn, WatchRequest
from fsm_saga.etcd.election import Election, Leadership
from fsm_saga.etcd.errors import LeaseLostError
from fsm_saga.etcd.session import open_session
from fsm_saga.etcd.watch import Watch
from tests.support.servers.etcd import EtcdServer
from tests.support.servers.proxy import FaultProxy

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def cut_off(
    etcd: EtcdServer, new_proxy: Callable[[int], FaultProxy]
) -> AsyncIterator[tuple[EtcdClient, FaultProxy]]:
    """Give a client whose way to etcd can be taken away."""
    proxy = new_proxy(etcd.port)
    options = EtcdOptions(endpoints=(proxy.address,), try_timeout_s=0.5)
    async with EtcdClient(options) as client:
        yield client, proxy


async def test_a_session_lives_past_its_ttl_and_its_lease_ends_with_it(client: EtcdClient) -> None:
    async with open_session(client, ttl_s=2, margin_s=0.5) as session:
        await asyncio.sleep(2.6)
        session.check_alive()
        assert (await client.lease_time(session.lease_id)).left_s >= 0
    assert (await client.lease_time(session.lease_id)).left_s == -1
    assert not session.is_alive


async def test_a_session_without_etcd_ends_before_etcd_ends_its_lease(
    client: EtcdClient, cut_off: tuple[EtcdClient, FaultProxy], prefix: bytes
) -> None:
    through, proxy = cut_off
    async with open_session(through, ttl_s=2, margin_s=0.5) as session:
        await client.put(Put(key=prefix, value=b"", lease=session.lease_id))
        proxy.blackhole()
        async with asyncio.timeout(5):
            reason = await session.wait_lost()
        assert reason == "no renewal was answered in time"
        there = await client.range(Range(key=prefix))
        assert there.first is not None, "etcd ended the lease before we did"
        with pytest.raises(LeaseLostError):
            session.check_alive()
        async with (
            asyncio.timeout(5),
            Watch(client, WatchRequest(key=prefix, revision=there.revision + 1)) as watch,
        ):
            assert [event.is_delete for event in (await anext(watch)).events] == [True]


async def test_a_session_learns_that_etcd_ended_its_lease(client: EtcdClient) -> None:
    async with open_session(client, ttl_s=2, margin_s=0.2) as session:
        await client.revoke_lease(session.lease_id)
        async with asyncio.timeout(3):
            assert "there is no such lease" in await session.wait_lost()
        with pytest.raises(LeaseLostError):
            await session.while_alive(asyncio.sleep(60))


async def test_the_next_candidate_leads_as_soon_as_the_leader_resigns(
    client: EtcdClient, prefix: bytes
) -> None:
    async with open_session(client) as first, open_session(client) as second:
        one = Election(client, first, key=prefix, value=b"one", poll_s=60)
        two = Election(client, second, key=prefix, value=b"two", poll_s=60)
        leader = await one.campaign()
        seen = await two.try_once()
        assert isinstance(seen, KeyValue)
        assert (seen.value, seen.create_revision) == (b"one", leader.fence)
        # The same session again finds what it has created.
        assert await one.try_once() == leader
        waiting = asyncio.create_task(two.campaign())
        losing = asyncio.create_task(one.wait_lost(leader))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        assert await one.resign(leader)
        async with asyncio.timeout(2):
            next_leader = await waiting
            assert await losing == "the key was deleted"
        assert next_leader.fence > leader.fence
        assert not await one.resign(leader)
        assert isinstance(await two.try_once(), Leadership)


async def test_a_candidate_that_no_watch_told_looks_by_itself(
    client: EtcdClient, cut_off: tuple[EtcdClient, FaultProxy], prefix: bytes
) -> None:
    through, proxy = cut_off
    await client.put(Put(key=prefix, value=b"somebody"))
    async with open_session(through, ttl_s=10) as session:
        waiting = asyncio.create_task(Election(through, session, key=prefix, poll_s=0.3).campaign())
        await asyncio.sleep(0.1)
        proxy.blackhole()
        await client.txn(Txn(success=(Put(key=prefix, value=b"other"),)))
        revoked = await client.grant_lease(60)
        await client.put(Put(key=prefix, value=b"leased", lease=revoked.lease_id))
        await client.revoke_lease(revoked.lease_id)
        proxy.heal()
        async with asyncio.timeout(5):
            assert (await waiting).key == prefix


async def test_a_paused_leader_cannot_write_after_another_was_elected(
    client: EtcdClient, cut_off: tuple[EtcdClient, FaultProxy], prefix: bytes
) -> None:
    through, proxy = cut_off
    saga = prefix + b"saga"
    async with (
        open_session(through, ttl_s=2, margin_s=0.5) as stale,
        open_session(client, ttl_s=5) as fresh,
    ):
        old = await Election(through, stale, key=prefix + b"leader").campaign()
        guarded = Txn(compares=(old.guard(),), success=(Put(key=saga, value=b"old"),))
        assert (await through.txn(guarded)).succeeded
        proxy.blackhole()  # like a pause: nothing comes or goes
        began = time.monotonic()
        async with asyncio.timeout(10):
            new = await Election(client, fresh, key=prefix + b"leader").campaign()
        assert time.monotonic() - began < 6
        assert new.fence > old.fence
        assert not stale.is_alive
        # Back again and unaware: nothing but the fence stands between it and the saga.
        proxy.heal()
        assert not (await client.txn(guarded)).succeeded
        taken_over = Txn(compares=(new.guard(),), success=(Put(key=saga, value=b"new"),))
        assert (await client.txn(taken_over)).succeeded


async def test_a_campaign_ends_with_its_session(client: EtcdClient, prefix: bytes) -> None:
    await client.put(Put(key=prefix, value=b"somebody"))
    async with open_session(client, ttl_s=2, margin_s=0.2) as session:
        waiting = asyncio.create_task(Election(client, session, key=prefix).campaign())
        await asyncio.sleep(0.1)
        await client.revoke_lease(session.lease_id)
        with pytest.raises(LeaseLostError):
            async with asyncio.timeout(5):
                await waiting
