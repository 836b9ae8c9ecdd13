from __future__ import annotations

import re

import pytest

from fsm_saga.drawing.mermaid import label_text, render_mermaid
from fsm_saga.drawing.picture import (
    Cluster,
    ClusterRole,
    Edge,
    EdgeRole,
    Node,
    NodeForm,
    NodeRole,
    Picture,
)
from tests.unit.drawing.test_dot import PICTURES


def node(node_id: str, *lines: str, form: NodeForm = NodeForm.CARD) -> Node:
    return Node(id=node_id, lines=lines, role=NodeRole.PLANNED, form=form)


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES.keys())
def test_every_line_is_of_a_form_that_is_known_here(picture: Picture) -> None:
    ident, label = r"[a-zA-Z]\w*", r'"[^"]*"'
    forms = [
        r"---",
        rf"title: {label}",
        r"flowchart (LR|TB)",
        rf"{ident}(\({label}\)|\[{label}\]|\(\[{label}\]\)|\(\({label}\)\)|\{{\{{{label}\}}\}}):::\w+",
        rf"subgraph {ident}\[{label}\]",
        r"end",
        rf"{ident} (-->|---|-\.->|-\.-)(\|{label}\|)? {ident}",
        r"(classDef|style|linkStyle) \w+ [\w:#,. -]+",
        rf"{ident} ~~~ picture_notes\[{label}\]",
    ]
    known = re.compile("|".join(f"(?:{form})" for form in forms))
    assert [x for x in render_mermaid(picture).splitlines() if not known.fullmatch(x.strip())] == []


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES.keys())
def test_every_node_and_every_edge_is_there(picture: Picture) -> None:
    text = render_mermaid(picture)
    assert text.count(":::role_") == len(picture.nodes)
    assert text.count("linkStyle ") == len(picture.edges)
    assert text.count("subgraph ") == len(picture.clusters)


def test_words_of_the_language_are_no_ids() -> None:
    text = render_mermaid(Picture(title="t", nodes=(node("end", "x"), node("click", "y"))))
    assert 'end_("x")' in text
    assert 'click_("y")' in text


def test_forms_have_their_brackets() -> None:
    forms = {f"n-{form.value}": node(f"n-{form.value}", "x", form=form) for form in NodeForm}
    text = render_mermaid(Picture(title="t", nodes=tuple(forms.values())))
    assert 'n_octagon{{"x"}}' in text
    assert 'n_dot(("x"))' in text
    assert 'n_chip(["x"])' in text


def test_the_present_node_has_a_heavy_border() -> None:
    here = Node(id="a", lines=("x",), role=NodeRole.EXECUTING, is_current=True)
    assert "style a stroke-width:4px" in render_mermaid(Picture(title="t", nodes=(here,)))


def test_notes_between_the_nodes_are_left_out() -> None:
    tick = Node(id="tick-1", lines=("+1 s",), role=NodeRole.NOTE, form=NodeForm.BARE)
    assert "tick" not in render_mermaid(Picture(title="t", nodes=(node("a", "x"), tick)))


def test_a_line_without_an_arrow_has_none() -> None:
    edges = (
        Edge(source="a", target="b", role=EdgeRole.NEEDS, has_arrow=False),
        Edge(source="b", target="a", role=EdgeRole.UNDO, has_arrow=False),
    )
    text = render_mermaid(Picture(title="t", nodes=(node("a", "x"), node("b", "y")), edges=edges))
    assert "a --- b" in text
    assert "b -.- a" in text


def test_an_area_without_a_title_has_a_blank_one() -> None:
    area = Cluster(id="c", title="", nodes=("a",), role=ClusterRole.LANE)
    text = render_mermaid(Picture(title="t", nodes=(node("a", "x"),), clusters=(area,)))
    assert 'subgraph c[" "]' in text


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("book_flight v1.2 re-send", "book_flight v1.2 re-send"),
        ("_x_ __y__ a_", "#95;x#95; #95;#95;y#95;#95; a#95;"),
        ("1. first", "1#46; first"),
        ("12) first", "12#41; first"),
        ("- item", "#45; item"),
        ("EXECUTING(2)", "EXECUTING(2)"),
        ("fa:fa-car", "fa#58;#8203;fa-car"),
        ("$$x$$", "#36;#8203;#36;#8203;x#36;#8203;#36;#8203;"),
        ("if unknown: resend", "if unknown#58; resend"),
        ("预订 ✓", "预订 ✓"),
    ],
)
def test_only_harmless_characters_stay_as_they_are(text: str, label: str) -> None:
    assert label_text(text) == label


def test_a_title_is_one_quoted_text_without_special_characters() -> None:
    picture = Picture(title='%%{init}%% "]; `x` <b> \\', nodes=(node("a", "x"),))
    line = render_mermaid(picture).splitlines()[1]
    assert re.fullmatch(r'title: "[^"%{}<>`#&$]*"', line)
    assert "‹b›" in line
