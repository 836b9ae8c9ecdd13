"""Arrows of the saga machine between the places that ``machine_layout.py`` gave.

Every arrow is straight or has right angles and no label is crossed. For each two phases that the
machine joins there is one route here; an arrow that nobody foresaw is drawn straight, so a new
row of the table is seen at once, if not beautifully.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from fsm_saga.core.states import Phase
from fsm_saga.drawing.picture import Edge, EdgeRole, Frame, Point
from fsm_saga.drawing.plain import display_width
from fsm_saga.drawing.theme import EDGE_FONT_SIZE

GAP = 5.0
"""Between a line and its label."""
LOOP = 16.0
CALL_INSET = 40.0
"""From the right side of the upper row to where the arrow to NEEDS_HUMAN leaves it."""
PORT = 18.0
"""How far from the middle of a node an arrow lands that shares its side with another."""

_P, _E, _C = Phase.PENDING, Phase.EXECUTING, Phase.COMPENSATING
_D, _F, _H = Phase.DONE, Phase.FAILED, Phase.NEEDS_HUMAN


class Bundle(NamedTuple):
    """An arrow to be: all rows of the table that lead alike from one phase to another.

    ``source_id`` is None when the rows leave several states: the arrow then leaves the area of
    their phase; ``target_id`` likewise. ``is_chain``: it leads from a state to its neighbour.
    """

    source: Phase
    target: Phase
    source_id: str | None
    target_id: str | None
    label: tuple[str, ...]
    role: EdgeRole
    is_chain: bool = False

    @property
    def phases(self) -> tuple[Phase, Phase]:
        """From which phase to which."""
        return (self.source, self.target)


class Size(NamedTuple):
    """How much room something needs."""

    width: float
    height: float


class Grid(NamedTuple):
    """Where things stand.

    Attributes:
        frames: The frames of all nodes and areas, by id.
        turn: The height on which an arrow runs from NEEDS_HUMAN back to the upper row.
        turn_x: Where the arrow stands from the upper row to the lower one.
        down: The height on which arrows run to the corners of the lower row.
        low: The height on which an arrow runs to the left under everything.
    """

    frames: Mapping[str, Frame]
    turn: float
    turn_x: float
    down: float
    low: float


class _Route(NamedTuple):
    path: tuple[Point, ...]
    label_at: Point


class _Ends(NamedTuple):
    source: Frame
    target: Frame
    area: Frame
    """The area of the source, or of the target, or the source itself: what a label keeps off."""
    grid: Grid
    size: Size


def label_size(lines: Sequence[str]) -> Size:
    """Return how much room the label of an arrow needs."""
    width = max((display_width(line) for line in lines), default=0) * EDGE_FONT_SIZE * 0.6
    return Size(width, len(lines) * EDGE_FONT_SIZE * 1.25)


def routed_edge(
    bundle: Bundle, source_id: str, target_id: str, grid: Grid, *, is_labelled: bool
) -> Edge:
    """Return the bundle as an edge with its path; unlabelled where the label stands elsewhere."""
    label = bundle.label
    if bundle.phases == (_H, _F):
        label = (", ".join(label).replace(", [", " ["),)
    frames = grid.frames
    area = frames.get(f"phase-{bundle.source}") or frames.get(f"phase-{bundle.target}")
    source, target = frames[source_id], frames[target_id]
    ends = _Ends(source, target, area or source, grid, label_size(label))
    route = _route(bundle, ends)
    return Edge(
        source=source_id,
        target=target_id,
        role=bundle.role,
        label=label,
        tooltip=", ".join(label),
        path=route.path,
        label_at=route.label_at if is_labelled else None,
    )


def _route(bundle: Bundle, ends: _Ends) -> _Route:
    if bundle.is_chain:
        return _level(ends)
    if bundle.source is bundle.target and bundle.source is not _H:
        return _loop_above(ends, is_area=bundle.source_id is None)
    return _ROUTES.get(bundle.phases, _straight)(ends)


def _above(left: float, right: float, y: float, size: Size) -> Point:
    return Point((left + right) / 2, y - GAP / 2 - size.height / 2)


def _right_of(x: float, y: float, size: Size) -> Point:
    return Point(x + GAP + size.width / 2, y)


def _left_of(x: float, y: float, size: Size) -> Point:
    return Point(x - GAP - size.width / 2, y)


def _level(ends: _Ends) -> _Route:
    """From side to side, at the height of the nodes."""
    one, other = ends.source, ends.target
    start, end = (one.right, other.left) if one.x < other.x else (one.left, other.right)
    y = min(one, other, key=lambda frame: frame.height).y
    # An end may be a state inside an area: the label stands outside of it.
    low, high = sorted((start, end))
    if low < ends.area.left < high:
        high = ends.area.left
    elif low < ends.area.right < high:
        low = ends.area.right
    return _Route((Point(start, y), Point(end, y)), _above(low, high, y, ends.size))


def _loop_above(ends: _Ends, *, is_area: bool) -> _Route:
    frame = ends.source
    # On a node at the left, so that the label stays above it; an area has room at the right.
    x = frame.right - 3 * LOOP if is_area else frame.left + 1.5 * LOOP
    left, right, top = x - LOOP / 2, x + LOOP / 2, frame.top - LOOP
    path = (Point(left, frame.top), Point(left, top), Point(right, top), Point(right, frame.top))
    return _Route(path, _right_of(right, top, ends.size))


def _loop_beside(ends: _Ends) -> _Route:
    frame = ends.source
    far = frame.right + LOOP
    path = (
        Point(frame.right, frame.y - 5),
        Point(far, frame.y - 5),
        Point(far, frame.y + 9),
        Point(frame.right, frame.y + 9),
    )
    return _Route(path, _right_of(far, frame.y + 2, ends.size))


def _cancel(ends: _Ends) -> _Route:
    x = ends.source.x - PORT
    path = (Point(x, ends.source.bottom), Point(x, ends.target.top))
    return _Route(
        path, _right_of(x, ends.source.bottom + 2 * GAP + ends.size.height / 2, ends.size)
    )


def _clean_end(ends: _Ends) -> _Route:
    """From EXECUTING to FAILED: down, then left above the lower row."""
    x = ends.area.left + 2 * GAP if ends.source == ends.area else ends.source.x - PORT
    low = ends.grid.down
    end = Point(ends.target.x + PORT, ends.target.top)
    path = (Point(x, ends.source.bottom), Point(x, low), Point(end.x, low), end)
    return _Route(path, _right_of(x, ends.area.bottom + 2 * GAP + ends.size.height / 2, ends.size))


def _turn_round(ends: _Ends) -> _Route:
    x = ends.grid.turn_x
    path = (Point(x, ends.source.bottom), Point(x, ends.target.top))
    return _Route(path, _right_of(x, ends.area.bottom + 2 * GAP + ends.size.height / 2, ends.size))


def _call_person(ends: _Ends) -> _Route:
    """From EXECUTING to NEEDS_HUMAN: down, then right below the way that leads back up."""
    x = ends.area.right - CALL_INSET
    low = ends.grid.down
    end = Point(ends.target.x - PORT, ends.target.top)
    path = (Point(x, ends.source.bottom), Point(x, low), Point(end.x, low), end)
    return _Route(path, _left_of(x, ends.area.bottom + 2 * GAP + ends.size.height / 2, ends.size))


def _person_sends_forward(ends: _Ends) -> _Route:
    x = ends.target.right - 3 * GAP
    turn = ends.grid.turn
    start = Point(ends.source.x, ends.source.top)
    path = (start, Point(start.x, turn), Point(x, turn), Point(x, ends.target.bottom))
    return _Route(path, _above(ends.target.right, start.x - PORT, turn, ends.size))


def _person_ends_forward(ends: _Ends) -> _Route:
    x = ends.source.x + PORT
    path = (Point(x, ends.source.top), Point(x, ends.target.bottom))
    return _Route(path, _right_of(x, (ends.source.top + ends.target.bottom) / 2, ends.size))


def _nothing_left(ends: _Ends) -> _Route:
    y = ends.target.y - 2 * GAP
    path = (Point(ends.source.right, y), Point(ends.target.left, y))
    return _Route(path, _above(ends.area.right, ends.target.left, y, ends.size))


def _person_sends_back(ends: _Ends) -> _Route:
    y = ends.source.y + 2 * GAP
    path = (Point(ends.source.left, y), Point(ends.target.right, y))
    x = (ends.source.left + ends.area.right) / 2
    return _Route(path, Point(x, y + GAP / 2 + ends.size.height / 2))


def _person_ends_back(ends: _Ends) -> _Route:
    """From NEEDS_HUMAN to FAILED: under everything."""
    low = ends.grid.low
    path = (
        Point(ends.source.x, ends.source.bottom),
        Point(ends.source.x, low),
        Point(ends.target.x, low),
        Point(ends.target.x, ends.target.bottom),
    )
    return _Route(path, _above(ends.target.x, ends.source.x, low, ends.size))


def _straight(ends: _Ends) -> _Route:
    start, end = Point(ends.source.x, ends.source.y), Point(ends.target.x, ends.target.y)
    return _Route((start, end), _right_of((start.x + end.x) / 2, (start.y + end.y) / 2, ends.size))


LEVEL_ROUTES = frozenset({(_P, _E), (_E, _D), (_C, _F), (_C, _H), (_H, _C)})
"""Arrows along a row, which end at the first or the last state of it."""

_ROUTES: Mapping[tuple[Phase, Phase], Callable[[_Ends], _Route]] = {
    (_P, _E): _level,
    (_E, _D): _level,
    (_C, _F): _level,
    (_P, _F): _cancel,
    (_E, _F): _clean_end,
    (_E, _C): _turn_round,
    (_E, _H): _call_person,
    (_C, _H): _nothing_left,
    (_H, _E): _person_sends_forward,
    (_H, _C): _person_sends_back,
    (_H, _D): _person_ends_forward,
    (_H, _F): _person_ends_back,
    (_H, _H): _loop_beside,
}
