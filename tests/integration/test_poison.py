"""A tool that takes the whole process with it, in real processes: the others get to their ends."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from fsm_saga.core.limits import LIMITS
from tests.integration.test_cli import Office

DEADLY = """
import ctypes
import os
import signal
import time

from fsm_saga import CallContext, tool


@tool(undo="give_back", dedupe=True, sticky_failures=True)
def take(what: str, ctx: CallContext) -> dict:
    match what:
        case "exit":
            os._exit(9)
        case "fault":
            ctypes.string_at(0)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "slow":
            time.sleep(0.3)
    return {"id": what}


@tool(dedupe=True, sticky_failures=True)
def give_back(id: str) -> None: ...
"""
ENDS = LIMITS.interruption_max


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "code"), [("exit", 9), ("fault", -signal.SIGSEGV), ("kill", -signal.SIGKILL)]
)
def test_resume_gets_past_a_call_that_ends_its_process_each_time(
    way: str, code: int, tmp_path: Path
) -> None:
    """D-30."""
    office = Office(tmp_path)
    (tmp_path / "tools.py").write_text(DEADLY, encoding="utf-8")
    ended = [office.type("run", office.plan("slow", way, name="deadly"))]
    # Left unfinished by a process that ran it alone: its approval is for the next to carry out.
    office.type("run", office.plan("a", "b", name="other", approval=True))
    office.type("approve", "other", "--step", "2", "--by", "Ann", has_tools=False)
    while ended[-1].returncode == code:
        ended.append(office.type("resume", "--json"))
        assert len(ended) <= ENDS + 1

    assert [each.returncode for each in ended] == [code] * ENDS + [3]
    resumed = json.loads(ended[-1].stdout)["resumed"]
    assert {head["saga_id"]: head["state"] for head in resumed}["deadly"] == "NEEDS_HUMAN"
    assert office.show("other")["state"] == "DONE"
    step = office.show("deadly")["steps"][1]
    assert (step["status"], step["attempts"]) == ("DOUBTFUL", 1)
    assert step["error"] == f"the process ended {ENDS} times while this call was under way"
