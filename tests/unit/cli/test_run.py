from __future__ import annotations

import asyncio
import io
import json
import sys
from pathlib import Path

import pytest

from fsm_saga.cli import elsewhere
from fsm_saga.service.engine import Engine
from fsm_saga.stores.opening import open_store
from fsm_saga.tools.loading import load_tools
from tests.unit.cli.desk import Desk, Ended, statuses


def test_a_plan_that_succeeds_ends_with_exit_code_0(desk: Desk) -> None:
    ended = desk.run("a", "b")

    assert ended.code == 0
    assert ended.err == ""
    assert "step 2 (take b) succeeded" in ended.out
    assert "trip  DONE  committed" in ended.out
    assert "\x1b" not in ended.out


def test_a_plan_that_fails_is_undone_and_ends_with_exit_code_1(desk: Desk) -> None:
    ended = desk.run("a", "nothing")

    assert ended.code == 1
    assert "trip  FAILED  compensated" in ended.out
    assert "there is nothing to take" in ended.out
    assert statuses(desk.show()) == ["COMPENSATED", "REJECTED"]


def test_a_saga_that_needs_a_person_ends_with_exit_code_3_and_says_what_to_type(
    desk: Desk,
) -> None:
    ended = desk.run("glue", "nothing")

    assert ended.code == 3
    assert "NEEDS_HUMAN" in ended.out
    assert "fsm-saga resolve trip --step 1 --settled --note TEXT --by NAME" in ended.out


def test_a_saga_that_waits_for_approval_ends_with_exit_code_3_and_the_command(desk: Desk) -> None:
    ended = desk.run("a", approval=True)

    assert ended.code == 3
    digest = desk.show()["steps"][0]["approval"]["digest"]
    command = f"fsm-saga approve trip --step 1 --digest {digest} --by NAME"
    assert f"{command} --tools {desk.tools} --store {desk.store}" in ended.out


def test_json_is_the_saga_and_nothing_else(desk: Desk) -> None:
    ended = desk.on_store("run", desk.plan("a"), "--json", has_tools=True)

    assert ended.code == 0
    assert ended.err == ""
    saga = ended.json
    assert (saga["saga_id"], saga["state"], saga["outcome"]) == ("trip", "DONE", "committed")
    step = saga["steps"][0]
    wanted = {"step_id", "name", "status", "attempts", "req_id", "output", "error"}
    assert wanted <= step.keys()
    assert step["output"] == {"id": "id-a"}


def test_the_same_plan_again_shows_the_saga_that_exists(desk: Desk) -> None:
    first = desk.run("a")
    again = desk.on_store("run", desk.plan("a"), "--json", has_tools=True)

    assert (first.code, again.code) == (0, 0)
    assert again.json["position"] == desk.show()["position"]
    assert len(desk.on_store("list", "--json").json) == 1


def test_another_plan_under_the_same_name_is_refused(desk: Desk) -> None:
    desk.run("a")
    text = desk.run("b")
    as_json = desk.on_store("run", desk.plan("b"), "--json", has_tools=True)

    assert (text.code, as_json.code) == (2, 2)
    assert "saga-exists" in text.err
    assert as_json.json["error"]["code"] == "saga-exists"
    assert as_json.err == ""
    assert desk.show()["steps"][0]["name"] == "take a"


def test_a_refused_plan_lists_every_problem_and_leaves_no_store(desk: Desk) -> None:
    plan = {
        "task_id": "trip",
        "steps": [
            {"step_id": 1, "tool": "tkae", "params": {}},
            {"step_id": 2, "tool": "take", "params": {"wat": 1}},
        ],
    }
    path = desk.write("bad.json", plan)
    text = desk.on_store("run", path, has_tools=True)
    as_json = desk.on_store("run", path, "--json", has_tools=True)

    assert (text.code, as_json.code) == (2, 2)
    assert text.out == ""
    problems = as_json.json["problems"]
    assert as_json.err == ""
    assert problems[0].keys() == {"code", "pointer", "message", "hint"}
    assert {p["pointer"] for p in problems} >= {"/steps/0/tool", "/steps/1/params/wat"}
    for problem in problems:
        assert problem["code"] in text.err
        assert problem["pointer"] in text.err
    assert not (desk.folder / "sagas.db").exists()


def test_a_plan_without_tools_is_refused_with_the_advice_to_give_some(desk: Desk) -> None:
    ended = desk.on_store("run", desk.plan("a"))

    assert ended.code == 2
    assert "--tools MODULE_OR_FILE" in ended.err


def test_a_name_that_no_tool_has_is_told_where_it_was_allowed(desk: Desk) -> None:
    ended = desk.on_store("run", desk.plan("a"), "--allow", "tkae", has_tools=True)
    assert ended.code == 2
    assert ended.err.startswith("No tool that was given is called tkae: see --allow.\n")
    assert "No tools were given" not in ended.err


def test_tools_that_are_not_allowed_are_refused(desk: Desk) -> None:
    ended = desk.on_store("run", desk.plan("a"), "--allow", "take", "--json", has_tools=True)

    assert ended.code == 2
    assert [p["pointer"] for p in ended.json["problems"]] == ["/steps/0/rollback/tool"]


def test_the_plan_may_come_from_stdin(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    body = Path(desk.plan("a")).read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(body)))

    assert desk.on_store("run", "-", has_tools=True).code == 0


