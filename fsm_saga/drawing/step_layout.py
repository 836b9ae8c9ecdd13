r"""Places and arrows of the step machine: its life from left to right, without a crossing.

    REJECTED
       |
    WAITING            RUNNING -- SUCCEEDED -- COMPENSATING -- COMPENSATED
    AWAITING_APPROVAL         \-- DOUBTFUL     STUCK
    SKIPPED

The arrows themselves come from the table. An arrow that has no route here is drawn straight, so
that a new transition is seen at once, if not beautifully.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from fsm_saga.drawing.machine_routes import GAP, LOOP, label_size
from fsm_saga.drawing.picture import Edge, Frame, Point

_WIDTH, _HEIGHT = 150.0, 38.0
_BEFORE, _RUN, _EFFECT, _UNDO, _GONE = 0.0, 330.0, 640.0, 960.0, 1220.0
_TOP, _UPPER, _LOWER, _BOTTOM = -130.0, 0.0, 120.0, 235.0
_PORT = 20.0


def _node(x: float, y: float) -> Frame:
    return Frame(x, y, _WIDTH, _HEIGHT)


FRAMES: Mapping[str, Frame] = {
    "status-WAITING": _node(_BEFORE, _UPPER),
    "status-AWAITING_APPROVAL": _node(_BEFORE, _LOWER),
    "status-SKIPPED": _node(_BEFORE, _BOTTOM),
    "status-RUNNING": _node(_RUN, _UPPER),
    "status-REJECTED": _node(_RUN, _TOP),
    "status-SUCCEEDED": _node(_EFFECT, _UPPER),
    "status-DOUBTFUL": _node(_EFFECT, _LOWER),
    "status-COMPENSATING": _node(_UNDO, _UPPER),
    "status-STUCK": _node(_UNDO, _LOWER),
    "status-COMPENSATED": _node(_GONE, _UPPER),
    "area-before": Frame(_BEFORE, 54.0, 300.0, 184.0),
    "area-effect": Frame(_EFFECT, 37.0, 240.0, 226.0),
}


class _Route(NamedTuple):
    path: tuple[Point, ...]
    label_at: Point


_Router = Callable[[Frame, Frame, float, float], _Route]
"""From the frames of both ends and the width and height of the label to the route."""


def _across(y: float, *, below: bool = False) -> _Router:
    """Straight from side to side on a height; the label above or below."""

    def route(source: Frame, target: Frame, width: float, height: float) -> _Route:
        forward = source.x < target.x
        start, end = (source.right, target.left) if forward else (source.left, target.right)
        away = (GAP / 2 + height / 2) * (1 if below else -1)
        return _Route((Point(start, y), Point(end, y)), Point((start + end) / 2, y + away))

    return route


def _along(offset: float, *, label_right: bool = True) -> _Router:
    """Straight up or down beside the middle of both; the label at one side."""

    def route(source: Frame, target: Frame, width: float, height: float) -> _Route:
        x = target.x + offset
        down = source.y < target.y
        start, end = (source.bottom, target.top) if down else (source.top, target.bottom)
        away = (GAP + width / 2) * (1 if label_right else -1)
        return _Route((Point(x, start), Point(x, end)), Point(x + away, (start + end) / 2))

    return route


def _corner(*, first_up: bool, source_x: float = 0.0, target_x: float = 0.0) -> _Router:
    """One right angle: first to the height of the target and then across, or the other way."""

    def route(source: Frame, target: Frame, width: float, height: float) -> _Route:
        if first_up:
            x = source.x + source_x
            side = source.top if target.y < source.y else source.bottom
            path = (Point(x, side), Point(x, target.y), Point(target.left, target.y))
            middle, y = (x + target.left) / 2, target.y
        else:
            x = target.x + target_x
            side = target.top if source.y < target.y else target.bottom
            path = (Point(source.right, source.y), Point(x, source.y), Point(x, side))
            middle, y = (source.right + x) / 2, source.y
        return _Route(path, Point(middle, y - GAP / 2 - height / 2))

    return route


def _over(y: float) -> _Router:
    """Up, across on a height, and down again."""

    def route(source: Frame, target: Frame, width: float, height: float) -> _Route:
        x = source.right - 2 * _PORT
        path = (
            Point(x, source.top),
            Point(x, y),
            Point(target.x, y),
            Point(target.x, target.top),
        )
        return _Route(path, Point((x + target.x) / 2, y - GAP / 2 - height / 2))

    return route


def _loop(*, above: bool, offset: float = 0.0) -> _Router:
    """A small loop on the upper or the lower side; the label right of it."""

    def route(source: Frame, target: Frame, width: float, height: float) -> _Route:
        side = source.top if above else source.bottom
        far = side - LOOP if above else side + LOOP
        left = source.x + offset - LOOP / 2
        path = (
            Point(left, side),
            Point(left, far),
            Point(left + LOOP, far),
            Point(left + LOOP, side),
        )
        return _Route(path, Point(left + LOOP + GAP + width / 2, far))

    return route


def _straight(source: Frame, target: Frame, width: float, height: float) -> _Route:
    middle = Point((source.x + target.x) / 2 + width / 2, (source.y + target.y) / 2)
    return _Route((Point(source.x, source.y), Point(target.x, target.y)), middle)


_ROUTES: Mapping[tuple[str, str], _Router] = {
    ("status-WAITING", "status-AWAITING_APPROVAL"): _along(-_PORT, label_right=False),
    ("status-AWAITING_APPROVAL", "status-WAITING"): _along(_PORT),
    ("area-before", "status-RUNNING"): _across(_UPPER),
    ("area-before", "status-SKIPPED"): _along(0.0),
    ("area-before", "status-REJECTED"): _corner(first_up=True),
    ("status-RUNNING", "status-RUNNING"): _loop(above=False, offset=-2.5 * _PORT),
    ("status-RUNNING", "status-REJECTED"): _along(-_PORT, label_right=False),
    ("status-REJECTED", "status-RUNNING"): _along(_PORT),
    ("status-RUNNING", "status-SUCCEEDED"): _across(_UPPER - 8),
    ("area-effect", "status-RUNNING"): _across(_UPPER + 10, below=True),
    ("status-RUNNING", "status-DOUBTFUL"): _corner(first_up=True, source_x=_PORT),
    ("status-REJECTED", "status-SUCCEEDED"): _corner(first_up=False, target_x=2.9 * _PORT),
    ("status-DOUBTFUL", "status-SUCCEEDED"): _along(-_PORT),
    ("status-SUCCEEDED", "status-SUCCEEDED"): _loop(above=True, offset=-2.5 * _PORT),
    ("area-effect", "status-COMPENSATING"): _across(_UPPER),
    ("area-effect", "status-STUCK"): _across(_LOWER),
    ("area-effect", "status-COMPENSATED"): _over(_TOP),
    ("status-COMPENSATING", "status-COMPENSATING"): _loop(above=True),
    ("status-COMPENSATING", "status-COMPENSATED"): _across(_UPPER),
    ("status-COMPENSATING", "status-STUCK"): _along(-_PORT, label_right=False),
    ("status-STUCK", "status-COMPENSATING"): _along(_PORT),
    ("status-STUCK", "status-STUCK"): _loop(above=False),
    ("status-STUCK", "status-COMPENSATED"): _corner(first_up=False),
}


def routed_path(edge: Edge) -> tuple[tuple[Point, ...], Point]:
    """Return the corners of an arrow between two places, and the middle of its label."""
    size = label_size(edge.label)
    router = _ROUTES.get((edge.source, edge.target), _straight)
    route = router(FRAMES[edge.source], FRAMES[edge.target], size.width, size.height)
    return route.path, route.label_at
