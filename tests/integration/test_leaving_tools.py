"""Tools that try to take the whole program with them, run by the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_cli import Office

LEAVING = """
import asyncio

from fsm_saga import CallContext, tool

ERRORS = {
    "KeyboardInterrupt": KeyboardInterrupt,
    "SystemExit": lambda: SystemExit(3),
    "CancelledError": asyncio.CancelledError,
    "GeneratorExit": GeneratorExit,
    "MemoryError": MemoryError,
    "RecursionError": RecursionError,
    "BaseExceptionGroup": lambda: BaseExceptionGroup("g", [KeyboardInterrupt(), ValueError()]),
    "ItsOwnError": type("ItsOwnError", (BaseException,), {}),
}


async def leave(error: str) -> None:
    raise ERRORS[error]()


@tool(undo="give_back", dedupe=True, sticky_failures=True, fenced_compensation=True)
async def do_async(error: str, way: str) -> None:
    match way:
        case "itself":
            await leave(error)
        case "its task":
            await asyncio.create_task(leave(error))
        case "a callback":
            def call() -> None:
                raise ERRORS[error]()
            asyncio.get_running_loop().call_soon(call)
            await asyncio.sleep(0.01)
            raise TimeoutError


@tool(undo="give_back", dedupe=True, sticky_failures=True, fenced_compensation=True)
def do_sync(error: str, way: str) -> None:
    raise ERRORS[error]()


@tool(dedupe=True, sticky_failures=True)
def give_back(ctx: CallContext) -> None: ...
"""
ERRORS = (
    "KeyboardInterrupt",
    "SystemExit",
    "CancelledError",
    "GeneratorExit",
    "MemoryError",
    "RecursionError",
    "BaseExceptionGroup",
    "ItsOwnError",
)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    office = Office(tmp_path)
    (tmp_path / "tools.py").write_text(LEAVING, encoding="utf-8")
    return office


def test_no_exception_of_a_tool_brings_the_coordinator_down(office: Office) -> None:
    """One saga of independent steps, each of which tries to leave the program in its way."""
    steps: list[dict[str, Any]] = []
    for error in ERRORS:
        for tool, way in (
            ("do_async", "itself"),
            ("do_async", "its task"),
            ("do_async", "a callback"),
            ("do_sync", "itself"),
        ):
            steps.append(
                {
                    "step_id": f"{error}_{len(steps)}",
                    "name": f"{tool} leaves with {error} by {way}",
                    "tool": tool,
                    "params": {"error": error, "way": way},
                    "rollback": {"tool": "give_back", "params": {}},
                    "depends_on": [],
                    "retry": {"attempts": 1},
                }
            )
    plan = office.folder / "plan.json"
    plan.write_text(json.dumps({"task_id": "trip", "steps": steps}))
    ended = office.type("run", str(plan), "--json")

    saga = json.loads(ended.stdout)
    assert (ended.returncode, saga["state"], saga["outcome"]) == (1, "FAILED", "compensated")
    # Each was in doubt, so each was undone.
    assert {step["status"] for step in saga["steps"]} == {"COMPENSATED"}
    assert "Traceback" not in ended.stderr
