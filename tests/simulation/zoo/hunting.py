"""How long it takes until a planted bug is noticed, and by which check."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from fsm_saga.errors import FsmSagaError
from fsm_saga.simulation.seeds import run_any_seed
from tests.simulation.zoo.bug import Bug


@dataclass(slots=True)
class Hunt:
    """What came of looking for one bug.

    Attributes:
        first_seed: The first seed that one of the bug's own checks caught, or None.
        first_code: That check.
        seeds: How many seeds were looked at.
        failed: In how many of them anything was noticed.
        caught: In how many of them each check noticed something.
    """

    name: str
    first_seed: int | None = None
    first_code: str = ""
    seeds: int = 0
    failed: int = 0
    caught: Counter[str] = field(default_factory=Counter)


def codes_of(seed: int, *, is_cluster: bool = False) -> tuple[str, ...]:
    """Return the checks that notice something in this seed, in their order."""
    try:
        verdict = run_any_seed(seed, is_cluster=is_cluster)
    except (FsmSagaError, AttributeError, LookupError, TypeError, ValueError):
        # The world around the engine may trip over what it does; that is noticed as well.
        return ("TOTAL",)
    return tuple(dict.fromkeys(violation.code for violation in verdict.violations))


def hunt(bug: Bug, *, seed_max: int, sample: int = 100, first: int = 0) -> Hunt:
    """Return what came of running seeds from ``first`` on with the bug in.

    It goes on to ``sample`` seeds for the rates, and to ``seed_max`` until the bug is caught.
    """
    found = Hunt(bug.name)
    with bug.planted():
        for seed in range(first, first + seed_max):
            codes = codes_of(seed, is_cluster=bug.is_cluster)
            found.seeds += 1
            if codes:
                found.failed += 1
                found.caught.update(codes)
                if found.first_seed is None and bug.codes & set(codes):
                    found.first_seed = seed
                    found.first_code = next(code for code in codes if code in bug.codes)
            if found.first_seed is not None and found.seeds >= sample:
                break
    return found
