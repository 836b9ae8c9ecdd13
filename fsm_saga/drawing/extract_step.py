"""The step machine's table -> a picture; the same machine for every step of every plan.

All transitions are in it: events that lead alike from one status to another share an arrow. The
statuses stand in the order in which a step's life goes through them, and an arrow that leads
back in that order is told so to the layout.
"""

from __future__ import annotations

from collections.abc import Mapping

from fsm_saga.core.program import StepTable
from fsm_saga.core.states import StepEvent, StepStatus
from fsm_saga.drawing.picture import Edge, EdgeRole, Flow, Node, NodeRole, Picture
from fsm_saga.drawing.theme import NODE_LOOKS

MEANINGS: Mapping[StepStatus, str] = {
    StepStatus.WAITING: "for the steps before it",
    StepStatus.AWAITING_APPROVAL: "a person is asked",
    StepStatus.RUNNING: "a call is under way",
    StepStatus.SUCCEEDED: "the effect is there",
    StepStatus.REJECTED: "certainly no effect",
    StepStatus.DOUBTFUL: "it may have happened",
    StepStatus.COMPENSATING: "it is being undone",
    StepStatus.COMPENSATED: "nothing of it is left",
    StepStatus.STUCK: "a person is needed",
    StepStatus.SKIPPED: "it will not be needed",
}
"""What each status says about the world; also the order of a step's life."""

_PLACES = {status: place for place, status in enumerate(MEANINGS)}
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


def step_machine_picture(step_table: StepTable, current: StepStatus | None = None) -> Picture:
    """Return the picture of the step machine; ``current`` is drawn with a heavy border.

    Node ids are ``status-<STATUS>``.
    """
    statuses = {status for (source, _), target in step_table.items() for status in (source, target)}
    nodes = [_node(status, current) for status in sorted(statuses, key=_PLACES.__getitem__)]
    where = f", now {current.replace('_', ' ')}" if current is not None else ""
    return Picture(
        title=f"The life of a step{where}",
        nodes=tuple(nodes),
        edges=_edges(step_table),
        legend=("dotted: a person vouches for it", "dashed: the way back"),
        flow=Flow.DOWN,
    )


def _node(status: StepStatus, current: StepStatus | None) -> Node:
    role = NodeRole(status.lower().replace("_", "-"))
    symbol = NODE_LOOKS[role].symbol
    is_current = status is current
    return Node(
        id=f"status-{status}",
        lines=(f"{symbol} {status.replace('_', ' ')}", MEANINGS[status]),
        role=role,
        tooltip=f"{status}: {MEANINGS[status]}",
        is_current=is_current,
    )


def _edges(step_table: StepTable) -> tuple[Edge, ...]:
    events: dict[tuple[StepStatus, StepStatus, EdgeRole], list[str]] = {}
    for (source, event), target in step_table.items():
        role = _ROLES.get(event, EdgeRole.FORWARD)
        events.setdefault((source, target, role), []).append(event.value)
    return tuple(
        Edge(
            source=f"status-{source}",
            target=f"status-{target}",
            role=role,
            label=tuple(names),
            is_backward=_PLACES[target] < _PLACES[source],
        )
        for (source, target, role), names in events.items()
    )
