"""The search finds what is wrong: each planted bug breaks the property that it should break.

A search that finds nothing proves nothing until it has been seen to find something.
"""

from __future__ import annotations

import pytest

from fsm_saga.core.contract import ToolContract as Promises
from fsm_saga.core.decide import decide
from fsm_saga.core.program import Program
from fsm_saga.core.states import DoubtExit
from fsm_saga.machine.canonical import Reduction
from fsm_saga.machine.properties import PROPERTIES
from fsm_saga.machine.verify import Verification, verify_program
from tests.modelcheck.mixes import BACKWARD, PIVOTS
from tests.modelcheck.programs import (
    APPROVED,
    CHECKED,
    COMPENSATABLE,
    FENCED,
    PIVOT,
    RETRIABLE,
    TWICE,
    Step,
    make_program,
)
from tests.modelcheck.zoo import DECIDERS, PATCHES, with_exit
from tests.support.counting import Count

CHAIN = make_program((COMPENSATABLE, COMPENSATABLE))
BESIDE = make_program((COMPENSATABLE, COMPENSATABLE), ((), ()))
TO_PIVOT = make_program((COMPENSATABLE, PIVOT, RETRIABLE))
FORGETFUL = make_program((Step(contract=Promises(sticky_failures=False), retry=TWICE),))

CAUGHT_BY_DECIDER = [
    ("bad output is a failure", CHAIN, "C2"),
    ("time-out is a failure", CHAIN, "C2"),
    ("lost undo is done", CHAIN, "C2"),
    ("absent is refused", make_program((CHECKED,)), "C2"),
    ("id per attempt", CHAIN, "INV-2"),
    ("params made anew", CHAIN, "INV-3"),
    ("sent twice", CHAIN, "SENT"),
    ("retries lost", CHAIN, "SENT"),
    ("undoes itself", CHAIN, "INV-2"),
    ("timers ignored", CHAIN, "END"),
    ("state beside the journal", CHAIN, "INV-6"),
    ("cancelled for good", CHAIN, "INV-11"),
    ("ends reopened", CHAIN, "C11"),
    ("refusal is done", CHAIN, "C1"),
    ("refusal is done", CHAIN, "C3"),
    ("one too many", CHAIN, "INV-10"),
    ("breaks", CHAIN, "TOTAL"),
    ("refuses approvals", make_program((APPROVED,)), "TOTAL"),
]
CAUGHT_BY_PATCH = [
    ("undo in any order", CHAIN, "INV-8"),
    ("undo beside siblings", BESIDE, "INV-7"),
    ("launch without needs", CHAIN, "INV-5"),
    ("way back is always open", TO_PIVOT, "INV-12"),
    ("always compensated", CHAIN, "OUTCOME"),
    ("refusals trusted", FORGETFUL, "C2"),
    (
        "crash in an undo leaves no trace",
        make_program((Step(undo_contract=Promises(sticky_failures=False)),)),
        "X1",
    ),
    (
        "everything is remembered",
        make_program((Step(contract=Promises(retention_s=60.0)),)),
        "X1",
    ),
    ("people have no answer", CHAIN, "ASKED"),
    ("retry for ever", CHAIN, "REST"),
]
# Bugs that show in two steps beside each other.
SHOW_BESIDE = (
    "bad output is a failure",
    "time-out is a failure",
    "lost undo is done",
    "sent twice",
    "state beside the journal",
    "undo beside siblings",
    "always compensated",
    "people have no answer",
    "retry for ever",
)
# Exits that are unsafe for tools without the promise that they rest on.
UNSAFE_EXITS = [
    ("compensate now, without a tombstone", COMPENSATABLE, DoubtExit.COMPENSATE_NOW, "INV-9"),
    ("compensate now, and a late copy", COMPENSATABLE, DoubtExit.COMPENSATE_NOW, "C2"),
    (
        "resend without dedupe",
        Step(contract=Promises(dedupe=False), undo_retry=TWICE),
        DoubtExit.COMPENSATE_NOW,
        "C2",
    ),
]


# With these a search of everything has no end, or none within seconds.
ENDLESS = ("one too many", "launch without needs")
BUGS = [
    (name, program)
    for name, program, _ in (*CAUGHT_BY_DECIDER, *CAUGHT_BY_PATCH)
    if name not in ENDLESS
]
BUGS += [(name, BESIDE) for name in SHOW_BESIDE]


