"""A planner's words come out as words, in every format: corpus G of the bad input."""

from __future__ import annotations

import html
import re
from xml.etree import ElementTree as ET

import pygraphviz
import pytest

from fsm_saga.core import records as rec
from fsm_saga.core.states import FAILED, StepStatus
from fsm_saga.drawing.dot import quoted_text, render_dot
from fsm_saga.drawing.extract_dag import dag_picture
from fsm_saga.drawing.extract_timeline import timeline_picture
from fsm_saga.drawing.mermaid import label_text, render_mermaid
from fsm_saga.drawing.picture import (
    Cluster,
    ClusterRole,
    Edge,
    EdgeRole,
    Node,
    NodeRole,
    Picture,
)
from fsm_saga.drawing.render import render
from fsm_saga.drawing.svg import SVG
from fsm_saga.drawing.text import render_text
from tests.unit.drawing.attacks import ATTACKS
from tests.unit.drawing.programs import Step, make_program, make_saga
from tests.unit.drawing.test_extract_timeline import make

CASES = pytest.mark.parametrize(("written", "seen"), ATTACKS.values(), ids=ATTACKS.keys())


def picture_of(texts: list[str]) -> Picture:
    """Return a picture with every text in every place that a text can have."""
    nodes = [
        Node(id=f"step-{i}", lines=(text, text), role=NodeRole.PLANNED, tooltip=text)
        for i, text in enumerate(texts)
    ]
    edges = [
        Edge(source=n.id, target=n.id, role=EdgeRole.UNDO, label=n.lines, tooltip=n.tooltip)
        for n in nodes
    ]
    clusters = [
        Cluster(id=f"area-{i}", title=text, nodes=(f"step-{i}",), role=ClusterRole.FORWARD)
        for i, text in enumerate(texts)
    ]
    return Picture(
        title=texts[0],
        nodes=tuple(nodes),
        edges=tuple(edges),
        clusters=tuple(clusters),
        notes=tuple(texts),
    )


WRITTEN = [written for written, _ in ATTACKS.values()]
ALL = picture_of(WRITTEN)


def graphviz_shows(label: str) -> str:
    """Return what Graphviz makes of a plain label: escapes, then entities."""
    lines = re.sub(r"\\(.)", lambda m: {"n": "\n", "l": "\n"}.get(m[1], m[1]), label)
    return html.unescape(lines)


@CASES
def test_dot_holds_the_text_in_one_quoted_label(written: str, seen: str) -> None:
    graph = pygraphviz.AGraph(string=render_dot(picture_of([written])))
    assert graph.nodes() == ["step-0"]
    assert len(graph.edges()) == 1
    label = graph.get_node("step-0").attr["label"]
    assert graphviz_shows(label) == f"{seen}\n{seen}"
    assert graphviz_shows(graph.get_node("step-0").attr["tooltip"]) == seen
    assert graphviz_shows(graph.graph_attr["label"]) == f"{seen}\n"


@pytest.mark.parametrize("text", ["\\", "\\\\", '\\"', '"\\', '\\\\"', '"\\"\\'])
def test_no_mixture_of_quotes_and_backslashes_leaves_its_label(text: str) -> None:
    graph = pygraphviz.AGraph(string=render_dot(picture_of([text])))
    assert graph.nodes() == ["step-0"]
    assert graphviz_shows(graph.get_node("step-0").attr["tooltip"]) == text
    assert quoted_text([text]) == text.replace("\\", "\\\\")


@CASES
def test_mermaid_holds_the_text_as_letters_and_numbers(written: str, seen: str) -> None:
    label = label_text(written)
    shown = re.sub(r"#(\d+);", lambda m: chr(int(m[1])), label)
    assert shown.replace("\u200b", "") == seen
    assert not set(re.sub(r"#\d+;", "", label)) & set("\"'`<>{}[]|%&#;:*~$\\/@^=+\n")


@CASES
def test_mermaid_has_no_line_more_than_a_harmless_plan(written: str, seen: str) -> None:
    assert seen
    text = render_mermaid(picture_of([written]))
    assert len(text.splitlines()) == len(render_mermaid(picture_of(["harmless"])).splitlines())
    assert "%%{" not in text
    assert "<script" not in text


@CASES
def test_the_terminal_gets_text_and_nothing_that_steers_it(written: str, seen: str) -> None:
    text = render_text(picture_of([written]))
    assert seen in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert len(text.splitlines()) == len(render_text(picture_of(["harmless"])).splitlines())


@pytest.mark.parametrize("is_carried", [False, True], ids=["system", "carried"])
def test_svg_holds_every_text_and_nothing_else(
    is_carried: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_carried:
        monkeypatch.setenv("PATH", "")
    root = ET.fromstring(render(ALL, "svg"))  # noqa: S314  # our own
    names = {element.tag.removeprefix(f"{{{SVG}}}") for element in root.iter()}
    assert names <= {"svg", "g", "title", "text", "path", "polygon", "polyline", "ellipse"}
    for i, (_, seen) in enumerate(ATTACKS.values()):
        (group,) = [element for element in root.iter() if element.get("id") == f"step-{i}"]
        texts = [element.text for element in group if element.tag.endswith("text")]
        assert texts == [seen, seen]
        assert group.findtext(f"{{{SVG}}}title") == seen
        (area,) = [element for element in root.iter() if element.get("id") == f"area-{i}"]
        assert seen in [element.text for element in area]
    for element in root.iter():
        assert not [key for key in element.attrib if key.startswith("on") or "href" in key]


def test_a_plan_of_attacks_is_a_picture_in_every_format() -> None:
    steps = [Step(name=w, tool=w, step_id=w, undo=w) for w in [*WRITTEN, "x" * 1000, "预" * 1000]]
    steps += [Step(name=w, semantic=w) for w in WRITTEN]
    program = make_program(steps, goal=WRITTEN[0])
    saga = make_saga(
        program, [StepStatus.STUCK], state=FAILED, saga_id=WRITTEN[1], cause=WRITTEN[2]
    )
    journal = [make(rec.SagaSubmitted, saga_id=WRITTEN[3])]
    journal += [
        make(rec.ActionRejected, step=i, at=float(i), error=w) for i, w in enumerate(WRITTEN)
    ]
    for picture in (dag_picture(program, saga), timeline_picture(program, journal)):
        svg = ET.fromstring(render(picture, "svg"))  # noqa: S314  # our own
        ids = {element.get("id") for element in svg.iter()}
        assert set(picture.ids) <= ids
        graph = pygraphviz.AGraph(string=render(picture, "dot").decode())
        assert {n.id for n in picture.nodes} <= set(graph.nodes())
        for written_here in ("dot", "mermaid", "text"):
            assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", render(picture, written_here))


def test_a_name_of_a_thousand_characters_stays_a_card() -> None:
    (step,) = [
        node
        for node in dag_picture(make_program([Step(name="预" * 1000, tool="y" * 1000)])).nodes
        if node.id == "step-0"
    ]
    assert max(len(line) for line in step.lines) <= 32
    assert "…" in step.lines[1]
