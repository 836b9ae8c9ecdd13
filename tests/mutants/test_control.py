"""A run of mutants is refused if its tests fail in a fork, whatever the code says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

TESTS = r"""
import os
import pytest

PID = os.getpid()

def test_of_the_process():
    assert PID == os.getpid()

@pytest.mark.parametrize("text", ["\ud800", "\\"], ids=repr)
def test_of_a_text(text):
    assert len(text) == 1
"""

# What mutmut does before the first mutant: it runs all tests, and notes how long each takes.
RUN = """
import sys
from types import ModuleType, SimpleNamespace

import pytest

from tests.mutants.control import ask_for, check_control

class Noted:
    tests = {}
    def pytest_runtest_logstart(self, nodeid):
        self.tests[nodeid] = len(self.tests)

options = ["-q", "-p", "no:cacheprovider", "-p", "tests.mutants.plugin", "--rootdir=."]
assert pytest.main([*options, "test_it.py", "-k", sys.argv[1]], plugins=[Noted()]) == 0
state = ModuleType("mutmut.state")
state.state = lambda: SimpleNamespace(duration_by_test=Noted.tests)
sys.modules |= {"mutmut": ModuleType("mutmut"), "mutmut.state": state}
ask_for(sys.argv[2:])
check_control(options)
print("it goes on")
"""


@pytest.mark.parametrize(
    ("chosen", "asked", "code", "told"),
    [
        ("text", ["test_it.py"], 0, "2 passed"),
        ("text", ["test_it.py::test_of_a_text"], 0, "2 passed"),
        ("process", ["test_it.py"], 1, "with 1 in a fork"),
        ("text", ["another.py"], 1, "with 5 in a fork"),
    ],
    ids=["sound", "of one function", "failing", "of none"],
)
def test_mutants_are_tried_only_if_the_tests_pass_in_a_fork(
    tmp_path: Path, chosen: str, asked: list[str], code: int, told: str
) -> None:
    (tmp_path / "test_it.py").write_text(TESTS, "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("MUTANT_UNDER_TEST", None)
    done = subprocess.run(
        [sys.executable, "-c", RUN, chosen, *asked],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert ("it goes on" in done.stdout) == (code == 0)
