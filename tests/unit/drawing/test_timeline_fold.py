from __future__ import annotations

from fsm_saga.drawing.picture import NodeRole, Picture
from fsm_saga.drawing.timeline_fold import NOTE, folded
from fsm_saga.drawing.timeline_layout import BOX_GAP, Box, Chart, Lane, lay_out
from tests.unit.drawing.geometry import faults

REFUSED, SENT = NodeRole.REJECTED, NodeRole.RUNNING


def box(start: int, end: int | None, word: str = "rejected", detail: str = "") -> Box:
    role = REFUSED if word == "rejected" else SENT
    return Box(start, role, "pay", word, detail, end)


def chart(count: int, *lanes: Lane) -> Chart:
    return Chart("t", lanes, tuple(float(2**moment) for moment in range(count)), ("kept",))


def retried(times: int) -> Lane:
    boxes = [box(1 + 2 * turn, 2 + 2 * turn, detail=f"no {turn}") for turn in range(times)]
    return Lane("step-0", "1", [*boxes, box(1 + 2 * times, None, "sent")])


def shown(made: Chart) -> list[list[tuple[int, int | None, str]]]:
    return [[(b.start, b.end, b.word) for b in lane.boxes] for lane in made.lanes]


def test_attempts_in_a_row_that_came_to_the_same_are_one_box() -> None:
    made = folded(chart(12, retried(5)))

    assert shown(made) == [[(1, 2, "rejected, 5 times"), (3, None, "sent")]]
    assert made.lanes[0].boxes[0].detail == "no 4"
    assert made.notes == ("kept", NOTE)


def test_the_time_between_what_is_left_is_the_time_that_passed() -> None:
    made = folded(chart(12, retried(5)))

    assert made.moments == (1.0, 2.0, 2.0**10, 2.0**11)


def test_two_attempts_stay_two() -> None:
    given = chart(6, retried(2))

    assert shown(folded(given)) == shown(given)
    assert folded(given) == given


def test_another_answer_between_them_parts_a_row() -> None:
    lane = Lane("x", "x", [box(0, 1), box(1, 2), box(2, 3, "sent"), box(3, 4), box(4, 5)])

    assert folded(chart(5, lane)).lanes[0].boxes == lane.boxes


def test_moments_of_another_lane_within_a_row_are_kept() -> None:
    other = Lane("step-1", "2", [box(4, 6, "sent")])
    made = folded(chart(12, retried(5), other))

    assert shown(made) == [
        [(1, 4, "rejected, 5 times"), (5, None, "sent")],
        [(2, 3, "sent")],
    ]
    assert made.moments == (1.0, 2.0, 16.0, 64.0, 2.0**10, 2.0**11)


def test_the_chart_that_was_given_is_as_it_was() -> None:
    given = chart(12, retried(5))
    folded(given)

    assert shown(given) == shown(chart(12, retried(5)))


def widths(picture: Picture) -> dict[str, float]:
    return {node.id: node.frame.width for node in picture.nodes if node.frame is not None}


def test_a_column_is_as_wide_as_what_stands_in_it() -> None:
    lane = Lane("a", "a", [box(0, 1, "ok"), box(1, 2, "a word that is longer"), box(2, 3, "ok")])
    other = Lane("b", "b", [box(0, 3, "ok")])
    picture = lay_out(Chart("t", (lane, other), (0.0, 0.0, 0.0), ()))
    found = widths(picture)

    assert found["a-0"] == found["a-2"] < found["a-1"]
    assert found["b-0"] == sum(found[f"a-{number}"] for number in range(3)) + 4 * BOX_GAP
    assert list(faults(picture)) == []


def test_a_name_without_end_does_not_make_a_picture_without_end() -> None:
    lane = Lane("a", "h" * 500, [box(0, 1, "w" * 500)])
    picture = lay_out(Chart("t", (lane,), (0.0,), ()))

    assert sum(widths(picture).values()) < 600
    assert all("…" in node.lines[-1] for node in picture.nodes)


def test_the_heading_is_shown_whole_if_it_is_of_a_common_length() -> None:
    heading = "ship · Tell the supplier where to deliver"
    picture = lay_out(Chart("t", (Lane("a", heading, [box(0, 1)]),), (0.0,), ()))

    assert picture.nodes[0].lines == (heading,)


def test_an_empty_chart_can_be_folded() -> None:
    assert folded(Chart("t", (), (), ())) == Chart("t", (), (), ())
