"""list, show, history and schema: what is printed of what the store holds."""

from __future__ import annotations

import json

import pytest

from tests.unit.cli.desk import Desk

HOSTILE_GOAL = "\u2764 go [bold]there[/bold]\nDONE  forged"


def test_a_store_that_is_not_there_has_no_sagas_and_is_not_made(desk: Desk) -> None:
    text = desk.on_store("list")
    as_json = desk.on_store("list", "--json")

    assert (text.code, text.out) == (0, "")
    assert "nothing was ever run in it" in text.err
    assert (as_json.code, as_json.json, as_json.err) == (0, [], "")
    assert not (desk.folder / "sagas.db").exists()


def test_sagas_are_listed_newest_first_with_what_they_wait_for(desk: Desk) -> None:
    desk.run("a", name="first")
    desk.run("glue", "nothing", name="second")
    desk.run("a", name="third", approval=True)
    lines = desk.on_store("list").out.splitlines()

    assert [line.split()[0] for line in lines] == ["EXECUTING(1)", "NEEDS_HUMAN", "DONE"]
    assert "waits for approval" in lines[0]
    assert "needs a person" in lines[1]
    assert "committed" in lines[2]
    unfinished = desk.on_store("list", "--unfinished", "--json").json
    assert [head["saga_id"] for head in unfinished] == ["third", "second"]


def test_the_heads_of_list_say_what_show_says(desk: Desk) -> None:
    desk.run("a")
    head = desk.on_store("list", "--json").json[0]
    shown = desk.show()

    assert "steps" not in head
    assert {name: shown[name] for name in head} == head


def test_a_step_without_a_name_is_shown_by_its_tool_once(desk: Desk) -> None:
    rollback = {"rollback": {"tool": "give_back", "params": {"id": "1"}}}
    steps = [
        {"step_id": 1, "tool": "take", "params": {"what": "a"}} | rollback,
        {"step_id": 2, "name": "b", "tool": "take", "params": {"what": "b"}} | rollback,
    ]
    plan = desk.write("plan.json", {"task_id": "trip", "steps": steps})
    assert desk.on_store("run", plan, has_tools=True).code == 0
    lines = [line for line in desk.on_store("show", "trip").out.splitlines() if "SUCC" in line]

    assert [line.split()[2:] for line in lines] == [
        ["1", "take", "1", "attempt"],
        ["2", "b", "take", "1", "attempt"],
    ]


def test_what_a_planner_wrote_is_text_on_the_terminal(desk: Desk) -> None:
    step = {"step_id": 1, "name": "[red]x[/red]", "tool": "take", "params": {"what": "nothing"}}
    rollback = {"rollback": {"tool": "give_back", "params": {"id": "1"}}}
    plan = {"task_id": "t [b]", "goal": HOSTILE_GOAL, "steps": [step | rollback]}
    desk.on_store("run", desk.write("t.json", plan), has_tools=True)

    for words in (("list",), ("show", "t [b]"), ("history", "t [b]")):
        said = desk.on_store(*words).out
        assert "DONE  forged" not in said.splitlines()
        assert "\x1b" not in said
    assert "[red]x[/red]" in desk.on_store("show", "t [b]").out
    assert "[bold]there[/bold]" in desk.on_store("list").out


def test_show_tells_outputs_errors_and_undos(desk: Desk) -> None:
    desk.run("a", "nothing")
    said = desk.on_store("show", "trip").out

    assert 'output  {"id": "id-a"}' in said
    assert "error   ValueError: there is nothing to take" in said
    assert "undo    give_back, 1 attempt" in said


def test_show_tells_how_it_was_at_a_position(desk: Desk) -> None:
    desk.run("a", "nothing")
    early = desk.on_store("show", "trip", "--at", "3", "--json").json

    assert (early["state"], early["position"]) == ("EXECUTING(1)", 3)
    for position in ("0", "-1", "999"):
        refused = desk.on_store("show", "trip", "--at", position)
        assert refused.code == 2
        assert "no position" in refused.err


def test_the_history_numbers_every_record_and_has_it_all_as_json(desk: Desk) -> None:
    desk.run("a", "nothing")
    lines = desk.on_store("history", "trip").out.splitlines()
    records = desk.on_store("history", "trip", "--json").json

    assert len(lines) == len(records) == desk.show()["position"]
    assert [record["position"] for record in records] == list(range(len(records)))
    assert records[0]["type"] == "SagaSubmitted"
    assert records[0]["record"]["plan"]["task_id"] == "trip"
    for line, record in zip(lines, records, strict=True):
        assert line.endswith(record["text"])


@pytest.mark.parametrize("command", ["show", "history", "watch"])
def test_an_unknown_saga_ends_with_exit_code_2(desk: Desk, command: str) -> None:
    without_store = desk.on_store(command, "nobody", "--json")
    desk.run("a")
    without_saga = desk.on_store(command, "nobody", "--json")

    assert (without_store.code, without_saga.code) == (2, 2)
    assert without_store.json["error"]["code"] == "store-error"
    assert without_saga.json["error"]["code"] == "unknown-saga"


def test_the_schema_is_json_schema(desk: Desk) -> None:
    for words in (("schema",), ("schema", "--json", "--kind", "plan")):
        schema = json.loads(desk.type(*words).out)
        assert schema["$schema"].startswith("https://json-schema.org/")
        assert {"task_id", "steps"} <= schema["properties"].keys()
