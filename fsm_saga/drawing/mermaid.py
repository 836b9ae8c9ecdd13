"""Picture -> Mermaid, for README files and chats that draw it themselves.

Mermaid reads its own directives, Markdown, icons, links and formulas inside labels, and what it
makes of a label goes into a web page. So every character of a label that is not a letter, a
digit or known to be harmless is written as a numeric entity, which Mermaid resolves to text
after it has parsed everything else. No ``click``, no link and no directive is ever written;
ids are ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from fsm_saga.drawing.picture import Cluster, Edge, Node, NodeForm, NodeRole, Picture
from fsm_saga.drawing.plain import plain_text
from fsm_saga.drawing.theme import CLUSTER_AREAS, EDGE_STROKES, NODE_LOOKS, Look, Stroke

LINE_BREAK = "<br/>"
_HARMLESS = frozenset(" ,()?!")
# Formulas ($$x$$) and icons (fa:fa-car) are looked for after the entities are resolved; a space
# of no width in the middle is the only thing that stops them.
_NOTHING = "#8203;"
_LIST_START = re.compile(r"\d+[.)]")
_RESERVED = frozenset({"call", "class", "click", "default", "end", "graph", "href", "style"})
_DASHES = {"dashed": "6 4", "dotted": "2 3"}
_BRACKETS = {
    NodeForm.CARD: ('("', '")'),
    NodeForm.BOX: ('["', '"]'),
    NodeForm.OCTAGON: ('{{"', '"}}'),
    NodeForm.DOT: ('(("', '"))'),
    NodeForm.CHIP: ('(["', '"])'),
    NodeForm.BARE: ('["', '"]'),
}


def render_mermaid(picture: Picture) -> str:
    """Return the picture as a Mermaid flowchart. The same picture gives the same text."""
    lines = ["---", f"title: {_title(picture.title)}", "---", f"flowchart {picture.flow.value}"]
    nodes = {node.id: node for node in picture.nodes}
    inside = {node for cluster in picture.clusters for node in cluster.nodes}
    # Notes between the nodes, such as the times of a timeline, mean nothing without their places.
    shown = [node for node in picture.nodes if node.role is not NodeRole.NOTE]
    lines += [f"    {_node(node)}" for node in shown if node.id not in inside]
    for cluster in picture.clusters:
        lines += _cluster(cluster, nodes)
    lines += [f"    {_edge(edge)}" for edge in picture.edges]
    lines += [f"    {line}" for line in _styles(picture)]
    below = (*picture.notes, *picture.legend)
    if below:
        # An arrow that is not seen keeps them below.
        lines.append(f'    {_id(shown[-1].id)} ~~~ picture_notes["{_label(below)}"]')
        lines.append("    style picture_notes fill:none,stroke:none")
    return "\n".join(lines) + "\n"


def label_text(text: str) -> str:
    """Return foreign text as Mermaid label text that shows exactly its characters.

    Example:
        >>> label_text('pay #1 "]; A-->B')
        'pay #35;1 #34;#93;#59; A#45;#45;#62;B'
    """
    text = plain_text(text)
    numbered = _LIST_START.match(text)
    out: list[str] = []
    for place, char in enumerate(text):
        is_plain = char.isalnum() or char in _HARMLESS or ord(char) > 127
        is_plain = is_plain or (char in "_.-" and _is_inside_word(text, place))
        is_list = numbered is not None and place == numbered.end() - 1
        out.append(char if is_plain and not is_list else f"#{ord(char)};")
        if char == "$" or (char == ":" and not text[place + 1 : place + 2].isspace()):
            out.append(_NOTHING)
    return "".join(out)


def _is_inside_word(text: str, place: int) -> bool:
    # "_x_" and "- x" are Markdown; "book_flight", "v1.2" and "re-send" are words.
    return text[place - 1 : place].isalnum() and text[place + 1 : place + 2].isalnum()


def _label(lines: Iterable[str]) -> str:
    return LINE_BREAK.join(label_text(line) for line in lines)


def _title(title: str) -> str:
    # JSON is YAML, and with every special character as \uXXXX no directive can be in it.
    # What looks like a tag would be cut out of it as one.
    text = plain_text(title).replace("<", "‹").replace(">", "›")  # noqa: RUF001  # on purpose
    quoted = json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', "\\u0022")
    harmless = re.sub(r"[%{}<>`#&$]", lambda found: f"\\u{ord(found[0]):04x}", quoted)
    return f'"{harmless}"'


def _id(picture_id: str) -> str:
    name = picture_id.replace("-", "_")
    return f"{name}_" if name in _RESERVED else name


def _node(node: Node) -> str:
    opening, closing = _BRACKETS[node.form]
    return f"{_id(node.id)}{opening}{_label(node.lines)}{closing}:::{_class(node.role)}"


def _cluster(cluster: Cluster, nodes: dict[str, Node]) -> Iterator[str]:
    yield f'    subgraph {_id(cluster.id)}["{label_text(cluster.title) or " "}"]'
    for node_id in cluster.nodes:
        yield f"        {_node(nodes[node_id])}"
    yield "    end"


def _edge(edge: Edge) -> str:
    is_dotted = EDGE_STROKES[edge.role].dash != "solid"
    line = ("-.->" if is_dotted else "-->") if edge.has_arrow else ("-.-" if is_dotted else "---")
    label = f'|"{_label(edge.label)}"|' if edge.label else ""
    return f"{_id(edge.source)} {line}{label} {_id(edge.target)}"


def _class(role: NodeRole) -> str:
    # Prefixed, because "end" and "default" are words of the language.
    return f"role_{role.value.replace('-', '_')}"


def _styles(picture: Picture) -> Iterator[str]:
    for role in sorted({node.role for node in picture.nodes} - {NodeRole.NOTE}):
        yield f"classDef {_class(role)} {_node_style(NODE_LOOKS[role])}"
    for node in picture.nodes:
        if node.is_current:
            yield f"style {_id(node.id)} stroke-width:4px"
    for cluster in picture.clusters:
        area = CLUSTER_AREAS[cluster.role]
        yield f"style {_id(cluster.id)} fill:{area.fill},stroke:{area.line},color:{area.text}"
    for number, edge in enumerate(picture.edges):
        yield f"linkStyle {number} {_edge_style(EDGE_STROKES[edge.role])}"


def _node_style(look: Look) -> str:
    parts = [f"fill:{look.fill}", f"stroke:{look.line}", f"color:{look.text}"]
    parts.append(f"stroke-width:{look.width:g}px")
    if look.border in _DASHES:
        parts.append(f"stroke-dasharray:{_DASHES[look.border]}")
    return ",".join(parts)


def _edge_style(stroke: Stroke) -> str:
    return f"stroke:{stroke.line},stroke-width:{stroke.width:g}px,color:{stroke.text}"
