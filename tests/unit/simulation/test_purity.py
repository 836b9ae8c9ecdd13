"""A run may not look at the real world."""

from __future__ import annotations

import logging
import os
import random
import secrets
import threading
import time
import uuid
from collections.abc import Callable

import pytest

from fsm_saga.simulation.purity import ImpureError, pure

IMPURE: dict[str, Callable[[], object]] = {
    "the wall clock": lambda: time.time(),
    "the monotonic clock": lambda: time.monotonic(),
    "a real sleep": lambda: time.sleep(0),
    "the system's chance": lambda: os.urandom(1),
    "the shared generator": lambda: random.random(),
    "a secret": lambda: secrets.token_hex(8),
    "a random id": lambda: uuid.uuid4(),
    "a thread": lambda: threading.Thread(target=int).start(),
}


@pytest.mark.parametrize("name", IMPURE)
def test_a_run_that_asks_the_real_world_is_stopped(name: str) -> None:
    with pure(), pytest.raises(ImpureError, match="could not be repeated"):
        IMPURE[name]()
    IMPURE[name]()


def test_other_threads_are_left_alone() -> None:
    found: list[float] = []
    started, may_go = threading.Event(), threading.Event()

    def look() -> None:
        started.set()
        may_go.wait(5.0)
        found.append(time.time())

    thread = threading.Thread(target=look)
    thread.start()
    started.wait(5.0)
    with pure():
        may_go.set()
        thread.join(5.0)
    assert len(found) == 1


def test_a_generator_of_its_own_is_chance_from_a_seed() -> None:
    with pure():
        assert random.Random(1).random() == random.Random(1).random()


def test_logging_is_as_before_afterwards() -> None:
    before = logging.root.manager.disable
    with pure():
        assert not logging.getLogger("fsm_saga").isEnabledFor(logging.ERROR)
    assert logging.root.manager.disable == before
