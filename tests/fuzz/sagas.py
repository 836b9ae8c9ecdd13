"""Small sagas in every kind of rest, for what is asked of a saga and what is stored of it."""

from __future__ import annotations

from typing import Any

from fsm_saga.errors import OutcomeUnknown
from fsm_saga.tools.context import CallContext
from fsm_saga.tools.python import Tool, tool


@tool(undo="give_back", dedupe=True, sticky_failures=True)
async def take(what: str, ctx: CallContext) -> dict[str, str]:
    """Take something."""
    if what == "nothing":
        raise ValueError("there is nothing to take")
    if what == "doubt":
        raise OutcomeUnknown("the line went dead")
    return {"id": f"id-{what}-{ctx.step_id}"}


@tool(dedupe=True, sticky_failures=True)
async def give_back(id: str) -> None:
    """Give it back."""
    if id.startswith("id-glue"):
        raise ValueError("it sticks")


@tool(read_only=True)
async def look(what: str) -> dict[str, str]:
    """Look at something."""
    return {"seen": what}


TOOLS: list[Tool[..., Any]] = [take, give_back, look]

_ONCE = {"attempts": 1}


def _take(number: int, what: str, **fields: Any) -> dict[str, Any]:
    undo = {"tool": "give_back", "params": {"id": f"$output.step_{number}.id"}, "retry": _ONCE}
    return {
        "step_id": number,
        "tool": "take",
        "params": {"what": what},
        "rollback": undo,
        "retry": _ONCE,
        **fields,
    }


def _story(task_id: str, *steps: dict[str, Any]) -> dict[str, Any]:
    return {"task_id": task_id, "goal": "take things", "steps": list(steps)}


STORIES: dict[str, dict[str, Any]] = {
    "done": _story(
        "done",
        _take(1, "a"),
        {"step_id": 2, "tool": "look", "params": {"what": "$output.step_1.id"}},
    ),
    "undone": _story("undone", _take(1, "a"), _take(2, "b"), _take(3, "nothing")),
    "stuck": _story("stuck", _take(1, "glue"), _take(2, "nothing")),
    "doubtful": _story("doubtful", _take(1, "a"), _take(2, "doubt")),
    "waiting": _story("waiting", _take(1, "a"), _take(2, "b", approval=True)),
    "semantic": _story(
        "semantic",
        _take(1, "a", rollback={"semantic": "say sorry"}),
        _take(2, "nothing"),
    ),
    "parallel": _story(
        "parallel",
        _take(1, "a", depends_on=[]),
        _take(2, "glue", depends_on=[]),
        _take(3, "nothing", depends_on=[1, 2]),
    ),
}
