"""Plans that are handed over: checked, durable, and run by whoever comes."""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from fsm_saga.cli import elsewhere, handing
from fsm_saga.cli import submit as module
from fsm_saga.coordinator.clock import SystemClock
from fsm_saga.core.records import ActionStarted
from fsm_saga.errors import StoreLockedError, StoreUnavailableError
from fsm_saga.plan.model import Plan
from fsm_saga.service.engine import Engine
from fsm_saga.service.preparing import Preparer
from fsm_saga.service.submitting import deposit
from fsm_saga.stores.opening import open_store
from fsm_saga.tools.loading import load_tools
from fsm_saga.tools.registry import Registry
from tests.unit.cli.desk import Desk, Ended


async def typed_beside(desk: Desk, *words: str, has_tools: bool = False) -> Ended:
    return await asyncio.to_thread(lambda: desk.on_store(*words, has_tools=has_tools))


def test_a_plan_is_stored_and_nothing_is_called_until_somebody_resumes(desk: Desk) -> None:
    submitted = desk.on_store("submit", desk.plan("a", "b"), has_tools=True)
    before = desk.show()
    resumed = desk.on_store("resume", "--json", has_tools=True)

    assert (submitted.code, submitted.err) == (0, "")
    assert submitted.out.startswith("trip  submitted\nNobody runs it yet: `fsm-saga resume")
    assert [step["status"] for step in before["steps"]] == ["WAITING", "WAITING"]
    assert [head["state"] for head in resumed.json["resumed"]] == ["DONE"]
    assert [step["attempts"] for step in desk.show()["steps"]] == [1, 1]


def test_a_deposited_saga_that_fails_or_waits_goes_as_any_other(desk: Desk) -> None:
    desk.on_store("submit", desk.plan("a", "nothing"), has_tools=True)
    desk.on_store("submit", desk.plan("a", name="asks", approval=True), has_tools=True)
    assert desk.on_store("resume", has_tools=True).code == 3

    assert desk.show()["state"] == "FAILED"
    assert desk.show("asks")["steps"][0]["status"] == "AWAITING_APPROVAL"


def test_json_says_what_became_of_each_plan(desk: Desk) -> None:
    paths = [desk.plan("a", name=name) for name in ("one", "two")]
    first = desk.on_store("submit", *paths, "--json", has_tools=True)
    again = desk.on_store("submit", *paths, desk.plan("c"), "--json", has_tools=True)

    assert first.code == again.code == 0
    assert first.json == {
        "submitted": [
            {"plan": paths[0], "saga_id": "one", "is_new": True},
            {"plan": paths[1], "saga_id": "two", "is_new": True},
        ],
        "refused": [],
        "unknown": [],
        "held_back": [],
        "is_run": False,
    }
    assert [each["is_new"] for each in again.json["submitted"]] == [False, False, True]


def test_the_same_plan_again_is_told_to_be_there(desk: Desk) -> None:
    desk.run("a")
    again = desk.on_store("submit", desk.plan("a"), has_tools=True)

    assert again.code == 0
    assert "trip  was there already" in again.out
    assert desk.show()["state"] == "DONE"


def test_another_plan_under_the_same_name_is_refused(desk: Desk) -> None:
    desk.run("a")
    text = desk.on_store("submit", desk.plan("b"), has_tools=True)
    as_json = desk.on_store("submit", desk.plan("b"), "--json", has_tools=True)
    many = desk.on_store("submit", desk.plan("b"), desk.plan("c", name="c"), has_tools=True)

    assert (text.code, as_json.code, many.code) == (2, 2, 2)
    assert as_json.json["error"]["code"] == "saga-exists"
    assert "c  submitted" in many.out
    assert "trip.json:\nError: The task_id 'trip' belongs" in many.err


def test_one_plan_that_is_refused_holds_the_others_back(desk: Desk) -> None:
    good, bad = desk.plan("a", name="good"), desk.plan("a", name="bad", tool="tkae")
    alone = desk.on_store("submit", bad, "--json", has_tools=True)
    text = desk.on_store("submit", good, bad, has_tools=True)
    as_json = desk.on_store("submit", good, bad, "--json", has_tools=True)

    assert (alone.code, text.code, as_json.code) == (2, 2, 2)
    assert alone.json["problems"][0]["code"] == "unknown-tool"
    assert text.out == ""
    assert "Nothing was submitted" in text.err
    assert as_json.json["held_back"] == [{"plan": good, "saga_id": "good"}]
    assert as_json.json["refused"][0]["problems"][0]["code"] == "unknown-tool"
    assert as_json.json["submitted"] == []
    assert not (desk.folder / "sagas.db").exists()


def test_without_tools_and_without_a_leader_it_is_told_what_to_do(desk: Desk) -> None:
    ended = desk.on_store("submit", desk.plan("a"))

    assert ended.code == 2
    assert "--tools MODULE_OR_FILE" in ended.err
    assert "fsm-saga serve" in ended.err
    assert not (desk.folder / "sagas.db").exists()


