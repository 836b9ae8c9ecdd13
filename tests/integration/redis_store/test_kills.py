"""``kill -9`` of processes whose store is in Redis, and of Redis under them; the tools judge.

A process that was killed leaves its lease behind. It is taken away here, as time would do.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis as redis_py

from fsm_saga.coordinator.failpoints import FAILPOINTS
from tests.support.killing import Killing, judge
from tests.support.servers.redis import RedisServer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the server of processes forks")

PASSES_MIN = 5
ROUNDS = 6
TRIES_MAX = 20
FLEET_ENDS = ["FAILED compensated", "FAILED compensated", "DONE committed"] * 2


@pytest.fixture(scope="module")
def killing() -> Iterator[Killing]:
    with Killing() as server:
        yield server


def place(directory: Path, server: RedisServer, prefix: str) -> Path:
    directory.mkdir()
    (directory / "store.url").write_text(f"{server.url}?prefix={prefix}")
    return directory


def end_leases(server: RedisServer) -> None:
    with redis_py.Redis.from_url(server.url) as client:
        for lease in client.scan_iter("*:member:*"):
            client.delete(lease)


@pytest.mark.parametrize("name", FAILPOINTS)
def test_a_process_killed_at_every_pass_of_a_failpoint_is_finished_by_the_next(
    name: str, killing: Killing, tmp_path: Path, new_redis: Callable[..., RedisServer]
) -> None:
    server, passes = new_redis(), 0
    for nth in itertools.count(1):
        directory = place(tmp_path / str(nth), server, f"run-{nth}")
        ended = killing.run(directory, "chain", f"{name}:{nth}:kill")
        assert ended in (0, -signal.SIGKILL)
        if ended == 0:
            break
        end_leases(server)
        assert killing.run(directory, "chain") == 0
        assert judge(directory, "chain") == ["FAILED compensated"]
        passes += 1
    assert passes >= PASSES_MIN


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_sagas_come_to_their_ends_though_redis_is_killed_under_them(
    seed: int, killing: Killing, tmp_path: Path, new_redis: Callable[..., RedisServer]
) -> None:
    server, chance = new_redis(), random.Random(seed)
    directory = place(tmp_path / "fleet", server, "fleet")
    for _ in range(TRIES_MAX):
        pid = killing.start(directory, "fleet")
        time.sleep(chance.uniform(0.02, 0.25))
        server.restart()
        if killing.wait(pid) == 0:
            break
        end_leases(server)
    else:
        pytest.fail("the sagas did not come to their ends")
    assert sorted(judge(directory, "fleet")) == sorted(FLEET_ENDS)
