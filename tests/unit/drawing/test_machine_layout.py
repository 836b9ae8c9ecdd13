from __future__ import annotations

import pytest

from fsm_saga.core.program import Shape
from fsm_saga.core.states import SagaState, compensating, executing
from fsm_saga.drawing.extract_machine import saga_machine_picture
from fsm_saga.drawing.picture import Frame
from fsm_saga.machine.flatten import saga_table
from tests.unit.drawing.geometry import faults, is_square
from tests.unit.drawing.test_extract_machine import SHAPES

PRESENT: list[SagaState | None] = [None, executing(14), compensating(2)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nothing_lies_on_anything_else(shape: Shape) -> None:
    assert list(faults(saga_machine_picture(saga_table(shape)))) == []


@pytest.mark.parametrize("current", PRESENT, ids=str)
def test_nothing_lies_on_anything_else_when_a_row_is_unfolded(current: SagaState | None) -> None:
    assert list(faults(saga_machine_picture(saga_table(SHAPES[-2]), current))) == []


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_arrow_has_right_angles(shape: Shape) -> None:
    picture = saga_machine_picture(saga_table(shape))
    assert [edge.id for edge in picture.edges if not is_square(edge)] == []


def test_rows_are_level_and_the_areas_are_around_them() -> None:
    picture = saga_machine_picture(saga_table(Shape(3, 1, 0, is_open=False)))
    frames = {node.id: node.frame for node in picture.nodes}
    for cluster in picture.clusters:
        assert cluster.frame is not None
        inside = [frame for node in cluster.nodes if (frame := frames[node])]
        assert len({frame.y for frame in inside}) == 1
        assert all(_holds(cluster.frame, frame) for frame in inside)


def _holds(outer: Frame, inner: Frame) -> bool:
    return (
        outer.left < inner.left
        and inner.right < outer.right
        and outer.top < inner.top
        and inner.bottom < outer.bottom
    )


def test_a_common_label_of_many_arrows_is_written_once() -> None:
    picture = saga_machine_picture(saga_table(Shape(6, 1, 0, is_open=False)))
    chain = [e for e in picture.edges if e.label == ("step_succeeded",) and e.label_at is None]
    assert len(chain) == 5
    title = "going forward, from each state to the next by step_succeeded"
    assert picture.clusters[0].title == title
