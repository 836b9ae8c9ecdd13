from __future__ import annotations

import pytest

from fsm_saga.drawing.picture import NodeRole, Picture
from fsm_saga.drawing.timeline_layout import (
    COLUMNS_AT_END,
    COLUMNS_AT_START,
    Chart,
    Lane,
    duration_words,
    lay_out,
)
from tests.unit.drawing.geometry import faults

KEPT = COLUMNS_AT_START + COLUMNS_AT_END


def long_chart(count: int) -> Chart:
    lane = Lane("saga", "saga")
    for column in range(count):
        lane.close(column)
        lane.open(column, NodeRole.EXECUTING, f"S{column}", "", "")
    return Chart("t", (lane,), tuple(float(i) for i in range(count)), ())


def names(picture: Picture) -> list[str]:
    return [node.lines[0] for node in picture.nodes if node.id[:5] == "saga-"][1:]


def test_a_journal_at_the_limit_is_shown_whole() -> None:
    assert names(lay_out(long_chart(KEPT))) == [f"S{i}" for i in range(KEPT)]


@pytest.mark.parametrize("more", [1, 2, 1000])
def test_a_longer_one_keeps_its_beginning_and_its_end_and_says_how_much_is_missing(
    more: int,
) -> None:
    picture = lay_out(long_chart(KEPT + more))
    shown = names(picture)
    assert shown[:COLUMNS_AT_START] == [f"S{i}" for i in range(COLUMNS_AT_START)]
    last = [f"S{i}" for i in range(KEPT + more - COLUMNS_AT_END, KEPT + more)]
    assert shown[-COLUMNS_AT_END:] == last
    assert f"… {more} left out …" in [node.lines[0] for node in picture.nodes]
    assert list(faults(picture)) == []


def test_a_lane_knows_how_far_it_is_filled() -> None:
    lane = Lane("x", "x")
    lane.close(3)
    assert lane.boxes == []
    lane.open(3, NodeRole.RUNNING, "a", "", "")
    assert (lane.is_open, lane.filled_to) == (True, 3)
    lane.close(7)
    assert (lane.is_open, lane.filled_to) == (False, 6)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "+0 ms"),
        (0.0004, "+0 ms"),
        (0.25, "+250 ms"),
        (59.9, "+59.9 s"),
        (60, "+1 min"),
        (3599, "+59 min 59 s"),
        (3600, "+1 h"),
        (86399, "+23 h 59 min"),
        (86400, "+1 d"),
        (400 * 86400.0, "+400 d"),
        (-0.5, "-500 ms"),
    ],
)
def test_spans_of_time_are_written_in_two_units(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words


@pytest.mark.parametrize("moment", [1e18, -1e18, float("inf")])
def test_a_clock_gone_mad_does_not_stop_the_picture(moment: float) -> None:
    picture = lay_out(Chart("t", (), (moment, moment), ()))
    assert picture.notes[0].startswith("Began ")