@pytest.mark.parametrize(
    ("path", "reason"), [("missing.json", "No such file"), (".", "Is a directory")]
)
def test_a_plan_that_cannot_be_read_is_refused(desk: Desk, path: str, reason: str) -> None:
    ended = desk.on_store("run", path, has_tools=True)

    assert ended.code == 2
    assert reason in ended.err


def test_tools_that_cannot_be_used_are_refused(desk: Desk) -> None:
    ended = desk.type("run", desk.plan("a"), "--tools", "no_such_module", "--json")

    assert ended.code == 2
    assert ended.json["error"]["code"] == "tools-refused"


def test_tools_come_from_the_environment_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FSM_SAGA_TOOLS", desk.tools)
    monkeypatch.setenv("FSM_SAGA_STORE", desk.store)

    assert desk.type("run", desk.plan("a")).code == 0
    assert desk.show()["state"] == "DONE"


def test_the_store_is_a_file_of_the_working_directory_by_default(desk: Desk) -> None:
    assert desk.type("run", desk.plan("a"), "--tools", desk.tools).code == 0
    assert (desk.folder / "fsm-saga.db").exists()


def test_a_store_that_cannot_be_opened_is_refused(desk: Desk) -> None:
    words = ("run", desk.plan("a"), "--tools", desk.tools, "--json")
    ended = desk.type(*words, "--store", "sqlite:///missing/sagas.db")

    assert ended.code == 2
    assert ended.json["error"]["code"] == "store-error"


async def typed_beside(desk: Desk, *words: str, has_tools: bool = True) -> Ended:
    return await asyncio.to_thread(lambda: desk.on_store(*words, has_tools=has_tools))


async def test_a_writer_that_does_not_answer_is_told_after_some_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elsewhere, "HINT_S", 0.0)
    monkeypatch.setattr(elsewhere, "GIVE_UP_S", 0.2)
    async with open_store(desk.store) as store:
        ended = await typed_beside(desk, "run", desk.plan("a"), "--json")
        assert [command.kind for command in await store.pending_commands()] == ["submit"]

    assert ended.code == 75
    assert ended.json["error"]["code"] == "not-answered"
    assert "fsm-saga watch trip" in ended.json["error"]["message"]
    assert "fsm-saga cluster" in ended.err


@pytest.mark.parametrize(("things", "code"), [(("a",), 0), (("a", "nothing"), 1)])
async def test_a_plan_is_run_by_the_process_that_leads_the_store(
    desk: Desk, things: tuple[str, ...], code: int
) -> None:
    async with Engine.open(desk.store, tools=load_tools(desk.tools)):
        ended = await typed_beside(desk, "run", desk.plan(*things), "--json", has_tools=False)
        again = await typed_beside(desk, "run", desk.plan(*things), "--json")

    assert (ended.code, again.code) == (code, code)
    assert ended.json["saga_id"] == "trip"
    assert (ended.err, again.err) == ("", "")


async def test_who_brings_tools_is_told_that_they_do_not_count(desk: Desk) -> None:
    async with Engine.open(desk.store, tools=load_tools(desk.tools)):
        ended = await typed_beside(desk, "run", desk.plan("a"))

    assert ended.code == 0
    assert "its tools count, not --tools" in ended.err
    assert "trip  DONE" in ended.out


async def test_what_the_leader_refuses_is_refused_as_if_here(desk: Desk) -> None:
    async with Engine.open(desk.store, tools=load_tools(desk.tools)):
        path = desk.plan("a", name="odd", tool="tkae")
        there = await typed_beside(desk, "run", path, "--json", has_tools=False)
        await typed_beside(desk, "run", desk.plan("a"))
        other = await typed_beside(desk, "run", desk.plan("b"), "--json", has_tools=False)
    here = await typed_beside(desk, "run", path, "--json")

    assert (there.code, other.code) == (2, 2)
    assert there.json == here.json
    assert there.json["problems"][0]["code"] == "unknown-tool"
    assert other.json["error"]["code"] == "saga-exists"


async def test_the_place_of_a_leader_that_leaves_is_taken(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elsewhere, "TAKE_OVER_S", 0.0)
    monkeypatch.setattr(elsewhere, "ROSTER_LOOK_S", 0.0)
    async with open_store(desk.store) as store:
        running = asyncio.create_task(typed_beside(desk, "run", desk.plan("a"), "--json"))
        async with asyncio.timeout(15):
            while not await store.pending_commands():  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0.005)
    ended = await running

    assert ended.code == 0
    assert ended.json["state"] == "DONE"


def test_a_saga_that_rests_is_shown_though_another_process_writes(desk: Desk) -> None:
    desk.run("a")
    path = desk.plan("a")

    async def hold_and_run() -> int:
        async with open_store(desk.store):
            return await asyncio.to_thread(
                lambda: desk.on_store("run", path, "--json", has_tools=True).code
            )

    assert asyncio.run(hold_and_run()) == 0


def test_what_a_tool_prints_stays_out_of_the_json(desk: Desk) -> None:
    talkative = "from fsm_saga import tool\n\n\n@tool(read_only=True)\ndef talk() -> int:\n"
    talkative += "    print('blah')\n    return 1\n"
    tools = desk.write("talkative.py", talkative)
    plan = desk.write("talk.json", {"task_id": "t", "steps": [{"step_id": 1, "tool": "talk"}]})
    ended = desk.on_store("run", plan, "--tools", tools, "--json")

    assert json.loads(ended.out)["state"] == "DONE"
    assert ended.err == "blah\n"