def check_caught(found: Verification, code: str) -> None:
    broken = {violation.code: violation for violation in found.violations}
    assert code in broken, f"{code} holds, broken are {sorted(broken)}"
    assert not found.is_sound
    path = broken[code].path
    assert path[0].event == "submitted"
    assert broken[code].title == PROPERTIES[code]
    assert f"{code}: " in found.as_text()


@pytest.mark.parametrize(("name", "program", "code"), CAUGHT_BY_DECIDER)
def test_a_spoilt_decision_is_caught(
    name: str, program: object, code: str, record_property: Count
) -> None:
    found = verify_program(program, configuration_max=5_000, decider=DECIDERS[name])  # type: ignore[arg-type]
    check_caught(found, code)
    record_property("planted bugs caught", 1)


@pytest.mark.parametrize(("name", "program", "code"), CAUGHT_BY_PATCH)
def test_a_broken_core_is_caught(
    name: str,
    program: object,
    code: str,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Count,
) -> None:
    PATCHES[name](monkeypatch)
    found = verify_program(program, configuration_max=5_000)  # type: ignore[arg-type]
    check_caught(found, code)
    record_property("planted bugs caught", 1)


@pytest.mark.parametrize(("name", "step", "exit_", "code"), UNSAFE_EXITS)
def test_an_unsafe_exit_is_caught(
    name: str, step: Step, exit_: DoubtExit, code: str, record_property: Count
) -> None:
    program = with_exit(make_program((step,)), exit_)
    check_caught(verify_program(program), code)
    record_property("planted bugs caught", 1)


@pytest.mark.parametrize(("name", "program"), BUGS)
def test_nothing_is_left_out_in_which_a_bug_shows(
    name: str, program: Program, monkeypatch: pytest.MonkeyPatch, record_property: Count
) -> None:
    """What a search of everything finds broken, a search that leaves out what it may does too."""
    decider = DECIDERS.get(name, decide)
    if name in PATCHES:
        PATCHES[name](monkeypatch)

    def told(reduction: Reduction) -> tuple[set[str], set[tuple[str, str]]]:
        found = verify_program(program, decider=decider, reduction=reduction)
        assert found.is_exhaustive
        ends = {(state, outcome) for state, outcome, _count in found.ends}
        return {violation.code for violation in found.violations}, ends

    record_property("programs compared", 1)
    broken, ends = told(Reduction.NONE)
    also_broken, same_ends = told(Reduction.ALL)
    assert broken
    assert same_ends == ends
    # Where a way back is made that is none, the outcome of what was merged is wrong as well.
    assert also_broken - {"OUTCOME"} == broken - {"OUTCOME"}
    assert broken <= also_broken


def test_the_same_exit_is_proven_where_the_tool_keeps_late_copies_out() -> None:
    program = with_exit(make_program((FENCED,)), DoubtExit.COMPENSATE_NOW)
    assert verify_program(program).is_proven


def test_every_bug_of_the_zoo_is_put_to_the_search() -> None:
    assert {name for name, _, _ in CAUGHT_BY_DECIDER} == set(DECIDERS)
    assert {name for name, _, _ in CAUGHT_BY_PATCH} == set(PATCHES)


def test_the_zoo_breaks_every_property() -> None:
    """What no bug breaks has not been seen to be looked at."""
    caught = {code for _, _, code in (*CAUGHT_BY_DECIDER, *CAUGHT_BY_PATCH)}
    caught |= {code for _, _, _, code in UNSAFE_EXITS}
    assert set(PROPERTIES) - caught == set()


def test_a_refusal_that_is_forgotten_and_not_fenced_is_unsafe_where_the_network_makes_copies() -> (
    None
):
    """Rows K and M2 of the truth table: trusting such a refusal is this engine's choice."""
    unsafe = {
        name
        for name, step in {**BACKWARD, **PIVOTS}.items()
        if not verify_program(make_program((step,)), has_doubles=True).is_sound
    }
    assert unsafe == {
        "forgets refusals",
        "forgets refusals, checked",
        "forgets refusals, fencing check",
        "forgets refusals, timed",
        "promises nothing",
        "pivot forgets refusals",
    }
