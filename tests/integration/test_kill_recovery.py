"""``kill -9`` at every named failpoint and at random instants; the tools' own ledger judges.

Whatever is killed and however often: a saga that is DONE has every effect once, one that is FAILED
has none left, nothing is done or undone twice, undo runs against the dependencies, and no call
arrived at a tool that was not written down before (C1, C2, C6, W1).
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsm_saga.coordinator.failpoints import FAILPOINTS
from fsm_saga.core.limits import LIMITS
from tests.support.counting import IS_LONG, Count
from tests.support.killing import ROOT, Killing, judge
from tests.support.tool_ledger import ToolLedger

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the server of processes forks"),
    pytest.mark.timeout(7_200 if IS_LONG else 300),
]

ENDS = {
    "chain": ["FAILED compensated"],
    "diamond": ["FAILED compensated"],
    "fleet": ["FAILED compensated", "FAILED compensated", "DONE committed"] * 2,
}
# At least so many places of one name a run comes to: fewer, and the failpoints are not called.
PASSES_MIN = {"chain": 5, "diamond": 9}
SEED = 20_260_101
ROUNDS = 200 if IS_LONG else 10


@pytest.fixture(scope="module")
def killing() -> Iterator[Killing]:
    with Killing() as server:
        yield server


def repeats(directory: Path) -> int:
    """Return how many calls arrived more than once."""
    return sum(count > 1 for count in ToolLedger(directory / "tools.db").arrivals().values())


def count_kills(count: Count, where: str, kills: int) -> None:
    count("kills", kills)
    count(f"kills: {where}", kills)


@pytest.mark.parametrize("name", FAILPOINTS)
@pytest.mark.parametrize("plan", ["chain", "diamond"])
def test_a_process_killed_at_every_pass_of_a_failpoint_is_finished_by_the_next(
    plan: str, name: str, killing: Killing, tmp_path: Path, record_property: Count
) -> None:
    seen: Counter[int] = Counter()
    for nth in itertools.count(1):
        directory = tmp_path / str(nth)
        directory.mkdir()
        ended = killing.run(directory, plan, f"{name}:{nth}:kill")
        assert ended in (0, -signal.SIGKILL)
        if ended == 0:
            break
        assert killing.run(directory, plan) == 0
        assert judge(directory, plan) == ENDS[plan]
        seen[repeats(directory)] += 1
    count_kills(record_property, "each pass of each failpoint", seen.total())
    assert seen.total() >= PASSES_MIN[plan]
    # A call is repeated exactly where it had arrived and its outcome was not durable yet.
    if name == "after_call":
        assert not seen[0], "killed after each call, before anybody knew"
    if name == "after_append" and plan == "chain":
        assert set(seen) == {0}, "what is durable is not asked for again"


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_processes_killed_at_random_again_and_again_come_to_the_right_end(
    round_: int, killing: Killing, tmp_path: Path, record_property: Count
) -> None:
    chance = random.Random(SEED + round_)
    started = time.monotonic()
    measured = tmp_path / "measured"
    measured.mkdir()
    assert killing.run(measured, "fleet") == 0
    took_s = time.monotonic() - started
    directory = tmp_path / "killed"
    directory.mkdir()
    ended = [killing.kill_after(directory, "fleet", chance.uniform(0, took_s)) for _ in range(3)]
    count_kills(record_property, "at random", ended.count(-signal.SIGKILL))
    assert killing.run(directory, "fleet") == 0
    assert judge(directory, "fleet") == ENDS["fleet"]


def test_a_crash_in_the_recovery_from_a_crash_changes_nothing_but_time(
    killing: Killing, tmp_path: Path
) -> None:
    """A process that dies at its first call makes no progress, and uses no attempt up (D-7).

    That holds for as many deaths in a row as a call may have before it is suspected (D-30).
    """
    for _ in range(LIMITS.interruption_max - 1):
        assert killing.run(tmp_path, "chain", "after_call:1:kill") == -signal.SIGKILL
    assert killing.run(tmp_path, "chain") == 0
    assert judge(tmp_path, "chain") == ENDS["chain"]
    first = ToolLedger(tmp_path / "tools.db").effects("chain")[0]
    assert ToolLedger(tmp_path / "tools.db").arrivals()[first.req_id] == LIMITS.interruption_max


def test_a_call_that_each_process_dies_of_is_left_to_a_person(
    killing: Killing, tmp_path: Path
) -> None:
    """D-30."""
    for _ in range(LIMITS.interruption_max):
        assert killing.run(tmp_path, "chain", "after_call:1:kill") == -signal.SIGKILL
    assert killing.run(tmp_path, "chain") == 0
    first = ToolLedger(tmp_path / "tools.db").effects("chain")[0]
    assert ToolLedger(tmp_path / "tools.db").arrivals()[first.req_id] == LIMITS.interruption_max


def test_the_environment_variable_kills_a_process_that_was_started_by_a_user(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "tests.support.kill_target", str(tmp_path), "chain"]
    environment = {**os.environ, "FSM_SAGA_FAILPOINT": "after_call:2:kill"}
    killed = subprocess.run(command, cwd=ROOT, env=environment, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [effect.step for effect in ToolLedger(tmp_path / "tools.db").effects("chain")] == [
        "1",
        "2",
    ]
    finished = subprocess.run(command, cwd=ROOT, timeout=60, check=False)
    assert finished.returncode == 0
    assert judge(tmp_path, "chain") == ENDS["chain"]


def test_an_order_that_is_not_understood_starts_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.kill_target", str(tmp_path), "chain"]
    environment = {**os.environ, "FSM_SAGA_FAILPOINT": "nowhere:1:kill"}
    refused = subprocess.run(
        command, cwd=ROOT, env=environment, timeout=60, check=False, capture_output=True, text=True
    )
    assert refused.returncode == 1
    assert "FSM_SAGA_FAILPOINT='nowhere:1:kill' was refused" in refused.stderr
    assert not (tmp_path / "sagas.db").exists()
