"""Real servers that fail while several clients work: what all of them saw fits one order.

Requests and answers are lost or late, connections break, servers are killed, stand still, and the
right to lead is taken away behind its holder's back. Three histories are judged by the checker of
linearizability: the journals with their heads and removals, the terms, and the commands. Below,
clients and servers that are not what they claim to be are found out by the same harness.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
import redis.asyncio as redis_py

from fsm_saga.core.records import Record
from fsm_saga.errors import StoreError, StoreUnavailableError
from fsm_saga.etcd.data import TxnResult, is_absent
from fsm_saga.ports import Append, ClusterStore, Store
from fsm_saga.stores import redis_link
from fsm_saga.stores.etcd_values import end_in
from fsm_saga.stores.etcd_view import firsts
from fsm_saga.stores.refusals import conflict
from tests.conformance.crew import Coordinator, Log, Reader, Wrap, read_all, settle
from tests.conformance.troubles import EtcdSite, RedisSite, connected_redis, suffer
from tests.support.servers.etcd import EtcdCluster
from tests.support.servers.proxy import FaultProxy, Way
from tests.support.servers.redis import RedisServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

ANSWER_S_MAX = 0.5
WORK_S_MAX = 60.0
DEPOSED = "another takes the shard"
NETWORK = ("requests are lost", "answers are lost", "requests come late", "connections are cut")
ALL_OF_ETCD = (
    *(NETWORK[0], DEPOSED, NETWORK[1], "the leading server is killed", NETWORK[2], DEPOSED),
    *("the leading server stands still", NETWORK[3], DEPOSED),
)
ALL_OF_REDIS = (
    *(NETWORK[0], DEPOSED, NETWORK[1], "the server is killed", NETWORK[2], DEPOSED),
    *("the server stands still", NETWORK[3], DEPOSED),
)

Site = EtcdSite | RedisSite
NewProxy = Callable[[int], FaultProxy]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less for an answer of Redis than outside of tests."""
    monkeypatch.setattr(redis_link, "ANSWER_S_MAX", ANSWER_S_MAX)


@pytest.fixture
def etcd_site(new_etcd_cluster: Callable[..., EtcdCluster], new_proxy: NewProxy) -> EtcdSite:
    return EtcdSite(new_etcd_cluster(), new_proxy)


@pytest.fixture
def redis_site(new_redis: Callable[..., RedisServer], new_proxy: NewProxy) -> RedisSite:
    return RedisSite(new_redis(), new_proxy)


@asynccontextmanager
async def at_work(
    site: Site, log: Log, *, wrap: Wrap = lambda store: store, look_at: ClusterStore | None = None
) -> AsyncIterator[Reader]:
    """Let two coordinators and two readers work; give one more reader."""
    async with AsyncExitStack() as stack:
        one, other, beside = [await stack.enter_async_context(site.connected()) for _ in range(3)]
        readers = [Reader(name, (look_at or beside).reader, log) for name in ("r", "s")]
        async with asyncio.timeout(WORK_S_MAX), asyncio.TaskGroup() as group:
            for name, cluster in (("a", one), ("b", other)):
                group.create_task(Coordinator(name, cluster, log, wrap).work())
            for reader in readers:
                group.create_task(reader.work())
            try:
                yield Reader("z", beside.reader, log)
            finally:
                log.is_over = True
        await read_all(Reader("last", beside.reader, log))


def told(log: Log, bitten: Counter[str], record_property: Callable[[str, Any], None]) -> None:
    for name, count in (log.counts + bitten).items():
        record_property(name, count)


async def test_what_clients_of_etcd_saw_through_all_troubles_fits_one_order(
    etcd_site: EtcdSite, record_property: Callable[[str, Any], None]
) -> None:
    log = Log()
    async with at_work(etcd_site, log) as reader:
        bitten = await suffer(etcd_site, ALL_OF_ETCD, log.counts)
        await settle(reader)
    told(log, bitten, record_property)
    check_all(log, bitten, ALL_OF_ETCD)


async def test_what_clients_of_redis_saw_through_all_troubles_fits_one_order(
    redis_site: RedisSite, record_property: Callable[[str, Any], None]
) -> None:
    log = Log()
    async with at_work(redis_site, log) as reader:
        bitten = await suffer(redis_site, ALL_OF_REDIS, log.counts)
        await settle(reader)
    told(log, bitten, record_property)
    check_all(log, bitten, ALL_OF_REDIS)


