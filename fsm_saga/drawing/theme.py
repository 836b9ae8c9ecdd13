"""How each role looks: the one table of colours, borders and fonts.

Nothing is said by colour alone. A step's card holds its status as a word, and each status has a
border of its own, so that the picture works in greyscale, for the colour-blind and on a
photocopy. A test holds every text to a contrast of at least 4.5:1 against what it stands on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fsm_saga.drawing.picture import ClusterRole, EdgeRole, NodeRole

# The first family that the machine has draws the letters; what it lacks (Chinese, symbols) comes
# from the others. The wide families stand first: a browser that has only a narrower one still
# fits every text into the box that was measured here.
FONT = (
    "DejaVu Sans,Verdana,Segoe UI,Noto Sans,Noto Sans CJK SC,WenQuanYi Micro Hei,"
    "Microsoft YaHei,PingFang SC,sans-serif"
)
INK = "#1f2328"
FAINT_INK = "#57606a"
PAPER = "#ffffff"

NODE_FONT_SIZE = 11
EDGE_FONT_SIZE = 9
NOTE_FONT_SIZE = 9
TITLE_FONT_SIZE = 15


class Look(NamedTuple):
    """How a node is drawn. ``border`` is ``solid``, ``dashed`` or ``dotted``.

    ``symbol`` stands before the word of the status; ``rings`` is the number of outlines.
    """

    symbol: str
    fill: str
    line: str
    text: str = INK
    border: str = "solid"
    width: float = 1.2
    rings: int = 1


class Stroke(NamedTuple):
    """How an edge is drawn; ``text`` is the colour of its label."""

    line: str
    text: str
    dash: str = "solid"
    width: float = 1.2
    arrow: str = "normal"


class Area(NamedTuple):
    """How a cluster is drawn."""

    fill: str
    line: str
    text: str
    border: str = "solid"


_GREY = "#6e7781"
_BLUE = "#0550ae"
_GREEN = "#116329"
_RED = "#a40e26"
_AMBER = "#7d4e00"
_BROWN = "#953800"
_VIOLET = "#6639ba"

NODE_LOOKS: Mapping[NodeRole, Look] = {
    NodeRole.PLANNED: Look("", "#f6f8fa", "#424a53"),
    NodeRole.WAITING: Look("○", "#ffffff", _GREY),
    NodeRole.AWAITING_APPROVAL: Look("◇", "#fff8c5", _AMBER, border="dashed", width=1.8),
    NodeRole.RUNNING: Look("▶", "#ddf4ff", _BLUE, width=2.4),
    NodeRole.SUCCEEDED: Look("✓", "#dafbe1", _GREEN),
    NodeRole.REJECTED: Look("✗", "#ffebe9", _RED),
    NodeRole.DOUBTFUL: Look("?", "#fff1d6", _AMBER, border="dotted", width=2.4),
    NodeRole.COMPENSATING: Look("↩", "#ffe2cc", _BROWN, border="dashed", width=2.4),
    NodeRole.COMPENSATED: Look("↩", "#eaeef2", _BROWN, border="dashed"),
    NodeRole.STUCK: Look("!", "#ffd8d3", _RED, width=2.0, rings=2),
    NodeRole.SKIPPED: Look("»", "#ffffff", _GREY, text=FAINT_INK, border="dotted"),
    NodeRole.PENDING: Look("", "#ffffff", _GREY),
    NodeRole.EXECUTING: Look("", "#ddf4ff", _BLUE),
    NodeRole.GOING_BACK: Look("", "#ffe2cc", _BROWN, border="dashed"),
    NodeRole.DONE: Look("✓", "#dafbe1", _GREEN, rings=2),
    NodeRole.FAILED: Look("✗", "#eaeef2", "#424a53", rings=2),
    NodeRole.NEEDS_HUMAN: Look("", "#fbefff", _VIOLET, border="dashed", width=1.8),
    NodeRole.START: Look("", INK, INK),
    NodeRole.UNDO: Look("↩", PAPER, _BROWN, text=_BROWN, width=0.8),
    NodeRole.UNDO_TAKEN: Look("↩", "#ffe2cc", _BROWN, text="#6f2c00", width=1.8),
    NodeRole.SEMANTIC: Look("≈", PAPER, _VIOLET, text=_VIOLET, width=0.8),
    NodeRole.SEMANTIC_TAKEN: Look("≈", "#fbefff", _VIOLET, text=_VIOLET, width=1.8),
    NodeRole.HEADING: Look("", PAPER, PAPER),
    NodeRole.NOTE: Look("", PAPER, PAPER, text=FAINT_INK),
}

EDGE_STROKES: Mapping[EdgeRole, Stroke] = {
    EdgeRole.NEEDS: Stroke(_GREY, FAINT_INK),
    EdgeRole.TAKEN: Stroke(INK, INK, width=1.9),
    EdgeRole.UNDO: Stroke(_BROWN, _BROWN, dash="dashed", arrow="vee"),
    EdgeRole.UNDO_TAKEN: Stroke(_BROWN, _BROWN, dash="dashed", width=2.4, arrow="vee"),
    EdgeRole.SEMANTIC: Stroke(_VIOLET, _VIOLET, dash="dotted", width=1.8, arrow="vee"),
    EdgeRole.SEMANTIC_TAKEN: Stroke(_VIOLET, _VIOLET, dash="dotted", width=2.6, arrow="vee"),
    EdgeRole.FORWARD: Stroke(_BLUE, _BLUE),
    EdgeRole.TURN: Stroke(_RED, _RED, width=1.6),
    EdgeRole.BACK: Stroke(_BROWN, _BROWN, dash="dashed", arrow="vee"),
    EdgeRole.PERSON: Stroke(_VIOLET, _VIOLET, dash="dotted", width=1.8, arrow="vee"),
    EdgeRole.WAIT: Stroke(_GREY, FAINT_INK, dash="dotted"),
}

CLUSTER_AREAS: Mapping[ClusterRole, Area] = {
    ClusterRole.FORWARD: Area("#f3faff", "#9fc2e8", _BLUE),
    ClusterRole.BACK: Area("#fff6ef", "#e2b48f", _BROWN),
    ClusterRole.NO_RETURN: Area("#fff5f4", _RED, _RED, border="dashed"),
    ClusterRole.LANE: Area("#f6f8fa", "#f6f8fa", INK),
    ClusterRole.LANE_ODD: Area(PAPER, PAPER, INK),
}
