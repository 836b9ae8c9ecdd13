"""The durable intents, and what each call that is sent is held against (W1, C10, P7, X2, R4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fsm_saga.core import records as r
from fsm_saga.core.draft import Draft
from fsm_saga.core.effects import CallTool
from fsm_saga.core.records import Record
from fsm_saga.core.states import Direction

Broken = Callable[[str, str], None]
Purpose = tuple[str, int, Direction, int, int]


class Intent:
    """One call as its first intent record has it.

    Attributes:
        purpose: Saga, step, direction, revision, and index in a compensation of several calls.
        attempts: How many sends are durably ordered.
        sent: The latest of them that went out.
    """

    __slots__ = ("attempts", "not_after", "params", "purpose", "sent", "tool", "undoes")

    def __init__(
        self,
        purpose: Purpose,
        tool: str,
        params: Mapping[str, Any],
        undoes: str | None,
        not_after: float | None,
    ) -> None:
        self.purpose = purpose
        self.tool = tool
        self.params = params
        self.undoes = undoes
        self.not_after = not_after
        self.attempts = 1
        self.sent = 0


class Intents:
    """All intents of a run, by req_id."""

    def __init__(self) -> None:
        self._by_id: dict[str, Intent] = {}
        self._ids: dict[Purpose, str] = {}
        self._checks: dict[tuple[str, int], int] = {}
        self._check_ids: dict[tuple[str, int, int], str] = {}

    def tool_of(self, req_id: str) -> str | None:
        """Return the tool that the call of this req_id was meant for."""
        found = self._by_id.get(req_id)
        return None if found is None else found.tool

    def is_unsent(self, req_id: str) -> bool:
        """Return whether a send of this req_id is durably ordered and has not gone out."""
        found = self._by_id.get(req_id)
        return found is not None and found.sent < found.attempts

    def note(self, draft: Draft, record: Record, broken: Broken) -> None:
        """Take in what a record orders; ``draft`` is the saga before it."""
        match record:
            case r.ActionStarted():
                spec = draft.program.steps[record.step]
                purpose = (draft.saga_id, record.step, Direction.DO, record.revision, 0)
                tool, undoes = spec.action.tool, spec.undoes
                intent = Intent(purpose, tool, record.params, undoes, record.not_after)
                # Sends are counted by step, over all that a person ordered anew.
                intent.attempts = draft.steps[record.step].attempts + 1
                self._add(record.req_id, intent, broken)
            case r.UndoStarted():
                purpose = (
                    draft.saga_id,
                    record.step,
                    Direction.UNDO,
                    record.revision,
                    record.call,
                )
                undoes = draft.steps[record.step].req_id
                intent = Intent(purpose, record.tool, record.params, undoes, None)
                self._add(record.req_id, intent, broken)
            case r.CheckStarted():
                self._checks[draft.saga_id, record.step] = record.attempt
            case r.AttemptStarted(direction=Direction.CHECK):
                self._checks[draft.saga_id, record.step] = record.attempt
            case r.AttemptStarted():
                step = draft.steps[record.step]
                is_undo = record.direction is Direction.UNDO
                rid = step.undo.req_id if is_undo and step.undo is not None else step.req_id
                found = self._by_id.get(rid or "")
                if found is not None:
                    if record.attempt != found.attempts + 1:
                        message = (
                            f"{found.purpose}: attempt {record.attempt} after {found.attempts}"
                        )
                        broken("R4", message)
                    found.attempts = record.attempt
            case _:
                pass

    def _add(self, req_id: str, intent: Intent, broken: Broken) -> None:
        known = self._by_id.get(req_id)
        if known is not None:
            if known.purpose != intent.purpose:
                broken("X2", f"one req_id stands for {known.purpose} and {intent.purpose}")
            if known.params != intent.params:
                broken("P7", f"{intent.purpose}: its intent was written twice, with other params")
            known.attempts += 1
            return
        other = self._ids.get(intent.purpose)
        if other is not None:
            broken("X2", f"{intent.purpose} has two req_ids")
        self._by_id[req_id] = intent
        self._ids[intent.purpose] = req_id

    def judge(self, request: CallTool, saga_id: str, broken: Broken) -> None:
        """Hold a call that goes out now against its durable intent."""
        name = f"{saga_id}.{request.step}.{request.direction}"
        if request.direction is Direction.CHECK:
            self._judge_check(request, saga_id, broken)
            return
        intent = self._by_id.get(request.req_id)
        if intent is None:
            broken("W1", f"{name} is sent under a req_id of which no durable intent speaks")
            return
        intent.sent = max(intent.sent, request.attempt)
        here = (saga_id, request.step, request.direction)
        if intent.purpose[:3] != here or intent.purpose[4] != request.call:
            broken("X2", f"{name} is sent under the req_id of {intent.purpose}")
        if request.attempt > intent.attempts:
            message = f"{name}: attempt {request.attempt} is sent, {intent.attempts} are durable"
            broken("W1", message)
        if request.tool != intent.tool or request.params != intent.params:
            broken("P7", f"{name} is sent as {request.tool} {request.params}, not as intended")
        if request.undoes != intent.undoes or request.not_after != intent.not_after:
            broken("C10", f"{name} undoes or ends at something else than was intended")

    def _judge_check(self, request: CallTool, saga_id: str, broken: Broken) -> None:
        name = f"{saga_id}.{request.step}.check"
        if request.attempt > self._checks.get((saga_id, request.step), 0):
            broken("W1", f"{name}: attempt {request.attempt} is sent without a durable intent")
        asked = self._by_id.get(request.undoes or "")
        if asked is None or asked.purpose[:3] != (saga_id, request.step, Direction.DO):
            broken("C10", f"{name} asks about a call that is not the step's")
            return
        purpose = (saga_id, request.step, asked.purpose[3])
        if self._check_ids.setdefault(purpose, request.req_id) != request.req_id:
            broken("X2", f"{name} has two req_ids")
