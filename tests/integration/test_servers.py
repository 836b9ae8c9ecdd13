"""The servers that other tests rely on do what these tests make them do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis as redis_py

from examples.cluster.binaries import ServerMissingError, etcd_binary
from examples.cluster.packages import PackagesError
from tests.support.servers.certificates import Certificates
from tests.support.servers.etcd import EtcdCluster, EtcdServer
from tests.support.servers.process import ServerFailedError
from tests.support.servers.redis import RedisServer

NewEtcd = Callable[..., EtcdServer]
NewCluster = Callable[..., EtcdCluster]
NewRedis = Callable[..., RedisServer]


def client_of(server: RedisServer) -> redis_py.Redis:
    tls = {}
    if server.tls is not None:
        tls = {
            "ssl_ca_certs": str(server.tls.ca),
            "ssl_certfile": str(server.tls.client_cert),
            "ssl_keyfile": str(server.tls.client_key),
        }
    return redis_py.Redis.from_url(server.url, socket_timeout=5, decode_responses=True, **tls)


def test_etcd_keeps_what_it_was_given_through_a_kill(new_etcd: NewEtcd) -> None:
    server = new_etcd()
    server.put("trip/7", "安娜")
    server.kill()
    assert not server.is_running
    server.start()
    assert server.get("trip/7") == "安娜"
    assert server.keys("trip/") == ["trip/7"]


def test_a_wiped_etcd_is_empty_and_a_restored_one_goes_back(
    new_etcd: NewEtcd, tmp_path: Path
) -> None:
    server = new_etcd()
    server.put("a", "1")
    server.kill()
    server.save_data(tmp_path / "saved")
    server.start()
    server.put("a", "2")
    later = server.revision()
    server.kill()
    server.restore_data(tmp_path / "saved")
    server.start()
    assert server.get("a") == "1"
    assert server.revision() < later
    server.kill()
    server.wipe()
    server.start()
    assert server.get("a") is None


def test_a_paused_etcd_answers_nothing_until_it_goes_on(new_etcd: NewEtcd) -> None:
    server = new_etcd()
    server.pause()
    assert server.is_running
    assert not server.is_ready()
    server.resume()
    server.wait_ready()
    server.put("a", "1")


def test_etcd_runs_out_of_space_and_is_helped(new_etcd: NewEtcd) -> None:
    server = new_etcd(quota_bytes=2 * 2**20)

    def fill() -> None:
        for number in range(200):
            server.put(f"fill/{number % 2}", "x" * 100_000)

    with pytest.raises(OSError, match="database space exceeded"):
        fill()
    server.compact()
    server.defragment()
    server.disarm()
    server.put("a", "1")


def test_etcd_lets_in_only_who_has_the_password(new_etcd: NewEtcd) -> None:
    server = new_etcd(password="secret")
    server.put("a", "1")
    server.restart()
    assert server.get("a") == "1"
    stranger = EtcdServer(server.directory / "stranger")
    stranger.port = server.port
    with pytest.raises(OSError, match="user name is empty"):
        stranger.get("a")


def test_etcd_and_redis_speak_tls(
    new_etcd: NewEtcd, new_redis: NewRedis, certificates: Certificates
) -> None:
    server = new_etcd(tls=certificates)
    assert server.url.startswith("https://127.0.0.1:")
    server.put("a", "1")
    assert server.get("a") == "1"
    client = client_of(new_redis(tls=certificates, password="secret"))
    assert client.ping()
    client.close()


def test_a_cluster_elects_another_leader_and_takes_the_old_one_back(
    new_etcd_cluster: NewCluster,
) -> None:
    cluster = new_etcd_cluster()
    old = cluster.leader()
    old.put("a", "1")
    old.kill()
    new = cluster.leader()
    assert new is not old
    new.put("a", "2")
    cluster.replace(old)
    assert old.get("a") == "2"
    assert len(cluster.followers()) == 2
    cluster.kill()
    cluster.start()
    assert cluster.leader().get("a") == "2"


def test_a_cluster_with_a_password_asks_for_it_at_every_member(
    new_etcd_cluster: NewCluster,
) -> None:
    cluster = new_etcd_cluster(password="secret")
    for number, member in enumerate(cluster.members):
        member.put("a", str(number))
    assert cluster.leader().get("a") == "2"


def test_redis_keeps_what_it_answered_through_a_kill(new_redis: NewRedis) -> None:
    server = new_redis(password="secret")
    with client_of(server) as client:
        client.set("a", "1")
        assert client.config_get("appendfsync") == {"appendfsync": "always"}
    server.restart()
    with client_of(server) as client:
        assert client.get("a") == "1"
    server.kill()
    server.wipe()
    server.start()
    with client_of(server) as client:
        assert client.get("a") is None


def test_a_shared_server_is_there_for_every_test(
    etcd: EtcdServer, redis: RedisServer, server_prefix: str
) -> None:
    etcd.put(f"{server_prefix}/a", "1")
    assert etcd.keys(server_prefix) == [f"{server_prefix}/a"]
    client = client_of(redis)
    client.set(f"{server_prefix}:a", "1")
    assert client.get(f"{server_prefix}:a") == "1"
    client.close()


def test_a_server_that_does_not_start_shows_its_log(new_redis: NewRedis) -> None:
    started = time.monotonic()
    with pytest.raises(ServerFailedError, match="no-such-option"):
        new_redis(options=["--no-such-option", "1"])
    assert time.monotonic() - started < 10


def test_without_packages_a_missing_server_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def none_there(*_: object) -> None:
        raise PackagesError("this system has no 'apt-get'")

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("examples.cluster.binaries.SERVERS", tmp_path / "servers")
    monkeypatch.setattr("examples.cluster.binaries.Packages", none_there)
    with pytest.raises(ServerMissingError, match=r"no etcd server of 3\.5\.16 or newer.*apt-get"):
        etcd_binary()
