from __future__ import annotations

import asyncio
import io
import json
import sys
from pathlib import Path

import pytest

from fsm_saga.stores.opening import open_store
from tests.unit.cli.desk import Desk, statuses


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


def test_a_store_that_another_process_writes_is_refused(desk: Desk) -> None:
    path = desk.plan("a")

    async def hold_and_run() -> int:
        async with open_store(desk.store):
            return await asyncio.to_thread(
                lambda: desk.on_store("run", path, "--json", has_tools=True).code
            )

    assert asyncio.run(hold_and_run()) == 2


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
