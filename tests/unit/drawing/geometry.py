"""What the eye would find wrong with a laid-out picture."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

from fsm_saga.drawing.machine_routes import label_size
from fsm_saga.drawing.picture import Edge, Frame, Picture, Point

TOUCH = 0.5


def label_frames(picture: Picture) -> dict[str, Frame]:
    """Return the place of each visible label."""
    frames = {}
    for edge in picture.edges:
        if edge.label and edge.label_at is not None:
            size = label_size(edge.label)
            frames[edge.id] = Frame(edge.label_at.x, edge.label_at.y, size.width, size.height)
    return frames


def overlap(one: Frame, other: Frame) -> bool:
    """Return whether two rectangles share more than their borders."""
    return (
        min(one.right, other.right) - max(one.left, other.left) > TOUCH
        and min(one.bottom, other.bottom) - max(one.top, other.top) > TOUCH
    )


def faults(picture: Picture) -> Iterator[str]:
    """Yield what lies on what: labels on labels, on nodes, on lines; nodes on nodes."""
    nodes = {node.id: node.frame for node in picture.nodes if node.frame is not None}
    labels = label_frames(picture)
    for (one, frame), (other, other_frame) in combinations(nodes.items(), 2):
        if overlap(frame, other_frame):
            yield f"node {one} lies on node {other}"
    for (one, frame), (other, other_frame) in combinations(labels.items(), 2):
        if overlap(frame, other_frame):
            yield f"the label of {one} lies on that of {other}"
    for label, frame in labels.items():
        for node, node_frame in nodes.items():
            if overlap(frame, node_frame):
                yield f"the label of {label} lies on node {node}"
        for edge in picture.edges:
            if any(overlap(frame, piece) for piece in _pieces(edge)):
                yield f"the line of {edge.id} crosses the label of {label}"


def _pieces(edge: Edge) -> Iterator[Frame]:
    for start, end in pairwise(edge.path):
        yield _around(start, end)


def _around(start: Point, end: Point) -> Frame:
    x, y = (start.x + end.x) / 2, (start.y + end.y) / 2
    return Frame(x, y, abs(start.x - end.x) + 1, abs(start.y - end.y) + 1)


def is_square(edge: Edge) -> bool:
    """Return whether every piece of the line is level or upright."""
    return all(
        abs(start.x - end.x) < TOUCH or abs(start.y - end.y) < TOUCH
        for start, end in pairwise(edge.path)
    )
