"""What each record of a journal says, in a sentence; for ``history``, ``watch`` and progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from msgspec.structs import asdict

from fsm_saga.cli.output import value_text
from fsm_saga.cli.words import counted, iso_time, time_text
from fsm_saga.core import records as r
from fsm_saga.core.program import Program
from fsm_saga.core.states import Direction
from fsm_saga.drawing.plain import plain_text, shorten

NAME_COLUMNS = 40
TEXT_COLUMNS = 300


class SagaRecord(NamedTuple):
    """A record with its place in the journal and the program that it is about."""

    position: int
    record: r.Record
    program: Program

    @property
    def text(self) -> str:
        """What happened, as one line."""
        sentence = _SENTENCES[type(self.record)](self.record, self._step)
        return shorten(sentence, TEXT_COLUMNS)

    @property
    def _step(self) -> str:
        index = getattr(self.record, "step", None)
        if index is None:
            return ""
        spec = self.program.steps[index]
        name = shorten(spec.name, NAME_COLUMNS)
        return f"step {spec.step_id} ({name})" if name != str(spec.step_id) else f"step {name}"

    def as_json(self) -> dict[str, Any]:
        """Return what ``history --json`` prints of it."""
        return {
            "position": self.position,
            "at": self.record.at,
            "time": iso_time(self.record.at),
            "type": type(self.record).__name__,
            "text": self.text,
            "record": asdict(self.record),
        }


def _by(record: Any) -> str:
    note = plain_text(record.note)
    return f"by {plain_text(record.by)}" + (f": {note}" if note else "")


def _call(direction: Direction) -> str:
    return {Direction.DO: "the call", Direction.UNDO: "the undo", Direction.CHECK: "the check"}[
        direction
    ]


def _submitted(record: r.SagaSubmitted, _step: str) -> str:
    count = counted(len(record.plan.get("steps", ())), "step")
    of = f", to undo saga {record.undo_of}" if record.undo_of else ""
    return f"submitted: {'open plan' if record.is_open else 'plan'} of {count}{of}"


def _moved(record: r.SagaMoved, _step: str) -> str:
    outcome = f", {record.outcome}" if record.outcome else ""
    cause = f": {plain_text(record.cause)}" if record.cause else ""
    return f"the saga is {record.state}{outcome}{cause}"


def _appended(record: r.StepsAppended, _step: str) -> str:
    return f"the plan has {counted(len(record.plan.get('steps', ())), 'step')} now"


def _asked(record: r.ApprovalRequested, step: str) -> str:
    return f"{step} waits for approval until {time_text(record.expires_at)}"


def _started(record: r.ActionStarted, step: str) -> str:
    again = f", request {record.revision + 1}" if record.revision else ""
    return f"{step} is sent{again}: {value_text(record.params)}"


def _attempt_failed(record: r.AttemptFailed, step: str) -> str:
    return (
        f"{step}: {_call(record.direction)} was {plain_text(record.outcome)} at attempt "
        f"{record.attempt}: {plain_text(record.error)}; again at {time_text(record.retry_at)}"
    )


def _attempt_started(record: r.AttemptStarted, step: str) -> str:
    return f"{step}: {_call(record.direction)} is sent again, attempt {record.attempt}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _succeeded(record: r.ActionSucceeded, step: str) -> str:
    without = f"; no way back: {plain_text(record.undo_error)}" if record.undo_error else ""
    return f"{step} succeeded: {value_text(record.output)}{without}"


def _rejected(record: r.ActionRejected, step: str) -> str:
    unsent = "" if record.was_sent else ", nothing was sent"
    return f"{step} was rejected{unsent}: {plain_text(record.error)}"


def _waiting(record: r.WaitStarted, step: str) -> str:
    return (
        f"{step} may have happened: {plain_text(record.error)}; the tool refuses it after "
        f"{time_text(record.until)}"
    )


def _undo_started(record: r.UndoStarted, step: str) -> str:
    call = f" (call {record.call + 1})" if record.call else ""
    tool = plain_text(record.tool)
    return f"{step}: {tool}{call} is sent to undo it: {value_text(record.params)}"


def _undo_succeeded(record: r.UndoSucceeded, step: str) -> str:
    if record.is_last:
        return f"{step} is undone"
    return f"{step}: call {record.call + 1} of its undo is done"


def _settled(record: r.HumanSettled, step: str) -> str:
    said = "is done" if record.as_done else "needs no more undoing"
    return f"{step} {said}, settled {_by(record)}"


def _supplied(record: r.CallsSupplied, step: str) -> str:
    tools = ", ".join(plain_text(str(call.get("tool"))) for call in record.calls)
    return f"{step} is made good by {tools}, decided {_by(record)}"


_Sentence = Callable[[Any, str], str]
_SENTENCES: Mapping[type[r.Record], _Sentence] = {
    r.SagaSubmitted: _submitted,
    r.SagaMoved: _moved,
    r.StepsAppended: _appended,
    r.PlanClosed: lambda _record, _step: "the plan is closed",
    r.ApprovalRequested: _asked,
    r.ApprovalGiven: lambda record, step: f"{step} was approved {_by(record)}",
    r.ApprovalDenied: lambda record, step: f"{step} was denied {_by(record)}",
    r.ActionStarted: _started,
    r.AttemptFailed: _attempt_failed,
    r.AttemptStarted: _attempt_started,
    r.CallInterrupted: lambda record, step: (
        f"{step}: {_call(record.direction)} was interrupted; whether it arrived is unknown"
    ),
    r.CallResent: lambda record, step: (
        f"{step}: {_call(record.direction)} was under way when its process ended "
        f"({_times(record.interruption)}), and is sent again"
    ),
    r.ActionSucceeded: _succeeded,
    r.ActionSucceededBadly: lambda record, step: (
        f"{step} happened, but its output cannot be used: {plain_text(record.error)}"
    ),
    r.ActionRejected: _rejected,
    r.ActionDoubted: lambda record, step: f"{step} may have happened: {plain_text(record.error)}",
    r.CheckStarted: lambda record, step: (
        f"{step}: the tool is asked what became of it, attempt {record.attempt}"
    ),
    r.WaitStarted: _waiting,
    r.CancelRequested: lambda record, _step: f"cancelled {_by(record)}",
    r.DeadlinePassed: lambda _record, _step: "the saga's deadline has passed",
    r.UndoStarted: _undo_started,
    r.UndoSucceeded: _undo_succeeded,
    r.UndoStuck: lambda record, step: (
        f"{step} cannot be undone without a person ({record.reason}): {plain_text(record.error)}"
    ),
    r.HumanRetried: lambda record, step: f"{step} is tried again, decided {_by(record)}",
    r.HumanSettled: _settled,
    r.HumanSuppliedOutput: lambda record, step: (
        f"{step} has this output: {value_text(record.output)}, vouched for {_by(record)}"
    ),
    r.CallsSupplied: _supplied,
    r.ReplyIgnored: lambda record, step: (
        f"{step}: a late reply to {_call(record.direction)} was ignored: "
        f"{plain_text(record.outcome)}, {plain_text(record.detail)}"
    ),
}
