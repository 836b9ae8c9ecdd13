"""The power goes after every single thing that SQLite does: what was acknowledged is there.

A real engine works on a real file; every write, sync, truncation and deletion is recorded. Then
each beginning of that list is replayed: with all that was not synced, without any of it, and with
a random choice of its sectors. What is left is opened by the real store. Whatever had been
acknowledged has to be there, whole, in order and without a gap, and the store has to go on.

The same with ``synchronous=NORMAL``, and with a disk that lies about its syncs, must lose
acknowledged records: else this test is blind. ``python -m tests.evidence.counted power-loss`` says
how many states that were.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from fsm_saga.service.engine import Engine
from fsm_saga.stores import sqlite_schema, sqlite_writer
from fsm_saga.stores.opening import open_store
from fsm_saga.tools.context import CallContext
from fsm_saga.tools.python import Tool, tool
from tests.conformance.samples import append_of, command_of
from tests.support.counting import Count
from tests.support.kill_grid import open_fast_directory
from tests.support.plans import plan_of
from tests.support.power_disk import RecordingDisk
from tests.support.power_judge import DATABASE, Judge, Judged, Watched, judge

STATES_MIN = 2_200
TWICE = 30
TWICE_MIN = 800
LOST_MIN = 50

PLANS = {
    "chain": """
        1 book / cancel id=$output.step_1.id
        2 book / cancel id=$output.step_2.id
        3 refuse / cancel
        """,
    "branches": """
        1 book / cancel id=$output.step_1.id ; after=-
        2 book / cancel id=$output.step_2.id ; after=-
        3 book / cancel id=$output.step_3.id ; after=1,2
        """,
}


@tool
async def book(ctx: CallContext) -> dict[str, str]:
    await asyncio.sleep(0)
    return {"id": ctx.req_id, "note": "x" * 300}


@tool
async def refuse(ctx: CallContext) -> None:
    raise ValueError("nothing left")


@tool
async def cancel(ctx: CallContext, id: str = "") -> None:
    await asyncio.sleep(0)


TOOLS: list[Tool[..., Any]] = [book, refuse, cancel]


async def work(directory: Path, disk: RecordingDisk) -> None:
    """Run sagas side by side, leave and answer a command, remove a saga; in two processes' lives.

    Small limits make the log be moved into the database while all that goes on.
    """
    url = f"sqlite:///{directory}/{DATABASE}"
    async with Engine.open(url, tools=TOOLS) as engine, asyncio.TaskGroup() as tasks:
        for name, text in PLANS.items():
            for number in range(3):
                tasks.create_task(engine.run(plan_of(f"{name}-{number}", text)))
    async with open_store(url) as store:
        number = await store.post_command(command_of("chain-1"))
        disk.note(("command", number))
        for at in range(4):
            await store.append(append_of("open", at))
        await store.answer_command(number, {"ok": True, "message": ""})
        disk.note(("answered", number))
        disk.note(("removing", "chain-0"))
        await store.remove("chain-0")
        disk.note(("removed", "chain-0"))
        await asyncio.gather(*(store.append(append_of(f"beside-{n}", 0)) for n in range(5)))


def recorded(directory: Path, patch: pytest.MonkeyPatch) -> RecordingDisk:
    """Return the disk after the work."""
    patch.setattr(sqlite_writer, "LOG_PAGES_MAX", 24)
    disk = RecordingDisk()
    try:
        Watched(disk, patch)
        asyncio.run(work(directory, disk))
    finally:
        disk.unregister()
        patch.undo()
    return disk


async def run_to_the_end(directory: Path) -> bool:
    """Run what is left to its end, as the next process would; True if there was a saga."""
    async with Engine.open(f"sqlite:///{directory}/{DATABASE}", tools=TOOLS) as engine:
        names = [
            head.saga_id for head in await engine.list() if head.saga_id.startswith(tuple(PLANS))
        ]
        for name in names:
            view = await engine.wait(name)
            assert view.state == ("FAILED" if name.startswith("chain") else "DONE")
    return bool(names)


# --- the tests -----------------------------------------------------------------------------------


@pytest.fixture
def base() -> Iterator[Path]:
    """Give a directory, in memory if possible: this test makes thousands of files."""
    with open_fast_directory() as directory:
        yield directory


def count_states(count: Count, what: str, judged: Judged) -> None:
    count(f"{what}: states", judged.states.total())
    count(f"{what}: states that lost something", judged.lossy)


def test_nothing_acknowledged_is_lost_whenever_the_power_goes(
    base: Path, monkeypatch: pytest.MonkeyPatch, record_property: Count
) -> None:
    disk = recorded(base, monkeypatch)
    kinds = Counter((action.kind, action.file) for action in disk.actions)
    # The log was moved into the database, and the rollback journal of the first moment was used.
    assert kinds["write", DATABASE] > 10
    assert kinds["sync", DATABASE] >= 2
    assert kinds["sync", f"{DATABASE}-wal"] > 20
    assert kinds["write", f"{DATABASE}-journal"] > 1
    judged = judge(disk, base, run_on=run_to_the_end)
    count_states(record_property, "full", judged)
    record_property("full: different files", judged.images)
    record_property("full: actions of SQLite", len(disk.actions))
    record_property("full: run on to the end of their sagas", judged.resumed)
    assert not judged.lossy, "\n".join(judged.first[:10])
    assert judged.states.total() >= STATES_MIN
    assert judged.resumed >= 5


def test_nothing_is_lost_when_the_power_goes_again_while_the_store_recovers(
    base: Path, monkeypatch: pytest.MonkeyPatch, record_property: Count
) -> None:
    disk = recorded(base, monkeypatch)
    judged = asyncio.run(Judge(disk, base / "left").judge_twice(TWICE))
    count_states(record_property, "again in recovery", judged)
    assert not judged.lossy, "\n".join(judged.first[:10])
    assert judged.states.total() >= TWICE_MIN


def test_with_synchronous_normal_acknowledged_records_are_lost(
    base: Path, monkeypatch: pytest.MonkeyPatch, record_property: Count
) -> None:
    prepare = sqlite_schema.prepare_for_writing

    def carelessly(connection: apsw.Connection, path: str) -> None:
        prepare(connection, path)
        connection.pragma("synchronous", "normal")

    monkeypatch.setattr(sqlite_schema, "prepare_for_writing", carelessly)
    judged = judge(recorded(base, monkeypatch), base, torn=1)
    count_states(record_property, "normal", judged)
    assert judged.lossy >= LOST_MIN
    assert any("acknowledged" in words for words in judged.first)


def test_with_a_disk_that_lies_about_its_syncs_acknowledged_records_are_lost(
    base: Path, monkeypatch: pytest.MonkeyPatch, record_property: Count
) -> None:
    judged = judge(recorded(base, monkeypatch), base, torn=0, believes_syncs=False)
    count_states(record_property, "lying disk", judged)
    assert judged.lossy >= LOST_MIN
