"""Repeats folded: attempts in a row that came to the same are one box, and moments fall away.

A tool that refuses ten times would else take ten columns and push all that matters off the screen.
What each attempt was, ``fsm-saga history`` says.
"""

from __future__ import annotations

from itertools import groupby

from fsm_saga.drawing.timeline_layout import Box, Chart, Lane

REPEATS_MIN = 3
"""Two in a row are shown as two, with the time between them."""

NOTE = "Attempts in a row that came to the same are one box, which says how many they were."


def folded(chart: Chart) -> Chart:
    """Return the chart with repeats as one box each, and without moments that show nothing."""
    lanes = [_folded(lane) for lane in chart.lanes]
    count = len(chart.moments)
    bounds = {0, count - 1}
    for lane in lanes:
        for box in lane.boxes:
            bounds |= {box.start, count if box.end is None else box.end}
    kept = sorted(bound for bound in bounds if 0 <= bound < count)
    places = {bound: place for place, bound in enumerate(kept)} | {count: len(kept)}
    for lane in lanes:
        for box in lane.boxes:
            box.start = places[box.start]
            box.end = None if box.end is None else places[box.end]
    is_folded = sum(len(lane.boxes) for lane in lanes) < sum(
        len(lane.boxes) for lane in chart.lanes
    )
    return Chart(
        title=chart.title,
        lanes=tuple(lanes),
        moments=tuple(chart.moments[bound] for bound in kept),
        notes=(*chart.notes, NOTE) if is_folded else chart.notes,
    )


def _folded(lane: Lane) -> Lane:
    boxes: list[Box] = []
    for (name, role, word), run in groupby(lane.boxes, lambda box: (box.name, box.role, box.word)):
        alike = list(run)
        first, last = alike[0], alike[-1]
        if len(alike) < REPEATS_MIN or not word:
            boxes += [Box(b.start, role, name, word, b.detail, b.end) for b in alike]
        else:
            repeated = f"{word}, {len(alike)} times"
            boxes.append(Box(first.start, role, name, repeated, last.detail, last.end))
    return Lane(lane.id, lane.heading, boxes)
