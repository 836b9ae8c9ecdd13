"""A saga over tools with a fence, whose process is killed: nothing is left, nothing is doubled."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLAN = ROOT / "examples" / "fenced" / "plan.json"
TOOLS = ROOT / "examples" / "fenced" / "tools.py"
KILLED = -9
FAILED = 1
TIMEOUT_S = 60


def fsm_saga(folder: Path, *words: str, failpoint: str = "") -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT), "FSM_SAGA_FAILPOINT": failpoint}
    command = [sys.executable, "-m", "fsm_saga", *words, "--tools", str(TOOLS), "--json"]
    return subprocess.run(
        command,
        cwd=folder,
        env=env,
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=False,
    )


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "fenced.db")) as db:
        return db.execute(query).fetchall()


@pytest.mark.parametrize(
    "failpoint",
    ["before_call:1", "after_call:1", "after_call:2", "before_call:3", "after_call:3"],
)
def test_a_saga_that_is_killed_ends_with_nothing_left_and_nothing_done_twice(
    failpoint: str, tmp_path: Path
) -> None:
    killed = fsm_saga(tmp_path, "run", str(PLAN), failpoint=f"{failpoint}:kill")
    assert killed.returncode == KILLED, killed.stderr

    resumed = fsm_saga(tmp_path, "resume")

    assert resumed.returncode == FAILED, resumed.stdout + resumed.stderr
    saga = json.loads(fsm_saga(tmp_path, "run", str(PLAN)).stdout)
    assert (saga["state"], saga["outcome"]) == ("FAILED", "compensated")
    assert rows(tmp_path, "SELECT count(*) FROM orders") == [(0,)]
    states = rows(tmp_path, "SELECT kind, state, count(*) FROM saga_fence GROUP BY 1, 2")
    assert sorted(states) == [("do", "refused", 1), ("do", "undone", 1), ("undo", "done", 1)]
