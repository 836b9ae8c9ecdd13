"""A real file system that is full, then larger, then read-only; no shim between it and SQLite.

It is mounted in a namespace of the process that uses it, which needs either root or the right to
make a namespace of users. Where there is neither, this file is skipped and says so; the same faults
come through SQLite's own file interface in ``test_disk_everywhere.py``, everywhere.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.mounted_child import STEPS
from tests.support.killing import ROOT


def unshare() -> list[str] | None:
    """Return the command before one that may mount, or None if this machine allows none."""
    program = shutil.which("unshare")
    if program is None or not sys.platform.startswith("linux"):
        return None
    choices = [[program, "--mount"], [program, "--user", "--map-root-user", "--mount"]]
    for command in choices if os.geteuid() == 0 else choices[1:]:
        tried = [*command, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        if subprocess.run(tried, capture_output=True, check=False).returncode == 0:
            return command
    return None


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    command = unshare()
    if command is None:
        pytest.skip("THIS MACHINE LETS NOBODY MOUNT: no test on a file system that is really full")
    place: Path = tmp_path_factory.mktemp("mounted")
    child = [*command, sys.executable, "-m", "tests.integration.mounted_child", str(place)]
    ended = subprocess.run(
        child, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    assert not any(place.iterdir()), "the mount went with its process"
    return found


def test_a_disk_that_is_really_full_stops_the_engine_with_a_clear_word(
    facts: dict[str, Any],
) -> None:
    for what in ("full", "again"):
        assert facts[what].startswith("StoreUnavailableError")
        assert "the disk is full" in facts[what]
    assert 1 < facts["calls_until_full"] < STEPS
    assert facts["not_written_down"] == 0


def test_with_room_again_the_saga_comes_to_its_end_and_nothing_is_done_twice(
    facts: dict[str, Any],
) -> None:
    assert facts["end"] == "DONE"
    assert facts["did"] == STEPS


def test_a_file_system_that_became_read_only_is_refused_read_and_left_alone(
    facts: dict[str, Any],
) -> None:
    assert "Read-only file system" in facts["read_only"]
    assert facts["read"] == STEPS
    assert facts["is_unchanged"]
