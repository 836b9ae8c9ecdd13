"""A journal -> a picture of what happened, in the order in which it was written down.

One lane shows the states of the saga, one what was asked of it as a whole, and one for each step
its calls: a box from the intent to the outcome, for every attempt, every approval, every undo.
From left to right runs the journal's order, not time, because a retry after a night would leave
nothing else to see; between the columns the time that passed is written.

``MARKS`` says what each type of record does in its lane. A box gets its outcome from the record
that closes it, so nothing is drawn that was not written down. ``timeline_layout.py`` gives the
boxes their places.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fsm_saga.core import records as rec
from fsm_saga.core.program import Program, StepSpec
from fsm_saga.core.records import Record
from fsm_saga.core.states import Direction, Phase, SagaState
from fsm_saga.drawing.extract_dag import GOAL_COLUMNS, SAGA_ID_COLUMNS
from fsm_saga.drawing.picture import NodeRole, Picture
from fsm_saga.drawing.plain import plain_text, shorten
from fsm_saga.drawing.timeline_fold import folded
from fsm_saga.drawing.timeline_layout import Chart, Lane, lay_out

ASKED = -1
"""Stands for a step where a record speaks of the saga as a whole."""

STATE_ROLES: Mapping[Phase, NodeRole] = {
    Phase.PENDING: NodeRole.PENDING,
    Phase.EXECUTING: NodeRole.EXECUTING,
    Phase.COMPENSATING: NodeRole.GOING_BACK,
    Phase.DONE: NodeRole.DONE,
    Phase.FAILED: NodeRole.FAILED,
    Phase.NEEDS_HUMAN: NodeRole.NEEDS_HUMAN,
}
_ATTEMPT_ROLES = {"rejected": NodeRole.REJECTED, "unknown": NodeRole.DOUBTFUL}


class Act(enum.Enum):
    """What a record does in its lane."""

    OPENS = "opens a box"
    CLOSES = "closes the box, or stands alone where none is open"
    STANDS = "stands alone"


class Mark(NamedTuple):
    """How a record shows. ``call`` names the tool or says which of the step's calls it is."""

    act: Act
    role: NodeRole
    word: str
    detail: str = ""
    call: str | Direction = ""


def _answers(role: NodeRole, word: str, *, text: str = "error") -> Callable[[Any], Mark]:
    return lambda r: Mark(Act.CLOSES, role, word, getattr(r, text, ""))


def _person(word: str) -> Callable[[Any], Mark]:
    return lambda r: Mark(Act.STANDS, NodeRole.NEEDS_HUMAN, word, f"{r.by}: {r.note}", "a person")


def _asked(word: str) -> Callable[[Any], Mark]:
    return lambda r: Mark(Act.STANDS, NodeRole.NEEDS_HUMAN, word, getattr(r, "note", ""))


def _sent(r: Any) -> Mark:
    return Mark(Act.OPENS, NodeRole.RUNNING, "sent", f"req_id {r.req_id}", Direction.DO)


def _sent_again(r: Any) -> Mark:
    role = NodeRole.COMPENSATING if r.direction is Direction.UNDO else NodeRole.RUNNING
    return Mark(Act.OPENS, role, f"attempt {r.attempt}", "", r.direction)


def _resent(r: Any) -> Mark:
    role = NodeRole.COMPENSATING if r.direction is Direction.UNDO else NodeRole.RUNNING
    word = f"sent again after end {r.interruption}"
    return Mark(Act.OPENS, role, word, "its process ended", r.direction)


def _undo_sent(r: Any) -> Mark:
    return Mark(Act.OPENS, NodeRole.COMPENSATING, "undo sent", f"req_id {r.req_id}", r.tool)


def _attempt_failed(r: Any) -> Mark:
    role = _ATTEMPT_ROLES.get(r.outcome, NodeRole.DOUBTFUL)
    return Mark(Act.CLOSES, role, r.outcome, r.error)


MARKS: Mapping[type[Record], Callable[[Any], Mark]] = {
    rec.CancelRequested: _asked("cancel"),
    rec.DeadlinePassed: _asked("deadline passed"),
    rec.StepsAppended: _asked("steps appended"),
    rec.PlanClosed: _asked("plan closed"),
    rec.ApprovalRequested: lambda r: Mark(
        Act.OPENS, NodeRole.AWAITING_APPROVAL, "asked", f"digest {r.digest}", "approval"
    ),
    rec.ApprovalGiven: _answers(NodeRole.SUCCEEDED, "approved", text="by"),
    rec.ApprovalDenied: _answers(NodeRole.REJECTED, "denied", text="by"),
    rec.ActionStarted: _sent,
    rec.AttemptStarted: _sent_again,
    rec.AttemptFailed: _attempt_failed,
    rec.CallInterrupted: _answers(NodeRole.DOUBTFUL, "interrupted"),
    rec.CallResent: _resent,
    rec.ActionSucceeded: _answers(NodeRole.SUCCEEDED, "succeeded"),
    rec.ActionSucceededBadly: _answers(NodeRole.DOUBTFUL, "bad output"),
    rec.ActionRejected: _answers(NodeRole.REJECTED, "rejected"),
    rec.ActionDoubted: _answers(NodeRole.DOUBTFUL, "doubtful"),
    rec.CheckStarted: lambda r: Mark(
        Act.OPENS, NodeRole.RUNNING, f"check {r.attempt}", "", Direction.CHECK
    ),
    rec.WaitStarted: lambda r: Mark(
        Act.OPENS, NodeRole.DOUBTFUL, "waits", r.error, "until its deadline"
    ),
    rec.UndoStarted: _undo_sent,
    rec.UndoSucceeded: lambda r: Mark(
        Act.CLOSES, NodeRole.COMPENSATED, "undone" if r.is_last else "done, more to undo"
    ),
    rec.UndoStuck: _answers(NodeRole.STUCK, "stuck"),
    rec.HumanRetried: _person("try again"),
    rec.HumanSettled: lambda r: _person("it is done" if r.as_done else "it is gone")(r),
    rec.HumanSuppliedOutput: _person("gave output"),
    rec.CallsSupplied: _person("gave calls"),
    rec.ReplyIgnored: lambda r: Mark(Act.STANDS, NodeRole.PENDING, "late reply", r.detail),
}
"""What each record shows; ``SagaSubmitted`` and ``SagaMoved`` make the lane of states."""


