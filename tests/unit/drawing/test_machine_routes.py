from __future__ import annotations

from fsm_saga.core.states import Phase
from fsm_saga.drawing.machine_routes import Bundle, Grid, label_size, routed_edge
from fsm_saga.drawing.picture import EdgeRole, Frame, Point


def test_an_arrow_that_nobody_foresaw_is_drawn_straight() -> None:
    frames = {"state-DONE": Frame(100, 0, 40, 20), "state-FAILED": Frame(0, 80, 40, 20)}
    grid = Grid(frames, turn=30, turn_x=50, down=40, low=120)
    bundle = Bundle(Phase.DONE, Phase.FAILED, "state-DONE", "state-FAILED", ("x",), EdgeRole.TURN)
    edge = routed_edge(bundle, "state-DONE", "state-FAILED", grid, is_labelled=True)
    assert edge.path == (Point(100, 0), Point(0, 80))
    assert edge.label == ("x",)


def test_the_room_of_a_label_grows_with_its_lines() -> None:
    assert label_size([]) == (0, 0)
    one, two = label_size(["abcd"]), label_size(["abcd", "ab"])
    assert one.width == two.width > 0
    assert two.height == 2 * one.height
