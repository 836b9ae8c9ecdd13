"""The neutral picture: what is to be seen, without a word of any output format.

Extractors make pictures, writers read them. A picture has no colours and no fonts: a node says
what role it plays, and ``theme.py`` alone knows how that role looks. Texts may still be foreign
here; the writers clean and escape them. Ids are ours and stable: the web page finds ``step-3``
in the SVG by the same id as in the DOT.

Where a layout has meaning (lanes of a timeline, the two rows of the saga machine) the extractor
gives every node its place and every edge its path; otherwise Graphviz finds them.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import NamedTuple

_ID = re.compile(r"[a-z][a-z0-9]*(?:-[A-Za-z0-9_]+)*")


class Flow(enum.StrEnum):
    """Which way the picture reads."""

    RIGHT = "LR"
    DOWN = "TB"


class NodeRole(enum.StrEnum):
    """What a node stands for; decides its colours and its border."""

    PLANNED = "planned"
    WAITING = "waiting"
    AWAITING_APPROVAL = "awaiting-approval"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    DOUBTFUL = "doubtful"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"
    STUCK = "stuck"
    SKIPPED = "skipped"
    PENDING = "pending"
    EXECUTING = "executing"
    GOING_BACK = "going-back"
    DONE = "done"
    FAILED = "failed"
    NEEDS_HUMAN = "needs-human"
    START = "start"
    UNDO = "undo"
    UNDO_TAKEN = "undo-taken"
    SEMANTIC = "semantic"
    SEMANTIC_TAKEN = "semantic-taken"
    HEADING = "heading"
    NOTE = "note"


class NodeForm(enum.StrEnum):
    """The outline of a node; says what kind of thing it is without any colour."""

    CARD = "card"
    BOX = "box"
    OCTAGON = "octagon"
    DOT = "dot"
    CHIP = "chip"
    BARE = "bare"


class EdgeRole(enum.StrEnum):
    """What an edge means; decides its colour and its dashes."""

    NEEDS = "needs"
    TAKEN = "taken"
    UNDO = "undo"
    UNDO_TAKEN = "undo-taken"
    SEMANTIC = "semantic"
    SEMANTIC_TAKEN = "semantic-taken"
    FORWARD = "forward"
    TURN = "turn"
    BACK = "back"
    PERSON = "person"
    WAIT = "wait"


class ClusterRole(enum.StrEnum):
    """What an area means."""

    FORWARD = "forward"
    BACK = "back"
    NO_RETURN = "no-return"
    LANE = "lane"
    LANE_ODD = "lane-odd"


class Point(NamedTuple):
    """A place in points (1/72 inch), x to the right and y down."""

    x: float
    y: float


class Frame(NamedTuple):
    """A rectangle in points, given by its centre."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> float:
        """The x of its left side."""
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        """The x of its right side."""
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        """The y of its upper side."""
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        """The y of its lower side."""
        return self.y + self.height / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One thing to see.

    Attributes:
        lines: What is written in it, the most important line first.
        name_lines: How many of them are its name; the rest says more about it.
        tooltip: More, for whoever points at it.
        is_current: The saga stands here now; drawn with a heavy border.
        frame: Its place, in a picture that is laid out already.
    """

    id: str
    lines: tuple[str, ...]
    role: NodeRole
    form: NodeForm = NodeForm.CARD
    name_lines: int = 1
    tooltip: str = ""
    is_current: bool = False
    frame: Frame | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """An arrow from one node or cluster to another.

    Attributes:
        path: Corners of its line, ends included, in a picture that is laid out already.
        label_at: The middle of its label there.
        has_arrow: False for a line that only connects.
        is_backward: It leads against the flow of the picture, which the layout must know: else
            the way back would pull the way forward out of its order.
    """

    source: str
    target: str
    role: EdgeRole
    label: tuple[str, ...] = ()
    tooltip: str = ""
    path: tuple[Point, ...] = ()
    label_at: Point | None = None
    has_arrow: bool = True
    is_backward: bool = False

    @property
    def id(self) -> str:
        """Its id; two edges of one role between the same ends are one edge."""
        return f"edge-{self.role.value.replace('-', '_')}-{self.source}-{self.target}"

    @property
    def label_line(self) -> str:
        """Its label in one line: events with commas, guards in brackets after them."""
        return ", ".join(self.label).replace(", [", " [")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """An area with a title around some of the nodes."""

    id: str
    title: str
    nodes: tuple[str, ...]
    role: ClusterRole
    frame: Frame | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Everything that one drawing shows.

    Attributes:
        notes: Sentences below the drawing, one line each.
        legend: What marks and lines mean; only those that occur.

    Raises:
        ValueError: If an id is malformed or occurs twice, an edge or a cluster names what is
            not there, or only a part of the picture is laid out.
    """

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    notes: tuple[str, ...] = ()
    legend: tuple[str, ...] = ()
    flow: Flow = Flow.RIGHT

    def __post_init__(self) -> None:
        nodes = {node.id for node in self.nodes}
        ends = nodes | {cluster.id for cluster in self.clusters}
        ids = self.ids
        if len(set(ids)) != len(ids):
            twice = sorted({i for i in ids if ids.count(i) > 1})
            raise ValueError(f"these ids occur twice in the picture: {twice}")
        malformed = [i for i in ids if _ID.fullmatch(i) is None]
        if malformed:
            raise ValueError(f"these are not ids of a picture: {malformed}")
        missing = {e for edge in self.edges for e in (edge.source, edge.target)} - ends
        missing |= {n for cluster in self.clusters for n in cluster.nodes} - nodes
        if missing:
            raise ValueError(f"edges or clusters name what is not there: {sorted(missing)}")
        placed = [n.frame is not None for n in self.nodes]
        placed += [c.frame is not None for c in self.clusters]
        placed += [bool(e.path) for e in self.edges]
        if any(placed) and not all(placed):
            raise ValueError("a picture is laid out as a whole or not at all")

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of everything in it."""
        return (
            *(node.id for node in self.nodes),
            *(cluster.id for cluster in self.clusters),
            *(edge.id for edge in self.edges),
        )

    @property
    def is_placed(self) -> bool:
        """True when the picture brings its own layout."""
        return any(node.frame is not None for node in self.nodes)
