"""Sagas as a reader of a story wants to see them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import fields

from fsm_saga.core.records import Record
from fsm_saga.core.saga import Saga
from fsm_saga.service.undoing import undo_id
from fsm_saga.service.view import SagaView, StepView
from tests.support.world import World

_HIDDEN = frozenset(
    {"at", "plan", "tools", "plan_hash", "saga_id", "req_id", "digest", "undoes", "run_key"}
)
_USUALLY_ZERO = frozenset({"call", "revision"})
_TIMES = frozenset({"retry_at", "until", "not_after", "expires_at"})


def seconds(at: float, since: float) -> str:
    """Return a time as seconds since the saga was submitted."""
    return f"{round(at - since, 3):g}s"


def headline(view: SagaView) -> str:
    """Return where a saga stands, on one line."""
    line = view.state
    if view.outcome is not None:
        line += f", {view.outcome}"
    return line if view.cause is None else f"{line}: {view.cause}"


def saga_lines(view: SagaView) -> Iterator[str]:
    """Yield the headline, the steps, and what a person is asked."""
    yield headline(view)
    names = [f"{step.step_id} {step.name}" for step in view.steps]
    width = max(map(len, names), default=0)
    for name, step in zip(names, view.steps, strict=True):
        yield f"  {name:{width}}  {step.status:17} {_step_rest(step)}".rstrip()
    for need in view.needs:
        yield f"  asks about {need['step_id']}: {', '.join(need['choices'])} ({need['why']})"


def _step_rest(step: StepView) -> str:
    said = []
    if step.attempts > 1:
        said.append(f"{step.attempts} attempts")
    if step.undo is not None and step.undo["attempts"] > 1:
        said.append(f"{step.undo['attempts']} undo attempts")
    if step.undo is not None and step.undo["decided_by"] == "person":
        said.append("by " + ", ".join(call["tool"] for call in step.undo["calls"]))
    error = step.undo["error"] if step.undo is not None and step.undo["error"] else step.error
    if error:
        said.append(error)
    if step.settled_by:
        said.append(f"settled by {step.settled_by}")
    return "; ".join(said)


def history_lines(journal: Sequence[Record], saga: Saga, starts: set[int]) -> Iterator[str]:
    """Yield the records, one a line; an asterisk begins what was written together."""
    for position, record in enumerate(journal):
        mark = "*" if position in starts else " "
        fields = " ".join(_fields(record, saga))
        at, name = seconds(record.at, saga.created_at), type(record).__name__
        yield f"{mark}{position:3} {at:>6}  {name} {fields}".rstrip()


def _fields(record: Record, saga: Saga) -> Iterator[str]:
    for field in fields(record):
        value = getattr(record, field.name)
        if field.name in _HIDDEN or value is None or value == field.default:
            continue
        if field.name in _USUALLY_ZERO and not value:
            continue
        if field.name == "step":
            yield f"step={saga.program.steps[value].step_id}"
        elif field.name in _TIMES:
            yield f"{field.name}={seconds(value, saga.created_at)}"
        else:
            yield f"{field.name}={_short(value)}"


def _short(value: Any) -> str:
    if isinstance(value, str):
        return (
            value
            if value.replace("_", "").replace("(", "").replace(")", "").isalnum()
            else (json.dumps(value))
        )
    return json.dumps(value, separators=(",", ":"))


def ledger_lines(world: World, saga: Saga) -> Iterator[str]:
    """Yield what the tools did for a saga, and for the one that takes it back; and what is left."""
    saga_id = saga.saga_id
    for entry in world.ledger:
        if entry.saga_id in (saga_id, undo_id(saga_id)):
            at = seconds(entry.at, saga.created_at)
            line = f"{at:>6}  {entry.step_id} {entry.tool} {entry.what}"
            yield line if entry.detail is None else f"{line} {_short(entry.detail)}"
    yield f"left in the world: {', '.join(world.left(saga_id)) or 'nothing'}"
