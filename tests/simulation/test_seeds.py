"""Seeds that are run with every change, and those that once found something."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from fsm_saga.simulation.command import summary
from fsm_saga.simulation.many import run_many
from fsm_saga.simulation.run import run_seed

FOUND = Path(__file__).with_name("seeds.txt")
QUICK_SEEDS = 100
MANY_SEEDS = 20_000


def found_seeds() -> list[int]:
    lines = FOUND.read_text(encoding="utf-8").splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]


def test_some_seeds_hold() -> None:
    tally = run_many(0, QUICK_SEEDS)
    assert tally.is_sound, [str(failure) for failure in tally.failures]


@pytest.mark.parametrize("seed", found_seeds())
def test_a_seed_that_once_found_something_holds(seed: int) -> None:
    verdict = run_seed(seed)
    assert verdict.is_sound, [str(violation) for violation in verdict.violations]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_seeds_hold_and_everything_that_must_happen_sometimes_did() -> None:
    tally = run_many(QUICK_SEEDS, MANY_SEEDS, jobs=multiprocessing.cpu_count())
    assert tally.is_sound, [
        summary(tally),
        *(str(failure) for failure in tally.failures[:10]),
        *tally.missing,
    ]
