"""Cancel, approve, reject, resolve and amend, with nobody else at the store and beside a writer."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from fsm_saga.cli import deciding
from fsm_saga.service.engine import Engine
from fsm_saga.stores.opening import open_store
from fsm_saga.tools.loading import load_tools
from tests.unit.cli.desk import Desk, Ended, statuses

BY = ("--by", "Ann")


@pytest.fixture
def waiting(desk: Desk) -> Desk:
    """A desk at which the saga `trip` waits for the approval of its second step."""
    plan = json.loads(Path(desk.plan("a", "b")).read_text())
    plan["steps"][1]["approval"] = True
    assert desk.on_store("run", desk.write("trip.json", plan), has_tools=True).code == 3
    return desk


@pytest.fixture
def stuck(desk: Desk) -> Desk:
    """A desk at which the saga `trip` needs a person for the undo of its first step."""
    assert desk.run("glue", "nothing").code == 3
    return desk


def decide(desk: Desk, command: str, *words: str, has_tools: bool = True) -> Ended:
    return desk.on_store(command, "trip", *words, has_tools=has_tools)


# --- nobody else is at the store -----------------------------------------------------------------


def test_an_approved_step_runs_and_the_saga_is_driven_to_its_end(waiting: Desk) -> None:
    ended = decide(waiting, "approve", "--step", "2", *BY, "--note", "fine", "--json")

    assert ended.code == 0
    assert ended.err == ""
    assert (ended.json["state"], ended.json["decision"]) == ("DONE", "carried out")
    assert "approved by Ann: fine" in waiting.on_store("history", "trip").out


def test_an_approval_for_other_parameters_is_refused(waiting: Desk) -> None:
    digest = waiting.show()["steps"][1]["approval"]["digest"]
    wrong = decide(waiting, "approve", "--step", "2", *BY, "--digest", "0" * 64)
    right = decide(waiting, "approve", "--step", "2", *BY, "--digest", digest)

    assert (wrong.code, right.code) == (2, 0)
    assert "other parameters" in wrong.err


def test_a_rejected_step_turns_the_saga_round(waiting: Desk) -> None:
    ended = decide(waiting, "reject", "--step", "2", *BY)

    assert ended.code == 0
    assert "trip  FAILED  compensated" in ended.out
    assert statuses(waiting.show()) == ["COMPENSATED", "REJECTED"]


def test_cancel_undoes_what_was_done(waiting: Desk) -> None:
    ended = decide(waiting, "cancel", *BY, "--note", "changed my mind")

    assert ended.code == 0
    assert "trip  FAILED  compensated" in ended.out
    assert "cancelled by Ann: changed my mind" in waiting.on_store("history", "trip").out


def test_without_tools_a_decision_waits_in_the_store_until_resume(waiting: Desk) -> None:
    left = decide(waiting, "approve", "--step", "2", *BY, "--json", has_tools=False)

    assert left.code == 0
    assert (left.json["state"], left.json["decision"]) == ("EXECUTING(2)", "left in the store")
    assert "fsm-saga resume --tools MODULE_OR_FILE" in left.json["message"]
    assert waiting.on_store("resume", has_tools=True).code == 0
    assert waiting.show()["state"] == "DONE"


def test_without_tools_a_decision_that_calls_for_none_is_recorded(stuck: Desk) -> None:
    words = ("--step", "1", "--settled", *BY, "--note", "gone")
    ended = decide(stuck, "resolve", *words, "--json", has_tools=False)

    assert ended.code == 0
    assert (ended.json["state"], ended.json["outcome"]) == ("FAILED", "partly_compensated")


def test_a_decision_that_is_recorded_without_tools_says_how_to_go_on(desk: Desk) -> None:
    plan = json.loads(Path(desk.plan("a", "b")).read_text())
    for step in plan["steps"]:
        step |= {"approval": True, "depends_on": []}
    desk.on_store("run", desk.write("trip.json", plan), has_tools=True)
    ended = desk.on_store("reject", "trip", "--step", "1", *BY)

    assert ended.code == 0
    assert "trip  FAILED  nothing_happened" in ended.out


def test_who_decided_first_comes_first(waiting: Desk) -> None:
    decide(waiting, "approve", "--step", "2", *BY, has_tools=False)
    late = decide(waiting, "reject", "--step", "2", *BY, "--json")

    assert late.code == 2
    assert late.json["error"]["code"] == "event-refused"
    assert waiting.show()["steps"][1]["approval"]["approved_by"] == "Ann"


def test_a_person_settles_retries_or_makes_good(stuck: Desk) -> None:
    again = decide(stuck, "resolve", "--step", "1", "--retry", *BY, "--note", "maybe now")
    assert again.code == 0
    assert "NEEDS_HUMAN" in again.out, "accepted, though it did not help"

    calls = stuck.write("calls.json", [{"tool": "give_back", "params": {"id": "id-other"}}])
    ended = decide(stuck, "resolve", "--step", "1", "--calls", calls, *BY, "--note", "so", "--json")
    assert ended.code == 0
    assert (ended.json["state"], ended.json["outcome"]) == ("FAILED", "amended")


def test_a_person_supplies_an_output(desk: Desk) -> None:
    assert desk.run("doubt").code == 3
    words = ("--step", "1", "--output", '{"id": "id-found"}', *BY, "--note", "asked them")
    ended = decide(desk, "resolve", *words, "--json")

    assert ended.code == 0
    assert ended.json["state"] in {"DONE", "FAILED"}
    assert ended.json["steps"][0]["settled_by"] == "Ann"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--step", "1", "--output", "{", *BY, "--note", "n"), "not JSON"),
        (("--step", "1", "--output", "NaN", *BY, "--note", "n"), "not JSON"),
        (("--step", "1", "--output", f'"{"x" * 300_000}"', *BY, "--note", "n"), "longer than"),
        (("--step", "1", "--calls", "missing.json", *BY, "--note", "n"), "No such file"),
        (("--step", "1", "--settled", "--retry", *BY, "--note", "n"), "exactly one"),
        (("--step", "1", *BY, "--note", "n"), "exactly one"),
        (("--step", "7", "--settled", *BY, "--note", "n"), "its steps are '1', '2'"),
        (("--step", "2", "--settled", *BY, "--note", "n"), "accepts nothing"),
        (("--step", "1", "--settled", "--by", " ", "--note", "n"), "carries a name"),
        (("--step", "1", "--settled", *BY, "--note", "n", "--position", "2"), "has changed"),
    ],
)
def test_an_answer_that_cannot_be_taken_is_refused_and_changes_nothing(
    stuck: Desk, words: tuple[str, ...], reason: str
) -> None:
    before = stuck.show()
    ended = decide(stuck, "resolve", *words)

    assert ended.code == 2
    assert reason in ended.err
    assert stuck.show() == before


def test_calls_that_are_refused_list_their_problems(stuck: Desk) -> None:
    calls = stuck.write("calls.json", [{"tool": "gvie_back", "params": {}}])
    words = ("--step", "1", "--calls", calls, *BY, "--note", "n", "--json")
    ended = decide(stuck, "resolve", *words)

    assert ended.code == 2
    assert [p["pointer"] for p in ended.json["problems"]] == ["/calls/0/tool"]


def test_a_saga_that_has_ended_takes_no_decision(desk: Desk) -> None:
    desk.run("a")
    for words in (("cancel",), ("approve", "--step", "1", *BY)):
        ended = decide(desk, *words)
        assert ended.code == 2
        assert "event-refused" in ended.err
    assert desk.show()["state"] == "DONE"


@pytest.mark.parametrize("has_tools", [True, False])
def test_a_cancellation_that_changes_nothing_says_so_and_writes_nothing(
    stuck: Desk, has_tools: bool
) -> None:
    before = stuck.show()
    text = decide(stuck, "cancel", *BY, has_tools=has_tools)
    as_json = decide(stuck, "cancel", *BY, "--json", has_tools=has_tools)

    assert (text.code, as_json.code) == (0, 0)
    said = (
        "Nothing was changed: the saga is already going back, and waits for what a person is asked."
    )
    assert said in text.out
    assert as_json.json["message"] == said
    assert stuck.show() == before


async def test_a_running_process_says_that_a_cancellation_changes_nothing(stuck: Desk) -> None:
    ended, saga = await beside_a_writer(stuck, "cancel", *BY, "--json")

    assert ended.code == 0
    assert ended.json["message"].startswith("Nothing was changed: the saga is already going back")
    assert saga.state == "NEEDS_HUMAN"


def test_an_unknown_saga_makes_no_store(desk: Desk) -> None:
    ended = decide(desk, "cancel", "--json")

    assert ended.code == 2
    assert ended.json["error"]["code"] == "store-error"
    assert not (desk.folder / "sagas.db").exists()
    desk.run("a", name="other")
    assert decide(desk, "cancel", "--json").json["error"]["code"] == "unknown-saga"


def test_amend_appends_steps(waiting: Desk) -> None:
    step = json.loads(Path(waiting.plan("c")).read_text())["steps"][0]
    rollback = {"tool": "give_back", "params": {"id": "$output.step_3.id"}}
    more = waiting.write("more.json", [step | {"step_id": 3, "rollback": rollback}])
    ended = decide(waiting, "amend", more, "--json")

    assert ended.code == 0
    assert [s["step_id"] for s in ended.json["steps"]] == [1, 2, 3]
    assert decide(waiting, "approve", "--step", "2", *BY).code == 0
    assert waiting.show()["state"] == "DONE"


@pytest.mark.parametrize("text", ["", "{", "[]", '[{"step_id": 1, "tool": "take"}]', "\\"])
def test_steps_that_are_refused_change_nothing(waiting: Desk, text: str) -> None:
    before = waiting.show()
    ended = decide(waiting, "amend", waiting.write("more.json", text), "--json")

    assert ended.code == 2
    assert [p["code"] for p in ended.json["problems"]] == ["no-steps"] or text != "[]"
    assert waiting.show()["steps"] == before["steps"]


# --- another process is the writer ---------------------------------------------------------------


async def beside_a_writer(desk: Desk, *words: str, drives: bool = True) -> tuple[Ended, Any]:
    """Type a command while somebody else writes the store, and drives its sagas or does not."""
    if not drives:
        async with open_store(desk.store):
            return await asyncio.to_thread(decide, desk, *words), None
    tools = load_tools(desk.tools)
    async with Engine.open(desk.store, tools=tools) as engine:
        ended = await asyncio.to_thread(decide, desk, *words)
        return ended, await engine.wait("trip")


async def test_a_decision_reaches_the_process_that_runs_the_saga(waiting: Desk) -> None:
    ended, saga = await beside_a_writer(waiting, "approve", "--step", "2", *BY, "--json")

    assert ended.code == 0
    assert ended.json["decision"] == "carried out"
    assert saga.state == "DONE"


async def test_what_the_saga_refuses_is_refused_without_asking_its_process(waiting: Desk) -> None:
    ended, saga = await beside_a_writer(waiting, "approve", "--step", "1", *BY, "--json")

    assert ended.code == 2
    assert ended.json["error"]["code"] == "event-refused"
    assert saga.state == "EXECUTING(2)"


async def test_what_the_process_that_runs_the_saga_refuses_is_refused(stuck: Desk) -> None:
    calls = stuck.write("calls.json", [{"tool": "gvie_back", "params": {}}])
    words = ("resolve", "--step", "1", "--calls", calls, *BY, "--note", "n", "--json")
    ended, saga = await beside_a_writer(stuck, *words)

    assert ended.code == 2
    # The same document as if it had been refused here.
    (problem,) = ended.json["problems"]
    assert (problem["code"], problem["pointer"]) == ("unknown-tool", "/calls/0/tool")
    assert "gvie_back" in problem["message"]
    assert "give_back" in problem["hint"]
    assert saga.state == "NEEDS_HUMAN"


async def test_steps_that_the_process_refuses_are_refused_as_they_are_here(waiting: Desk) -> None:
    more = waiting.write("more.json", [{"step_id": 3, "tool": "tkae", "depends_on": [9]}])
    here = await asyncio.to_thread(decide, waiting, "amend", more, "--json")
    there, saga = await beside_a_writer(waiting, "amend", more, "--json")
    as_text, _ = await beside_a_writer(waiting, "amend", more)

    assert (here.code, there.code, as_text.code) == (2, 2, 2)
    assert there.json == here.json
    assert len(here.json["problems"]) >= 2
    assert "Nothing was started" in as_text.err
    assert saga.state == "EXECUTING(2)"
    assert len(saga.steps) == 2


def test_a_decision_that_waits_and_one_that_was_refused_later_are_shown(
    waiting: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "ANSWER_PATIENCE_S", 0.0)
    monkeypatch.setattr(deciding, "LOCK_POLL_S", 0.0)
    words = ("approve", "--step", "2", *BY, "--note", "fine")
    for _ in range(2):
        left, _ = asyncio.run(beside_a_writer(waiting, *words, drives=False))
        assert left.code == 0
        assert "is not answered yet" in left.out
        assert "fsm-saga show trip" in left.out
    found = waiting.show()["decisions"]
    assert [each["status"] for each in found] == ["waiting", "waiting"]
    assert (found[0]["kind"], found[0]["step_id"], found[0]["by"]) == ("approve", "2", "Ann")
    text = waiting.on_store("show", "trip").out
    assert text.count("waiting   approve of step 2 by Ann: it was left for the process") == 2

    # The first is carried out, and the second comes too late.
    assert waiting.on_store("resume", has_tools=True).code == 0
    (refused,) = waiting.show()["decisions"]
    assert (refused["status"], refused["code"]) == ("refused", "event-refused")
    assert "does not wait for approval" in refused["message"]
    assert "refused   approve of step 2 by Ann: Saga 'trip'" in waiting.on_store("show", "trip").out
    assert waiting.on_store("show", "trip", "--at", "3", "--json").json["decisions"] == []


async def test_a_writer_that_does_not_answer_leaves_the_decision_in_the_store(
    waiting: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "ANSWER_PATIENCE_S", 0.0)
    monkeypatch.setattr(deciding, "LOCK_POLL_S", 0.0)
    words = ("approve", "--step", "2", *BY, "--json")
    ended, _ = await beside_a_writer(waiting, *words, drives=False)

    assert ended.code == 0
    assert ended.json["decision"] == "left in the store"
    assert "not answered yet: it may still be refused" in ended.json["message"]


async def test_if_the_writer_goes_its_place_is_taken_and_the_decision_carried_out(
    waiting: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "LOCK_POLL_S", 0.01)
    async with open_store(waiting.store) as store:
        typing = asyncio.create_task(
            asyncio.to_thread(decide, waiting, "approve", "--step", "2", *BY, "--json")
        )
        while not await store.pending_commands():  # noqa: ASYNC110  # a thread posts it
            await asyncio.sleep(0.005)
    ended = await typing

    assert ended.code == 0
    assert (ended.json["state"], ended.json["decision"]) == ("DONE", "carried out")
