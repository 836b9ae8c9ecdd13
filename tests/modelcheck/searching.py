"""Many programs verified on two processors, and what came of each in one line."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from fsm_saga.core.program import Program
from fsm_saga.machine.canonical import Reduction
from fsm_saga.machine.verify import verify_program
from tests.modelcheck.programs import Needs, Step, make_program
from tests.support.counting import Count

CONFIGURATION_MAX = 150_000
PROCESSES = 2


class Case(NamedTuple):
    """One program to verify."""

    name: str
    steps: tuple[Step, ...]
    needs: Needs | None = None
    deadline_s: float | None = None
    is_open: bool = False
    reduction: Reduction = Reduction.ALL

    def program(self) -> Program:
        return make_program(
            self.steps, self.needs, deadline_s=self.deadline_s, is_open=self.is_open
        )


class Result(NamedTuple):
    """What came of one case, small enough to travel between processes."""

    name: str
    is_proven: bool
    configurations: int
    transitions: int
    depth: int
    ends: tuple[tuple[str, str], ...]
    text: str


def verify_case(case: Case) -> Result:
    found = verify_program(
        case.program(), configuration_max=CONFIGURATION_MAX, reduction=case.reduction
    )
    return Result(
        name=case.name,
        is_proven=found.is_proven,
        configurations=found.configurations,
        transitions=found.transitions,
        depth=found.depth,
        ends=tuple((state, outcome) for state, outcome, _count in found.ends),
        text="" if found.is_proven else found.as_text(),
    )


def verify_all(cases: Sequence[Case], count: Count) -> list[Result]:
    """Return the results in the order of the cases; what was seen is counted."""
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        results = list(pool.map(verify_case, cases))
    count("programs", len(results))
    count("configurations", sum(result.configurations for result in results))
    count("moves", sum(result.transitions for result in results))
    count("programs that are not sound", sum(not result.is_proven for result in results))
    return results


def unproven(results: Sequence[Result]) -> str:
    """Return what failed, for the message of an assertion."""
    return "\n\n".join(f"{r.name}\n{r.text}" for r in results if not r.is_proven)