def test_who_serves_may_be_away_for_a_moment(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    async def is_led(_url: str) -> bool:
        nonlocal looks
        looks += 1
        return False

    desk.run("b", name="other")
    monkeypatch.setattr(module, "is_led", is_led)
    monkeypatch.setattr(module, "LOOK_S", 0.001)
    monkeypatch.setattr(module, "UNLED_S", 0.01)

    assert desk.on_store("submit", desk.plan("a")).code == 2
    assert looks > 1


def test_memory_is_no_place_to_leave_a_plan(desk: Desk) -> None:
    ended = desk.type("submit", desk.plan("a"), "--store", "memory://", "--tools", desk.tools)
    assert ended.code == 2
    assert "ends with this process" in ended.err


def test_the_plan_may_come_from_stdin(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    body = Path(desk.plan("a")).read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(body)))

    ended = desk.on_store("submit", "-", "--json", has_tools=True)
    assert ended.json["submitted"] == [{"plan": "-", "saga_id": "trip", "is_new": True}]


async def test_who_leads_the_store_checks_and_runs_it(desk: Desk) -> None:
    paths = [desk.plan("a", name="one"), desk.plan("a", name="odd", tool="tkae")]
    async with Engine.open(desk.store, tools=load_tools(desk.tools)) as engine:
        both = await typed_beside(desk, "submit", *paths, "--json")
        text = await typed_beside(desk, "submit", paths[0])
        alone = await typed_beside(desk, "submit", paths[1], "--json")
        other = await typed_beside(desk, "submit", desk.plan("b", name="one"), "--json")
        view = await engine.wait("one")

    assert (both.code, text.code, alone.code, other.code) == (2, 0, 2, 2)
    assert both.json["is_run"] is True
    assert both.json["submitted"] == [{"plan": paths[0], "saga_id": "one", "is_new": True}]
    assert both.json["refused"][0]["problems"][0]["code"] == "unknown-tool"
    assert text.out == "one  was there already, of the same plan\n"
    assert alone.json["problems"][0]["code"] == "unknown-tool"
    assert other.json["error"]["code"] == "saga-exists"
    assert str(view.saga.state) == "DONE"


async def test_a_leader_that_does_not_answer_is_told_with_exit_code_75(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handing, "GIVE_UP_S", 0.05)
    async with open_store(desk.store) as store:
        paths = [desk.plan("a"), desk.plan("b", name="b")]
        ended = await typed_beside(desk, "submit", *paths, "--json")
        pending = [command.kind for command in await store.pending_commands()]

    assert ended.code == 75
    assert pending == ["submit", "submit"]
    assert [each["error"]["code"] for each in ended.json["unknown"]] == ["not-answered"] * 2


async def test_a_store_that_fails_says_so_and_that_the_same_again_is_safe(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_arguments: object) -> bool:
        raise StoreUnavailableError("The disk is full.")

    monkeypatch.setattr(handing, "deposit", fail)
    ended = await typed_beside(desk, "submit", desk.plan("a"), "--json", has_tools=True)

    assert ended.code == 75
    assert "does nothing twice" in ended.json["error"]["message"]


async def test_a_store_that_fails_while_an_answer_is_waited_for_is_told(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handing, "GIVE_UP_S", 0.0)

    async def fail(*_arguments: object) -> bool:
        raise StoreUnavailableError("The disk is full.")

    monkeypatch.setattr(handing._Waiting, "_look", fail)
    async with open_store(desk.store):
        ended = await typed_beside(desk, "submit", desk.plan("a"), "--json")

    assert (ended.code, ended.json["error"]["code"]) == (75, "store-unavailable")


async def test_a_store_that_others_take_and_leave_is_given_up_at_last(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_url: str) -> NoReturn:
        raise StoreLockedError("another leads")

    monkeypatch.setattr(module, "open_store", refuse)
    monkeypatch.setattr(module, "LOOK_S", 0.0)
    ended = await typed_beside(desk, "submit", desk.plan("a"), "--json", has_tools=True)

    assert (ended.code, ended.json["error"]["code"]) == (75, "store-locked")


async def test_a_deposit_holds_no_call_for_a_call_would_count_as_sent(desk: Desk) -> None:
    registry = Registry(load_tools(desk.tools))
    step = {"step_id": 1, "tool": "take", "params": {"what": "a"}}
    plan = Plan.of({"task_id": "trip", "steps": [step]})
    async with open_store(desk.store) as store:
        prepared = Preparer(registry.catalogue, None).prepare(plan)
        is_new = [await deposit(store, SystemClock(), prepared) for _ in range(2)]
        journal = await store.load("trip")

    assert is_new == [True, False]
    assert journal is not None
    assert not any(isinstance(record, ActionStarted) for record in journal)


async def test_a_store_on_a_server_that_is_not_there_is_led_by_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(_url: str, **_options: object) -> NoReturn:
        raise StoreUnavailableError("no", is_missing=True)

    monkeypatch.setattr(elsewhere, "open_cluster", missing)
    assert await elsewhere.is_led("etcd://127.0.0.1/lonely") is False
