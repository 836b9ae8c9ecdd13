"""What is said of a plan's tools before anything runs: a memory that is too short for its calls."""

from __future__ import annotations

import pytest

from tests.unit.cli.desk import Desk

TOOLS = """
from fsm_saga import tool

@tool(undo="cancel", retention_s={kept})
def order() -> None: ...

@tool(retention_s={undo_kept})
def cancel() -> None: ...

@tool(read_only=True, retention_s=1)
def look() -> None: ...
"""


def said(desk: Desk, command: str, *, kept: float | None, undo_kept: float | None = None) -> str:
    """Return what a command notes of a plan whose tools remember for so long."""
    tools = desk.write("shop.py", TOOLS.format(kept=kept, undo_kept=undo_kept))
    steps = [
        {"step_id": 1, "tool": "look", "params": {}},
        {"step_id": 2, "tool": "order", "params": {}},
        {"step_id": 3, "tool": "order", "params": {}, "timeout_s": 45},
    ]
    plan = desk.write("plan.json", {"task_id": "tea", "steps": steps})
    store = ("--store", desk.store) if command == "run" else ()
    ended = desk.type(command, plan, "--tools", tools, "--json", *store)
    assert ended.code == 0
    assert ended.json
    return ended.err


@pytest.mark.parametrize("command", ["run", "verify"])
def test_a_tool_that_forgets_before_a_copy_can_have_come_is_named(desk: Desk, command: str) -> None:
    told = said(desk, command, kept=99.9)
    assert told.count("\n") == 1
    assert told.startswith("order promises to remember a call for 99.9 s: a copy that comes late")
    assert "retention_s should be 100 s or more" in told


@pytest.mark.parametrize("kept", [100.0, None])
def test_a_memory_that_is_long_enough_is_no_matter(desk: Desk, kept: float | None) -> None:
    assert said(desk, "verify", kept=kept) == ""


def test_the_memory_of_an_undo_counts_for_the_undo(desk: Desk) -> None:
    told = said(desk, "verify", kept=None, undo_kept=1)
    assert told.startswith("cancel promises to remember a call for 1 s")
