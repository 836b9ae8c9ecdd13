r"""Picture -> DOT, the language of Graphviz.

Only quoted plain labels are written, never HTML-like ones; no attribute that names a file, a
link or a shape from outside is ever set; ids are the picture's own. In a quoted label three
things still have a meaning and are escaped: the backslash (``\N`` would become the node's name),
the quote, and the ampersand (Graphviz resolves HTML entities in plain labels too).

Two layouts: a picture without places is laid out by ``dot``; one that brings its places is drawn
by ``nop2``, which takes positions, sizes and curves as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import graphviz

from fsm_saga.drawing.picture import (
    Cluster,
    Edge,
    Flow,
    Frame,
    Node,
    NodeForm,
    NodeRole,
    Picture,
    Point,
)
from fsm_saga.drawing.plain import display_width, plain_text, wrap
from fsm_saga.drawing.theme import (
    CLUSTER_AREAS,
    EDGE_FONT_SIZE,
    EDGE_STROKES,
    FAINT_INK,
    FONT,
    INK,
    NODE_FONT_SIZE,
    NODE_LOOKS,
    NOTE_FONT_SIZE,
    PAPER,
    TITLE_FONT_SIZE,
    Look,
)

POINTS_PER_INCH = 72
ARROW_SIZE = 0.7
ARROW_POINTS = 10 * ARROW_SIZE
CORNER_RADIUS = 9.0
TITLE_COLUMNS = 72
"""Columns above which a title takes two lines."""
TITLE_ID = "title"
NOTES_ID = "notes"
LINE_HEIGHT = 1.25
"""Of a line of text, in font sizes; what Graphviz uses for these fonts, rounded up."""

Attributes = dict[str, str]

_SHAPES: Mapping[NodeForm, str] = {
    NodeForm.CARD: "box",
    NodeForm.BOX: "box",
    NodeForm.OCTAGON: "octagon",
    NodeForm.DOT: "circle",
    NodeForm.CHIP: "box",
    NodeForm.BARE: "plaintext",
}


def render_dot(picture: Picture) -> str:
    """Return the picture as DOT. The same picture gives the same text, byte for byte."""
    graph = graphviz.Digraph("picture")
    graph.attr("graph", _attributes=_graph_attributes(picture))
    graph.attr(
        "node", _attributes={"fontname": FONT, "fontsize": str(NODE_FONT_SIZE), "shape": "box"}
    )
    graph.attr(
        "edge",
        _attributes={
            "fontname": FONT,
            "fontsize": str(EDGE_FONT_SIZE),
            "arrowsize": str(ARROW_SIZE),
        },
    )
    if picture.is_placed:
        _write_placed(graph, picture)
    else:
        _write_free(graph, picture)
    return str(graph.source)


def layout_engine(picture: Picture) -> str:
    """Return the name of the Graphviz layout that draws this picture's DOT."""
    return "nop2" if picture.is_placed else "dot"


def quoted_text(lines: Iterable[str], *, line_end: str = "\\n") -> str:
    r"""Return the lines as one plain label, escaped; ``line_end`` is ``\n`` or, left, ``\l``.

    Example:
        >>> quoted_text(["a\\N & <b>"])
        'a\\\\N &amp; <b>'
    """
    escaped = [plain_text(line).replace("\\", "\\\\").replace("&", "&amp;") for line in lines]
    text = line_end.join(escaped)
    if line_end == "\\l" and text:
        text += line_end
    return text


def _label(lines: Iterable[str], *, line_end: str = "\\n") -> str:
    # Without nohtml() the package would pass "<...>" on as an HTML-like label.
    label: str = graphviz.nohtml(quoted_text(lines, line_end=line_end))
    return label


