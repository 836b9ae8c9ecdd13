"""A real place that is full, then larger, then read-only; no shim between it and SQLite.

Everywhere that is a directory under the kernel's limit for the size of a file, whose files then
lose their modes for writing: nobody needs a right for that, and both are faults of the system's
own. Where the machine lets a process mount, it is a real file system as well, in a namespace of
the process that uses it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.mounted_child import STEPS
from tests.support.killing import ROOT

WORDS = {
    "limited": ("the disk refused a write: File too large", "Permission denied"),
    "mounted": ("the disk is full", "Read-only file system"),
}
"""What the errors say where there is no room, and where there is no right to write."""


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


COMMANDS = {"limited": [], "mounted": unshare()}
KINDS = [kind for kind, command in COMMANDS.items() if command is not None]


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def facts(kind: str) -> Iterator[dict[str, Any]]:
    """Give what happened; the directory is not pytest's, which is closed to all users but one."""
    command = COMMANDS[kind] or []
    with tempfile.TemporaryDirectory(prefix="fsm-saga-test-") as place:
        child = [*command, sys.executable, "-m", "tests.integration.mounted_child", kind, place]
        ended = subprocess.run(
            child, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
        )
        Path(place).chmod(0o700)
        assert ended.returncode == 0, ended.stderr
        assert kind == "limited" or not any(Path(place).iterdir()), "the mount went with it"
        yield json.loads(ended.stdout)


def test_a_disk_that_is_really_full_stops_the_engine_with_a_clear_word(
    kind: str, facts: dict[str, Any]
) -> None:
    for what in ("full", "again"):
        assert facts[what].startswith("StoreUnavailableError")
        assert WORDS[kind][0] in facts[what]
    assert 1 < facts["calls_until_full"] < STEPS
    assert facts["not_written_down"] == 0


def test_with_room_again_the_saga_comes_to_its_end_and_nothing_is_done_twice(
    facts: dict[str, Any],
) -> None:
    assert facts["end"] == "DONE"
    assert facts["did"] == STEPS


def test_a_file_system_that_became_read_only_is_refused_read_and_left_alone(
    kind: str, facts: dict[str, Any]
) -> None:
    assert WORDS[kind][1] in facts["read_only"]
    assert facts["read"] == STEPS
    assert facts["is_unchanged"]
