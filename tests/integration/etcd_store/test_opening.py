"""Everything that may be wrong with a store in etcd is said before anything is begun."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fsm_saga.errors import StoreError, StoreVersionError
from fsm_saga.stores.etcd_checks import SCHEMA
from fsm_saga.stores.etcd_cluster import EtcdCluster, open_etcd_cluster
from fsm_saga.stores.etcd_layout import Layout
from fsm_saga.stores.etcd_quota import QUOTA_BYTES_MIN
from fsm_saga.stores.etcd_values import object_value
from tests.support.servers.certificates import Certificates, make_certificates
from tests.support.servers.etcd import EtcdCluster as EtcdServers
from tests.support.servers.etcd import EtcdServer


async def opened(url: str, **options: Any) -> EtcdCluster:
    cluster = await open_etcd_cluster(url, **options)
    await cluster.close()
    return cluster


async def refused(url: str, **options: Any) -> str:
    with pytest.raises(StoreError) as caught:
        await opened(url, **options)
    return str(caught.value)


async def test_it_is_made_once_and_keeps_its_number_of_shards(
    etcd: EtcdServer, server_prefix: str
) -> None:
    url = f"etcd://{etcd.address}/{server_prefix}"
    assert (await opened(url, shards=3)).shards == 3
    assert (await opened(url)).shards == 3
    assert (await opened(url, shards=3)).shards == 3
    message = await refused(url, shards=4)
    assert "it was made with 3" in message
    assert "leave --shards away" in message


@pytest.mark.parametrize("shards", [0, -1, 257])
async def test_a_number_of_shards_that_cannot_be_is_refused_before_anything_is_made(
    etcd: EtcdServer, server_prefix: str, shards: int
) -> None:
    assert f"{shards} shards" in await refused(
        f"etcd://{etcd.address}/{server_prefix}", shards=shards
    )
    assert etcd.keys(server_prefix) == []


async def test_a_reader_makes_nothing(etcd: EtcdServer, server_prefix: str) -> None:
    url = f"etcd://{etcd.address}/{server_prefix}"
    assert "there is none under the prefix" in await refused(url, may_create=False)
    assert etcd.keys(server_prefix) == []


async def test_a_prefix_with_other_data_is_refused(etcd: EtcdServer, server_prefix: str) -> None:
    etcd.put(f"{server_prefix}/config", "theirs")
    message = await refused(f"etcd://{etcd.address}/{server_prefix}")
    assert f"{server_prefix}/config" in message
    assert "choose another prefix" in message
    assert etcd.keys(server_prefix) == [f"{server_prefix}/config"]


async def test_a_key_of_somebody_elses_in_the_place_of_ours_is_refused(
    etcd: EtcdServer, server_prefix: str
) -> None:
    etcd.put(f"{server_prefix}/meta", "theirs")
    message = await refused(f"etcd://{etcd.address}/{server_prefix}")
    assert "something of somebody else's" in message
    assert "choose another prefix" in message
    assert etcd.get(f"{server_prefix}/meta") == "theirs"


async def test_our_own_key_that_was_damaged_is_said_to_be(
    etcd: EtcdServer, server_prefix: str
) -> None:
    url = f"etcd://{etcd.address}/{server_prefix}"
    await opened(url)
    key = f"{server_prefix}/meta"
    etcd.put(key, str(etcd.get(key)).replace("shards", "shardz"))
    message = await refused(url)
    assert "its checksum is wrong" in message
    assert "restore it from a copy" in message


async def test_a_quota_below_one_request_is_refused_and_one_above_is_not(
    new_etcd: Callable[..., EtcdServer], certificates: Certificates, server_prefix: str
) -> None:
    tiny = new_etcd(quota_bytes=1_000_000)
    message = await refused(f"etcd://{tiny.address}/{server_prefix}")
    assert "has a space quota of 1,000,000 bytes" in message
    assert "raise --quota-backend-bytes" in message
    assert tiny.keys(server_prefix) == []
    assert (await opened(f"etcd://{new_etcd(quota_bytes=QUOTA_BYTES_MIN).address}/x")).shards
    hidden = new_etcd(quota_bytes=1_000_000, tls=certificates)
    ours = f"ca={certificates.ca}&cert={certificates.client_cert}&key={certificates.client_key}"
    message = await refused(f"etcd://{hidden.address}/{server_prefix}?{ours}")
    assert "has a space quota of 1,000,000 bytes" in message


async def test_without_a_majority_that_is_what_is_said(
    new_etcd_cluster: Callable[..., EtcdServers], server_prefix: str
) -> None:
    members = new_etcd_cluster()
    url = f"etcd://{','.join(members.endpoints)}/{server_prefix}"
    for member in members.members[1:]:
        member.kill()
    message = await refused(url)
    assert "no majority of etcd's members does" in message
    assert "start the other members" in message


async def test_a_newer_schema_is_refused(etcd: EtcdServer, server_prefix: str) -> None:
    key = Layout(f"{server_prefix}/").meta
    said = {"format": "fsm-saga", "schema": SCHEMA + 1, "shards": 8}
    etcd.put(key.decode(), object_value(key, said).decode())
    with pytest.raises(StoreVersionError, match="use the version that made it"):
        await opened(f"etcd://{etcd.address}/{server_prefix}")


async def test_nobody_there_is_said_with_every_address(server_prefix: str) -> None:
    message = await refused(f"etcd://127.0.0.1:1,127.0.0.1:2/{server_prefix}")
    assert "no member of etcd answers" in message
    assert "127.0.0.1:1" in message
    assert "127.0.0.1:2" in message


async def test_one_member_of_several_is_enough(etcd: EtcdServer, server_prefix: str) -> None:
    assert (await opened(f"etcd://127.0.0.1:1,{etcd.address}/{server_prefix}")).shards


async def test_a_wrong_password_is_said_without_repeating_it(
    new_etcd: Callable[..., EtcdServer], server_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = new_etcd(password="correct-horse")
    url = f"etcd://root:battery-staple@{server.address}/{server_prefix}"
    message = await refused(url)
    assert "does not accept the user or the password" in message
    assert "battery-staple" not in message
    nobody = await refused(f"etcd://{server.address}/{server_prefix}")
    assert "password" in nobody
    cluster = await opened(f"etcd://root:correct-horse@{server.address}/{server_prefix}")
    assert cluster.url == f"etcd://root@{server.address}/{server_prefix}"
    monkeypatch.setenv("FSM_SAGA_ETCD_PASSWORD", "correct-horse")
    assert (await opened(f"etcd://root@{server.address}/{server_prefix}")).shards


async def test_an_encrypted_server_needs_the_right_certificates(
    new_etcd: Callable[..., EtcdServer],
    certificates: Certificates,
    server_prefix: str,
    tmp_path: Path,
) -> None:
    server = new_etcd(tls=certificates)
    plain = f"etcd://{server.address}/{server_prefix}"
    ours = f"ca={certificates.ca}&cert={certificates.client_cert}&key={certificates.client_key}"
    assert (await opened(f"{plain}?{ours}")).shards
    others = make_certificates(tmp_path)
    wrong_ca = ours.replace(str(certificates.ca), str(others.ca))
    theirs = f"cert={others.client_cert}&key={others.client_key}"
    for options, hint in (
        ("", "If it speaks TLS, ask for that: add ?ca=FILE"),
        ("?tls=1", "name the file with the authority's certificate by ca=FILE"),
        (f"?{wrong_ca}", "name the file with the authority's certificate by ca=FILE"),
        (f"?ca={certificates.ca}", "give one by cert=FILE&key=FILE"),
        (f"?ca={certificates.ca}&{theirs}", "give one by cert=FILE&key=FILE"),
        (f"?ca={certificates.client_key}", "is not the certificate or key"),
    ):
        message = await refused(plain + options)
        assert "no member of etcd answers" in message
        assert hint in message, options


async def test_a_server_without_tls_is_told_from_one_with_the_wrong_certificate(
    etcd: EtcdServer, server_prefix: str
) -> None:
    message = await refused(f"etcd://{etcd.address}/{server_prefix}?tls=1")
    assert "It does not speak TLS: leave tls=1" in message


async def test_a_full_server_is_said_with_the_way_out(
    new_etcd: Callable[..., EtcdServer], server_prefix: str
) -> None:
    server = new_etcd(quota_bytes=4 * 1024 * 1024)
    fill(server)
    message = await refused(f"etcd://{server.address}/{server_prefix}")
    assert "space quota is reached" in message
    assert "etcdctl alarm disarm" in message


def fill(server: EtcdServer) -> None:
    """Write until the quota is reached."""
    for number in range(64):
        try:
            server.put(f"fill/{number}", "x" * 500_000)
        except Exception:  # noqa: BLE001  # whatever its door says when it is full
            return
    raise AssertionError("the quota was never reached")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("etcd://", "is no host"),
        ("etcd://a:notaport/x", "is no host"),
        ("etcd://a,,b/x", "is no host"),
        ("etcd://a/x?shards=3", "'shards' is no option"),
        ("etcd://a/x?transport=rest", "there is no transport 'rest'"),
        ("etcd://a/x?ca=no-such-file.pem", "there is no file 'no-such-file.pem'"),
        ("etcd://a/x?ca", "cannot be read"),
    ],
)
async def test_a_url_that_means_nothing_is_refused(url: str, words: str) -> None:
    assert words in await refused(url)


async def test_a_certificate_without_its_key_is_refused(certificates: Certificates) -> None:
    message = await refused(f"etcd://a/x?cert={certificates.client_cert}")
    assert "go together" in message
