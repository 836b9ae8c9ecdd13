"""Clients of real etcd servers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fsm_saga.etcd.channel import EtcdOptions
from fsm_saga.etcd.client import EtcdClient
from tests.support.servers.etcd import EtcdServer


@pytest.fixture
async def client(etcd: EtcdServer) -> AsyncIterator[EtcdClient]:
    """Give a client of the session's etcd."""
    async with EtcdClient(EtcdOptions(endpoints=(etcd.address,), try_timeout_s=5)) as client:
        yield client


@pytest.fixture
def prefix(server_prefix: str) -> bytes:
    """Give the beginning of every key of this test."""
    return f"/{server_prefix}/".encode()
