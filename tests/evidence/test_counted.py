"""What tests counted is added up, and whatever did not run is named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.evidence import counted
from tests.evidence.counted import ROOT, SETS, Counts
from tests.evidence.zoo import document_of
from tests.simulation.zoo.all_bugs import ZOO
from tests.simulation.zoo.hunting import Hunt

SOME_TESTS = """
import pytest

@pytest.mark.parametrize("number", [1, 2, 3])
def test_counts(record_property, number):
    record_property("states", number)
    record_property("words", "no number")
    record_property("ms", [10 * number, 1])

def test_is_skipped(record_property):
    record_property("states", 100)
    pytest.skip("not here")

def test_fails():
    print("on stdout")
    assert False
"""


@pytest.mark.parametrize("name", SETS)
def test_each_set_of_tests_is_there(name: str) -> None:
    for path in SETS[name]:
        assert (ROOT / path).exists()


@pytest.mark.slow
def test_numbers_are_added_up_and_what_did_not_pass_is_named(tmp_path: Path) -> None:
    """In a process of its own: pytest does not like to be run by itself."""
    (tmp_path / "test_some.py").write_text(SOME_TESTS, encoding="utf-8")
    program = (
        "import sys; from tests.evidence import counted; "
        f"counted.SETS = {{'kills': ({str(tmp_path)!r},)}}; sys.exit(counted.main(['kills']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_code"] == 1
    assert document["counts"] == {"states": 106}
    assert document["spreads"] == {"ms": {"times": 6, "least": 1, "median": 6, "most": 30}}
    assert (document["passed"], document["failed"], document["skipped"]) == (3, 1, 1)
    assert len(document["failed_or_skipped"]) == 2


def test_a_long_run_has_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **how: object) -> subprocess.CompletedProcess[str]:
        environment = how["env"]
        assert isinstance(environment, dict)
        assert environment["TESTS_ARE_LONG"] == "1"
        assert command[1:] == ["-m", "tests.evidence.counted", "kills"]
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr(subprocess, "run", run)
    assert counted.main(["kills", "--long"]) == 3


def test_nothing_counted_is_an_empty_document() -> None:
    assert Counts().as_json()["counts"] == Counts().as_json()["spreads"] == {}
    assert Counts().as_json()["tests"] == 0


def test_hunts_are_told_by_what_caught_them_and_how_late() -> None:
    first, second, third = (bug.name for bug in ZOO[:3])
    document = document_of(
        [
            Hunt(first, first_seed=0, first_code="C2", seeds=1, failed=1),
            Hunt(second, first_seed=499, first_code="C2", seeds=500, failed=1),
            Hunt(third, seeds=6_000),
        ]
    )
    assert (document["planted"], document["caught"]) == (3, 2)
    assert document["not_caught"] == [third]
    assert (document["seeds_median"], document["seeds_most"]) == (250.5, 500)
    assert document["caught_by_the_first_seed"] == document["caught_within_100_seeds"] == 1
    assert document["checks"] == {"C2": 2}
    assert [row["bug"] for row in document["hardest"]] == [second, first]
