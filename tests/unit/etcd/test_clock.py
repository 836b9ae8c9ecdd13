"""The clock by which a lease ends."""

from __future__ import annotations

import time

import pytest

from fsm_saga.etcd.clock import lease_time_s


def test_the_lease_clock_goes_on_as_time_does() -> None:
    before = lease_time_s()
    assert 0 <= lease_time_s() - before < 5


def test_a_system_that_cannot_tell_gives_its_monotonic_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    monkeypatch.setattr(time, "monotonic", lambda: 12.5)
    assert lease_time_s() == 12.5