def _graph_attributes(picture: Picture) -> Attributes:
    attributes = {
        "bgcolor": PAPER,
        "charset": "UTF-8",
        "fontname": FONT,
        "fontcolor": INK,
        "pad": "0.2",
        "id": "picture",
    }
    if picture.is_placed:
        # Areas first, then each node with its edges: nothing is painted over.
        return attributes | {"outputorder": "breadthfirst"}
    return attributes | {
        "rankdir": picture.flow.value,
        "nodesep": "0.4",
        "ranksep": "0.3",
        "compound": "true",
        "fontsize": str(TITLE_FONT_SIZE),
        "label": _label(_title_lines(picture.title), line_end="\\l"),
        "labelloc": "t",
        "labeljust": "l",
    }


def _title_lines(title: str) -> Sequence[str]:
    # Two lines of about the same length, not a long one and its last word.
    width = display_width(plain_text(title))
    return wrap(title, width if width <= TITLE_COLUMNS else width // 2 + 8, line_max=2)


# --- laid out by Graphviz -------------------------------------------------------------------------


def _write_free(graph: graphviz.Digraph, picture: Picture) -> None:
    # A graph has one label, and the title took it: the notes are the label of an area around all.
    with graph.subgraph(name="cluster_picture") as body:
        body.attr(_attributes=_notes_attributes(picture))
        inside = {node for cluster in picture.clusters for node in cluster.nodes}
        nodes = {node.id: node for node in picture.nodes}
        for node in picture.nodes:
            if node.id not in inside:
                _write_node(body, node)
        for cluster in picture.clusters:
            with body.subgraph(name=f"cluster_{cluster.id}") as area:
                area.attr(_attributes=_cluster_attributes(cluster, picture.flow))
                for node_id in cluster.nodes:
                    _write_node(area, nodes[node_id])
        members = {cluster.id: cluster.nodes[0] for cluster in picture.clusters if cluster.nodes}
        for edge in picture.edges:
            _write_edge(body, edge, members)


def _notes_attributes(picture: Picture) -> Attributes:
    return {
        "label": _label(_bottom_lines(picture), line_end="\\l"),
        "labelloc": "b",
        "labeljust": "l",
        "pencolor": "none",
        "fontsize": str(NOTE_FONT_SIZE),
        "fontcolor": FAINT_INK,
        "fontname": FONT,
        "margin": "2",
    }


def _bottom_lines(picture: Picture) -> Sequence[str]:
    return (*picture.notes, *picture.legend)


def _write_node(graph: graphviz.Digraph, node: Node) -> None:
    graph.node(node.id, _attributes=_node_attributes(node) | _node_place(node))


def _node_attributes(node: Node) -> dict[str, str]:
    look = NODE_LOOKS[node.role]
    attributes = {
        "id": node.id,
        "class": f"role-{node.role.value}" + (" is-current" if node.is_current else ""),
        "label": _label(node.lines),
        "shape": _SHAPES[node.form],
        "fontcolor": look.text,
        "color": look.line,
        "fillcolor": look.fill,
        "style": _style(node, look),
        "penwidth": f"{look.width + (2.0 if node.is_current else 0.0):g}",
        "margin": "0.02,0.01" if node.form is NodeForm.OCTAGON else "0.2,0.09",
    }
    if look.rings > 1:
        attributes["peripheries"] = str(look.rings)
    if node.tooltip:
        attributes["tooltip"] = _label([node.tooltip])
    if node.form is NodeForm.DOT:
        attributes |= {"width": "0.16", "height": "0.16", "fixedsize": "true", "label": ""}
    if node.form is NodeForm.CHIP:
        attributes |= {"fontsize": str(EDGE_FONT_SIZE), "margin": "0.07,0.03", "height": "0.2"}
    if node.role in (NodeRole.HEADING, NodeRole.NOTE):
        size = NODE_FONT_SIZE if node.role is NodeRole.HEADING else NOTE_FONT_SIZE
        attributes |= {
            "label": _label(node.lines, line_end="\\l"),
            "fontsize": str(size),
            "margin": "0,0",
        }
    return attributes


def _style(node: Node, look: Look) -> str:
    if node.form is NodeForm.BARE:
        return ""
    parts = ["filled", look.border]
    if node.form in (NodeForm.CARD, NodeForm.CHIP):
        parts.append("rounded")
    return ",".join(parts)


def _cluster_attributes(cluster: Cluster, flow: Flow) -> Attributes:
    area = CLUSTER_AREAS[cluster.role]
    return {
        "id": cluster.id,
        "class": f"role-{cluster.role.value}",
        "label": _label([cluster.title]),
        "labelloc": "b" if flow is Flow.DOWN else "t",
        "labeljust": "l",
        "pencolor": area.line,
        "style": f"filled,rounded,{area.border}",
        "fillcolor": area.fill,
        "color": area.line,
        "fontcolor": area.text,
        "fontname": FONT,
        "fontsize": str(EDGE_FONT_SIZE + 1),
        "margin": "12",
    }


def _write_edge(graph: graphviz.Digraph, edge: Edge, members: Mapping[str, str]) -> None:
    stroke = EDGE_STROKES[edge.role]
    attributes = {
        "id": edge.id,
        "class": f"role-{edge.role.value}",
        "color": stroke.line,
        "fontcolor": stroke.text,
        "style": stroke.dash,
        "penwidth": f"{stroke.width:g}",
    }
    ends = [members.get(edge.source, edge.source), members.get(edge.target, edge.target)]
    if edge.is_backward:
        attributes |= {"dir": "back", "arrowtail": stroke.arrow if edge.has_arrow else "none"}
        ends.reverse()
    else:
        attributes |= {"arrowhead": stroke.arrow if edge.has_arrow else "none", "weight": "8"}
    if edge.label and (edge.label_at is not None or not edge.path):
        attributes["label"] = _label(edge.label)
    if edge.tooltip:
        attributes["tooltip"] = _label([edge.tooltip])
        attributes["labeltooltip"] = attributes["tooltip"]
    for end, side in ((edge.source, "ltail"), (edge.target, "lhead")):
        if end in members:
            attributes[side] = f"cluster_{end}"
    if edge.path:
        attributes["pos"] = _curve(edge.path, has_arrow=edge.has_arrow)
    if edge.path and edge.label and edge.label_at is not None:
        attributes["lp"] = _position(edge.label_at)
    graph.edge(*ends, _attributes=attributes)


# --- laid out already -----------------------------------------------------------------------------


def _write_placed(graph: graphviz.Digraph, picture: Picture) -> None:
    for cluster in picture.clusters:
        with graph.subgraph(name=f"cluster_{cluster.id}") as area:
            attributes = dict(_cluster_attributes(cluster, picture.flow))
            if cluster.frame is not None:
                attributes |= _cluster_place(cluster, cluster.frame)
            area.attr(_attributes=attributes)
            for node_id in cluster.nodes:
                area.node(node_id)
    for node in (*_margin_nodes(picture), *picture.nodes):
        size = str(TITLE_FONT_SIZE) if node.id == TITLE_ID else None
        attributes = _node_attributes(node) | _node_place(node)
        graph.node(node.id, _attributes=attributes | ({"fontsize": size} if size else {}))
    members = {cluster.id: cluster.nodes[0] for cluster in picture.clusters if cluster.nodes}
    for edge in picture.edges:
        _write_edge(graph, edge, members)


def _margin_nodes(picture: Picture) -> Iterator[Node]:
    """Yield the title above and the notes below what was placed."""
    frames = [node.frame for node in picture.nodes if node.frame]
    frames += [cluster.frame for cluster in picture.clusters if cluster.frame]
    corners = [point for edge in picture.edges for point in edge.path]
    left = min([frame.left for frame in frames] + [point.x for point in corners])
    right = max([frame.right for frame in frames] + [point.x for point in corners])
    top = min([frame.top for frame in frames] + [point.y for point in corners])
    bottom = max([frame.bottom for frame in frames] + [point.y for point in corners])
    title = _title_within(picture.title, right - left)
    title_height = TITLE_FONT_SIZE * (2.4 + LINE_HEIGHT * (len(title) - 1))
    yield _margin_node(TITLE_ID, title, TITLE_FONT_SIZE, left, top - title_height / 2)
    lines = _bottom_lines(picture)
    if lines:
        height = NOTE_FONT_SIZE * LINE_HEIGHT * (len(lines) + 1.5)
        yield _margin_node(NOTES_ID, lines, NOTE_FONT_SIZE, left, bottom + height / 2)


def _title_within(title: str, width: float) -> Sequence[str]:
    """Return the title in two lines where one would be wider than the picture."""
    needed = display_width(plain_text(title))
    fitting = int(width / (TITLE_FONT_SIZE * 0.6))
    return wrap(title, max(fitting, needed // 2 + 8), line_max=2)


def _margin_node(node_id: str, lines: Sequence[str], size: int, left: float, y: float) -> Node:
    width = max(display_width(plain_text(line)) for line in lines) * size * 0.66 + size
    height = len(lines) * size * LINE_HEIGHT
    frame = Frame(left + width / 2, y, width, height)
    role = NodeRole.HEADING if node_id == TITLE_ID else NodeRole.NOTE
    return Node(id=node_id, lines=tuple(lines), role=role, form=NodeForm.BARE, frame=frame)


def _node_place(node: Node) -> Attributes:
    if node.frame is None:
        return {}
    return {
        "pos": _position(Point(node.frame.x, node.frame.y)),
        "width": f"{node.frame.width / POINTS_PER_INCH:.4f}",
        "height": f"{node.frame.height / POINTS_PER_INCH:.4f}",
        "fixedsize": "true",
    }


def _cluster_place(cluster: Cluster, frame: Frame) -> Attributes:
    size = EDGE_FONT_SIZE + 1
    half = display_width(plain_text(cluster.title)) * size * 0.56 / 2
    middle = Point(frame.left + half + 10, frame.top + size * LINE_HEIGHT / 2 + 4)
    corners = (frame.left, -frame.bottom, frame.right, -frame.top)
    return {"bb": ",".join(f"{value:.2f}" for value in corners), "lp": _position(middle)}


def _position(point: Point) -> str:
    # Graphviz counts y upwards.
    return f"{point.x:.2f},{-point.y:.2f}"


def _curve(path: Sequence[Point], *, has_arrow: bool) -> str:
    """Return a line through the points with rounded corners, as Bezier pieces for ``pos``."""
    points = list(path)
    head = ""
    if has_arrow:
        head = f"e,{_position(points[-1])} "
        points[-1] = _towards(points[-1], points[-2], ARROW_POINTS)
    pieces = [points[0]]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        entry = _towards(corner, before, min(CORNER_RADIUS, _distance(corner, before) / 2))
        leave = _towards(corner, after, min(CORNER_RADIUS, _distance(corner, after) / 2))
        pieces += [*_straight(pieces[-1], entry), corner, corner, leave]
    pieces += _straight(pieces[-1], points[-1])
    return head + " ".join(_position(point) for point in pieces)


def _straight(start: Point, end: Point) -> list[Point]:
    third = Point((2 * start.x + end.x) / 3, (2 * start.y + end.y) / 3)
    two_thirds = Point((start.x + 2 * end.x) / 3, (start.y + 2 * end.y) / 3)
    return [third, two_thirds, end]


def _distance(one: Point, other: Point) -> float:
    return float(((one.x - other.x) ** 2 + (one.y - other.y) ** 2) ** 0.5)


def _towards(start: Point, end: Point, length: float) -> Point:
    whole = _distance(start, end) or 1.0
    share = min(length / whole, 1.0)
    return Point(start.x + (end.x - start.x) * share, start.y + (end.y - start.y) * share)
