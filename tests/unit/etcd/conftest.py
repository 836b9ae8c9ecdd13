"""What the tests of the etcd client share."""

from __future__ import annotations

import pytest

from tests.unit.etcd.fake_etcd import FakeEtcd


@pytest.fixture
def etcd() -> FakeEtcd:
    """Give an etcd in memory."""
    return FakeEtcd()