UNKNOWN_MIN = 5
AT_LEAST = {
    "appends": 60,
    "appends unknown": 2,
    "removals": 2,
    "reads": 80,
    "terms": 3,
    "fenced": 2,
    "commands": 10,
    "answers": 10,
}


def check_all(log: Log, bitten: Counter[str], troubles: Sequence[str]) -> None:
    """Hold the histories against the models, and against having shown nothing."""
    impossible = log.impossible()
    assert not impossible, "\n".join(map(str, impossible.values()))
    assert all(len(numbers) == 1 for numbers in log.numbers.values()), "a command came twice"
    assert set(+bitten) == set(troubles), bitten
    assert sum(n for name, n in log.counts.items() if name.endswith("unknown")) >= UNKNOWN_MIN
    scarce = {name: log.counts[name] for name, n in AT_LEAST.items() if log.counts[name] < n}
    assert not scarce, log.counts


# --- what is not what it claims to be, to see that it is found out --------------------------------


class Wrapped:
    """A store that leaves everything to another one; those below change one thing."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


class TakesDoubtForSuccess(Wrapped):
    """Acknowledges appends of which nobody knows what became."""

    async def append(self, append: Append) -> None:
        with suppress(StoreUnavailableError):
            await self.store.append(append)


class RemembersReads(Wrapped):
    """Shows a journal three times before it looks again."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.shown: dict[str, Any] = {}
        self.calls = 0

    async def load(self, saga_id: str) -> tuple[Record, ...] | None:
        self.calls += 1
        if self.calls % 3 == 0 or saga_id not in self.shown:
            self.shown[saga_id] = await self.store.load(saga_id)
        journal: tuple[Record, ...] | None = self.shown[saga_id]
        return journal


class ForgetsAnswers(Wrapped):
    """Acknowledges every third answer without writing it."""

    calls = 0

    async def answer_command(self, number: int, answer: dict[str, Any]) -> None:
        self.calls += 1
        if self.calls % 3:
            await self.store.answer_command(number, answer)


def unfenced(store: Any) -> Store:
    """Return a store in etcd that compares no term when it appends, and sees none in a refusal."""

    def refused(answer: TxnResult, append: Append, _epoch: int) -> StoreError:
        _leader, live, done, *_ = firsts(answer)
        at = live or done
        found = None if at is None else end_in(at)
        return conflict(append.saga_id, expected=append.position, found=found)

    store._view.leads = lambda shard, epoch: is_absent(b"nobody")
    store._refused_append = refused
    unguarded: Store = store
    return unguarded


LIARS: list[tuple[Wrap, str, Sequence[str]]] = [
    (TakesDoubtForSuccess, "sagas", NETWORK[:2]),
    (RemembersReads, "sagas", NETWORK[3:]),
    (ForgetsAnswers, "commands", NETWORK[3:]),
]


@pytest.mark.parametrize(("wrap", "kind", "troubles"), LIARS)
async def test_a_client_that_lies_is_found_out(
    redis_site: RedisSite, wrap: Wrap, kind: str, troubles: Sequence[str]
) -> None:
    log = Log()
    async with at_work(redis_site, log, wrap=wrap):
        bitten = await suffer(redis_site, troubles, log.counts)
    assert set(+bitten) == set(troubles)
    assert kind in log.impossible()


async def test_a_leader_whose_writes_name_no_term_is_found_out(etcd_site: EtcdSite) -> None:
    log = Log()
    async with at_work(etcd_site, log, wrap=unfenced):
        await suffer(etcd_site, [DEPOSED, DEPOSED], log.counts)
    assert log.counts["terms"] > 1
    assert "terms" in log.impossible()


async def test_reads_of_a_replica_that_is_cut_off_are_found_out(
    redis_site: RedisSite, new_redis: Callable[..., RedisServer], new_proxy: NewProxy
) -> None:
    log, replica, way = Log(), new_redis(), new_proxy(redis_site.port)
    async with redis_site.connected(), redis_py.Redis.from_url(replica.url) as client:
        await client.replicaof("127.0.0.1", str(way.port))
        async with asyncio.timeout(WORK_S_MAX):
            while not await client.dbsize():  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0.05)
        async with (
            connected_redis(f"redis://{replica.address}", may_create=False) as stale,
            at_work(redis_site, log, look_at=stale),
        ):
            await asyncio.sleep(0.5)
            way.hold(Way.TO_CLIENT)
            await asyncio.sleep(1.0)
        way.heal()
    assert "sagas" in log.impossible()
