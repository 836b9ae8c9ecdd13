"""A run as a picture: one lane for each node, for the store, for every step, and for what broke."""

from __future__ import annotations

from collections.abc import Mapping

from fsm_saga.drawing.picture import NodeRole, Picture
from fsm_saga.drawing.timeline_layout import Chart, Lane, lay_out
from fsm_saga.simulation.run import Verdict
from fsm_saga.simulation.world import STARTED_AT, Entry

_ROLES: Mapping[str, NodeRole] = {
    "leads": NodeRole.EXECUTING,
    "crashes": NodeRole.FAILED,
    "pauses": NodeRole.DOUBTFUL,
    "stops": NodeRole.STUCK,
    "does": NodeRole.SUCCEEDED,
    "undoes": NodeRole.COMPENSATED,
    "null undo": NodeRole.COMPENSATED,
    "makes good": NodeRole.COMPENSATED,
    "calls": NodeRole.RUNNING,
    "refuses": NodeRole.REJECTED,
    "writes": NodeRole.PENDING,
}
_WHO_ROLES: Mapping[str, NodeRole] = {
    "faults": NodeRole.DOUBTFUL,
    "oracle": NodeRole.NEEDS_HUMAN,
    "person": NodeRole.AWAITING_APPROVAL,
}
_QUIET = frozenset({"scans", "started"})


def trace_picture(verdict: Verdict) -> Picture:
    """Return the picture of a run, event by event; time is written between the columns."""
    lanes: dict[str, Lane] = {}
    moments: list[float] = []
    for entry in verdict.trace:
        if entry.what in _QUIET:
            continue
        name = _lane_of(entry)
        lane = lanes.get(name)
        if lane is None:
            lane = lanes[name] = Lane(f"lane-{len(lanes)}", name)
        column = len(moments)
        moments.append(STARTED_AT + entry.at)
        role = _ROLES.get(entry.what) or _WHO_ROLES.get(entry.who, NodeRole.PENDING)
        lane.stand(column, role, entry.what, _word(entry), entry.detail)
    order = sorted(lanes, key=lambda name: (_rank(name), name))
    notes = [str(violation) for violation in verdict.violations[:3]]
    return lay_out(
        Chart(
            title=f"Seed {verdict.seed}",
            lanes=tuple(lanes[name] for name in order),
            moments=tuple(moments),
            notes=tuple(notes),
        )
    )


def _lane_of(entry: Entry) -> str:
    if entry.who == "tools":
        return f"step {entry.detail}"
    if entry.who == "store":
        return f"store: {entry.detail.partition('@')[0].partition(' ')[0]}"
    return entry.who


def _word(entry: Entry) -> str:
    if entry.who == "store":
        return entry.detail.partition(" ")[2] or entry.detail
    return entry.detail


def _rank(name: str) -> int:
    for rank, start in enumerate(("faults", "person", "n", "store", "step", "oracle")):
        if name.startswith(start):
            return rank
    return 9


def trace_text(verdict: Verdict) -> str:
    """Return the run as lines: time, who, what, detail."""
    return "\n".join(
        f"{entry.at:9.3f} {entry.who:7} {entry.what:16} {entry.detail}" for entry in verdict.trace
    )
