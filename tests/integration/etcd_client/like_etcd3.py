"""The part of an ``etcd3`` client that our transport uses, for where ``etcd3`` is not installed."""

from __future__ import annotations

import importlib.util

import grpc
import pytest


class LikeEtcd3:
    """A channel and the metadata of its user."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)
        self.metadata = None

    def close(self) -> None:
        """Close the channel."""
        self.channel.close()


def need_etcd3() -> None:
    """Skip the test where ``etcd3`` is not installed.

    It is not among the locked packages: it comes as source only, and building it would run a
    build backend that no lock pins.
    """
    if importlib.util.find_spec("etcd3") is None:
        pytest.skip("etcd3 is not installed: pip install 'fsm-saga[etcd3]' runs this too")
