"""Addresses that lead to another etcd than the one that is meant: nothing is ever written there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fsm_saga.errors import StoreError
from fsm_saga.etcd.data import Delete
from fsm_saga.ports import Command, Member
from fsm_saga.stores.etcd_cluster import EtcdCluster, open_etcd_cluster
from tests.conformance.samples import append_of, submitted
from tests.support.servers.certificates import Certificates
from tests.support.servers.etcd import EtcdServer
from tests.support.servers.process import free_port
from tests.support.serving import open_site

TTL_S = 2.0
PATIENCE_S = 20.0
ME = Member(member_id="a", name="a", started_at=0.0)


async def refused(url: str) -> str:
    with pytest.raises(StoreError) as caught:
        await (await open_etcd_cluster(url)).close()
    return caught.value.message


async def until_refused(cluster: EtcdCluster, words: str) -> None:
    """Try to join until that is refused for good, in these words."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with pytest.raises(StoreError) as caught:
                await cluster.join(ME, ttl_s=TTL_S)
            if words in caught.value.message:
                return
            await asyncio.sleep(0.1)


def twin_of(server: EtcdServer, directory: Path) -> EtcdServer:
    """Return an etcd made with the same settings, which has the same ids, but is another."""
    listen = f"http://127.0.0.1:{free_port()}"
    twin = EtcdServer(directory, options=("--listen-peer-urls", listen))
    twin.peer_port = server.peer_port
    twin.peers = server.peers
    return twin


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_addresses_of_two_clusters_are_refused_in_either_order(
    etcd: EtcdServer,
    new_etcd: Callable[..., EtcdServer],
    server_prefix: str,
    order: tuple[int, int],
) -> None:
    servers = (etcd, new_etcd())
    hosts = ",".join(servers[number].address for number in order)
    message = await refused(f"etcd://{hosts}/{server_prefix}")
    assert "belong to different clusters of etcd" in message
    assert all(server.address in message for server in servers)
    assert [server.keys(server_prefix) for server in servers] == [[], []]


def test_the_commands_that_write_end_with_code_2(
    etcd: EtcdServer, new_etcd: Callable[..., EtcdServer], server_prefix: str, tmp_path: Path
) -> None:
    url = f"etcd://{etcd.address},{new_etcd().address}/{server_prefix}"
    with open_site(tmp_path, url) as site:
        for asked in (("serve", "--tools", "tools.py"), ("list",)):
            code, out, err = site.type(*asked)
            assert (code, out) == (2, ""), err
            assert "belong to different clusters of etcd" in err


async def test_two_that_were_made_with_the_same_settings_are_told_apart(
    new_etcd: Callable[..., EtcdServer], own_servers: Callable[[Any], Any], tmp_path: Path
) -> None:
    one = new_etcd()
    two = own_servers(twin_of(one, tmp_path / "twin"))
    ids = {server.call("maintenance/status", {})["header"]["cluster_id"] for server in (one, two)}
    assert len(ids) == 1
    message = await refused(f"etcd://{one.address},{two.address}/sb")
    assert f"{two.address} does not hold this store" in message
    assert two.keys("sb") == []


async def test_a_stranger_that_comes_later_is_never_used(
    new_etcd: Callable[..., EtcdServer], caplog: pytest.LogCaptureFixture
) -> None:
    ours, stranger = new_etcd(), new_etcd()
    stranger.stop()
    cluster = await open_etcd_cluster(f"etcd://{ours.address},{stranger.address}/sb", shards=1)
    try:
        seat = await cluster.join(ME, ttl_s=TTL_S)
        term = await seat.campaign(0)
        assert term is not None
        store = seat.store(term)
        await store.append(append_of("first", 0, submitted("first")))
        stranger.start()
        ours.kill()
        for number in range(4):
            with pytest.raises(StoreError):
                await store.append(append_of(f"s{number}", 0, submitted(f"s{number}")))
            with pytest.raises(StoreError):
                await cluster.reader.post_command(Command(saga_id="first", kind="cancel", body={}))
            with pytest.raises(StoreError):
                await cluster.reader.head("first")
        await asyncio.wait_for(seat.wait_lost(), PATIENCE_S)
        with pytest.raises(StoreError):
            await cluster.join(ME, ttl_s=TTL_S)
        assert stranger.keys("sb") == []
        assert f"{stranger.address} is not used" in caplog.text
        ours.start()
        assert await head_of(cluster, "first") is not None
    finally:
        await cluster.close()


async def head_of(cluster: EtcdCluster, saga_id: str) -> Any:
    """Return where a saga stands as soon as etcd answers."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await cluster.reader.head(saga_id)
            except StoreError:
                await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("has_new_id", "words"),
    [(True, "the addresses are not of one cluster"), (False, "not the one that was opened")],
)
async def test_an_etcd_that_was_made_anew_is_noticed_and_not_led(
    new_etcd: Callable[..., EtcdServer], *, has_new_id: bool, words: str
) -> None:
    server = new_etcd()
    cluster = await open_etcd_cluster(f"etcd://{server.address}/sb", shards=1)
    try:
        seat = await cluster.join(ME, ttl_s=TTL_S)
        term = await seat.campaign(0)
        assert term is not None
        server.kill()
        server.wipe()
        if has_new_id:
            server.peer_port = free_port()
            server.peers = {server.name: server.peer_port}
        server.start()
        with pytest.raises(StoreError):
            await seat.store(term).append(append_of("first", 0, submitted("first")))
        await asyncio.wait_for(seat.wait_lost(), PATIENCE_S)
        await until_refused(cluster, words)
        assert server.keys("sb") == []
    finally:
        await cluster.close()


async def test_a_shard_of_a_store_that_was_replaced_is_not_won(
    new_etcd: Callable[..., EtcdServer],
) -> None:
    server = new_etcd()
    url = f"etcd://{server.address}/sb"
    cluster = await open_etcd_cluster(url, shards=1)
    try:
        seat = await cluster.join(ME, ttl_s=60.0)
        for key in server.keys("sb"):
            await cluster.link.transport.delete(Delete(key=key.encode()))
        await (await open_etcd_cluster(url, shards=1)).close()
        with pytest.raises(StoreError, match="not the one that was opened"):
            await seat.campaign(0)
        with pytest.raises(StoreError, match="not the one that was opened"):
            await seat.announce(ME)
        assert server.keys("sb") == ["sb/meta"]
    finally:
        await cluster.close()


def test_a_connection_that_fails_leaves_one_message_on_stderr(
    new_etcd: Callable[..., EtcdServer], certificates: Certificates, tmp_path: Path
) -> None:
    server = new_etcd(tls=certificates)
    with open_site(tmp_path, f"etcd://{server.address}/sb?ca={certificates.ca}") as site:
        code, out, err = site.type("list")
    assert (code, out) == (2, ""), err
    assert "give one by cert=FILE&key=FILE" in err
    assert "ssl_transport_security" not in err
    assert err.count("\n") == 1, err
