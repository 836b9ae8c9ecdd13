from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from fsm_saga.cli.app import main
from fsm_saga.cli.driving import exit_code_of
from fsm_saga.coordinator import recovery
from fsm_saga.core.records import Record
from fsm_saga.errors import CorruptRecordError, StoreUnavailableError
from fsm_saga.plan.model import Plan
from fsm_saga.service.engine import Engine
from fsm_saga.service.view import SagaView
from fsm_saga.stores.sqlite import SqliteReadStore
from fsm_saga.tools import tool
from tests.unit.cli.desk import Desk


def leave_unfinished(desk: Desk, name: str, *things: str) -> None:
    """Begin a saga in a process that stops before its first call has ended."""

    @tool(name="take", undo="give_back")
    async def take(what: str) -> dict[str, str]:
        await asyncio.sleep(10)
        return {"id": what}

    @tool(name="give_back")
    async def give_back(id: str) -> None: ...

    plan = Plan.read(Path(desk.plan(*things, name=name)).read_bytes())

    async def begin() -> None:
        async with Engine.open(desk.store, tools=[take, give_back], recover=False) as engine:
            await engine.submit(plan)

    asyncio.run(begin())


def test_what_is_unfinished_is_finished(desk: Desk) -> None:
    leave_unfinished(desk, "one", "a")
    assert desk.show("one")["state"] == "EXECUTING(1)"
    ended = desk.on_store("resume", "--json", has_tools=True)

    assert (ended.code, ended.err) == (0, "")
    assert [head["saga_id"] for head in ended.json["resumed"]] == ["one"]
    assert ended.json["resumed"][0]["state"] == "DONE"
    assert "steps" not in ended.json["resumed"][0]
    assert ended.json["skipped"] == {}


def test_the_worst_end_makes_the_exit_code(desk: Desk) -> None:
    leave_unfinished(desk, "good", "a")
    leave_unfinished(desk, "bad", "a", "nothing")
    assert desk.on_store("resume", has_tools=True).code == 1
    leave_unfinished(desk, "fine", "a")
    leave_unfinished(desk, "ugly", "glue", "nothing")
    ended = desk.on_store("resume", has_tools=True)

    assert ended.code == 3
    assert "fine  DONE  committed" in ended.out
    assert "fsm-saga resolve ugly" in ended.out


def test_a_saga_whose_tools_are_not_given_is_named_and_left_alone(desk: Desk) -> None:
    leave_unfinished(desk, "one", "a")
    text = desk.on_store("resume")
    as_json = desk.on_store("resume", "--json")

    assert (text.code, as_json.code) == (3, 3)
    assert "one  was left alone: its tools are not given: give_back, take" in text.err
    assert as_json.json["resumed"] == []
    assert "take" in as_json.json["skipped"]["one"]


def test_a_damaged_saga_stops_no_other(desk: Desk) -> None:
    leave_unfinished(desk, "damaged", "a")
    leave_unfinished(desk, "sound", "a")
    with sqlite3.connect(desk.folder / "sagas.db") as store:
        store.execute(
            "UPDATE entries SET body = x'00' WHERE saga ="
            " (SELECT number FROM heads WHERE saga_id = 'damaged')"
        )
    store.close()
    ended = desk.on_store("resume", "--json", has_tools=True)

    assert ended.code == 3
    assert [head["saga_id"] for head in ended.json["resumed"]] == ["sound"]
    assert "damaged" in ended.json["skipped"]["damaged"]
    assert desk.on_store("show", "damaged").code == 2
    assert desk.on_store("list").code == 0


