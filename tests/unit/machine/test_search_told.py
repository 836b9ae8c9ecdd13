"""What the search tells of each planted bug, and in how many places it finds it."""

from __future__ import annotations

import pytest

from fsm_saga.core.contract import ToolContract as Promises
from fsm_saga.core.decide import decide
from fsm_saga.core.program import Program
from fsm_saga.machine.explore import Space
from fsm_saga.machine.search import Search
from tests.modelcheck.programs import (
    APPROVED,
    CHECKED,
    COMPENSATABLE,
    PIVOT,
    RETRIABLE,
    TWICE,
    Step,
    make_program,
)
from tests.modelcheck.zoo import DECIDERS, PATCHES

CHAIN = make_program((COMPENSATABLE, COMPENSATABLE))
BESIDE = make_program((COMPENSATABLE, COMPENSATABLE), ((), ()))
TO_PIVOT = make_program((COMPENSATABLE, PIVOT, RETRIABLE))
FORGETFUL = make_program((Step(contract=Promises(sticky_failures=False), retry=TWICE),))
UNDO_FORGETFUL = make_program((Step(undo_contract=Promises(sticky_failures=False)),))
RETAINING = make_program((Step(contract=Promises(retention_s=60.0)),))

TOLD: list[tuple[str, Program, dict[str, tuple[int, str]]]] = [
    (
        "bad output is a failure",
        CHAIN,
        {
            "C2": (4, "step 0: it is called rejected, and its effect is there"),
            "OUTCOME": (1, "the outcome of FAILED is called nothing_happened"),
            "C3": (14, "step 1: it is called rejected, and its effect is there"),
        },
    ),
    (
        "time-out is a failure",
        CHAIN,
        {
            "C2": (4, "step 0: it is called rejected, and its effect is there"),
            "OUTCOME": (1, "the outcome of FAILED is called nothing_happened"),
            "C3": (14, "step 1: it is called rejected, and its effect is there"),
        },
    ),
    (
        "lost undo is done",
        CHAIN,
        {
            "C2": (22, "step 0: it is called compensated, and its effect is there"),
            "C3": (12, "step 1: it is called compensated, and its effect is there"),
        },
    ),
    (
        "absent is refused",
        make_program((CHECKED,)),
        {
            "C2": (1, "step 0: it is called rejected, and its effect is there"),
            "OUTCOME": (1, "the outcome of FAILED is called nothing_happened"),
        },
    ),
    (
        "id per attempt",
        CHAIN,
        {
            "INV-2": (186, "the do call of step 0 went out under a req_id of its own"),
        },
    ),
    (
        "params made anew",
        CHAIN,
        {
            "INV-3": (186, "the do call of step 0 went out with other parameters than its intent"),
        },
    ),
    (
        "sent twice",
        CHAIN,
        {
            "SENT": (186, "one call was sent twice in one decision"),
        },
    ),
    (
        "retries lost",
        CHAIN,
        {
            "SENT": (38, "the do call of step 0 was never sent"),
        },
    ),
    (
        "undoes itself",
        CHAIN,
        {
            "INV-2": (156, "the undo call of step 0 undoes another call than the step's"),
        },
    ),
    (
        "timers ignored",
        CHAIN,
        {
            "END": (24, "no way to an end from here (EXECUTING(1))"),
        },
    ),
    (
        "state beside the journal",
        CHAIN,
        {
            "INV-6": (31, "folding the records gives another state than was decided"),
            "OUTCOME": (3, "the outcome of FAILED is called partly_compensated"),
        },
    ),
    (
        "cancelled for good",
        CHAIN,
        {
            "INV-6": (10, "folding the records gives another state than was decided"),
            "INV-11": (94, "FAILED with 1 steps not cleared"),
            "C2": (2, "step 0: it is called succeeded, and its effect is not there"),
            "OUTCOME": (2, "the outcome of FAILED is called unknown"),
        },
    ),
    (
        "ends reopened",
        CHAIN,
        {
            "INV-6": (1, "folding the records gives another state than was decided"),
            "C11": (1, "DONE became FAILED"),
            "INV-11": (7, "FAILED with 2 steps not cleared"),
            "OUTCOME": (1, "the outcome of FAILED is called committed"),
        },
    ),
    (
        "refusal is done",
        CHAIN,
        {
            "C3": (38, "step 0: it is called succeeded, and its effect is not there"),
            "C1": (4, "step 1: it is called succeeded, and its effect is not there"),
        },
    ),
    (
        "one too many",
        CHAIN,
        {
            "INV-6": (682, "folding the records gives another state than was decided"),
            "INV-10": (682, "COMPENSATING(2) with 1 effects left"),
        },
    ),
    (
        "breaks",
        CHAIN,
        {
            "TOTAL": (118, "the engine broke: this cannot be"),
        },
    ),
    (
        "refuses approvals",
        make_program((APPROVED,)),
        {
            "TOTAL": (2, "the engine refused: not now"),
        },
    ),
    (
        "undo in any order",
        CHAIN,
        {
            "INV-8": (55, "the undo of step 0 started before 1 was cleared"),
        },
    ),
    (
        "undo beside siblings",
        BESIDE,
        {
            "INV-7": (24, "the undo of step 0 started while 1 was in flight"),
        },
    ),
    (
        "launch without needs",
        CHAIN,
        {
            "INV-5": (1, "step 1 started before what it needs"),
            "END": (9, "no way to an end from here (EXECUTING(1))"),
        },
    ),
    (
        "way back is always open",
        TO_PIVOT,
        {
            "INV-12": (14, "step 2 is undone after step 1 was done"),
            "OUTCOME": (1, "the outcome of FAILED is called amended"),
        },
    ),
    (
        "always compensated",
        CHAIN,
        {
            "OUTCOME": (2, "the outcome of FAILED is called compensated"),
        },
    ),
    (
        "refusals trusted",
        FORGETFUL,
        {
            "C2": (1, "step 0: it is called rejected, and its effect is there"),
            "OUTCOME": (1, "the outcome of FAILED is called nothing_happened"),
        },
    ),
    (
        "crash in an undo leaves no trace",
        UNDO_FORGETFUL,
        {
            "X1": (79, "step 0: it was undone twice"),
        },
    ),
    (
        "everything is remembered",
        RETAINING,
        {
            "X1": (58, "step 0: it took effect twice"),
            "C2": (1, "step 0: it is called rejected, and its effect is there"),
            "OUTCOME": (1, "the outcome of FAILED is called nothing_happened"),
        },
    ),
    (
        "people have no answer",
        CHAIN,
        {
            "ASKED": (31, "a person is needed, and no step takes any answer"),
            "END": (19, "no way to an end from here (COMPENSATING(1))"),
        },
    ),
    (
        "retry for ever",
        CHAIN,
        {
            "REST": (1, "from here the saga can go in a circle, and nobody is asked"),
        },
    ),
]


@pytest.mark.parametrize(("name", "program", "told"), TOLD, ids=[name for name, *_ in TOLD])
def test_of_a_bug_it_is_told_what_breaks_and_where(
    name: str,
    program: Program,
    told: dict[str, tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if name in PATCHES:
        PATCHES[name](monkeypatch)
    space = Space(program, decider=DECIDERS.get(name, decide))
    found = Search(space, configuration_max=300).run()
    assert {
        code: (found.breach_counts[code], breach.finding.message)
        for code, breach in found.breaches.items()
    } == told
