"""All cases on the processors: every single fault, and as many pairs of faults as are asked for.

Each worker keeps one virtual event loop for all its runs. The pairs of a case are tried in an
order that a seed decides, so that more of them are the same ones and more. Every n-th case is a
part: parts need not know of each other, and together they are all.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Self

from tests.crashpoints.lab import FAULTS, Case, Prepared, Run, Trap, prepare, run_case
from tests.modelcheck.programs import dag_shapes
from tests.support.virtual_time import run_virtual

PROCESSES = 2
SIZE_MAX = 4
SEED = 20_260_101
WRONG_SHOWN = 5
COLLECTED_EACH = 100


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
        pairs_by_steps: How many were tried, by how many steps the plan has.
        pairs_all_by_steps: How many there are.
        ends: How the runs ended.
        faults: How often each fault happened, by what it happened to.
        wrong_runs: In how many runs something did not hold.
        wrong: What did not hold in some of them, with the traps that show it again.
    """

    cases: int = 0
    singles: int = 0
    pairs: int = 0
    pairs_all: int = 0
    pairs_by_steps: Counter[str] = field(default_factory=Counter)
    pairs_all_by_steps: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    wrong_runs: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add what came of others."""
        self.cases += other.cases
        self.singles += other.singles
        self.pairs += other.pairs
        self.pairs_all += other.pairs_all
        self.pairs_by_steps += other.pairs_by_steps
        self.pairs_all_by_steps += other.pairs_all_by_steps
        self.ends += other.ends
        self.faults += other.faults
        self.wrong_runs += other.wrong_runs
        self.wrong += other.wrong

    def as_json(self) -> dict[str, Any]:
        """Return it as a document; ``of_json`` reads it."""
        return {
            "plans": self.cases,
            "singles": self.singles,
            "pairs": self.pairs,
            "pairs_all": self.pairs_all,
            "pairs_by_steps": dict(sorted(self.pairs_by_steps.items())),
            "pairs_all_by_steps": dict(sorted(self.pairs_all_by_steps.items())),
            "ends": dict(sorted(self.ends.items())),
            "faults": dict(sorted(self.faults.items())),
            "wrong_runs": self.wrong_runs,
            "wrong": self.wrong[:WRONG_SHOWN],
        }

    @classmethod
    def of_json(cls, document: dict[str, Any]) -> Self:
        """Return the tally that a document was made of."""
        return cls(
            cases=document["plans"],
            singles=document["singles"],
            pairs=document["pairs"],
            pairs_all=document["pairs_all"],
            pairs_by_steps=Counter(document["pairs_by_steps"]),
            pairs_all_by_steps=Counter(document["pairs_all_by_steps"]),
            ends=Counter(document["ends"]),
            faults=Counter(document["faults"]),
            wrong_runs=document["wrong_runs"],
            wrong=document["wrong"],
        )

    def __str__(self) -> str:
        return (
            f"{self.cases} plans; {self.singles:,} runs with one fault, that is all; "
            f"{self.pairs:,} of {self.pairs_all:,} with two; "
            + ", ".join(f"{count:,} {end}" for end, count in sorted(self.ends.items()))
        )


def try_all(
    cases: Sequence[Case],
    *,
    pairs_max: int | None,
    all_up_to: int = 0,
    processes: int = PROCESSES,
    on_case: Callable[[Tally], None] = lambda _tally: None,
) -> Tally:
    """Return what comes of all single faults, and of so many pairs of each case.

    Args:
        cases: The plans.
        pairs_max: How many pairs of each plan are tried; None tries them all.
        all_up_to: Of a plan of no more steps all are tried.
        processes: How many processes do it.
        on_case: Called with what there is so far.
    """
    total = Tally()
    work = [(case, None if len(case.needs) <= all_up_to else pairs_max) for case in cases]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        for tally in pool.map(_try_case, work):
            total.add(tally)
            on_case(total)
    return total


def _try_case(work: tuple[Case, int | None]) -> Tally:
    logging.disable(logging.CRITICAL)  # that a store fails is told, and here it always does
    # Each run leaves one large knot of young objects; the old ones are modules, and stay.
    gc.freeze()
    gc.disable()
    try:
        return run_virtual(try_case(*work))
    finally:
        gc.enable()


async def try_case(case: Case, pairs_max: int | None) -> Tally:
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
    steps = str(len(case.needs))
    tally.pairs_all = tally.pairs_all_by_steps[steps] = len(pairs)
    random.Random(f"{SEED} {case}").shuffle(pairs)
    for pair in pairs[:pairs_max]:
        await _run(prepared, pair, tally)
        tally.pairs += 1
        if not gc.isenabled() and tally.pairs % COLLECTED_EACH == 0:
            gc.collect()
    tally.pairs_by_steps[steps] = tally.pairs
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
    if run.wrong:
        tally.wrong_runs += 1
        if len(tally.wrong) < WRONG_SHOWN:
            tally.wrong.append(f"{prepared.case} with {[tuple(trap) for trap in traps]}: {run}")
    return run
