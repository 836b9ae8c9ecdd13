"""The collector is off for a while and then as it was."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from fsm_saga.machine.collector import collector_off


@pytest.fixture(autouse=True)
def _collector_as_found() -> Iterator[None]:
    was_on = gc.isenabled()
    yield
    gc.enable() if was_on else gc.disable()


def test_the_collector_is_on_again_even_after_a_failure() -> None:
    gc.enable()
    with pytest.raises(ZeroDivisionError), collector_off():
        raise ZeroDivisionError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with collector_off():
        assert not gc.isenabled()
    assert not gc.isenabled()
