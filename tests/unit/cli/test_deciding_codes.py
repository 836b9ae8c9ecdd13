"""The exit code of a decision tells of the decision; where the saga rests then is printed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from fsm_saga.service.engine import Engine
from fsm_saga.tools.loading import load_tools
from tests.unit.cli.desk import Desk, Ended

BY = ("--by", "Ann")
RESOLVE = ("resolve", "trip", "--step", "1", "--retry", *BY, "--note", "again")
# None of these lets the saga come to its end: the undo of its first step sticks.
DECISIONS = {
    "cancel": ("cancel", "trip", *BY),
    "approve": ("approve", "trip", "--step", "2", *BY),
    "reject": ("reject", "trip", "--step", "2", *BY),
    "resolve": RESOLVE,
}


def waiting(desk: Desk) -> None:
    """Run a saga until it asks whether its second step, which will fail, may run."""
    plan = json.loads(Path(desk.plan("glue", "nothing")).read_text())
    plan["steps"][1]["approval"] = True
    assert desk.on_store("run", desk.write("trip.json", plan), has_tools=True).code == 3


def more_steps(desk: Desk) -> str:
    step = json.loads(Path(desk.plan("a", name="other")).read_text())["steps"][0]
    rollback = {"tool": "give_back", "params": {"id": "$output.step_3.id"}}
    return desk.write("more.json", [step | {"step_id": 3, "rollback": rollback}])


@pytest.fixture
def asked(desk: Desk, request: pytest.FixtureRequest) -> tuple[Desk, tuple[str, ...], str]:
    """Give a desk, the words of a decision, and where the saga rests after it."""
    waiting(desk)
    if request.param == "amend":
        return desk, ("amend", "trip", more_steps(desk)), "EXECUTING(2)"
    if request.param == "resolve":
        assert desk.on_store(*DECISIONS["cancel"], has_tools=True).code == 0
    return desk, DECISIONS[request.param], "NEEDS_HUMAN"


Asked = tuple[Desk, tuple[str, ...], str]
every_decision = pytest.mark.parametrize("asked", [*DECISIONS, "amend"], indirect=True)


@every_decision
def test_a_decision_that_was_carried_out_succeeded_though_a_person_is_asked(asked: Asked) -> None:
    desk, words, state = asked
    ended = desk.on_store(*words, "--json", has_tools=True)

    assert (ended.code, ended.err) == (0, "")
    assert (ended.json["decision"], ended.json["state"]) == ("carried out", state)
    assert desk.on_store("resume", has_tools=True).code == 3, "what tells of the saga says so"


@every_decision
async def test_its_code_is_the_same_where_another_process_runs_the_saga(asked: Asked) -> None:
    desk, words, state = asked
    ended, saga = await beside_an_engine(desk, *words, "--json")

    assert (ended.code, ended.json["decision"]) == (0, "carried out")
    assert saga.state == state


async def beside_an_engine(desk: Desk, *words: str) -> tuple[Ended, Any]:
    async with Engine.open(desk.store, tools=load_tools(desk.tools)) as engine:
        ended = await asyncio.to_thread(desk.on_store, *words, has_tools=True)
        return ended, await engine.wait("trip")


@pytest.mark.parametrize("command", [*DECISIONS, "amend"])
def test_its_help_says_so(desk: Desk, command: str) -> None:
    told = " ".join(desk.type(command, "--help").out.split())
    assert (
        "Exit codes: 0 accepted or left in the store, whatever the saga comes to (its state is "
        "printed), 2 refused, 75 the store failed."
    ) in told
