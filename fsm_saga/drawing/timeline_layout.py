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
from itertools import accumulate, pairwise
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

COLUMN_WIDTH_MIN = 34.0
BOX_WIDTH_MAX = 160.0
"""No column is widened beyond it for the sake of a long name; the name is cut then."""
BOX_PADDING = 8.0
CAPITAL_EXTRA = 0.25
LANE_HEIGHT = 44.0
BOX_HEIGHT = 32.0
BOX_GAP = 3.0
AXIS_HEIGHT = 18.0
HEADING_COLUMNS = 44
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
    grid = _Grid(chart, columns)
    nodes: list[Node] = []
    edges: list[Edge] = []
    clusters: list[Cluster] = []
    width = grid.x(columns.shown) + BOX_GAP
    for row, lane in enumerate(chart.lanes):
        y = AXIS_HEIGHT + (row + 0.5) * LANE_HEIGHT
        lane_nodes = [_heading(lane, y, grid), *_boxes(lane, y, columns, grid)]
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
    nodes += _axis(chart.moments, columns, grid)
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


class _Grid:
    """How wide the headings are, and each column: as wide as what stands in it."""

    def __init__(self, chart: Chart, columns: _Columns) -> None:
        longest = max((display_width(lane.heading) for lane in chart.lanes), default=0)
        self.heading_width = min(longest, HEADING_COLUMNS) * NODE_FONT_SIZE * 0.58 + 24
        widths = [COLUMN_WIDTH_MIN] * columns.shown
        for text, place in _ticks(chart.moments, columns):
            # A text stands on the line between two columns, half of it in either.
            for beside in (math.ceil(place) - 1, math.floor(place)):
                if 0 <= beside < len(widths):
                    widths[beside] = max(widths[beside], _text_width(text) + 6)
        for start, end, needed in sorted(_needs(chart, columns), key=lambda n: (n[1] - n[0], n)):
            missing = needed - sum(widths[start:end])
            for place in range(start, end if missing > 0 else start):
                widths[place] += missing / (end - start)
        self._edges = list(accumulate(widths, initial=self.heading_width))

    def x(self, place: float) -> float:
        """Return where a column begins; a half is its middle."""
        whole = math.floor(place)
        if whole == place:
            return self._edges[whole]
        return (self._edges[whole] + self._edges[whole + 1]) / 2


def _needs(chart: Chart, columns: _Columns) -> Iterator[tuple[int, int, float]]:
    """Yield for each box its columns, and the width that its text needs."""
    for lane in chart.lanes:
        for box in lane.boxes:
            start, end = _span(box, columns)
            text = max(map(_text_width, _lines(box)), default=0.0)
            if start < end:
                yield start, end, min(text + BOX_PADDING + 2 * BOX_GAP + 1, BOX_WIDTH_MAX)


def _span(box: Box, columns: _Columns) -> tuple[int, int]:
    end = columns.count if box.end is None else box.end
    return columns.place(box.start), columns.place(end)


def _lines(box: Box) -> list[str]:
    symbol = NODE_LOOKS[box.role].symbol
    lines = [box.name, f"{symbol} {box.word}" if symbol and box.word else box.word]
    return [line for line in lines if line]


def _text_width(text: str) -> float:
    return (display_width(text) + CAPITAL_EXTRA * sum(map(str.isupper, text))) * CHAR_WIDTH


def _heading(lane: Lane, y: float, grid: _Grid) -> Node:
    return Node(
        id=f"{lane.id}-lane",
        lines=(shorten(lane.heading, HEADING_COLUMNS),),
        role=NodeRole.HEADING,
        form=NodeForm.BARE,
        tooltip=shorten(lane.heading, TOOLTIP_COLUMNS),
        frame=Frame(grid.heading_width / 2 + 4, y, grid.heading_width - 12, BOX_HEIGHT),
    )


def _boxes(lane: Lane, y: float, columns: _Columns, grid: _Grid) -> Iterator[Node]:
    for number, box in enumerate(lane.boxes):
        start, end = _span(box, columns)
        if start == end:
            continue
        left, right = grid.x(start) + BOX_GAP, grid.x(end) - BOX_GAP
        room = right - left - BOX_PADDING
        yield Node(
            id=f"{lane.id}-{number}",
            lines=tuple(_fitted(line, room) for line in _lines(box)),
            role=box.role,
            form=NodeForm.CHIP,
            tooltip=_tooltip(box),
            frame=Frame((left + right) / 2, y, right - left, BOX_HEIGHT),
        )


def _fitted(line: str, room: float) -> str:
    if _text_width(line) <= room:
        return line
    return shorten(line, int(room / CHAR_WIDTH / (1 + CAPITAL_EXTRA)))


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


def _axis(moments: Sequence[float], columns: _Columns, grid: _Grid) -> Iterator[Node]:
    """Yield the time that passed between each two columns, written where they meet."""
    for number, (text, place) in enumerate(_ticks(moments, columns)):
        yield Node(
            id=f"tick-{number}",
            lines=(text,),
            role=NodeRole.NOTE,
            form=NodeForm.BARE,
            frame=Frame(grid.x(place), AXIS_HEIGHT / 2, _text_width(text) + 6, AXIS_HEIGHT),
        )


def _ticks(moments: Sequence[float], columns: _Columns) -> Iterator[tuple[str, float]]:
    for column, (before, after) in enumerate(pairwise(moments), start=1):
        is_left_out = COLUMNS_AT_START <= column <= columns.count - COLUMNS_AT_END
        if before == after or (columns.left_out and is_left_out):
            continue
        yield duration_words(after - before), columns.place(column)
    if columns.left_out:
        yield f"… {columns.left_out} left out …", COLUMNS_AT_START + 0.5


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
