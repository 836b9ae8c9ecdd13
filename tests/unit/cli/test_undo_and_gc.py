from __future__ import annotations

import pytest

from tests.unit.cli.desk import Desk, statuses


def test_a_dry_run_says_what_would_be_undone_and_needs_no_tools(desk: Desk) -> None:
    desk.run("a", "b")
    text = desk.on_store("undo", "trip", "--dry-run")
    as_json = desk.on_store("undo", "trip", "--dry-run", "--json")

    assert (text.code, as_json.code) == (0, 0)
    assert [line.split()[2] for line in text.out.splitlines()] == ["2", "1"]
    assert as_json.json["can_be_undone"] is True
    assert [step["step_id"] for step in as_json.json["steps"]] == [2, 1]
    assert as_json.json["steps"][0]["params"] == {"id": "id-b"}
    assert len(desk.on_store("list", "--json").json) == 1


def test_a_finished_saga_is_taken_back_by_a_saga_of_its_own(desk: Desk) -> None:
    desk.run("a", "b")
    ended = desk.on_store("undo", "trip", "--json", has_tools=True)

    assert ended.code == 0
    assert (ended.json["saga_id"], ended.json["undo_of"]) == ("trip.undo", "trip")
    assert statuses(ended.json) == ["SUCCEEDED", "SUCCEEDED"]
    again = desk.on_store("undo", "trip", has_tools=True)
    assert again.code == 0
    assert "trip.undo  DONE" in again.out


def test_what_cannot_be_undone_is_said_before_anything_is(desk: Desk) -> None:
    step = {"step_id": 3, "tool": "take", "params": {"what": "c"}, "kind": "pivot"}
    desk.run("a")
    plan = {"task_id": "pivot", "steps": [step]}
    desk.on_store("run", desk.write("p.json", plan), has_tools=True)
    dry = desk.on_store("undo", "pivot", "--dry-run")
    refused = desk.on_store("undo", "pivot", has_tools=True)
    partial = desk.on_store("undo", "pivot", "--partial", has_tools=True)

    assert (dry.code, refused.code, partial.code) == (0, 2, 2)
    assert "cannot be undone  3" in dry.out
    assert "cannot be undone as a whole" in refused.err
    assert "nothing that could be undone" in partial.err


def test_only_a_saga_that_is_done_is_undone(desk: Desk) -> None:
    desk.run("nothing")
    for words in (("undo", "trip"), ("undo", "trip", "--dry-run")):
        ended = desk.on_store(*words, has_tools=True)
        assert ended.code == 2
        assert "only a saga that is DONE" in ended.err


def test_without_its_tools_an_undo_is_refused(desk: Desk) -> None:
    desk.run("a")
    ended = desk.on_store("undo", "trip", "--json")

    assert ended.code == 2
    assert [p["code"] for p in ended.json["problems"]] == ["unknown-tool"]


def test_a_saga_that_left_nothing_has_nothing_to_undo(desk: Desk) -> None:
    tools = desk.write(
        "look.py",
        "from fsm_saga import tool\n\n\n@tool(read_only=True)\ndef look() -> int:\n    return 1\n",
    )
    plan = desk.write("look.json", {"task_id": "l", "steps": [{"step_id": 1, "tool": "look"}]})
    desk.on_store("run", plan, "--tools", tools)

    assert "nothing that could be undone" in desk.on_store("undo", "l", "--dry-run").out


def test_old_sagas_that_ended_are_removed_and_no_others(desk: Desk) -> None:
    desk.run("a", name="done")
    desk.run("nothing", name="failed")
    desk.run("a", name="waits", approval=True)
    young = desk.on_store("gc", "--older-than", "1h", "--json")
    dry = desk.on_store("gc", "--older-than", "0s", "--dry-run", "--json")
    assert (young.json, young.code) == ({"removed": [], "dry_run": False}, 0)
    assert dry.json == {"removed": ["failed", "done"], "dry_run": True}
    assert len(desk.on_store("list", "--json").json) == 3
    ended = desk.on_store("gc", "--older-than", "0s")

    assert ended.code == 0
    assert "2 sagas removed." in ended.out
    assert [head["saga_id"] for head in desk.on_store("list", "--json").json] == ["waits"]


@pytest.mark.parametrize("age", ["", "30", "d", "-1d", "1.5h", "30 days", "99999999999d"])
def test_an_age_has_a_number_and_a_unit(desk: Desk, age: str) -> None:
    desk.run("a")

    assert desk.on_store("gc", "--older-than", age).code == 2
    assert desk.on_store("show", "trip").code == 0


def test_the_store_is_not_made_to_be_cleaned(desk: Desk) -> None:
    assert desk.on_store("gc", "--older-than", "8w").out == "0 sagas removed.\n"
    assert not (desk.folder / "sagas.db").exists()
