"""The engine on a store that is full, damaged, taken or used by others at the same time."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import apsw
import pytest

from fsm_saga.coordinator import driver
from fsm_saga.errors import CommandError, StoreLockedError, StoreUnavailableError
from fsm_saga.plan.model import Plan
from fsm_saga.service.engine import Engine
from fsm_saga.stores import sqlite_writer
from fsm_saga.stores.sqlite_schema import open_for_writing
from fsm_saga.tools.context import CallContext
from fsm_saga.tools.python import Tool, tool
from tests.support.killing import ROOT

done: Counter[str] = Counter()
undone: list[int | str] = []


class Gates:
    """What tools wait for or tell; made anew for each test, for an event belongs to one loop."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.way = asyncio.Event()
        self.filling = asyncio.Event()


gates = Gates()


@tool
async def write_much(ctx: CallContext) -> dict[str, str]:
    """Do it once for each req_id; the answer is large and always the same."""
    done[ctx.req_id] = 1
    if len(done) == 3:
        gates.filling.set()
    return {"text": ctx.req_id * 5_000}


@tool
async def wait_for_gate(ctx: CallContext) -> None:
    await gates.way.wait()
    done[ctx.req_id] += 1


@tool
async def undo(ctx: CallContext) -> None:
    undone.append(ctx.step_id)


TOOLS: list[Tool[..., Any]] = [write_much, wait_for_gate, undo]


@pytest.fixture(autouse=True)
def world() -> None:
    done.clear()
    undone.clear()
    gates.renew()


def plan_of_steps(name: str, count: int, tool_name: str) -> Plan:
    return Plan.of(
        {
            "task_id": name,
            "steps": [
                {"step_id": number, "tool": tool_name, "rollback": {"tool": "undo"}}
                for number in range(1, count + 1)
            ],
        }
    )


class PageLimit:
    """How many pages the store's file may have; None is a disk without end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pages: int | None = None
        monkeypatch.setattr(sqlite_writer, "open_for_writing", self._open_limited)

    def _open_limited(self, path: str, *, may_create: bool) -> apsw.Connection:
        connection = open_for_writing(path, may_create=may_create)
        if self.pages is not None:
            connection.pragma("max_page_count", self.pages)
        return connection


async def test_a_full_disk_stops_the_engine_with_a_clear_word_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "APPEND_PATIENCE_S", (0.01, 0.01))
    limit = PageLimit(monkeypatch)
    limit.pages = 200
    url = f"sqlite:///{tmp_path}/sagas.db"
    plan = plan_of_steps("much", 12, "write_much")
    async with Engine.open(url, tools=TOOLS) as engine:
        with pytest.raises(StoreUnavailableError, match="disk is full"):
            await engine.run(plan)
        with pytest.raises(StoreUnavailableError, match="disk is full"):
            await engine.submit(plan_of_steps("other", 1, "write_much"))
        durable = await engine.get("much")
        calls = len(done)
    assert durable.state.startswith("EXECUTING(")
    succeeded = sum(step.status == "SUCCEEDED" for step in durable.steps)
    assert calls == succeeded + 1, "one call was under way, and no other was made"
    limit.pages = None
    async with Engine.open(url, tools=TOOLS) as engine:
        view = await engine.wait("much")
        assert view.state == "DONE"
        assert view.position > durable.position
        assert [head.saga_id for head in await engine.list()] == ["much"]
    assert len(done) == 12, "every call has kept its req_id"


async def test_a_disk_that_is_full_for_a_moment_costs_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "APPEND_PATIENCE_S", (0.01,) * 100)
    limit = PageLimit(monkeypatch)
    limit.pages = 200

    async def make_room() -> None:
        await gates.filling.wait()
        await asyncio.sleep(0.1)
        limit.pages = None

    async with Engine.open(f"sqlite:///{tmp_path}/sagas.db", tools=TOOLS) as engine:
        making = asyncio.ensure_future(make_room())
        view = await engine.run(plan_of_steps("much", 12, "write_much"))
        await making
    assert view.state == "DONE"
    assert len(done) == 12


async def leave_unfinished(url: str, *names: str) -> None:
    """Submit sagas of two steps and leave the engine while the first is under way."""
    async with Engine.open(url, tools=TOOLS) as engine:
        for name in names:
            await engine.submit(plan_of_steps(name, 2, "wait_for_gate"))


async def test_a_damaged_journal_is_left_alone_and_the_others_are_resumed(tmp_path: Path) -> None:
    path = tmp_path / "sagas.db"
    await leave_unfinished(f"sqlite:///{path}", "first", "damaged", "third")
    with sqlite3.connect(path) as connection:
        changed = connection.execute(
            "UPDATE entries SET body ="
            " CAST(replace(CAST(body AS TEXT), 'wait_for_gate', 'wait_for_food') AS BLOB)"
            " WHERE saga = (SELECT number FROM heads WHERE saga_id = 'damaged')"
        ).rowcount
    connection.close()
    assert changed
    gates.way.set()
    async with Engine.open(f"sqlite:///{path}", tools=TOOLS) as engine:
        assert set(engine.skipped) == {"damaged"}
        assert "checksum" in engine.skipped["damaged"]
        assert (await engine.wait("first")).state == "DONE"
        assert (await engine.wait("third")).state == "DONE"
        # It is in the list, so that somebody sees it; nothing of it was touched.
        heads = {head.saga_id: head.state for head in await engine.list()}
        assert heads == {"first": "DONE", "third": "DONE", "damaged": "EXECUTING(1)"}
    assert set(done.values()) == {1}
    assert len(done) == 4


async def test_a_journal_with_a_row_too_few_is_left_alone_as_well(tmp_path: Path) -> None:
    path = tmp_path / "sagas.db"
    gates.way.set()
    await leave_unfinished(f"sqlite:///{path}", "good")
    gates.way.clear()
    await leave_unfinished(f"sqlite:///{path}", "short")
    with sqlite3.connect(path) as connection:
        connection.execute(
            "DELETE FROM entries WHERE saga = (SELECT number FROM heads WHERE saga_id = 'short')"
        )
    connection.close()
    async with Engine.open(f"sqlite:///{path}", tools=TOOLS) as engine:
        assert set(engine.skipped) == {"short"}


async def test_a_saga_without_its_tools_is_left_alone_until_they_are_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sagas.db"
    await leave_unfinished(url, "first")
    gates.way.set()
    async with Engine.open(url, tools=[write_much]) as engine:
        assert engine.skipped == {"first": "its tools are not given: undo, wait_for_gate"}
        assert (await engine.get("first")).state == "EXECUTING(1)"
    async with Engine.open(url, tools=TOOLS, recover=False) as engine:
        assert not done
        assert await engine.resume() == ["first"]
        assert (await engine.wait("first")).state == "DONE"


async def test_a_second_engine_on_one_file_is_refused_and_told_who_holds_it(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/sagas.db"
    async with Engine.open(url, tools=TOOLS) as engine:
        with pytest.raises(StoreLockedError, match=str(os.getpid())):
            async with Engine.open(url, tools=TOOLS):
                pass
        gates.way.set()
        assert (await engine.run(plan_of_steps("first", 1, "wait_for_gate"))).state == "DONE"
    async with Engine.open(url, tools=TOOLS) as engine:
        assert (await engine.get("first")).state == "DONE"


CANCELLER = """
import asyncio, sys
from fsm_saga.ports import Command
from fsm_saga.service.answers import Answer
from fsm_saga.stores.opening import open_store

