"""Small plans and tools for the tests of the plan layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fsm_saga.core.contract import ToolContract, ToolFacts
from fsm_saga.plan.model import Plan

TEXT = {"type": "string"}


def step(step_id: int | str = 1, tool: str = "read", **fields: Any) -> dict[str, Any]:
    return {"step_id": step_id, "tool": tool, **fields}


def plan(*steps: Mapping[str, Any], **fields: Any) -> Plan:
    return Plan.of({"task_id": "t", "steps": list(steps), **fields})


def chain(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [step(number, **fields) for number in range(1, count + 1)]


def closed(**properties: Any) -> dict[str, Any]:
    """Return a schema with these properties, all needed, and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def tool(
    name: str,
    *,
    params: Mapping[str, Any] | None = None,
    output: Mapping[str, Any] | None = None,
    undo: str | None = None,
    **contract: Any,
) -> ToolFacts:
    return ToolFacts(
        name=name,
        params_schema=params or {},
        output_schema=output,
        undo=undo,
        contract=ToolContract(**contract),
    )


def tools(*facts: ToolFacts) -> dict[str, ToolFacts]:
    return {each.name: each for each in facts}


# `read` changes nothing; `do` is undone by `undo`; `send` has no way back; `any` takes anything.
TOOLS = tools(
    tool("read", read_only=True),
    tool("do", params=closed(x=TEXT), output=closed(id=TEXT), undo="undo"),
    tool("undo", params=closed(id=TEXT)),
    tool("send", params=closed(text=TEXT)),
    tool("any"),
)
