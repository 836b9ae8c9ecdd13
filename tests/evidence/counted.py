"""``python -m tests.evidence.counted NAME``: run some tests and print what they counted.

A test says how much it has seen with pytest's own ``record_property("states", 2_550)``. Numbers of
the same words are added up over all tests. A list of numbers is of what may not be added up, such
as times: of all lists with the same words the least, the median and the most are told. Standard
output has the document and nothing else; what pytest says goes to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

SETS: Mapping[str, tuple[str, ...]] = {
    "kills": (
        "tests/integration/test_kill_grid.py",
        "tests/integration/test_kill_recovery.py",
    ),
    "power-loss": (
        "tests/integration/test_power_loss.py",
        "tests/integration/test_disk_failed_syncs.py",
    ),
    "disk": (
        "tests/integration/test_disk_bit_flips.py",
        "tests/integration/test_disk_everywhere.py",
        "tests/integration/test_disk_mounted.py",
    ),
    "modelcheck": ("tests/modelcheck",),
    "chaos": ("tests/chaos",),
}
"""Which tests a name stands for."""


class Counts:
    """A plugin of pytest that adds up what tests counted."""

    def __init__(self) -> None:
        self.numbers: Counter[str] = Counter()
        self.lists: defaultdict[str, list[int]] = defaultdict(list)
        self.ended: Counter[str] = Counter()
        self.not_run: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take notice of one phase of a test."""
        if report.skipped:
            self.ended["skipped"] += 1
            self.not_run.append(report.nodeid)
        elif report.failed:
            self.ended["failed"] += 1
            self.not_run.append(report.nodeid)
        elif report.when == "call":
            self.ended["passed"] += 1
        if report.when == "call" or report.skipped or report.failed:
            for words, value in report.user_properties:
                if isinstance(value, int):
                    self.numbers[words] += value
                elif isinstance(value, list):
                    self.lists[words] += value

    def as_json(self) -> dict[str, Any]:
        """Return what was counted, in words' order."""
        return {
            "tests": self.ended.total(),
            "passed": self.ended["passed"],
            "failed": self.ended["failed"],
            "skipped": self.ended["skipped"],
            "failed_or_skipped": self.not_run[:20],
            "counts": dict(sorted(self.numbers.items())),
            "spreads": {
                words: {
                    "times": len(values),
                    "least": min(values),
                    "median": round(statistics.median(values)),
                    "most": max(values),
                }
                for words, values in sorted(self.lists.items())
                if values
            },
        }


def count(paths: Sequence[str]) -> dict[str, Any]:
    """Run the tests of some files in this process, and return what they counted."""
    counts, started = Counts(), time.monotonic()
    words = ["-q", "-p", "no:cacheprovider", "--hypothesis-profile=ci", *paths]
    with contextlib.redirect_stdout(sys.stderr):
        code = pytest.main(words, plugins=[counts])
    return {
        **counts.as_json(),
        "seconds": round(time.monotonic() - started, 1),
        "exit_code": int(code),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what a set of tests counted; return pytest's exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.evidence.counted", description="Run tests, and print what they saw."
    )
    parser.add_argument("name", choices=SETS, help="Which tests.")
    parser.add_argument("--long", action="store_true", help="Where tests take a choice: take all.")
    asked = parser.parse_args(arguments)
    if asked.long:
        # A process of its own: modules read the variable when they are imported.
        return _again_long(asked.name)
    document = {"name": asked.name, **count(SETS[asked.name])}
    sys.stdout.write(json.dumps(document, indent=1) + "\n")
    return int(document["exit_code"])


def _again_long(name: str) -> int:
    command = [sys.executable, "-m", "tests.evidence.counted", name]
    environment = {**os.environ, "TESTS_ARE_LONG": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
