"""Picture -> plain text, for terminals, logs and whoever reads aloud.

One line a node, in the picture's order; below it where its arrows lead. Arrows of the plain way
forward, which most nodes have, are folded into "after ..." at the node that they lead to, and
the call that undoes a step is a line of that step.
"""

from __future__ import annotations

from collections.abc import Iterator

from fsm_saga.drawing.picture import Edge, EdgeRole, Node, NodeForm, NodeRole, Picture
from fsm_saga.drawing.plain import display_width, plain_text

_FOLDED_EDGES = frozenset({EdgeRole.NEEDS, EdgeRole.TAKEN})
_UNDO_NODES = frozenset(
    {NodeRole.UNDO, NodeRole.UNDO_TAKEN, NodeRole.SEMANTIC, NodeRole.SEMANTIC_TAKEN}
)
FIRST_COLUMN_MAX = 44
"""Widest first column; a longer name moves only its own line."""


def render_text(picture: Picture) -> str:
    """Return the picture as lines of plain text, without colours and without controls."""
    title = plain_text(picture.title)
    lines = [title, "=" * display_width(title), "", *_Writer(picture).lines()]
    notes = [plain_text(note) for note in picture.notes]
    return "\n".join([*lines, *(["", *notes] if notes else [])]).rstrip() + "\n"


class _Writer:
    """One picture, looked up by id."""

    def __init__(self, picture: Picture) -> None:
        self._nodes = {node.id: node for node in picture.nodes}
        self._titles = {c.id: plain_text(c.title) for c in picture.clusters}
        self._areas = {node: c.id for c in picture.clusters for node in c.nodes}
        self._listed = [node for node in picture.nodes if _is_listed(node)]
        self._leaving: dict[str, list[Edge]] = {}
        self._entering: dict[str, list[Edge]] = {}
        for edge in picture.edges:
            self._leaving.setdefault(edge.source, []).append(edge)
            self._entering.setdefault(edge.target, []).append(edge)

    def lines(self) -> Iterator[str]:
        """Yield the lines of all nodes, then of the arrows that leave whole areas."""
        widths = [display_width(_name(node)) for node in self._listed]
        width = min(max(widths, default=0), FIRST_COLUMN_MAX)
        area = ""
        for node in self._listed:
            here = self._areas.get(node.id, "")
            if here != area and self._titles.get(here):
                yield f"--- {self._titles[here]} ---"
            area = here
            yield self._node_line(node, width)
            yield from self._arrows(node.id)
        for cluster_id, title in self._titles.items():
            arrows = list(self._arrows(cluster_id))
            if arrows:
                yield f"--- {title}, from any state ---"
                yield from arrows

    def _node_line(self, node: Node, width: int) -> str:
        name = _name(node)
        if node.role is NodeRole.HEADING:
            return name
        padding = " " * max(width - display_width(name), 0)
        rest = " | ".join(plain_text(line) for line in node.lines[node.name_lines :])
        before = ", ".join(self._before(node))
        after = f"  (after {before})" if before else ""
        return f"{'>' if node.is_current else ' '} {name}{padding}  {rest}{after}".rstrip()

    def _before(self, node: Node) -> Iterator[str]:
        for edge in self._entering.get(node.id, ()):
            source = self._nodes.get(edge.source)
            if _is_folded(edge) and source is not None and _is_listed(source):
                yield _name(source).split(" · ")[0]

    def _arrows(self, source: str) -> Iterator[str]:
        for edge in self._leaving.get(source, ()):
            target = self._nodes.get(edge.target)
            if _is_folded(edge) or edge.role is EdgeRole.WAIT:
                continue
            if target is not None and target.role in _UNDO_NODES:
                ends = [self._end_name(further) for further in self._leaving.get(target.id, ())]
                words = " ".join(plain_text(line) for line in target.lines)
                yield f"      {words}, then back to {', '.join(ends)}"
            else:
                label = plain_text(edge.label_line)
                yield f"      -> {self._end_name(edge)}" + (f": {label}" if label else "")

    def _end_name(self, edge: Edge) -> str:
        target = self._nodes.get(edge.target)
        return self._titles[edge.target] if target is None else _name(target)


def _is_listed(node: Node) -> bool:
    return (
        node.form is not NodeForm.DOT
        and node.role is not NodeRole.NOTE
        and node.role not in _UNDO_NODES
    )


def _is_folded(edge: Edge) -> bool:
    return edge.role in _FOLDED_EDGES and not edge.label


def _name(node: Node) -> str:
    return plain_text(" ".join(node.lines[: node.name_lines])) or node.id
