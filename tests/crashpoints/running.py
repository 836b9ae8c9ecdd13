"""All cases on two processors: every single fault, and as many pairs of faults as time allows.

Each worker keeps one virtual event loop for all its runs. The pairs of a case are tried in an
order that a seed decides, so that a longer budget tries the same ones and more.
"""

from __future__ import annotations

import logging
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from tests.crashpoints.lab import FAULTS, Case, Prepared, Run, Trap, prepare, run_case
from tests.modelcheck.programs import dag_shapes
from tests.support.virtual_time import run_virtual

PROCESSES = 2
SIZE_MAX = 4
SEED = 20_260_101
WRONG_SHOWN = 5


def all_cases() -> list[Case]:
    """Return every shape of up to four steps, with each step failing and none, for both tools."""
    return [
        Case(needs, refusing, is_fenced)
        for size in range(SIZE_MAX, 0, -1)
        for needs in dag_shapes(size)
        for refusing in range(-1, size)
        for is_fenced in (False, True)
    ]


@dataclass(kw_only=True)
class Tally:
    """What came of many runs.

    Attributes:
        cases: Plans with their failing step.
        singles: Runs with one fault: all there are.
        pairs: Runs with two faults.
        pairs_all: How many pairs there are.
        ends: How the runs ended.
        faults: How often each fault happened, by what it happened to.
        wrong: What did not hold, with the traps that show it again.
    """

    cases: int = 0
    singles: int = 0
    pairs: int = 0
    pairs_all: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add what came of others."""
        self.cases += other.cases
        self.singles += other.singles
        self.pairs += other.pairs
        self.pairs_all += other.pairs_all
        self.ends += other.ends
        self.faults += other.faults
        self.wrong += other.wrong

    def __str__(self) -> str:
        return (
            f"{self.cases} plans; {self.singles:,} runs with one fault, that is all; "
            f"{self.pairs:,} of {self.pairs_all:,} with two; "
            + ", ".join(f"{count:,} {end}" for end, count in sorted(self.ends.items()))
        )


def try_all(cases: Sequence[Case], *, pairs_s: float) -> Tally:
    """Return what comes of all single faults, and of pairs for so many seconds per processor.

    Args:
        cases: The plans.
        pairs_s: How long each processor tries pairs, shared evenly among its cases.
    """
    total = Tally()
    share_s = pairs_s * PROCESSES / max(len(cases), 1)
    work = [(case, share_s) for case in cases]
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        for tally in pool.map(_try_case, work, chunksize=8):
            total.add(tally)
    return total


def _try_case(work: tuple[Case, float]) -> Tally:
    logging.disable(logging.CRITICAL)  # that a store fails is told, and here it always does
    return run_virtual(try_case(*work))


async def try_case(case: Case, pairs_s: float) -> Tally:
    """Return what comes of one case."""
    prepared = prepare(case)
    tally = Tally(cases=1)
    plain = await _run(prepared, (), tally)
    pairs: list[tuple[Trap, Trap]] = []
    for trap in _traps(plain, 0):
        once = await _run(prepared, (trap,), tally)
        tally.singles += 1
        tally.faults[f"{plain.points[trap.nth - 1]} {trap.fault}"] += 1
        pairs += [(trap, second) for second in _traps(once, trap.nth)]
    tally.pairs_all = len(pairs)
    random.Random(f"{SEED} {case}").shuffle(pairs)
    ends_at = time.monotonic() + pairs_s
    for pair in pairs:
        if time.monotonic() > ends_at:
            break
        await _run(prepared, pair, tally)
        tally.pairs += 1
    return tally


def _traps(run: Run, after: int) -> Iterator[Trap]:
    """Yield each fault at each point of a run that comes after the nth."""
    for nth, what in enumerate(run.points, start=1):
        if nth > after:
            for fault in FAULTS[what]:
                yield Trap(nth, fault)


async def _run(prepared: Prepared, traps: Sequence[Trap], tally: Tally) -> Run:
    run = await run_case(prepared, traps)
    tally.ends[run.end] += 1
    if run.wrong and len(tally.wrong) < WRONG_SHOWN:
        tally.wrong.append(f"{prepared.case} with {[tuple(trap) for trap in traps]}: {run}")
    return run