async def main(url):
    async with open_store(url, mode="read") as store:
        body = Answer(kind="cancel", by="ann", note="from outside").as_json()
        number = await store.post_command(Command(saga_id="long", kind="cancel", body=body))
        for _ in range(1000):
            answer = await store.command_answer(number)
            if answer is not None:
                print(answer["ok"], answer["state"])
                return
            await asyncio.sleep(0.02)

asyncio.run(main(sys.argv[1]))
"""


async def test_a_command_from_a_second_process_cancels_a_running_saga(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sagas.db"
    async with Engine.open(url, tools=TOOLS) as engine:
        await engine.submit(plan_of_steps("long", 2, "wait_for_gate"))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CANCELLER, url, cwd=ROOT, stdout=subprocess.PIPE
        )
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        assert output.decode().split() == ["True", "COMPENSATING(1)"]
        gates.way.set()
        view = await engine.wait("long")
    assert (view.state, view.outcome, view.cause) == ("FAILED", "compensated", "cancelled")
    assert undone == [1]


async def test_whoever_waits_when_the_block_is_left_is_told_so(tmp_path: Path) -> None:
    async with Engine.open(f"sqlite:///{tmp_path}/sagas.db", tools=TOOLS) as engine:
        await engine.submit(plan_of_steps("long", 2, "wait_for_gate"))
        waiting = asyncio.ensure_future(engine.wait("long"))
        await asyncio.sleep(0.05)
    with pytest.raises(CommandError, match="was left"):
        await asyncio.wait_for(waiting, 10)
    with pytest.raises(CommandError, match="was left"):
        await engine.cancel("long")


async def test_what_the_block_raises_is_raised_as_it_is(tmp_path: Path) -> None:
    async def fail() -> None:
        async with Engine.open(f"sqlite:///{tmp_path}/sagas.db", tools=TOOLS) as engine:
            await engine.submit(plan_of_steps("long", 2, "wait_for_gate"))
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await fail()