def timeline_picture(program: Program, records: Sequence[Record]) -> Picture:
    """Return the picture of a journal.

    Node ids are ``saga-<n>``, ``asked-<n>`` and ``step-<index>-<n>``, counted within the lane.
    Steps that no record speaks of have no lane; how many they are is said below. Attempts in a row
    that came to the same are one box.
    """
    reader = _Reader(program)
    for record in records:
        reader.read(record)
    return lay_out(folded(reader.chart()))


class _Reader:
    """Goes through a journal once and opens and closes boxes in columns.

    A column is a moment: the records of one decision share it, unless one of them closes what
    another has just opened.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._saga_id = ""
        self._moments: list[float] = []
        self._states = Lane("saga", "saga")
        self._lanes: dict[int, Lane] = {}

    def chart(self) -> Chart:
        """Return all that was read."""
        steps = [index for index in self._lanes if index != ASKED]
        untouched = max(len(self._program.steps) - len(steps), 0)
        goal = shorten(self._program.goal or "", GOAL_COLUMNS)
        name = shorten(self._saga_id, SAGA_ID_COLUMNS)
        notes = []
        if untouched:
            notes.append(f"Steps that were never reached, and are not shown: {untouched}.")
        return Chart(
            title=f"What happened in {name}" + (f": {goal}" if goal else ""),
            lanes=(self._states, *(self._lanes[index] for index in sorted(self._lanes))),
            moments=tuple(self._moments),
            notes=tuple(notes),
        )

    def read(self, record: Record) -> None:
        """Take in the next record of the journal."""
        if not self._moments or record.at != self._moments[-1]:
            self._moments.append(record.at)
        if isinstance(record, rec.SagaSubmitted):
            self._saga_id = record.saga_id
            self._enter("PENDING", "")
        elif isinstance(record, rec.SagaMoved):
            detail = "; ".join(word for word in (record.event, record.cause) if word)
            self._enter(record.state, detail, record.outcome)
        else:
            self._mark(record)

    def _enter(self, state: str, detail: str, outcome: str | None = None) -> None:
        column = self._column_after(self._states)
        role = STATE_ROLES[SagaState.parse(state).phase]
        self._states.close(column)
        self._states.open(column, role, state, outcome or "", detail)
        if role in (NodeRole.GOING_BACK, NodeRole.FAILED):
            self._withdraw_approvals()

    def _withdraw_approvals(self) -> None:
        """End what still waits for an approval: a saga that goes back asks for none."""
        for lane in self._lanes.values():
            if lane.is_open and lane.boxes[-1].role is NodeRole.AWAITING_APPROVAL:
                lane.close(self._column_after(lane), NodeRole.SKIPPED, "withdrawn")

    def _mark(self, record: Record) -> None:
        mark = MARKS[type(record)](record)
        index: int = getattr(record, "step", ASKED)
        lane = self._lanes.get(index)
        if lane is None:
            lane = self._lanes[index] = self._lane(index)
        column = self._column_after(lane)
        name = self._call_name(index, mark.call)
        if mark.act is Act.CLOSES and lane.is_open:
            lane.close(column, mark.role, mark.word, mark.detail)
        elif mark.act is Act.OPENS:
            lane.close(column)
            lane.open(column, mark.role, name, mark.word, mark.detail)
        else:
            lane.stand(column, mark.role, name, mark.word, mark.detail)

    def _column_after(self, lane: Lane) -> int:
        """Return the present column, or a new one where the lane has filled the present one."""
        column = len(self._moments) - 1
        if lane.boxes and column <= lane.filled_to:
            self._moments.append(self._moments[-1])
            column += 1
        return column

    def _lane(self, index: int) -> Lane:
        if index == ASKED:
            return Lane("asked", "asked from outside")
        step = self._step(index)
        if step is None:
            return Lane(f"step-{index}", f"step {index + 1}")
        return Lane(f"step-{index}", f"{step.step_id} · {plain_text(step.name)}")

    def _step(self, index: int) -> StepSpec | None:
        # A journal can be longer than the program at hand when the plan has grown since.
        return self._program.steps[index] if index < len(self._program.steps) else None

    def _call_name(self, index: int, call: str | Direction) -> str:
        step = self._step(index) if index != ASKED else None
        if step is None or not isinstance(call, Direction):
            return str(call)
        if call is Direction.CHECK and step.check is not None:
            return step.check.tool
        if call is Direction.UNDO and step.undo is not None:
            return step.undo.tool
        return step.action.tool
