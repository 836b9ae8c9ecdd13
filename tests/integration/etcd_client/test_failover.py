"""Members that die or fall silent: what is written, what is seen, what is kept.

Writers number their writes and note what was acknowledged; every write is a transaction whose
comparison fails once it has been applied. A watch over the same keys must see each key once, in
the order of the revisions, and at the end exactly the keys that are there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from fsm_saga.etcd.channel import EtcdOptions
from fsm_saga.etcd.client import EtcdClient
from fsm_saga.etcd.data import Put, Range, Txn, WatchRequest, is_absent, prefix_end
from fsm_saga.etcd.errors import EtcdUnavailableError, NothingWrittenError, UnknownOutcomeError
from fsm_saga.etcd.session import Session, open_session
from fsm_saga.etcd.watch import Watch
from tests.support.servers.etcd import EtcdCluster

pytestmark = pytest.mark.timeout(60)

PREFIX = b"/history/"


class History:
    """What writers and one watch saw of a cluster."""

    def __init__(self, client: EtcdClient, session: Session) -> None:
        self.client = client
        self.session = session
        self.acknowledged: set[bytes] = set()
        self.doubtful: set[bytes] = set()
        self.seen: list[tuple[int, bytes]] = []
        self.gap_s_max = 0.0
        self.is_over = False
        self._last_at = time.monotonic()

    async def write(self, writer: int) -> None:
        number = 0
        while not self.is_over:
            key = PREFIX + b"%d/%06d" % (writer, number)
            number += 1
            try:
                result = await self.client.txn(
                    Txn(compares=(is_absent(key),), success=(Put(key=key, value=b"x"),))
                )
            except UnknownOutcomeError:
                self.doubtful.add(key)
            else:
                assert result.succeeded
                self.acknowledged.add(key)
                now = time.monotonic()
                self.gap_s_max = max(self.gap_s_max, now - self._last_at)
                self._last_at = now
            await asyncio.sleep(0.01)

    async def watch(self, watch: Watch) -> None:
        async for answer in watch:
            self.seen += [(event.kv.mod_revision, event.kv.key) for event in answer.events]

    async def run(self, fault: Callable[[], None], *, before_s: float, after_s: float) -> None:
        """Let writers and a watch run, and something happen meanwhile; then look at it all."""
        async with AsyncExitStack() as stack:
            request = WatchRequest(key=PREFIX, range_end=prefix_end(PREFIX), revision=1)
            watch = await stack.enter_async_context(
                Watch(self.client, request, silence_s=0.5, sign_of_life_s=0.5)
            )
            watching = asyncio.create_task(self.watch(watch))
            writing = [asyncio.create_task(self.write(each)) for each in range(4)]
            await asyncio.sleep(before_s)
            fault()
            await asyncio.sleep(after_s)
            self.is_over = True
            await asyncio.gather(*writing)
            whole = Range(key=PREFIX, range_end=prefix_end(PREFIX), keys_only=True)
            self.there = await self.client.range(whole)
            async with asyncio.timeout(10):
                while len(self.seen) < len(self.there.kvs):
                    assert not watching.done(), watching.result()
                    await asyncio.sleep(0.02)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    def check(self) -> None:
        there = {kv.key for kv in self.there.kvs}
        assert self.acknowledged <= there, "an acknowledged write is lost"
        assert there <= self.acknowledged | self.doubtful
        assert self.seen == sorted((kv.mod_revision, kv.key) for kv in self.there.kvs)
        assert len(self.acknowledged) > 50


async def lived_through(
    cluster: EtcdCluster,
    first: str,
    fault: Callable[[], None],
    *,
    after_s: float,
) -> History:
    """Run a history on a client whose first choice is one member."""
    others = [address for address in cluster.endpoints if address != first]
    options = EtcdOptions(endpoints=(first, *others))
    async with EtcdClient(options) as client, open_session(client, ttl_s=10) as session:
        history = History(client, session)
        await history.run(fault, before_s=0.5, after_s=after_s)
        assert session.is_alive, await session.wait_lost()
        history.check()
        assert client.endpoint != first
        return history


async def test_the_death_of_the_leader_loses_nothing_and_stops_us_briefly(
    new_etcd_cluster: Callable[..., EtcdCluster],
) -> None:
    cluster = new_etcd_cluster()
    leader = cluster.leader()
    history = await lived_through(cluster, leader.address, leader.kill, after_s=5.0)
    assert history.gap_s_max < 4.5


async def test_a_member_that_falls_silent_is_left_for_another(
    new_etcd_cluster: Callable[..., EtcdCluster],
) -> None:
    cluster = new_etcd_cluster()
    follower = cluster.followers()[0]
    try:
        history = await lived_through(cluster, follower.address, follower.pause, after_s=4.5)
        # It stays silent for longer: without another member the gap would be as long as that.
        assert history.gap_s_max < 4.0
        assert history.doubtful, "requests to the silent member have no known outcome"
        await without_a_majority(cluster)
    finally:
        follower.resume()


async def without_a_majority(cluster: EtcdCluster) -> None:
    """Pause a second member: what is read fails, what is written is in doubt, and neither lies."""
    paused = next(member for member in cluster.members if not member.is_paused)
    survivor = next(
        member for member in cluster.members if not member.is_paused and member is not paused
    )
    async with EtcdClient(EtcdOptions(endpoints=(survivor.address,))) as client:
        await client.put(Put(key=b"/k", value=b"1"))
        paused.pause()
        try:
            with pytest.raises(EtcdUnavailableError):
                await client.range(Range(key=b"/k"), timeout_s=0.5)
            with pytest.raises(UnknownOutcomeError):
                await client.put(Put(key=b"/k", value=b"2"), timeout_s=0.5)
            stale = await client.range(Range(key=b"/k", is_serializable=True))
            assert stale.first is not None
        finally:
            paused.resume()


async def test_an_endpoint_that_nobody_listens_at_is_skipped_by_reads(client: EtcdClient) -> None:
    options = EtcdOptions(endpoints=("127.0.0.1:1", client.endpoint))
    async with EtcdClient(options) as other:
        assert other.endpoint == "127.0.0.1:1"
        await other.range(Range(key=b"/k"))
        assert other.endpoint == client.endpoint
        first, second = await other.statuses()
        assert first.problem is not None
        assert second.problem is None


async def test_without_any_endpoint_reads_end_within_their_time() -> None:
    async with EtcdClient(EtcdOptions(endpoints=("127.0.0.1:1", "127.0.0.1:2"))) as client:
        began = time.monotonic()
        with pytest.raises(EtcdUnavailableError):
            await client.range(Range(key=b"/k"), timeout_s=0.3)
        assert time.monotonic() - began < 2
        with pytest.raises(UnknownOutcomeError):
            await client.put(Put(key=b"/k", value=b""))
        with pytest.raises(UnknownOutcomeError):
            await client.grant_lease(5)
        with pytest.raises(EtcdUnavailableError):
            await client.keep_lease_alive(5, timeout_s=0.3)
        with pytest.raises(EtcdUnavailableError):
            async with client.open_watch(WatchRequest(key=b"/k")):
                pytest.fail("there is nothing to watch")
        assert not issubclass(UnknownOutcomeError, NothingWrittenError)
