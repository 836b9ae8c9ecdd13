"""The table is total, and each guard on each row is what keeps that row from moving."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from fsm_saga.core import table as table_module
from fsm_saga.core.guards import GUARDS, Facts, WayBack
from fsm_saga.core.program import Shape
from fsm_saga.core.states import (
    DONE,
    FAILED,
    NEEDS_HUMAN,
    PENDING,
    Phase,
    SagaEvent,
    SagaState,
    compensating,
    executing,
)
from fsm_saga.core.table import OTHERWISE, Row, Table, Verdict, VerdictKind
from fsm_saga.machine.flatten import saga_table

SHAPES = [
    Shape(0, 0, 0, is_open=True),
    Shape(1, 1, 0, is_open=False),
    Shape(2, 2, 1, is_open=False),
    Shape(3, 2, 0, is_open=True),
]
ANSWERS = [event for event in SagaEvent if event.startswith("human_")]


def every_facts(step_count: int) -> Iterator[Facts]:
    counts = range(step_count + 1)
    booleans = (False, True)
    for values in itertools.product(
        (0, step_count), counts, counts, booleans, WayBack, booleans, booleans
    ):
        yield Facts(*values)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_there_is_an_answer_to_every_event_in_every_state(shape: Shape) -> None:
    table = saga_table(shape)
    for state, event in itertools.product(table.states, SagaEvent):
        for facts in every_facts(shape.step_count):
            verdict = table.verdict(state, event, facts)
            if verdict.kind is VerdictKind.MOVE:
                assert verdict.target in table.states
            else:
                assert verdict.reason
                assert verdict.target is None


def test_what_happens_otherwise_is_said_for_each_phase_and_event() -> None:
    assert set(OTHERWISE) == set(itertools.product(Phase, SagaEvent))
    assert all(verdict.kind is not VerdictKind.MOVE for verdict in OTHERWISE.values())


def test_each_answer_that_is_no_move_reads_as_written_down() -> None:
    """The reasons are shown to people. The table is made anew, not read as it was imported."""
    made = table_module._otherwise()
    assert made == OTHERWISE
    lines = [
        f"{phase:<12} {event:<21} {made[phase, event].kind.value:<6} {made[phase, event].reason}"
        for phase, event in itertools.product(Phase, SagaEvent)
    ]
    assert lines == Path(__file__).with_name("otherwise.txt").read_text("utf-8").splitlines()
    assert all(verdict.target is None for verdict in made.values())


def kinds(event: SagaEvent) -> dict[Phase, VerdictKind]:
    return {phase: OTHERWISE[phase, event].kind for phase in Phase}


def test_late_results_and_timers_are_ignored_everywhere() -> None:
    for event in (
        SagaEvent.STEP_SUCCEEDED,
        SagaEvent.STEP_FAILED,
        SagaEvent.EFFECT_CLEARED,
        SagaEvent.NOTHING_LEFT_TO_TRY,
        SagaEvent.FORWARD_EXHAUSTED,
        SagaEvent.DEADLINE_PASSED,
    ):
        assert set(kinds(event).values()) == {VerdictKind.IGNORE}


def test_what_somebody_asks_for_in_vain_is_refused_with_the_reason() -> None:
    for event in (*ANSWERS, SagaEvent.START, SagaEvent.STEP_APPENDED, SagaEvent.PLAN_CLOSED):
        assert set(kinds(event).values()) == {VerdictKind.REFUSE}
    reasons = {
        (Phase.PENDING, SagaEvent.START): "the plan has no step",
        (Phase.EXECUTING, SagaEvent.START): "the saga has started",
        (Phase.EXECUTING, SagaEvent.CANCELLED): "the point of no return is passed",
        (Phase.NEEDS_HUMAN, SagaEvent.CANCELLED): "the point of no return is passed",
        (Phase.COMPENSATING, SagaEvent.CANCELLED): "the saga is already going back",
        (Phase.DONE, SagaEvent.CANCELLED): "the saga has ended",
        (Phase.FAILED, SagaEvent.STEP_APPENDED): "the saga has ended",
        (Phase.DONE, SagaEvent.PLAN_CLOSED): "the saga has ended",
        (Phase.COMPENSATING, SagaEvent.STEP_APPENDED): "the saga no longer goes forward",
        (Phase.EXECUTING, SagaEvent.STEP_APPENDED): "the saga is about to go back",
        (Phase.EXECUTING, SagaEvent.PLAN_CLOSED): "the plan is closed",
        (Phase.EXECUTING, SagaEvent.HUMAN_RETRIES): "answers count in NEEDS_HUMAN only",
        (Phase.NEEDS_HUMAN, SagaEvent.HUMAN_RETRIES): "leads to no state of this saga",
        (Phase.DONE, SagaEvent.HUMAN_SETTLES): "the saga has ended",
    }
    for key, reason in reasons.items():
        assert reason in OTHERWISE[key].reason
    assert kinds(SagaEvent.CANCELLED)[Phase.COMPENSATING] is VerdictKind.IGNORE
    assert kinds(SagaEvent.CANCELLED)[Phase.DONE] is VerdictKind.REFUSE


def test_nothing_leaves_an_end() -> None:
    for shape in SHAPES:
        table = saga_table(shape)
        assert not [source for source, _event in table.rows if source.is_final]


def deciding_facts(row: Row, guard: str, step_count: int) -> Facts | None:
    """Return facts for which this guard alone keeps the row from moving."""
    others = [GUARDS[name] for name in row.guards if name != guard]
    for facts in every_facts(step_count):
        if not GUARDS[guard](facts, row.target) and all(
            other(facts, row.target) for other in others
        ):
            return facts
    return None


def test_each_guard_alone_keeps_its_rows_from_moving() -> None:
    """Whoever deletes a guard from a row sees this test fail for it."""
    seen = set()
    for shape in SHAPES:
        table = saga_table(shape)
        for (source, event), cell in table.rows.items():
            guarded = [(row, name) for row in cell for name in row.guards]
            for row, name in guarded:
                facts = deciding_facts(row, name, shape.step_count)
                if facts is None:
                    continue
                verdict = table.verdict(source, event, facts)
                assert verdict.target != row.target, (source, event, row, name)
                seen.add(name)
    assert seen == set(GUARDS)


def test_the_first_row_whose_guards_all_hold_wins() -> None:
    rows = {
        (PENDING, SagaEvent.START): (
            Row(("plan_has_a_step", "plan_is_closed"), executing(1)),
            Row(("plan_has_a_step",), executing(2)),
        )
    }
    table = Table(rows)
    assert table.rows is rows
    facts = Facts(1, 0, 0, True, WayBack.OPEN, False, True)
    start = SagaEvent.START
    assert table.verdict(PENDING, start, facts) == Verdict(VerdictKind.MOVE, executing(1))
    facts = replace(facts, is_closed=False)
    assert table.verdict(PENDING, start, facts) == Verdict(VerdictKind.MOVE, executing(2))
    facts = replace(facts, step_count=0)
    assert table.verdict(PENDING, start, facts) is OTHERWISE[Phase.PENDING, start]


def test_the_states_of_a_table_stand_in_reading_order() -> None:
    states: list[SagaState] = [
        PENDING,
        executing(1),
        executing(2),
        compensating(1),
        compensating(2),
        DONE,
        FAILED,
        NEEDS_HUMAN,
    ]
    assert list(saga_table(Shape(2, 1, 0, is_open=False)).states) == states
