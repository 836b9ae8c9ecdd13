"""One seed, one run: in every process, whatever the hashes of strings are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fsm_saga.simulation.run import run_seed

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 60


def hash_in_another_process(hash_seed: str, *, first: int) -> str:
    run = subprocess.run(
        [
            *(sys.executable, "-m", "fsm_saga.simulation", "--jobs", "1"),
            *("--seeds", str(SEEDS), "--first", str(first)),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.strip().splitlines()[-1]


@pytest.mark.slow
def test_the_same_seeds_make_the_same_traces_under_three_hash_seeds() -> None:
    hashes = {hash_in_another_process(hash_seed, first=100) for hash_seed in ("0", "1", "4242")}
    assert len(hashes) == 1
    assert hashes.pop().startswith("all traces: ")


def test_a_seed_runs_twice_alike_in_one_process_whatever_ran_between() -> None:
    first = run_seed(7)
    run_seed(8)
    again = run_seed(7)
    assert again.trace == first.trace
    assert again.trace_hash == first.trace_hash
    assert dict(again.counts) == dict(first.counts)


def test_seeds_differ() -> None:
    assert len({run_seed(seed).trace_hash for seed in range(30)}) == 30
