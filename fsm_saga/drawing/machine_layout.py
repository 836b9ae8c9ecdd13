"""Places for the saga machine: forward on top, back below, a person at the right.

    PENDING -> [ EXECUTING(1) -> ... -> EXECUTING(N) ] -> DONE
       |                  |                                |
    FAILED <- [ COMPENSATING(1) <- ... <- (N)        ] <- NEEDS_HUMAN

The four outer states stand in the corners, the two counted rows between them, each in an area of
its own. What the picture contains comes from the table; here is only how much room it needs.
``machine_routes.py`` draws the arrows between these places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from fsm_saga.core.states import Phase
from fsm_saga.drawing.machine_routes import (
    CALL_INSET,
    Bundle,
    Grid,
    Size,
    label_size,
    routed_edge,
)
from fsm_saga.drawing.picture import Cluster, ClusterRole, Frame, Node, Picture
from fsm_saga.drawing.plain import display_width
from fsm_saga.drawing.theme import NODE_FONT_SIZE

NODE_HEIGHT = 38.0
NODE_WIDTH_MIN = 90.0
NODE_GAP = 34.0
AREA_PADDING = 16.0
AREA_TITLE = 16.0
SPACE = 12.0
"""Between a line and what stands beside it."""
CHAIN_LABELS_MAX = 3
"""Arrows in a row above which their common label is written once, as a part of the title."""

_NOTHING = Size(0.0, 0.0)
_P, _E, _C = Phase.PENDING, Phase.EXECUTING, Phase.COMPENSATING
_D, _F, _H = Phase.DONE, Phase.FAILED, Phase.NEEDS_HUMAN


class Area(NamedTuple):
    """The area around a row of counted states."""

    id: str
    title: str
    role: ClusterRole


AREAS: Mapping[Phase, Area] = {
    _E: Area("phase-EXECUTING", "going forward", ClusterRole.FORWARD),
    _C: Area("phase-COMPENSATING", "going back", ClusterRole.BACK),
}

Rows = Mapping[Phase, Sequence[Node]]


def lay_out(
    rows: Rows, bundles: Sequence[Bundle], *, title: str, notes: tuple[str, ...]
) -> Picture:
    """Return the laid-out picture of these rows of nodes and these arrows."""
    grid = _grid(rows, bundles)
    nodes = [replace(node, frame=grid.frames[node.id]) for row in rows.values() for node in row]
    clusters = [
        Cluster(
            id=area.id,
            title=_area_title(phase, bundles),
            nodes=tuple(node.id for node in rows[phase]),
            role=area.role,
            frame=grid.frames[area.id],
        )
        for phase, area in AREAS.items()
        if rows[phase]
    ]
    edges = [
        routed_edge(
            bundle,
            bundle.source_id or AREAS[bundle.source].id,
            bundle.target_id or AREAS[bundle.target].id,
            grid,
            is_labelled=not bundle.is_chain or _is_labelled(_chain(bundle.source, bundles)),
        )
        for bundle in bundles
    ]
    return Picture(
        title=title, nodes=tuple(nodes), edges=tuple(edges), clusters=tuple(clusters), notes=notes
    )


class _Labels:
    """The largest labels between each two phases."""

    def __init__(self, bundles: Sequence[Bundle]) -> None:
        self._sizes: dict[tuple[Phase, Phase], Size] = {}
        for bundle in bundles:
            if not bundle.is_chain:
                size, known = label_size(bundle.label), self._sizes.get(bundle.phases, _NOTHING)
                self._sizes[bundle.phases] = Size(*map(max, size, known))

    def width(self, *pairs: tuple[Phase, Phase]) -> float:
        return max(self._sizes.get(pair, _NOTHING).width for pair in pairs)

    def height(self, *pairs: tuple[Phase, Phase]) -> float:
        return max(self._sizes.get(pair, _NOTHING).height for pair in pairs)


def _grid(rows: Rows, bundles: Sequence[Bundle]) -> Grid:
    labels = _Labels(bundles)
    width = _node_width([node for row in rows.values() for node in row])
    # Left and right of the arrow from the upper row to the lower one there are other labels.
    before = AREA_PADDING + width / 2 + labels.width((_E, _F)) + 2 * SPACE
    after = labels.width((_E, _C)) + labels.width((_E, _H)) + CALL_INSET + 3 * SPACE
    inner = max(before + after, *(_row_width(rows[p], p, bundles, width) for p in AREAS))
    left = width + labels.width((_P, _E), (_C, _F)) + 2 * SPACE
    right = left + inner
    turn_x = min(max((left + right) / 2, left + before), right - after)
    human = right + labels.width((_E, _D), (_C, _H), (_H, _C), (_H, _E)) + 2 * SPACE + width / 2

    half = NODE_HEIGHT / 2
    upper_bottom = half + AREA_PADDING
    turn = max(upper_bottom + SPACE, labels.height((_H, _E)) + 2 * SPACE)
    channel_height = labels.height((_E, _F), (_E, _C), (_E, _H)) + 2 * SPACE
    down = max(upper_bottom + channel_height, turn + 2 * SPACE)
    lower_top = down + SPACE
    back = lower_top + AREA_TITLE + AREA_PADDING + half

    frames: dict[str, Frame] = {}
    for phase, y in ((_E, 0.0), (_C, back)):
        top, bottom = y - half - AREA_PADDING - AREA_TITLE, y + half + AREA_PADDING
        area = Frame((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
        frames[AREAS[phase].id] = area
        frames |= _row_frames(rows[phase], area, y, width)
    corners = {_P: (width / 2, 0.0), _D: (human, 0.0), _F: (width / 2, back), _H: (human, back)}
    for phase, (x, y) in corners.items():
        frames |= {node.id: Frame(x, y, width, NODE_HEIGHT) for node in rows[phase]}
    low = back + max(half + AREA_PADDING, labels.height((_H, _C)) + SPACE) + 2 * SPACE
    return Grid(frames, turn=turn, turn_x=turn_x, down=down, low=low)


def _node_width(nodes: Sequence[Node]) -> float:
    columns = max((display_width(line) for node in nodes for line in node.lines), default=0)
    return max(columns * NODE_FONT_SIZE * 0.6 + 2 * SPACE, NODE_WIDTH_MIN)


def _row_width(row: Sequence[Node], phase: Phase, bundles: Sequence[Bundle], width: float) -> float:
    gap = NODE_GAP
    chain = _chain(phase, bundles)
    if _is_labelled(chain):
        gap = max([gap, *(label_size(bundle.label).width + 2 * SPACE for bundle in chain)])
    return len(row) * width + max(len(row) - 1, 0) * gap + 2 * AREA_PADDING


def _row_frames(
    row: Sequence[Node], area: Frame, y: float, width: float
) -> Iterator[tuple[str, Frame]]:
    room = area.width - 2 * AREA_PADDING - width
    for number, node in enumerate(row):
        share = number / (len(row) - 1) if len(row) > 1 else 0.5
        x = area.left + AREA_PADDING + width / 2 + room * share
        yield node.id, Frame(x, y, width, NODE_HEIGHT)


def _chain(phase: Phase, bundles: Sequence[Bundle]) -> list[Bundle]:
    return [bundle for bundle in bundles if bundle.is_chain and bundle.source is phase]


def _is_labelled(chain: Sequence[Bundle]) -> bool:
    return len(chain) <= CHAIN_LABELS_MAX


def _area_title(phase: Phase, bundles: Sequence[Bundle]) -> str:
    chain = _chain(phase, bundles)
    if not chain or _is_labelled(chain):
        return AREAS[phase].title
    return f"{AREAS[phase].title}, from each state to the next by {', '.join(chain[0].label)}"
