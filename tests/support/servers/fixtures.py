"""Servers as fixtures; ``tests/conftest.py`` brings them to every test.

What lasts for the session is shared: it must not be killed, and each test keeps to a prefix of its
own. A test that wants faults makes servers of its own by ``new_etcd``, ``new_etcd_cluster`` and
``new_redis``; they are stopped when it ends.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.servers.certificates import Certificates, make_certificates
from tests.support.servers.etcd import EtcdCluster, EtcdServer
from tests.support.servers.proxy import FaultProxy
from tests.support.servers.redis import RedisServer

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """Give the etcd of this session, one node; use ``server_prefix`` for your keys."""
    with EtcdServer(tmp_path_factory.mktemp("etcd")) as server:
        yield server


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Give the Redis of this session; use ``server_prefix`` for your keys."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server_prefix() -> str:
    """Give a prefix for keys that no other test has."""
    return f"test-{next(_numbers)}"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Give certificates for servers on 127.0.0.1 and for one client."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def own_servers(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Callable[[Any], Any]]:
    """Give what starts a server (or anything else to be entered) for this test alone."""
    started: list[Any] = request.node.stash.setdefault(_STARTED, [])
    with ExitStack() as running:

        def start(server: Any) -> Any:
            started.append(server)
            return running.enter_context(server)

        yield start


@pytest.fixture
def new_etcd(
    own_servers: Callable[[Any], Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., EtcdServer]:
    """Give what starts an etcd of this test's own; it takes the arguments of ``EtcdServer``."""

    def start(**arguments: Any) -> EtcdServer:
        server: EtcdServer = own_servers(EtcdServer(tmp_path_factory.mktemp("etcd"), **arguments))
        return server

    return start


@pytest.fixture
def new_etcd_cluster(
    own_servers: Callable[[Any], Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., EtcdCluster]:
    """Give what starts an etcd cluster of this test's own: the arguments of ``EtcdCluster``."""

    def start(size: int = 3, **arguments: Any) -> EtcdCluster:
        directory = tmp_path_factory.mktemp("etcd-cluster")
        cluster: EtcdCluster = own_servers(EtcdCluster(directory, size, **arguments))
        return cluster

    return start


@pytest.fixture
def new_redis(
    own_servers: Callable[[Any], Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., RedisServer]:
    """Give what starts a Redis of this test's own; it takes the arguments of ``RedisServer``."""

    def start(**arguments: Any) -> RedisServer:
        server: RedisServer = own_servers(
            RedisServer(tmp_path_factory.mktemp("redis"), **arguments)
        )
        return server

    return start


@pytest.fixture
def new_proxy(own_servers: Callable[[Any], Any]) -> Callable[[int], FaultProxy]:
    """Give what puts a fault proxy in front of a port."""

    def start(target_port: int) -> FaultProxy:
        proxy: FaultProxy = own_servers(FaultProxy(target_port))
        return proxy

    return start


_STARTED = pytest.StashKey[list[Any]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the logs of a failed test's servers."""
    report = yield
    if report.failed:
        shared = getattr(item, "funcargs", {}).values()
        for server in {*with_logs(shared), *with_logs(item.stash.get(_STARTED, []))}:
            report.sections.append(("server", server.log_tail()))
    return report


def with_logs(values: Any) -> list[Any]:
    """Return those of the values that have a log to show."""
    kinds = EtcdServer | EtcdCluster | RedisServer
    return [value for value in values if isinstance(value, kinds)]
