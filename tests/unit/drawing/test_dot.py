from __future__ import annotations

import re
from collections.abc import Iterator

import pygraphviz
import pytest

from fsm_saga.core.program import Shape
from fsm_saga.core.states import StepKind
from fsm_saga.drawing.dot import layout_engine, quoted_text, render_dot
from fsm_saga.drawing.extract_dag import dag_picture
from fsm_saga.drawing.extract_machine import saga_machine_picture
from fsm_saga.drawing.extract_step import step_machine_picture
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
from fsm_saga.drawing.timeline_layout import Chart, Lane, lay_out
from fsm_saga.machine.flatten import saga_table, step_table
from tests.unit.drawing.programs import Step, make_program

# Whatever names a file, a link or a program is not among them.
ATTRIBUTES = {
    "arrowhead", "arrowsize", "arrowtail", "bb", "bgcolor", "charset", "class", "color", "compound",
    "dir", "fillcolor", "fixedsize", "fontcolor", "fontname", "fontsize", "height", "id", "label",
    "labeljust", "labelloc", "labeltooltip", "lhead", "lp", "ltail", "margin", "nodesep",
    "outputorder", "pad", "pencolor", "penwidth", "peripheries", "pos", "rankdir", "ranksep",
    "shape", "style", "tooltip", "weight", "width",
}  # fmt: skip

PLAN = make_program(
    [
        Step(name="Look", kind=StepKind.READ_ONLY),
        Step(name="Invite", semantic="apologise"),
        Step(name="Book", approval=True),
        Step(name="Pay", kind=StepKind.PIVOT),
        Step(name="Issue", kind=StepKind.RETRIABLE, undo=None),
    ]
)
PICTURES = {
    "dag": dag_picture(PLAN),
    "machine": saga_machine_picture(saga_table(Shape(3, 2, 1, is_open=True))),
    "step": step_machine_picture(step_table()),
}


def parsed(picture: Picture) -> Iterator[tuple[str, str, str]]:
    """Yield everything that Graphviz reads: what, which attribute, which value."""
    graph = pygraphviz.AGraph(string=render_dot(picture))
    for thing in (*graph.nodes(), *graph.edges()):
        for key, value in thing.attr.items():
            yield str(thing), key, value
    for key, value in graph.graph_attr.items():
        yield "graph", key, value
    pending = list(graph.subgraphs())
    while pending:
        part = pending.pop()
        pending += part.subgraphs()
        for key, value in part.graph_attr.items():
            yield part.name, key, value


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES.keys())
def test_graphviz_reads_only_attributes_that_are_known_here(picture: Picture) -> None:
    assert {key for _, key, _ in parsed(picture)} <= ATTRIBUTES


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES.keys())
def test_the_same_picture_gives_the_same_text(picture: Picture) -> None:
    assert render_dot(picture) == render_dot(picture)


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES.keys())
def test_ids_of_graphviz_are_those_of_the_picture(picture: Picture) -> None:
    drawn = {value for _, key, value in parsed(picture) if key == "id"}
    assert set(picture.ids) <= drawn


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES.keys())
def test_no_label_is_html_like(picture: Picture) -> None:
    assert re.search(r"=\s*<", render_dot(picture)) is None


def test_a_free_picture_is_laid_out_by_dot_and_a_placed_one_is_taken_as_it_is() -> None:
    assert layout_engine(PICTURES["dag"]) == "dot"
    assert layout_engine(PICTURES["machine"]) == "nop2"


def test_an_edge_against_the_flow_is_written_with_its_ends_exchanged() -> None:
    """So the layout keeps the way forward in order; the arrow still points the right way."""
    nodes = (
        Node(id="a", lines=("a",), role=NodeRole.PLANNED),
        Node(id="b", lines=("b",), role=NodeRole.PLANNED),
    )
    back = Edge(source="b", target="a", role=EdgeRole.UNDO, is_backward=True)
    text = render_dot(Picture(title="t", nodes=nodes, edges=(back,)))
    assert re.search(r"\ba -> b \[.*arrowtail=vee.*dir=back", text)


def test_an_edge_from_an_area_leaves_its_border() -> None:
    nodes = (
        Node(id="a", lines=("a",), role=NodeRole.PLANNED),
        Node(id="b", lines=("b",), role=NodeRole.PLANNED),
    )
    area = Cluster(id="c", title="area", nodes=("a",), role=ClusterRole.FORWARD)
    edge = Edge(source="c", target="b", role=EdgeRole.NEEDS)
    text = render_dot(Picture(title="t", nodes=nodes, edges=(edge,), clusters=(area,)))
    assert re.search(r"\ba -> b \[.*ltail=cluster_c", text)


def test_a_path_becomes_curves_that_end_where_the_arrowhead_begins() -> None:
    frame = Frame(0, 0, 20, 10)
    nodes = (Node(id="a", lines=("a",), role=NodeRole.PLANNED, frame=frame),)
    path = (Point(0, 0), Point(50, 0), Point(50, 30))
    edge = Edge(source="a", target="a", role=EdgeRole.NEEDS, path=path)
    text = render_dot(Picture(title="t", nodes=nodes, edges=(edge,)))
    found = re.search(r'pos="(e,[^"]*)"', text)
    assert found is not None
    tip, *points = found[1].split(" ")
    assert tip == "e,50.00,-30.00"
    assert points[0] == "0.00,0.00"
    assert points[-1] == "50.00,-23.00"
    assert len(points) % 3 == 1


def test_a_path_back_to_where_it_began_does_not_divide_by_nothing() -> None:
    frame = Frame(0, 0, 20, 10)
    nodes = (Node(id="a", lines=("a",), role=NodeRole.PLANNED, frame=frame),)
    path = (Point(5, 5), Point(5, 5))
    edge = Edge(source="a", target="a", role=EdgeRole.WAIT, path=path, has_arrow=False)
    assert "nan" not in render_dot(Picture(title="t", nodes=nodes, edges=(edge,)))


def test_lines_of_a_label_are_centred_or_at_the_left() -> None:
    assert quoted_text(["a", "b"]) == "a\\nb"
    assert quoted_text(["a", "b"], line_end="\\l") == "a\\lb\\l"
    assert quoted_text([], line_end="\\l") == ""


@pytest.mark.parametrize(
    ("title", "lines"),
    [
        ("a" * 72, ["a" * 72]),
        (
            "many words " * 8,
            [
                "many words many words many words many words many",
                "words " + "many words " * 2 + "many words",
            ],
        ),
    ],
)
def test_a_long_title_takes_two_lines_of_about_the_same_length(
    title: str, lines: list[str]
) -> None:
    graph = pygraphviz.AGraph(string=render_dot(Picture(title=title, nodes=())))
    assert graph.graph_attr["label"] == "".join(f"{line}\\l" for line in lines)


def test_a_title_wider_than_a_placed_picture_takes_two_lines() -> None:
    lane = Lane("a", "a")
    lane.open(0, NodeRole.RUNNING, "call", "", "")
    titles = {}
    for words in (2, 40):
        made = pygraphviz.AGraph(render_dot(lay_out(Chart("word " * words, (lane,), (0.0,), ()))))
        titles[words] = made.get_node("title").attr["label"]

    assert titles[2].count("\\") == titles[40].count("\\") - 1
