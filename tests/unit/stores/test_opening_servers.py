"""A store that coordinators share, opened by one process: the cluster behind is a memory here."""

from __future__ import annotations

import os
import socket
import time
from types import SimpleNamespace
from typing import Any

import pytest

from fsm_saga.errors import StoreError, StoreLockedError
from fsm_saga.ports import Member, Roster
from fsm_saga.stores import opening
from fsm_saga.stores.memory_cluster import MemoryCluster
from fsm_saga.stores.opening import is_shared, open_cluster, open_store, this_member
from fsm_saga.stores.sharding import shard_of
from tests.conformance.samples import append_of, submitted

URL = "etcd://127.0.0.1:2379/trips"
SHARDS = 3


class Server:
    """What would be etcd: it notes how it was asked for."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster(shards=SHARDS, url=URL)
        self.asked: list[dict[str, Any]] = []
        self.closings: list[str] = []

    async def open(self, url: str, **how: Any) -> MemoryCluster:
        self.asked.append({"url": url, **how})
        return self.cluster

    async def close(self) -> None:
        self.closings.append(URL)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    modules = {
        "fsm_saga.stores.etcd_cluster": SimpleNamespace(open_etcd_cluster=server.open),
        "fsm_saga.stores.redis_cluster": SimpleNamespace(open_redis_cluster=server.open),
    }
    monkeypatch.setattr(opening, "import_module", modules.__getitem__)
    monkeypatch.setattr(server.cluster, "close", server.close)
    return server


def member(name: str, *, is_ready: bool) -> Member:
    return Member(member_id=f"id-{name}", name=name, started_at=0.0, is_ready=is_ready)


@pytest.mark.parametrize("scheme", ["etcd", "redis", "rediss"])
async def test_a_url_of_a_server_opens_its_backend(scheme: str, server: Server) -> None:
    url = f"{scheme}://127.0.0.1/trips"
    assert is_shared(url)
    async with open_cluster(url, shards=5) as cluster:
        assert cluster is server.cluster
        assert server.closings == []
    async with open_store(url, mode="read"):
        pass
    async with open_store(url):
        pass
    assert server.asked == [
        {"url": url, "shards": 5, "may_create": True},
        {"url": url, "shards": None, "may_create": False},
        {"url": url, "shards": None, "may_create": True},
    ]
    assert len(server.closings) == 3


def test_only_a_store_on_a_server_is_shared() -> None:
    assert is_shared(URL)
    assert not is_shared("memory://trips")
    assert not is_shared("sqlite:///trips.db")


async def test_who_opens_it_to_write_leads_every_shard_and_lets_go_of_all(server: Server) -> None:
    sagas = {shard_of(name, SHARDS): name for name in map(str, range(20))}
    assert len(sagas) == SHARDS
    async with open_store(URL) as store:
        for name in sagas.values():
            await store.append(append_of(name, 0, submitted(name)))
        roster = await server.cluster.roster()
        assert sorted(roster.leaders) == list(range(SHARDS))
        (me,) = roster.members.values()
        assert not me.is_ready, "nobody counts on it"
        assert {leader.member_id for leader in roster.leaders.values()} == {me.member_id}
    roster = await server.cluster.roster()
    assert (dict(roster.members), dict(roster.leaders)) == ({}, {})


async def test_who_opens_it_to_read_takes_no_seat(server: Server) -> None:
    async with open_store(URL, mode="read") as store:
        assert store is not None
        assert store.epoch == 0
        assert (await server.cluster.roster()).members == {}


@pytest.mark.parametrize(("names", "words"), [("b", "'b' serves it"), ("ba", "'a', 'b' serve it")])
async def test_it_is_not_written_while_others_serve_it(
    names: str, words: str, server: Server
) -> None:
    for name in names:
        await server.cluster.join(member(name, is_ready=True), ttl_s=1.0)
    with pytest.raises(StoreLockedError, match=words) as caught:
        async with open_store(URL):
            pass
    assert repr(URL) in caught.value.message
    assert "until its lease ends, 5 s after its last sign of life" in caught.value.message
    assert set((await server.cluster.roster()).members) == {f"id-{name}" for name in names}
    assert len(server.closings) == 1


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_shard_that_another_leads_is_named_with_who_leads(
    is_known: bool, server: Server
) -> None:
    seat = await server.cluster.join(member("other", is_ready=False), ttl_s=1.0)
    await seat.campaign(1)
    if not is_known:
        del server.cluster.members["id-other"]
    who = "member 'other'" if is_known else "another process"
    with pytest.raises(StoreLockedError, match=f"{who} leads shard 1") as caught:
        async with open_store(URL):
            pass
    assert repr(URL) in caught.value.message
    assert "until its lease ends, 5 s after its last sign of life" in caught.value.message
    assert set((await server.cluster.roster()).leaders) == {1}, "what it had is let go"


async def test_who_led_a_shard_may_be_gone_when_it_is_asked_for(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody() -> Roster:
        return Roster(members={}, leaders={})

    seat = await server.cluster.join(member("other", is_ready=False), ttl_s=1.0)
    await seat.campaign(1)
    monkeypatch.setattr(server.cluster, "roster", nobody)
    with pytest.raises(StoreLockedError, match="another process leads shard 1"):
        async with open_store(URL):
            pass


async def test_a_package_of_our_own_that_is_missing_is_no_missing_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(opening, "import_module", missing)
    with pytest.raises(ModuleNotFoundError, match="etcd_cluster"):
        async with open_cluster(URL):
            pass


@pytest.mark.parametrize(("scheme", "extra"), [("etcd", "etcd"), ("rediss", "redis")])
async def test_the_extra_to_install_is_named_with_what_is_missing(
    scheme: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_name: str) -> None:
        raise ModuleNotFoundError("No module named 'driver.sub'", name="driver.sub")

    monkeypatch.setattr(opening, "import_module", missing)
    with pytest.raises(StoreError) as caught:
        async with open_cluster(f"{scheme}://127.0.0.1/1"):
            pass
    words = f"backend {scheme!r} needs the package 'driver.sub', which is not installed. "
    assert words in caught.value.message
    assert f"fsm-saga[{extra}]." in caught.value.message


async def test_a_backend_that_is_not_there_makes_no_cluster() -> None:
    with pytest.raises(StoreError, match="no backend 'mysql'"):
        async with open_cluster("mysql://127.0.0.1/1"):
            pass


def test_this_process_is_a_member_under_a_new_id_each_time() -> None:
    before = time.time()
    one = this_member(is_ready=True)
    two = this_member(is_ready=False, name="left desk", version="1.2", address="http://[::1]:80")
    assert one.member_id != two.member_id
    for each in (one, two):
        assert each.member_id.startswith(f"{socket.gethostname()}-{os.getpid()}-")
        assert before <= each.started_at <= time.time()
    assert one.name == f"{socket.gethostname()}:{os.getpid()}"
    assert one.is_ready
    assert (two.name, two.is_ready) == ("left desk", False)
    assert (two.version, two.address) == ("1.2", "http://[::1]:80")
