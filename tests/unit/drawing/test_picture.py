from __future__ import annotations

import pytest

from fsm_saga.drawing.picture import (
    Cluster,
    ClusterRole,
    Edge,
    EdgeRole,
    Frame,
    Node,
    NodeRole,
    Picture,
    Point,
)


def node(node_id: str, *, frame: Frame | None = None) -> Node:
    return Node(id=node_id, lines=("x",), role=NodeRole.PLANNED, frame=frame)


def edge(source: str, target: str, **facts: object) -> Edge:
    return Edge(source=source, target=target, role=EdgeRole.NEEDS, **facts)  # type: ignore[arg-type]


def test_an_id_that_occurs_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        Picture(title="t", nodes=(node("a"), node("a")))
    with pytest.raises(ValueError, match="twice"):
        Picture(title="t", nodes=(node("a"), node("b")), edges=(edge("a", "b"), edge("a", "b")))


@pytest.mark.parametrize("bad", ["", "A", "a b", 'a"', "a<b", "a;b", "a--b", "1", "a\n", "预"])
def test_an_id_that_is_not_ours_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="not ids"):
        Picture(title="t", nodes=(node(bad),))


def test_an_edge_or_a_cluster_that_names_what_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="not there"):
        Picture(title="t", nodes=(node("a"),), edges=(edge("a", "b"),))
    cluster = Cluster(id="c", title="", nodes=("b",), role=ClusterRole.LANE)
    with pytest.raises(ValueError, match="not there"):
        Picture(title="t", nodes=(node("a"),), clusters=(cluster,))


def test_an_edge_may_end_at_a_cluster() -> None:
    cluster = Cluster(id="c", title="", nodes=("a",), role=ClusterRole.LANE)
    nodes = (node("a"), node("b"))
    picture = Picture(title="t", nodes=nodes, clusters=(cluster,), edges=(edge("c", "b"),))
    assert picture.ids == ("a", "b", "c", "edge-needs-c-b")


def test_half_a_layout_is_refused() -> None:
    frame = Frame(0, 0, 10, 10)
    with pytest.raises(ValueError, match="as a whole"):
        Picture(title="t", nodes=(node("a", frame=frame), node("b")))
    with pytest.raises(ValueError, match="as a whole"):
        Picture(title="t", nodes=(node("a", frame=frame),), edges=(edge("a", "a"),))


def test_a_whole_layout_is_known_as_one() -> None:
    frame = Frame(10, 20, 4, 6)
    path = (Point(0, 0), Point(1, 1))
    picture = Picture(
        title="t", nodes=(node("a", frame=frame),), edges=(edge("a", "a", path=path),)
    )
    assert picture.is_placed
    assert not Picture(title="t", nodes=(node("a"),)).is_placed
    assert (frame.left, frame.right, frame.top, frame.bottom) == (8, 12, 17, 23)


def test_a_label_in_one_line_has_its_guards_behind_the_events() -> None:
    label = ("cancelled", "failed", "[open]", "[counted]", "to FAILED")
    line = edge("a", "b", label=label).label_line
    assert line == "cancelled, failed [open] [counted], to FAILED"
