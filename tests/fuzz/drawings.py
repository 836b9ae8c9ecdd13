"""Pictures of any accepted plan: nothing in it can act, whatever its names say."""

from __future__ import annotations

import re

import pygraphviz

from fsm_saga.core.program import Program
from fsm_saga.drawing.dot import render_dot
from fsm_saga.drawing.extract_dag import dag_picture
from fsm_saga.drawing.mermaid import render_mermaid
from fsm_saga.drawing.text import render_text
from tests.fuzz.tally import must

# Every line that may stand in the Mermaid text, with nothing but harmless characters in labels.
_LABEL = r'"(?:[^"\'`<>{}\[\]|%&#;:*~$\\/@^=+\x00-\x1f\x7f-\x9f]|#\d+;|<br/>)*"'
_LINES = (
    r"---",
    r"""title: "(?:[^"\\%{}<>`#&$\x00-\x1f]|\\u[0-9a-f]{4}|\\\\)*\"""",
    r"flowchart (?:TB|LR|TD)",
    rf" +subgraph \w+\[{_LABEL}\]",
    r" +end",
    rf" +\w+(?:\({_LABEL}\)|\[{_LABEL}\]|\(\({_LABEL}\)\)|\(\[{_LABEL}\]\)):::role_\w+",
    rf" +\w+\{{\{{{_LABEL}\}}\}}:::role_\w+",
    rf" +\w+ (?:-\.->|-->|-\.-|---)(?:\|{_LABEL}\|)? \w+",
    r" +(?:classDef|style) \w+ [\w:#,. -]+",
    r" +linkStyle \d+ [\w:#,. -]+",
    rf" +\w+ ~~~ picture_notes\[{_LABEL}\]",
)
_MERMAID_LINE = re.compile("|".join(f"(?:{line})" for line in _LINES))
_STEERS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_FILES = ("image", "shapefile", "URL", "href", "target", "imagepath", "fontpath", "stylesheet")


def check_drawings(program: Program) -> None:
    """Return if the plan's pictures as DOT, Mermaid and text hold words and nothing else.

    Raises:
        BrokenPromiseError: If something got out of its label.
    """
    picture = dag_picture(program)
    ids = {node.id for node in picture.nodes}
    dot = render_dot(picture)
    graph = pygraphviz.AGraph(string=dot)
    drawn = set(graph.nodes())
    must(ids <= drawn, "DOT has every node", ids - drawn)
    foreign = {name for name in drawn - ids if not name.startswith(("title", "notes"))}
    must(not foreign, "DOT has no node that nobody drew", foreign)
    for node in graph.nodes():
        for name in _FILES:
            must(not graph.get_node(node).attr[name], "no node names a file or a link", node)
    mermaid = render_mermaid(picture)
    for line in mermaid.splitlines():
        must(_MERMAID_LINE.fullmatch(line), "Mermaid has harmless lines only", repr(line))
    text = render_text(picture)
    for written in (dot, mermaid, text):
        must(not _STEERS.search(written.replace("\t", " ")), "a picture steers no terminal")
