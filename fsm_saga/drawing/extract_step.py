"""The step machine's table -> a picture; the same machine for every step of every plan.

All transitions are in it. Statuses that are left alike share an area: an event that takes each of
them to the same status is one arrow from the area. That, too, is read from the table: where one
of them goes elsewhere, each gets an arrow of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from fsm_saga.core.program import StepTable
from fsm_saga.core.states import StepEvent, StepStatus
from fsm_saga.drawing.picture import (
    Cluster,
    ClusterRole,
    Edge,
    EdgeRole,
    Node,
    NodeRole,
    Picture,
)
from fsm_saga.drawing.step_layout import FRAMES, routed_path
from fsm_saga.drawing.theme import NODE_LOOKS

MEANINGS: Mapping[StepStatus, str] = {
    StepStatus.WAITING: "for the steps before it",
    StepStatus.AWAITING_APPROVAL: "a person is asked",
    StepStatus.RUNNING: "a call is under way",
    StepStatus.SUCCEEDED: "the effect is there",
    StepStatus.DOUBTFUL: "it may have happened",
    StepStatus.REJECTED: "certainly no effect",
    StepStatus.COMPENSATING: "it is being undone",
    StepStatus.STUCK: "a person is needed",
    StepStatus.COMPENSATED: "nothing of it is left",
    StepStatus.SKIPPED: "it will not be needed",
}
"""What each status says about the world; also the order of a step's life."""


class _Area(NamedTuple):
    id: str
    title: str
    statuses: tuple[StepStatus, ...]
    role: ClusterRole


_AREAS = (
    _Area(
        "area-before",
        "nothing was sent",
        (StepStatus.WAITING, StepStatus.AWAITING_APPROVAL),
        ClusterRole.FORWARD,
    ),
    _Area(
        "area-effect",
        "an effect is possible",
        (StepStatus.SUCCEEDED, StepStatus.DOUBTFUL),
        ClusterRole.BACK,
    ),
)
_ROLES: Mapping[StepEvent, EdgeRole] = {
    StepEvent.REJECTED: EdgeRole.TURN,
    StepEvent.DOUBTED: EdgeRole.TURN,
    StepEvent.GOT_STUCK: EdgeRole.TURN,
    StepEvent.SKIPPED: EdgeRole.NEEDS,
    StepEvent.RESENT: EdgeRole.NEEDS,
    StepEvent.APPROVAL_WITHDRAWN: EdgeRole.NEEDS,
    StepEvent.UNDO_STARTED: EdgeRole.BACK,
    StepEvent.UNDONE: EdgeRole.BACK,
    StepEvent.OUTPUT_SUPPLIED: EdgeRole.PERSON,
    StepEvent.SETTLED_AS_DONE: EdgeRole.PERSON,
    StepEvent.SETTLED_AS_GONE: EdgeRole.PERSON,
}


class _Arrow(NamedTuple):
    """Where an event leads from; ``area`` is set when it leaves the area, not a status."""

    source: StepStatus
    area: str | None
    target: StepStatus
    event: StepEvent


def step_machine_picture(step_table: StepTable, current: StepStatus | None = None) -> Picture:
    """Return the picture of the step machine.

    With ``current`` that status has a heavy border and the others are pale. Node ids are
    ``status-<STATUS>``.
    """
    where = f", now {current.replace('_', ' ')}" if current is not None else ""
    clusters = [
        Cluster(
            id=area.id,
            title=area.title,
            nodes=tuple(_id(status) for status in area.statuses),
            role=area.role,
            frame=FRAMES[area.id],
        )
        for area in _AREAS
    ]
    return Picture(
        title=f"The life of a step{where}",
        nodes=tuple(_node(status, current) for status in MEANINGS),
        edges=tuple(_edges(step_table)),
        clusters=tuple(clusters),
        legend=("dotted: a person vouches for it", "dashed: the way back"),
    )


def _id(status: StepStatus) -> str:
    return f"status-{status}"


def _node(status: StepStatus, current: StepStatus | None) -> Node:
    role = NodeRole(status.lower().replace("_", "-"))
    is_pale = current is not None and status is not current
    return Node(
        id=_id(status),
        lines=(f"{NODE_LOOKS[role].symbol} {status.replace('_', ' ')}", MEANINGS[status]),
        role=NodeRole.WAITING if is_pale else role,
        tooltip=f"{status}: {MEANINGS[status]}",
        is_current=status is current,
        frame=FRAMES[_id(status)],
    )


def _edges(step_table: StepTable) -> Iterator[Edge]:
    bundles: dict[tuple[str, str, EdgeRole], list[_Arrow]] = {}
    for arrow in _arrows(step_table):
        role = _ROLES.get(arrow.event, EdgeRole.FORWARD)
        source = arrow.area or _id(arrow.source)
        bundles.setdefault((source, _id(arrow.target), role), []).append(arrow)
    for (source, target, role), arrows in bundles.items():
        label = tuple(arrow.event.value for arrow in arrows)
        edge = Edge(source=source, target=target, role=role, label=label)
        path, label_at = routed_path(edge)
        yield replace(edge, path=path, label_at=label_at)


def _arrows(step_table: StepTable) -> Iterator[_Arrow]:
    for (source, event), target in step_table.items():
        area = next((a for a in _AREAS if source in a.statuses), None)
        if area is None or not _is_shared(area, event, target, step_table):
            yield _Arrow(source, None, target, event)
        elif source is area.statuses[0]:
            yield _Arrow(source, area.id, target, event)


def _is_shared(area: _Area, event: StepEvent, target: StepStatus, step_table: StepTable) -> bool:
    targets = {step_table.get((status, event)) for status in area.statuses}
    return targets == {target} and target not in area.statuses
