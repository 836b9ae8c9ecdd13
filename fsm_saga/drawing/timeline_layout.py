"""Lanes and boxes of a timeline, and the places they get.

A column is one moment of the journal. A box reaches from the column in which it was opened to
the one in which it was closed; what is still open reaches to the right end. A long journal is
cut in its middle: how it began and how it ended stay.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

from fsm_saga.drawing.picture import (
    Cluster,
    ClusterRole,
    Edge,
    EdgeRole,
    Frame,
    Node,
    NodeForm,
    NodeRole,
    Picture,
    Point,
)
from fsm_saga.drawing.plain import display_width, shorten
from fsm_saga.drawing.theme import EDGE_FONT_SIZE, NODE_FONT_SIZE, NODE_LOOKS

COLUMN_WIDTH = 100.0
LANE_HEIGHT = 44.0
BOX_HEIGHT = 32.0
BOX_GAP = 3.0
AXIS_HEIGHT = 18.0
HEADING_COLUMNS = 26
HEADING_WIDTH = HEADING_COLUMNS * NODE_FONT_SIZE * 0.58 + 12
CHAR_WIDTH = EDGE_FONT_SIZE * 0.6
TOOLTIP_COLUMNS = 300
COLUMNS_AT_START = 40
COLUMNS_AT_END = 80
"""Columns that are kept of a journal longer than both together."""


@dataclass(slots=True)
class Box:
    """Something that lasted from one column to another; ``end`` is None while it is open."""

    start: int
    role: NodeRole
    name: str
    word: str
    detail: str
    end: int | None = None


@dataclass(slots=True)
class Lane:
    """What happened to one thing, in order."""

    id: str
    heading: str
    boxes: list[Box] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """Whether the last box still waits for the record that closes it."""
        return bool(self.boxes) and self.boxes[-1].end is None

    @property
    def filled_to(self) -> int:
        """The last column that the lane's boxes fill, as far as is known."""
        last = self.boxes[-1]
        return last.start if last.end is None else last.end - 1

    def open(self, column: int, role: NodeRole, name: str, word: str, detail: str) -> None:
        """Begin a box."""
        self.boxes.append(Box(column, role, name, word, detail))

    def close(
        self, column: int, role: NodeRole | None = None, word: str = "", detail: str = ""
    ) -> None:
        """End the open box, if there is one, with the role and the word of its outcome."""
        if not self.is_open:
            return
        last = self.boxes[-1]
        last.end = column
        last.role = role or last.role
        last.word = word or last.word
        last.detail = "; ".join(text for text in (last.detail, detail) if text)

    def stand(self, column: int, role: NodeRole, name: str, word: str, detail: str) -> None:
        """Add a box of one column and leave the open box, if there is one, to go on after it."""
        is_resumed = self.is_open
        resumed = self.boxes[-1] if is_resumed else None
        self.close(column)
        self.boxes.append(Box(column, role, name, word, detail, column + 1))
        if resumed is not None:
            self.open(column + 1, resumed.role, resumed.name, resumed.word, resumed.detail)


class Chart(NamedTuple):
    """Everything that a timeline shows; ``moments`` are the wall-clock seconds of the columns."""

    title: str
    lanes: tuple[Lane, ...]
    moments: tuple[float, ...]
    notes: tuple[str, ...]


def lay_out(chart: Chart) -> Picture:
    """Return the chart as a laid-out picture."""
    count = len(chart.moments)
    columns = _Columns(count)
    nodes: list[Node] = []
    edges: list[Edge] = []
    clusters: list[Cluster] = []
    width = HEADING_WIDTH + columns.shown * COLUMN_WIDTH + BOX_GAP
    for row, lane in enumerate(chart.lanes):
        y = AXIS_HEIGHT + (row + 0.5) * LANE_HEIGHT
        lane_nodes = [_heading(lane, y), *_boxes(lane, y, columns)]
        nodes += lane_nodes
        edges += _gaps(lane_nodes[1:])
        clusters.append(
            Cluster(
                id=f"lane-{lane.id}",
                title="",
                nodes=tuple(node.id for node in lane_nodes),
                role=ClusterRole.LANE if row % 2 == 0 else ClusterRole.LANE_ODD,
                frame=Frame(width / 2, y, width, LANE_HEIGHT),
            )
        )
    nodes += _axis(chart.moments, columns)
    return Picture(
        title=chart.title,
        nodes=tuple(nodes),
        edges=tuple(edges),
        clusters=tuple(clusters),
        notes=(*_began(chart.moments), *chart.notes),
    )


