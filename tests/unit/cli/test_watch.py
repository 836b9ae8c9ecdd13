from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import threading
import time

import pytest

from fsm_saga.cli import watch
from fsm_saga.coordinator.driver import is_at_rest
from fsm_saga.core.saga import Saga
from fsm_saga.plan.model import Plan
from fsm_saga.service.engine import Engine
from fsm_saga.tools import tool
from tests.unit.cli.desk import Desk, Ended
from tests.unit.cli.test_resume import leave_unfinished


def plan_of(name: str) -> Plan:
    step = {"step_id": 1, "name": "Think", "tool": "think"}
    return Plan.of({"task_id": name, "steps": [step]})


@pytest.fixture(autouse=True)
def has_looked(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Look often, and tell when the first look is over."""
    looked = threading.Event()

    def note_look(saga: Saga) -> bool:
        looked.set()
        return is_at_rest(saga)

    monkeypatch.setattr(watch, "POLL_S", 0.005)
    monkeypatch.setattr(watch, "is_at_rest", note_look)
    return looked


def watched(
    desk: Desk, has_looked: threading.Event, *words: str, sagas: tuple[str, ...] = ("one",)
) -> Ended:
    """Type a watch command while an engine runs these sagas; they go on once they are watched."""
    go_on = asyncio.Event()

    @tool(read_only=True)
    async def think() -> int:
        await go_on.wait()
        return 1

    async def run() -> Ended:
        async with Engine.open(desk.store, tools=[think]) as engine:
            for name in sagas:
                await engine.submit(plan_of(name))
            looking = asyncio.create_task(asyncio.to_thread(desk.on_store, *words))
            await asyncio.to_thread(has_looked.wait)
            go_on.set()
            return await looking

    return asyncio.run(run())


def test_a_saga_is_followed_until_it_rests(desk: Desk, has_looked: threading.Event) -> None:
    ended = watched(desk, has_looked, "watch", "one")

    assert ended.code == 0
    lines = ended.out.splitlines()
    assert any("step 1 (Think) succeeded" in line for line in lines)
    assert any("the saga is DONE" in line for line in lines)
    assert not any("submitted" in line for line in lines), "from now on, not from the beginning"
    assert "one  DONE  committed" in ended.out


def test_as_json_the_saga_is_printed_when_it_rests(desk: Desk, has_looked: threading.Event) -> None:
    ended = watched(desk, has_looked, "watch", "one", "--json")

    assert ended.err == ""
    assert (ended.json["state"], len(ended.json["steps"])) == ("DONE", 1)


def test_without_an_id_every_unfinished_saga_is_followed(
    desk: Desk, has_looked: threading.Event
) -> None:
    ended = watched(desk, has_looked, "watch", sagas=("one", "two"))

    assert ended.code == 0
    for name in ("one", "two"):
        assert f"{name}  the saga is DONE" in ended.out


def test_a_saga_that_rests_is_shown_at_once(desk: Desk) -> None:
    desk.run("a", approval=True)

    assert "AWAITING_APPROVAL" in desk.on_store("watch", "trip").out
    assert "trip  EXECUTING(1)" in desk.on_store("watch").out
    assert [head["saga_id"] for head in desk.on_store("watch", "--json").json] == ["trip"]


def test_a_damaged_saga_hides_no_other(desk: Desk) -> None:
    leave_unfinished(desk, "damaged", "a")
    desk.run("a", name="sound", approval=True)
    with sqlite3.connect(desk.folder / "sagas.db") as store:
        store.execute(
            "UPDATE entries SET body = x'00' WHERE saga ="
            " (SELECT number FROM heads WHERE saga_id = 'damaged')"
        )
    store.close()
    ended = desk.on_store("watch")

    assert ended.code == 0
    assert "sound  EXECUTING(1)" in ended.out
    assert ended.err.count("'damaged'") == 1


def test_whoever_watches_for_ever_has_to_be_interrupted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SILENCE_S", 0.05)
    leave_unfinished(desk, "stalled", "a")
    threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT)).start()
    started = time.monotonic()
    ended = desk.on_store("watch", "--forever")

    assert ended.code == 130
    assert time.monotonic() - started >= 0.3
    assert ended.err.count("Nothing happens: nobody leads the store") == 1
    assert "Nothing was changed." in ended.err


def test_one_document_cannot_go_on_for_ever(desk: Desk) -> None:
    desk.run("a")

    assert desk.on_store("watch", "--forever", "--json").code == 2


def test_where_nothing_is_unfinished_that_is_said(desk: Desk) -> None:
    assert desk.run("a").code == 0
    text, as_json = desk.on_store("watch"), desk.on_store("watch", "--json")

    assert (text.code, text.out) == (0, "Nothing is unfinished.\n")
    assert (as_json.code, as_json.json) == (0, [])
