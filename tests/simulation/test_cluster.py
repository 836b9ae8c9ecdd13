"""Real nodes that share shards, under faults: what every change is tried with, and once found."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fsm_saga.simulation.cluster_run import run_cluster_seed
from fsm_saga.simulation.command import main, summary
from fsm_saga.simulation.many import run_many
from fsm_saga.simulation.shrink import shrink
from tests.simulation.zoo.all_bugs import bug_named

ROOT = Path(__file__).resolve().parents[2]
FOUND = Path(__file__).with_name("cluster-seeds.txt")
SEEDS = 600
FEW = 12
BUG = "all shards to the first member"


def found_seeds() -> list[int]:
    lines = FOUND.read_text(encoding="utf-8").splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_seeds_hold_and_everything_that_must_happen_sometimes_did() -> None:
    tally = run_many(0, SEEDS, jobs=multiprocessing.cpu_count(), is_cluster=True)
    failed = [str(failure) for failure in tally.failures[:10]]
    assert tally.is_sound, [summary(tally), *failed, *tally.missing]


def test_the_seeds_that_once_found_something_hold() -> None:
    verdicts = [run_cluster_seed(seed) for seed in found_seeds()]
    assert [str(v.violations[0]) for v in verdicts if v.violations] == []


def test_a_cluster_without_faults_is_led_evenly_and_ends_all_sagas() -> None:
    for seed in range(6):
        verdict = run_cluster_seed(seed, only=frozenset())
        assert verdict.is_sound, [str(violation) for violation in verdict.violations]
        assert verdict.faults == {}
        assert verdict.counts["lease ended here first"] == 0
        assert all(watched.saga.state.is_final for watched in verdict.watch.sagas.values())


def test_a_seed_runs_twice_alike_in_one_process_whatever_ran_between() -> None:
    first = run_cluster_seed(7)
    run_cluster_seed(8)
    again = run_cluster_seed(7)
    assert again.trace == first.trace
    assert again.trace_hash == first.trace_hash
    assert dict(again.counts) == dict(first.counts)
    assert run_cluster_seed(7, only=frozenset(first.faults)).trace_hash == first.trace_hash


def hash_in_another_process(hash_seed: str) -> str:
    options = ("--cluster", "--jobs", "1", "--seeds", str(FEW), "--first", "100")
    run = subprocess.run(
        [sys.executable, "-m", "fsm_saga.simulation", *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.strip().splitlines()[-1]


@pytest.mark.slow
def test_the_same_seeds_make_the_same_traces_under_three_hash_seeds() -> None:
    hashes = {hash_in_another_process(hash_seed) for hash_seed in ("0", "1", "4242")}
    assert len(hashes) == 1
    assert hashes.pop().startswith("all traces: ")


def test_a_failed_seed_prints_the_line_that_runs_it_again_and_shrinks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with bug_named(BUG).planted():
        verdict = next(v for v in map(run_cluster_seed, range(20)) if v.violations)
        shrunk = shrink(verdict)
        assert shrunk.code == "EVEN"
        assert len(shrunk.faults) < len(verdict.faults)
        assert main(["--cluster", "--seed", str(verdict.seed), "--quiet"]) == 1
        assert main(["--cluster", "--seeds", "8", "--jobs", "1"]) == 1
    said = capsys.readouterr().out
    assert f"python -m fsm_saga.simulation --cluster --seed {verdict.seed}" in said
    assert "EVEN" in said