class _Columns:
    """Where each column of the journal stands in the picture."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.left_out = max(count - COLUMNS_AT_START - COLUMNS_AT_END, 0)
        # What is left out leaves one column to say so.
        self.shown = count - self.left_out + (1 if self.left_out else 0)

    def place(self, column: int) -> int:
        if not self.left_out or column <= COLUMNS_AT_START:
            return column
        return max(column - self.left_out + 1, COLUMNS_AT_START)


def _x(place: float) -> float:
    return HEADING_WIDTH + place * COLUMN_WIDTH


def _heading(lane: Lane, y: float) -> Node:
    return Node(
        id=f"{lane.id}-lane",
        lines=(shorten(lane.heading, HEADING_COLUMNS),),
        role=NodeRole.HEADING,
        form=NodeForm.BARE,
        tooltip=shorten(lane.heading, TOOLTIP_COLUMNS),
        frame=Frame(HEADING_WIDTH / 2 + 4, y, HEADING_WIDTH - 12, BOX_HEIGHT),
    )


def _boxes(lane: Lane, y: float, columns: _Columns) -> Iterator[Node]:
    for number, box in enumerate(lane.boxes):
        start = columns.place(box.start)
        end = columns.place(box.end if box.end is not None else columns.count)
        if start == end:
            continue
        left, right = _x(start) + BOX_GAP, _x(end) - BOX_GAP
        room = int((right - left - 8) / CHAR_WIDTH)
        symbol = NODE_LOOKS[box.role].symbol
        lines = [box.name, f"{symbol} {box.word}" if symbol and box.word else box.word]
        yield Node(
            id=f"{lane.id}-{number}",
            lines=tuple(shorten(line, room) for line in lines if line),
            role=box.role,
            form=NodeForm.CHIP,
            tooltip=_tooltip(box),
            frame=Frame((left + right) / 2, y, right - left, BOX_HEIGHT),
        )


def _tooltip(box: Box) -> str:
    parts = [text for text in (box.name, box.word, box.detail) if text]
    return shorten(": ".join(parts), TOOLTIP_COLUMNS)


def _gaps(boxes: Sequence[Node]) -> Iterator[Edge]:
    for before, after in pairwise(boxes):
        if before.frame is None or after.frame is None:
            continue
        start = Point(before.frame.right, before.frame.y)
        end = Point(after.frame.left, after.frame.y)
        yield Edge(
            source=before.id,
            target=after.id,
            role=EdgeRole.WAIT,
            path=(start, end),
            has_arrow=False,
        )


def _axis(moments: Sequence[float], columns: _Columns) -> Iterator[Node]:
    """Yield the time that passed between each two columns, written where they meet."""
    for column, (before, after) in enumerate(pairwise(moments), start=1):
        place = columns.place(column)
        is_left_out = COLUMNS_AT_START <= column <= columns.count - COLUMNS_AT_END
        if before == after or (columns.left_out and is_left_out):
            continue
        yield _tick(f"tick-{column}", duration_words(after - before), place)
    if columns.left_out:
        yield _tick("tick-gap", f"… {columns.left_out} left out …", COLUMNS_AT_START + 0.5)


def _tick(node_id: str, text: str, place: float) -> Node:
    width = display_width(text) * CHAR_WIDTH + 6
    return Node(
        id=node_id,
        lines=(text,),
        role=NodeRole.NOTE,
        form=NodeForm.BARE,
        frame=Frame(_x(place), AXIS_HEIGHT / 2, width, AXIS_HEIGHT),
    )


def _began(moments: Sequence[float]) -> Iterator[str]:
    if not moments:
        return
    lasted = duration_words(moments[-1] - moments[0]).removeprefix("+")
    try:
        began = datetime.fromtimestamp(moments[0], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):
        began = f"{moments[0]:g} s"
    yield f"Began {began}; from the first record to the last: {lasted}."


_UNITS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))


def duration_words(seconds: float) -> str:
    """Return a span of time in at most two units, with its sign.

    Example:
        >>> [duration_words(s) for s in (0.0123, 1.5, 200.0, 7500.0, 200000.0, -3.0)]
        ['+12 ms', '+1.5 s', '+3 min 20 s', '+2 h 5 min', '+2 d 7 h', '-3 s']
    """
    sign = "-" if seconds < 0 else "+"
    left = abs(seconds)
    if left < 1:
        return f"{sign}{left * 1000:.0f} ms"
    if left < 60:
        return f"{sign}{left:.3g} s"
    if not math.isfinite(left):
        return "?"
    unit, name, smaller, smaller_name = next(each for each in _UNITS if left >= each[0])
    whole, rest = divmod(int(left), unit)
    rest //= smaller
    return f"{sign}{whole} {name}" + (f" {rest} {smaller_name}" if rest else "")
