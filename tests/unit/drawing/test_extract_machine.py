from __future__ import annotations

import re

import pytest

from fsm_saga.core.program import Shape
from fsm_saga.core.states import (
    DONE,
    NEEDS_HUMAN,
    PENDING,
    SagaState,
    compensating,
    executing,
)
from fsm_saga.core.table import Table
from fsm_saga.drawing.extract_machine import saga_machine_picture
from fsm_saga.drawing.picture import NodeRole, Picture
from fsm_saga.machine.flatten import saga_table

SHAPES = [
    Shape(0, 0, 0, is_open=False),
    Shape(0, 0, 0, is_open=True),
    Shape(1, 1, 0, is_open=False),
    Shape(1, 1, 1, is_open=False),
    Shape(2, 2, 0, is_open=True),
    Shape(3, 1, 0, is_open=False),
    Shape(3, 2, 1, is_open=True),
    Shape(8, 3, 2, is_open=False),
    Shape(30, 1, 0, is_open=False),
    Shape(30, 4, 3, is_open=True),
    Shape(200, 2, 0, is_open=False),
]


def table(step_count: int, width: int = 1) -> Table:
    return saga_table(Shape(step_count, width, 0, is_open=False))


def states_of(node_id: str) -> set[SagaState]:
    """Return every state that a node or an area of the picture stands for."""
    _, _, rest = node_id.partition("-")
    if node_id.startswith("phase-"):
        return {SagaState.parse(f"{rest}({n})") for n in range(1, 203)}
    phase, _, numbers = rest.partition("-")
    if not numbers:
        return {SagaState.parse(phase)}
    first, _, last = numbers.partition("_")
    return {SagaState.parse(f"{phase}({n})") for n in range(int(first), int(last or first) + 1)}


def transitions_missing(picture: Picture, rows: Table) -> list[str]:
    """Return the rows of the table that no arrow and no range of the picture shows."""
    arrows = [
        (states_of(edge.source), states_of(edge.target), set(edge.label)) for edge in picture.edges
    ]
    ranges = [states_of(node.id) for node in picture.nodes]
    missing = []
    for (source, event), cell in rows.rows.items():
        for row in cell:
            is_shown = any(
                source in sources and row.target in targets and event.value in ", ".join(label)
                for sources, targets, label in arrows
            )
            is_inside = any(source in held and row.target in held for held in ranges)
            if not is_shown and not (is_inside and source != row.target):
                missing.append(f"{source} {event} {row.target}")
    return missing


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_transition_of_the_table_is_in_the_picture(shape: Shape) -> None:
    rows = saga_table(shape)
    assert transitions_missing(saga_machine_picture(rows), rows) == []


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_arrow_is_in_the_picture_that_the_table_does_not_have(shape: Shape) -> None:
    rows = saga_table(shape)
    moves = {
        (source, event.value, row.target)
        for (source, event), cell in rows.rows.items()
        for row in cell
    }
    for edge in saga_machine_picture(rows).edges:
        for event in re.findall(
            r"(?<!\[)\b[a-z]+_[a-z_]+\b|\bstart\b|\bcancelled\b", edge.label_line
        ):
            if f"[{event}]" in edge.label_line:
                continue
            assert any(
                source in states_of(edge.source) and target in states_of(edge.target)
                for source, name, target in moves
                if name == event
            ), f"{edge.source} {event} {edge.target}"


def test_a_short_plan_shows_every_state_and_its_guards() -> None:
    picture = saga_machine_picture(table(3))
    assert {node.lines[0] for node in picture.nodes} == {str(state) for state in table(3).states}
    labels = " ".join(edge.label_line for edge in picture.edges)
    assert "[effects_are_counted]" in labels
    assert "[way_back_is_open]" in labels


def test_a_longer_plan_leaves_the_guards_out() -> None:
    assert "[" not in "".join(e.label_line for e in saga_machine_picture(table(5)).edges)


def test_a_row_is_folded_above_the_limit_and_not_at_it() -> None:
    assert len(saga_machine_picture(table(8)).nodes) == 8 + 8 + 4
    assert len(saga_machine_picture(table(9)).nodes) == 3 + 3 + 4
    assert len(saga_machine_picture(table(9), collapse_above=9).nodes) == 9 + 9 + 4


@pytest.mark.parametrize("step_count", [30, 200])
def test_a_long_plan_has_as_few_arrows_as_a_short_one(step_count: int) -> None:
    assert len(saga_machine_picture(table(step_count, 2)).edges) <= 20


@pytest.mark.parametrize(
    ("current", "ids"),
    [
        (None, ["1", "2_29", "30"]),
        (executing(1), ["1", "2", "3_29", "30"]),
        (executing(2), ["1", "2", "3", "4_29", "30"]),
        (executing(14), ["1", "2_12", "13", "14", "15", "16_29", "30"]),
        (executing(29), ["1", "2_27", "28", "29", "30"]),
        (executing(30), ["1", "2_28", "29", "30"]),
        (compensating(14), ["1", "2_29", "30"]),
    ],
)
def test_folding_keeps_the_ends_and_what_lies_around_the_present_state(
    current: SagaState | None, ids: list[str]
) -> None:
    picture = saga_machine_picture(table(30), current)
    row = [n.id.rsplit("-", 1)[1] for n in picture.nodes if n.id.startswith("state-EXECUTING")]
    assert row == ids


def test_the_present_state_is_marked_by_a_word_of_its_own_and_stands_alone() -> None:
    picture = saga_machine_picture(table(30), executing(14))
    (here,) = [node for node in picture.nodes if node.is_current]
    assert here.id == "state-EXECUTING-14"
    assert here.lines[0] == "▶ EXECUTING(14)"
    assert "the saga is here now" in here.tooltip
    assert picture.title == "The saga machine of a plan of 30 steps, now in EXECUTING(14)"


def test_where_the_saga_was_not_is_pale() -> None:
    picture = saga_machine_picture(table(3), executing(2), visited=[PENDING, executing(1)])
    pale = {node.id for node in picture.nodes if node.role is NodeRole.WAITING}
    assert "state-EXECUTING-3" in pale
    assert "state-DONE" in pale
    assert not pale & {"state-PENDING", "state-EXECUTING-1", "state-EXECUTING-2"}


def test_without_a_saga_nothing_is_pale() -> None:
    assert NodeRole.WAITING not in {n.role for n in saga_machine_picture(table(3)).nodes}


@pytest.mark.parametrize("current", [PENDING, DONE, NEEDS_HUMAN])
def test_a_state_without_a_count_can_be_the_present_one(current: SagaState) -> None:
    picture = saga_machine_picture(table(3), current)
    assert [node.id for node in picture.nodes if node.is_current] == [f"state-{current}"]


def test_titles_count_in_words() -> None:
    assert saga_machine_picture(table(1)).title == "The saga machine of a plan of 1 step"
    rows = saga_table(Shape(2, 1, 0, is_open=True))
    title = "The saga machine of an open plan of 2 steps so far"
    assert saga_machine_picture(rows).title == title
