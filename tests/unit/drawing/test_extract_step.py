from __future__ import annotations

import pytest

from fsm_saga.core.program import StepTable
from fsm_saga.core.states import StepEvent, StepStatus
from fsm_saga.drawing.extract_step import MEANINGS, step_machine_picture
from fsm_saga.drawing.picture import NodeRole
from fsm_saga.machine.flatten import step_table
from tests.unit.drawing.geometry import faults, is_square


def transitions(table: StepTable) -> set[tuple[str, str, str]]:
    """Return (from, event, to) as the picture shows it, areas taken apart."""
    picture = step_machine_picture(table)
    areas = {cluster.id: cluster.nodes for cluster in picture.clusters}
    return {
        (source.removeprefix("status-"), event, edge.target.removeprefix("status-"))
        for edge in picture.edges
        for source in areas.get(edge.source, (edge.source,))
        for event in edge.label
    }


def test_picture_and_table_have_the_same_transitions() -> None:
    rows = {(str(s), str(event), str(t)) for (s, event), t in step_table().items()}
    assert transitions(step_table()) == rows


@pytest.mark.parametrize("status", StepStatus)
def test_every_status_says_what_it_means(status: StepStatus) -> None:
    picture = step_machine_picture(step_table())
    (node,) = [node for node in picture.nodes if node.id == f"status-{status}"]
    assert status.replace("_", " ") in node.lines[0]
    assert node.lines[1] == MEANINGS[status]


def test_an_event_that_only_one_of_an_area_knows_leaves_that_one() -> None:
    """The areas are read from the table: one row less, and the arrow leaves a status."""
    table = {
        key: target
        for key, target in step_table().items()
        if key != (StepStatus.AWAITING_APPROVAL, StepEvent.LAUNCHED)
    }
    rows = {(str(s), str(event), str(t)) for (s, event), t in table.items()}
    assert transitions(table) == rows


def test_a_transition_that_nobody_foresaw_is_drawn_too() -> None:
    table = dict(step_table())
    table[StepStatus.SKIPPED, StepEvent.UNDO_STARTED] = StepStatus.STUCK
    assert ("SKIPPED", "undo_started", "STUCK") in transitions(table)


def test_nothing_lies_on_anything_else_and_every_arrow_has_right_angles() -> None:
    picture = step_machine_picture(step_table())
    assert list(faults(picture)) == []
    assert [edge.id for edge in picture.edges if not is_square(edge)] == []


def test_the_present_status_is_marked_and_the_others_are_pale() -> None:
    picture = step_machine_picture(step_table(), StepStatus.DOUBTFUL)
    (here,) = [node for node in picture.nodes if node.is_current]
    assert (here.id, here.role) == ("status-DOUBTFUL", NodeRole.DOUBTFUL)
    assert {n.role for n in picture.nodes if not n.is_current} == {NodeRole.WAITING}
    assert picture.title == "The life of a step, now DOUBTFUL"
