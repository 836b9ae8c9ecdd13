"""The store in a real etcd that is slow, loses members or answers, or takes the lease away.

A slow disk is had by stopping the members for short times in turn: what waits for the sync of a
stopped member waits as long as for one whose disk takes that time.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fsm_saga.errors import ConflictError, FencedError, StoreError, StoreUnavailableError
from fsm_saga.ports import Member, Store, Term
from fsm_saga.stores.etcd_cluster import EtcdCluster, EtcdSeat, open_etcd_cluster
from tests.conformance.samples import append_of, started, submitted
from tests.support.servers import etcd as servers
from tests.support.servers.proxy import FaultProxy, Way

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

NewCluster = Callable[..., servers.EtcdCluster]
SAGAS = 16
STALL_S = 0.35
STALLS = 9
PATIENCE_S = 20.0
SIZE_TOLD_S = 0.2
"""Etcd learns how large it has become with each commit of its database, ten a second."""


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[EtcdCluster]:
    cluster = await open_etcd_cluster(url, shards=1)
    try:
        yield cluster
    finally:
        await cluster.close()


async def led(cluster: EtcdCluster, name: str, *, ttl_s: float) -> tuple[EtcdSeat, Term, Store]:
    seat = await cluster.join(Member(member_id=name, name=name, started_at=0.0), ttl_s=ttl_s)
    async with asyncio.timeout(PATIENCE_S):
        while (term := await _campaign(seat)) is None:  # noqa: ASYNC110  # etcd tells nobody
            await asyncio.sleep(0.1)
    return seat, term, seat.store(term)


async def _campaign(seat: EtcdSeat) -> Term | None:
    try:
        return await seat.campaign(0)
    except StoreUnavailableError:
        return None


class Writers:
    """Sagas that append one record after the other, as coordinators do: in doubt they read back."""

    def __init__(self, store: Store) -> None:
        self.confirmed: dict[str, int] = {}
        self.doubts = 0
        self.slowest_s = 0.0
        self.is_over = False
        self._store = store

    async def run(self, faults: Callable[[], Any]) -> None:
        """Let all of them write while the faults come, and for a moment after."""
        async with asyncio.TaskGroup() as group:
            for number in range(SAGAS):
                group.create_task(self._write(f"trip-{number}"))
            await asyncio.sleep(0.3)
            await faults()
            await asyncio.sleep(1.0)
            self.is_over = True

    async def _write(self, saga_id: str) -> None:
        position = 0
        while not self.is_over or not position:
            record = started(position) if position else submitted(saga_id)
            began = time.monotonic()
            try:
                await self._store.append(append_of(saga_id, position, record))
            except (StoreUnavailableError, ConflictError):
                # A conflict is a copy of our own that came late, after it was read to be absent.
                self.doubts += 1
                position = await self._end_of(saga_id)
            else:
                position += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            self.confirmed[saga_id] = position
            await asyncio.sleep(0.01)

    async def _end_of(self, saga_id: str) -> int:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    return len(await self._store.load(saga_id) or ())
                except StoreUnavailableError:
                    await asyncio.sleep(0.05)

    async def check(self) -> None:
        """Hold what is there against what was confirmed."""
        assert len(self.confirmed) == SAGAS
        for saga_id, position in self.confirmed.items():
            journal = await self._store.load(saga_id)
            assert journal is not None
            assert len(journal) >= position, "what was confirmed is lost"
            assert journal == (
                submitted(saga_id),
                *(started(number) for number in range(1, len(journal))),
            )


async def test_a_disk_that_is_slow_delays_and_costs_neither_records_nor_the_lease(
    new_etcd_cluster: NewCluster,
) -> None:
    site = new_etcd_cluster()

    async def stall() -> None:
        for number in range(STALLS):
            member = site.members[number % len(site.members)]
            member.pause()
            try:
                await asyncio.sleep(STALL_S)
            finally:
                member.resume()
            await asyncio.sleep(0.1)

    async with opened(f"etcd://{','.join(site.endpoints)}/sagas") as cluster:
        seat, _term, store = await led(cluster, "a", ttl_s=6.0)
        writers = Writers(store)
        await writers.run(stall)
        await writers.check()
        assert writers.slowest_s > STALL_S / 2, "nothing was slow"
        assert seat.lease_left_s > 0.0


async def test_a_disk_that_stands_still_longer_than_the_lease_ends_the_term_and_writes_nothing(
    new_etcd_cluster: NewCluster,
) -> None:
    site = new_etcd_cluster()
    async with (
        opened(f"etcd://{','.join(site.endpoints)}/sagas") as cluster,
        opened(f"etcd://{','.join(site.endpoints)}/sagas") as beside,
    ):
        seat, term, store = await led(cluster, "a", ttl_s=2.0)
        await store.append(append_of("trip", 0, submitted("trip")))
        still = [site.leader(), site.followers()[0]]
        for member in still:
            member.pause()
        try:
            async with asyncio.timeout(4.0):
                await seat.wait_lost()
            with pytest.raises(StoreUnavailableError):
                await store.append(append_of("trip", 1, started(1)))
        finally:
            for member in still:
                member.resume()
        _seat, newer, new_store = await led(beside, "b", ttl_s=6.0)
        assert newer.epoch > term.epoch
        # What was in doubt may have come before the new term, and nothing of it after.
        journal = await new_store.load("trip")
        assert journal is not None
        with pytest.raises(FencedError):
            await store.append(append_of("trip", len(journal), started(9)))
        await new_store.append(append_of("trip", len(journal), started(2)))
        assert await new_store.load("trip") == (*journal, started(2))


async def test_the_death_of_the_leading_member_loses_nothing_and_another_one_takes_over(
    new_etcd_cluster: NewCluster,
) -> None:
    site = new_etcd_cluster()

    async def kill_the_leader() -> None:
        leader = await asyncio.to_thread(site.leader)
        leader.kill()
        await asyncio.sleep(3.0)
        assert await asyncio.to_thread(site.leader) is not leader

    async with opened(f"etcd://{','.join(site.endpoints)}/sagas") as cluster:
        seat, _term, store = await led(cluster, "a", ttl_s=8.0)
        writers = Writers(store)
        await writers.run(kill_the_leader)
        await writers.check()
        assert seat.lease_left_s > 0.0


async def test_a_lease_that_etcd_knows_no_more_ends_the_seat_and_whoever_joins_anew_leads(
    etcd: servers.EtcdServer, server_prefix: str
) -> None:
    async with opened(f"etcd://{etcd.address}/{server_prefix}") as cluster:
        seat, term, store = await led(cluster, "a", ttl_s=5.0)
        await store.append(append_of("trip", 0, submitted("trip")))
        key = base64.b64encode(f"{server_prefix}/cluster/leaders/0000".encode()).decode()
        (leader,) = etcd.call("kv/range", {"key": key})["kvs"]
        etcd.call("lease/revoke", {"ID": leader["lease"]})
        with pytest.raises(FencedError):
            await store.append(append_of("trip", 1, started(1)))
        with pytest.raises(FencedError):
            await store.remove("trip")
        with pytest.raises(StoreError, match="lease"):
            await seat.announce(Member(member_id="a", name="a", started_at=0.0))
        async with asyncio.timeout(PATIENCE_S):
            await seat.wait_lost()
        await seat.leave()
        _seat, newer, new_store = await led(cluster, "a", ttl_s=5.0)
        assert newer.epoch > term.epoch
        await new_store.append(append_of("trip", 1, started(1)))


async def test_an_append_whose_answer_is_lost_is_in_doubt_and_there_once(
    etcd: servers.EtcdServer, server_prefix: str, new_proxy: Callable[[int], FaultProxy]
) -> None:
    proxy = new_proxy(etcd.port)
    async with opened(f"etcd://{proxy.address}/{server_prefix}") as cluster:
        _seat, _term, store = await led(cluster, "a", ttl_s=30.0)
        for position in range(3):
            record = started(position) if position else submitted("trip")
            proxy.blackhole(Way.TO_CLIENT)
            with pytest.raises(StoreUnavailableError, match="read back first"):
                await store.append(append_of("trip", position, record))
            proxy.heal()
            async with asyncio.timeout(PATIENCE_S):
                while len(await _loaded(store)) != position + 1:  # noqa: ASYNC110  # the same
                    await asyncio.sleep(0.05)
            with pytest.raises(ConflictError):
                await _until_answered(store, position)
        assert await _loaded(store) == (submitted("trip"), started(1), started(2))


async def _loaded(store: Store) -> tuple[Any, ...]:
    try:
        return await store.load("trip") or ()
    except StoreUnavailableError:
        return ()


async def _until_answered(store: Store, position: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await store.append(append_of("trip", position, started(7)))
            except StoreUnavailableError:
                await asyncio.sleep(0.05)


async def test_without_space_nothing_is_confirmed_and_removed_sagas_make_room(
    new_etcd: Callable[..., servers.EtcdServer],
) -> None:
    server = new_etcd(quota_bytes=4 * 2**20)
    async with opened(f"etcd://{server.address}/sagas") as cluster:
        _seat, _term, store = await led(cluster, "a", ttl_s=30.0)
        await store.append(append_of("old", 0, submitted("old")))
        await store.append(append_of("old", 1, started(1, x="x" * 2_500_000), state="DONE"))
        await store.append(append_of("trip", 0, submitted("trip")))
        confirmed = await _filled(store, "trip")
        assert 1 < confirmed < 20
        journal = await _loaded(store)
        assert confirmed <= len(journal) <= confirmed + 1, "it is in doubt, and one at most"
        with pytest.raises(StoreUnavailableError, match="space quota is reached"):
            await store.append(append_of("trip", len(journal), started(len(journal))))

        await store.remove("old", position=2)
        await asyncio.to_thread(_make_room, server)
        assert await store.load("trip") == journal
        await store.append(append_of("trip", len(journal), started(1_000)))
        assert await store.load("trip") == (*journal, started(1_000))


async def _filled(store: Store, saga_id: str) -> int:
    """Append to a saga until etcd takes no more, and return how much was confirmed."""
    for position in range(1, 50):
        record = started(position, x="x" * 200_000)
        try:
            await store.append(append_of(saga_id, position, record))
        except StoreUnavailableError:
            return position
        await asyncio.sleep(SIZE_TOLD_S)
    raise AssertionError("etcd does not hold to its quota")


def _make_room(server: servers.EtcdServer) -> None:
    """Do what the refusal advises."""
    server.compact()
    server.defragment()
    server.disarm()
