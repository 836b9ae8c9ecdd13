"""Many seeds: what they come to together, and a run that fails of a bug in itself."""

from __future__ import annotations

import os
import threading

import pytest

from fsm_saga.simulation import many
from fsm_saga.simulation.command import main
from fsm_saga.simulation.run import Verdict, run_seed
from fsm_saga.simulation.workers import WorkerDiedError


class StubbornError(Exception):
    """Can be pickled, and not be read again."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__("stubborn")
        self.hook = one + other


def fails_at(seed_that_fails: int) -> object:
    def run(seed: int, *, is_cluster: bool) -> Verdict:
        if seed == seed_that_fails:
            raise StubbornError(1, 2)
        return run_seed(seed)

    return run


@pytest.fixture(autouse=True)
def only_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have workers forked, so that they have a test's patches, whatever threads there are."""
    monkeypatch.setattr(threading, "active_count", lambda: 1)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_raises_is_a_failure_of_its_seed_and_stops_no_other(
    jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "run_any_seed", fails_at(4))
    monkeypatch.setattr(many, "CHUNK", 3)
    tally = many.run_many(0, 9, jobs=jobs)
    assert tally.seeds == 9
    assert [(failure.seed, failure.code) for failure in tally.failures] == [(4, "TOTAL")]
    assert "StubbornError" in tally.failures[0].message
    assert not tally.is_sound


def test_a_worker_that_is_gone_ends_the_run_and_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def dies(seed: int, *, is_cluster: bool) -> Verdict:
        if seed == 4:
            os._exit(3)
        return run_seed(seed)

    monkeypatch.setattr(many, "run_any_seed", dies)
    monkeypatch.setattr(many, "CHUNK", 3)
    with pytest.raises(WorkerDiedError):
        many.run_many(0, 9, jobs=2)
    assert main(["--seeds", "9", "--jobs", "2"]) == 1
    assert "a worker ended with 3" in capsys.readouterr().err


def test_the_digest_of_all_traces_does_not_depend_on_the_number_of_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(many, "CHUNK", 4)
    assert many.run_many(0, 12, jobs=1).hash == many.run_many(0, 12, jobs=2).hash
