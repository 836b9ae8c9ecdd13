"""A saga in lines for people: where it stands, what it is about, and what may be answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fsm_saga.cli.options import typed
from fsm_saga.cli.output import exact_text, print_line, value_text
from fsm_saga.cli.words import (
    STATUS_COLUMNS,
    counted,
    state_style,
    status_style,
    status_symbol,
    time_text,
)
from fsm_saga.core.people import CALLS, OUTPUT, RETRY, SETTLED
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import StepStatus
from fsm_saga.drawing.plain import display_width, plain_text, shorten
from fsm_saga.service.view import SagaView, StepView

ID_COLUMNS = 16
NAME_COLUMNS = 40
TOOL_COLUMNS = 40
TEXT_COLUMNS = 240

Part = str | tuple[str, str]

# What a person types for each answer that a step accepts.
_ANSWERS = {
    RETRY: ("--retry",),
    SETTLED: ("--settled",),
    OUTPUT: ("--output", "JSON"),
    CALLS: ("--calls", "FILE"),
}


def print_saga(view: SagaView, *, store: str, tools: Sequence[str] = ()) -> None:
    """Print a saga, and the commands that a person may answer it with."""
    for parts in saga_lines(view, store=store, tools=tools):
        print_line(*parts)


def saga_lines(view: SagaView, *, store: str, tools: Sequence[str] = ()) -> Iterator[list[Part]]:
    """Yield what ``print_saga`` prints, line by line."""
    saga = view.saga
    yield headline(view)
    if saga.program.goal:
        yield ["  goal     ", shorten(saga.program.goal, TEXT_COLUMNS)]
    if view.cause:
        yield ["  cause    ", shorten(view.cause, TEXT_COLUMNS)]
    if saga.undo_of:
        yield ["  undoes   saga ", plain_text(saga.undo_of)]
    times = f"{time_text(saga.created_at)}, changed {time_text(saga.updated_at)}"
    yield ["  begun    ", f"{times}, position {view.position}"]
    columns = step_columns(saga)
    for step in view.steps:
        yield from _step_lines(step, columns)
    for need in view.needs:
        yield from _need_lines(view, need, store=store, tools=tools)
    if saga.program.is_open and not saga.state.is_final:
        yield ["The plan is open: steps follow when the program that made it goes on."]


def headline(view: SagaView) -> list[Part]:
    """Return the saga's id, its state and what it left in the world."""
    parts: list[Part] = [(plain_text(view.saga_id), "bold"), "  "]
    parts.append((view.state, state_style(view.state)))
    return [*parts, f"  {view.outcome}"] if view.outcome else parts


def status_parts(status: str) -> list[Part]:
    """Return a status as symbol and word, in its column."""
    known = StepStatus(status)
    text = f"{status_symbol(known)} {status:<{STATUS_COLUMNS}}"
    return [(text, status_style(known))]


def padded(text: str, columns: int) -> str:
    """Return a text shortened or filled to so many columns of a terminal."""
    text = shorten(text, columns)
    return text + " " * (columns - display_width(text))


def step_columns(saga: Saga) -> tuple[int, int]:
    """Return the widths that the ids and the names of a saga's steps need."""
    specs = saga.program.steps
    ids = max((display_width(str(spec.step_id)) for spec in specs), default=1)
    names = max((display_width(plain_text(spec.name)) for spec in specs), default=1)
    return min(ids, ID_COLUMNS), min(names, NAME_COLUMNS)


def step_label(step_id: int | str, name: str, columns: tuple[int, int]) -> str:
    """Return a step's id and its name, in their columns."""
    return f"{padded(str(step_id), columns[0])}  {padded(name, columns[1])}"


def _step_lines(step: StepView, columns: tuple[int, int]) -> Iterator[list[Part]]:
    sent = counted(step.attempts, "attempt") if step.attempts else ""
    about = step_label(step.step_id, step.name, columns)
    if step.name != step.tool:  # a step without a name goes by its tool's
        about = f"{about}  {shorten(step.tool, TOOL_COLUMNS)}"
    yield ["  ", *status_parts(step.status), f"  {about}  {sent}".rstrip()]
    if step.output is not None:
        yield ["      output  ", value_text(step.output)]
    if step.error:
        yield ["      error   ", shorten(step.error, TEXT_COLUMNS)]
    if step.settled_by:
        yield ["      settled by ", plain_text(step.settled_by)]
    if step.undo is not None:
        yield ["      undo    ", _undo_text(step.undo)]


def _undo_text(undo: dict[str, Any]) -> str:
    parts = [shorten(str(call["tool"]), TOOL_COLUMNS) for call in undo["calls"]]
    parts = parts or ["not known yet"]
    if undo["attempts"]:
        parts.append(counted(undo["attempts"], "attempt"))
    if undo["decided_by"] != "plan":
        parts.append(f"decided by a {undo['decided_by']}")
    if undo["stuck"]:
        parts.append(f"stuck ({undo['stuck']})")
    if undo["error"]:
        parts.append(shorten(undo["error"], TEXT_COLUMNS))
    return ", ".join(parts)


def _need_lines(
    view: SagaView, need: dict[str, Any], *, store: str, tools: Sequence[str]
) -> Iterator[list[Part]]:
    step_id = str(need["step_id"])
    asked = f"A person is asked about step {step_id} ({shorten(need['name'], NAME_COLUMNS)}): "
    yield []
    yield [(asked, "bold"), shorten(need["why"], TEXT_COLUMNS)]
    approval = view.step(step_id).approval
    if "approve" in need["choices"] and approval is not None:
        yield ["  with      ", exact_text(approval["params"])]
        yield ["  until     ", time_text(approval["expires_at"])]
        bound = ("--digest", approval["digest"])
        yield ["  ", _typed("approve", view, step_id, *bound, store=store, tools=tools)]
        yield ["  ", _typed("reject", view, step_id, store=store, tools=tools)]
        return
    for choice in need["choices"]:
        words = (*_ANSWERS[choice], "--note", "TEXT")
        yield ["  ", _typed("resolve", view, step_id, *words, store=store, tools=tools)]


def decision_line(decision: dict[str, Any]) -> list[Part]:
    """Return a decision that waits in the store, or was refused, as a line."""
    said = f"{decision['kind']}" + (
        "" if decision["step_id"] is None else f" of step {decision['step_id']}"
    )
    by = f" by {decision['by']}" if decision["by"] else ""
    about = plain_text(f"{said}{by}")
    if decision["status"] == "waiting":
        then = ": it was left for the process that runs the saga, which has not answered yet"
        return [("waiting   ", "yellow"), f"{about}{then}"]
    return [("refused   ", "bold red"), f"{about}: {plain_text(str(decision['message']))}"]


def _typed(
    command: str, view: SagaView, step_id: str, *words: str, store: str, tools: Sequence[str]
) -> str:
    line = (command, view.saga_id, "--step", step_id, *words, "--by", "NAME")
    return typed(*line, store=store, tools=tools)