class Away:
    """Makes a store give no answer for some sagas, so many times each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *saga_ids: str, times: int = 1_000) -> None:
        self.left = dict.fromkeys(saga_ids, times)
        load = SqliteReadStore.load

        async def no_answer(store: SqliteReadStore, saga_id: str) -> tuple[Record, ...] | None:
            if self.left.get(saga_id):
                self.left[saga_id] -= 1
                raise StoreUnavailableError("The disk is away.")
            return await load(store, saga_id)

        monkeypatch.setattr(SqliteReadStore, "load", no_answer)
        monkeypatch.setattr(recovery, "DELAY_S_MIN", 0.001)


def test_a_saga_that_the_store_does_not_answer_for_is_waited_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_unfinished(desk, "one", "a")
    leave_unfinished(desk, "two", "a")
    away = Away(monkeypatch, "one", times=3)
    ended = desk.on_store("resume", has_tools=True)

    assert (ended.code, away.left["one"]) == (0, 0)
    assert "one  DONE  committed" in ended.out
    assert "two  DONE  committed" in ended.out
    assert ended.err == "The store did not answer for 1 saga; tried again for up to 60 s.\n"


def test_patience_with_a_store_that_gives_no_answer_has_an_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_unfinished(desk, "one", "a")
    leave_unfinished(desk, "two", "a", "nothing")
    Away(monkeypatch, "one")
    ended = desk.on_store("resume", "--patience", "0s", has_tools=True)

    # The worst is that of one saga nothing is known.
    assert ended.code == 75
    assert "two  FAILED  compensated" in ended.out
    assert "one  was left alone: the store did not answer for 0 s: The disk is away." in ended.err
    assert "Nothing that was acknowledged is lost" in ended.err
    assert f"`fsm-saga resume --tools {desk.tools}" in ended.err

    as_json = desk.on_store("resume", "--patience", "0s", "--json", has_tools=True)
    assert (as_json.code, as_json.json["resumed"]) == (75, [])
    assert "The disk is away" in as_json.json["skipped"]["one"]


def test_a_saga_whose_tools_turn_out_to_be_missing_is_left_alone_at_last(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_unfinished(desk, "one", "a")
    Away(monkeypatch, "one", times=2)
    ended = desk.on_store("resume")

    assert ended.code == 3
    assert "one  was left alone: its tools are not given: give_back, take" in ended.err


def test_a_saga_that_is_damaged_under_way_stops_no_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_unfinished(desk, "damaged", "a")
    leave_unfinished(desk, "sound", "a")
    wait = Engine.wait

    async def found_damaged(engine: Engine, saga_id: str) -> SagaView:
        if saga_id != "damaged":
            return await wait(engine, saga_id)
        error = CorruptRecordError("Its checksum is wrong.")
        engine.coordinator.recovery.failed(saga_id, error)
        raise error

    monkeypatch.setattr(Engine, "wait", found_damaged)
    ended = desk.on_store("resume", "--json", has_tools=True)

    assert ended.code == 3
    assert [head["saga_id"] for head in ended.json["resumed"]] == ["sound"]
    assert "Its checksum is wrong" in ended.json["skipped"]["damaged"]


def test_a_time_that_is_none_is_refused_before_anything(desk: Desk) -> None:
    ended = desk.on_store("resume", "--patience", "nan")
    assert ended.code == 2
    assert "'nan' is no age" in ended.err


def test_where_nothing_is_unfinished_nothing_happens(desk: Desk) -> None:
    before = desk.on_store("resume", "--json")
    assert (before.code, before.json) == (0, {"resumed": [], "skipped": {}})
    assert not (desk.folder / "sagas.db").exists()
    desk.run("a")
    after = desk.on_store("resume")

    assert (after.code, after.out) == (0, "Nothing is unfinished.\n")


def test_a_saga_that_waits_for_approval_is_asked_about_again(desk: Desk) -> None:
    desk.run("a", approval=True)
    ended = desk.on_store("resume", has_tools=True)

    assert ended.code == 3
    assert "fsm-saga approve trip --step 1" in ended.out


def test_an_open_saga_rests_until_its_program_goes_on(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    @tool(read_only=True)
    async def look() -> int:
        return 1

    async def leave_open() -> int:
        async with Engine.open(desk.store, tools=[look]) as engine:
            trip = engine.saga("open")
            await trip.__aenter__()
            await trip.call(look)
            return exit_code_of(await engine.get("open"))

    assert asyncio.run(leave_open()) == 3
    assert main(["show", "open", "--store", desk.store]) == 0
    assert "The plan is open" in capsys.readouterr().out
