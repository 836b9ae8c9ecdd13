"""A watch through broken connections, silence and compaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from fsm_saga.etcd.channel import EtcdOptions
from fsm_saga.etcd.client import EtcdClient
from fsm_saga.etcd.data import Put, Range, Txn, WatchRequest, prefix_end
from fsm_saga.etcd.errors import CompactedError
from fsm_saga.etcd.watch import Watch
from tests.support.servers.etcd import EtcdServer
from tests.support.servers.proxy import FaultProxy

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def proxied(
    etcd: EtcdServer, new_proxy: Callable[[int], FaultProxy]
) -> AsyncIterator[tuple[EtcdClient, FaultProxy]]:
    proxy = new_proxy(etcd.port)
    options = EtcdOptions(endpoints=(proxy.address,), try_timeout_s=0.5)
    async with EtcdClient(options) as client:
        yield client, proxy


def watch_of(client: EtcdClient, prefix: bytes, revision: int, *, silence_s: float = 0.3) -> Watch:
    request = WatchRequest(key=prefix, range_end=prefix_end(prefix), revision=revision)
    return Watch(client, request, silence_s=silence_s, sign_of_life_s=0.3)


async def values(watch: Watch, count: int) -> list[bytes]:
    found: list[bytes] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += [event.kv.value for event in (await anext(watch)).events]
    return found


@pytest.mark.parametrize("fault", ["reset", "cut", "blackhole"])
async def test_a_watch_resumes_after_the_last_change_that_it_told(
    client: EtcdClient, proxied: tuple[EtcdClient, FaultProxy], prefix: bytes, fault: str
) -> None:
    through, proxy = proxied
    first = await client.put(Put(key=prefix, value=b"1"))
    async with watch_of(through, prefix, first.revision) as watch:
        assert await values(watch, 1) == [b"1"]
        if fault == "reset":
            proxy.reset()
        elif fault == "cut":
            proxy.cut()
        else:
            proxy.blackhole()
        for number in (2, 3):
            await client.put(Put(key=prefix, value=b"%d" % number))
        healing = asyncio.get_running_loop().call_later(1.0, proxy.heal)
        try:
            assert await values(watch, 2) == [b"2", b"3"]
        finally:
            healing.cancel()
        await client.put(Put(key=prefix, value=b"4"))
        assert await values(watch, 1) == [b"4"]


async def test_silence_alone_does_not_break_a_watch(client: EtcdClient, prefix: bytes) -> None:
    async with watch_of(client, prefix, 0, silence_s=0.05) as watch:
        begun = await watch.start()
        waiting = asyncio.create_task(values(watch, 1))
        await asyncio.sleep(0.4)
        written = await client.put(Put(key=prefix, value=b"late"))
        assert await waiting == [b"late"]
        assert written.revision >= begun


async def test_a_watch_from_now_misses_nothing_after_its_beginning(
    client: EtcdClient, proxied: tuple[EtcdClient, FaultProxy], prefix: bytes
) -> None:
    through, proxy = proxied
    await client.put(Put(key=prefix, value=b"before"))
    async with watch_of(through, prefix, 0) as watch:
        await watch.start()
        proxy.reset()  # before the first event: there is no last revision but the beginning's
        await client.put(Put(key=prefix, value=b"after"))
        assert await values(watch, 1) == [b"after"]


async def test_all_changes_of_one_transaction_come_together(
    client: EtcdClient, prefix: bytes
) -> None:
    puts = tuple(Put(key=prefix + b"%03d" % each, value=b"x") for each in range(100))
    async with watch_of(client, prefix, 0) as watch:
        await watch.start()
        result = await client.txn(Txn(success=puts))
        async with asyncio.timeout(5):
            answer = await anext(watch)
    assert len(answer.events) == 100
    assert {event.kv.mod_revision for event in answer.events} == {result.revision}


async def test_what_was_compacted_away_is_said_and_a_new_list_goes_on(
    client: EtcdClient, proxied: tuple[EtcdClient, FaultProxy], prefix: bytes
) -> None:
    through, proxy = proxied
    first = await client.put(Put(key=prefix, value=b"1"))
    async with watch_of(through, prefix, first.revision) as watch:
        assert await values(watch, 1) == [b"1"]
        proxy.refuse()
        proxy.reset()
        for number in (2, 3):
            last = await client.put(Put(key=prefix, value=b"%d" % number))
        await client.compact(last.revision)
        proxy.heal()
        with pytest.raises(CompactedError) as caught:
            await values(watch, 1)
    assert caught.value.facts["revision"] == first.revision + 1
    assert caught.value.facts["compact_revision"] == last.revision
    listed = await client.range(Range(key=prefix))
    assert listed.first is not None
    async with watch_of(through, prefix, listed.revision + 1) as watch:
        await client.put(Put(key=prefix, value=b"4"))
        assert await values(watch, 1) == [b"4"]


async def test_who_takes_nothing_for_a_while_loses_nothing(
    client: EtcdClient, prefix: bytes
) -> None:
    async with watch_of(client, prefix, 0) as watch:
        await watch.start()
        for number in range(200):
            await client.put(Put(key=prefix, value=b"%d" % number + bytes(2000)))
        taken = await values(watch, 200)
    assert [int(value.rstrip(b"\0")) for value in taken] == list(range(200))
