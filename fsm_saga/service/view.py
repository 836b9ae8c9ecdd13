"""What people and programs are shown of a saga: one structure for Python, ``--json`` and text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fsm_saga.coordinator.driver import head_of
from fsm_saga.core.people import choices
from fsm_saga.core.saga import Saga, StepState, UndoState
from fsm_saga.core.states import Phase, StepStatus
from fsm_saga.ports import Command


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """One step as shown. ``undo`` is None until something of its undo was ordered."""

    step_id: int | str
    name: str
    tool: str
    kind: str
    status: str
    attempts: int
    req_id: str | None
    output: Any
    error: str | None
    undo: dict[str, Any] | None
    approval: dict[str, Any] | None
    exit: str
    settled_by: str | None

    def as_json(self) -> dict[str, Any]:
        """Return the step as ``show --json`` prints it."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class SagaView:
    """One saga as shown. Everything is read from the saga when it is asked for.

    Attributes:
        saga: The saga.
        note: Why nothing, or less than asked, came of the decision after which it is shown.
    """

    __slots__ = ("note", "saga")

    def __init__(self, saga: Saga, *, note: str = "") -> None:
        """Show ``saga``."""
        self.saga = saga
        self.note = note

    def __repr__(self) -> str:
        return f"SagaView({self.saga_id!r}, {self.state}, outcome={self.outcome})"

    @property
    def saga_id(self) -> str:
        """The plan's task_id."""
        return self.saga.saga_id

    @property
    def state(self) -> str:
        """For example ``EXECUTING(2)``."""
        return str(self.saga.state)

    @property
    def outcome(self) -> str | None:
        """What is left in the world; None while the saga is under way."""
        return None if self.saga.outcome is None else str(self.saga.outcome)

    @property
    def cause(self) -> str | None:
        """Why it turned round or called a person."""
        return self.saga.cause

    @property
    def position(self) -> int:
        """The number of records; an answer may be bound to it."""
        return self.saga.position

    @property
    def phase(self) -> Phase:
        """The state without its number."""
        return self.saga.state.phase

    @property
    def is_done(self) -> bool:
        """True when every step has succeeded."""
        return self.phase is Phase.DONE

    @property
    def steps(self) -> tuple[StepView, ...]:
        """The steps in the plan's order."""
        return tuple(_step_view(self.saga, index) for index in range(len(self.saga.steps)))

    @property
    def needs(self) -> tuple[dict[str, Any], ...]:
        """What a person is asked: for each step its choices and why."""
        return tuple(_needs(self.saga))

    def step(self, step_id: int | str) -> StepView:
        """Return the step that the plan calls ``step_id``.

        Raises:
            KeyError: If there is none.
        """
        spec = self.saga.program.step_named(step_id)
        if spec is None:
            raise KeyError(step_id)
        return _step_view(self.saga, spec.index)

    def output(self, step_id: int | str) -> Any:  # a JSON value
        """Return what a step returned, as JSON.

        Raises:
            KeyError: If there is no such step.
        """
        return self.step(step_id).output

    def as_json(self) -> dict[str, Any]:
        """Return the saga as ``show --json`` prints it."""
        saga = self.saga
        return {
            "saga_id": self.saga_id,
            "state": self.state,
            "outcome": self.outcome,
            "cause": saga.cause,
            "goal": saga.program.goal,
            "plan_hash": saga.program.plan_hash,
            "position": saga.position,
            "created_at": saga.created_at,
            "updated_at": saga.updated_at,
            "undo_of": saga.undo_of,
            "waits_for": head_of(saga).waits_for,
            "needs": list(self.needs),
            "steps": [step.as_json() for step in self.steps],
        }


def view_of(saga: Saga) -> SagaView:
    """Return the view of a saga."""
    return SagaView(saga)


def open_decisions(commands: Iterable[Command]) -> list[dict[str, Any]]:
    """Return, of what was left for the process that runs a saga, what waits or was refused.

    What was carried out is in the journal.
    """
    return [
        {
            "number": command.number,
            "kind": command.kind,
            "step_id": command.body.get("step_id"),
            "by": command.body.get("by") or "",
            "note": command.body.get("note") or "",
            "status": "waiting" if command.answer is None else "refused",
            "code": (command.answer or {}).get("code"),
            "message": (command.answer or {}).get("message"),
        }
        for command in commands
        if command.answer is None or not command.answer.get("ok")
    ]


def _step_view(saga: Saga, index: int) -> StepView:
    spec, step = saga.program.steps[index], saga.steps[index]
    return StepView(
        step_id=spec.step_id,
        name=spec.name,
        tool=spec.action.tool,
        kind=str(spec.kind),
        status=str(step.status),
        attempts=step.attempts,
        req_id=step.req_id,
        output=step.output,
        error=step.error,
        undo=None if step.undo is None else _undo_view(step.undo),
        approval=_approval_view(step),
        exit=str(spec.exit),
        settled_by=step.settled_by,
    )


def _undo_view(undo: UndoState) -> dict[str, Any]:
    return {
        "calls": [{"tool": tool, "params": params} for tool, params in undo.calls],
        "call": undo.call,
        "decided_by": undo.source,
        "attempts": undo.attempts,
        "req_id": undo.req_id,
        "error": undo.error,
        "stuck": undo.stuck_reason,
    }


def _approval_view(step: StepState) -> dict[str, Any] | None:
    if step.digest is None:
        return None
    return {
        "digest": step.digest,
        "params": step.params,
        "expires_at": step.expires_at,
        "approved_by": step.approved_by,
    }


def _needs(saga: Saga) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for index, step in enumerate(saga.steps):
        spec = saga.program.steps[index]
        if step.status is StepStatus.AWAITING_APPROVAL:
            found.append(
                {
                    "step_id": spec.step_id,
                    "name": spec.name,
                    "why": f"{spec.action.tool} waits for approval",
                    "choices": ["approve", "reject"],
                }
            )
            continue
        possible = choices(saga, index)
        if possible:
            why = step.undo.error if step.undo is not None and step.undo.error else step.error
            found.append(
                {
                    "step_id": spec.step_id,
                    "name": spec.name,
                    "why": f"{step.status}: {why or 'its outcome is not known'}",
                    "choices": list(possible),
                }
            )
    return found
