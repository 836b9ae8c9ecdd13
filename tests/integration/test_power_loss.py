"""The power goes after every single thing that SQLite does: what was acknowledged is there.

A real engine works on a real file; every write, sync, truncation and deletion is recorded. Then
each beginning of that list is replayed: with all that was not synced, without any of it, and with
a random choice of its sectors. What is left is opened by the real store. Whatever had been
acknowledged has to be there, whole, in order and without a gap, and the store has to go on.

The same with ``synchronous=NORMAL``, and with a disk that lies about its syncs, must lose
acknowledged records: else this test is blind. Run with ``-s`` to see how many states that were.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import pytest

from fsm_saga.core.records import Record
from fsm_saga.errors import FsmSagaError
from fsm_saga.ports import Append
from fsm_saga.service.engine import Engine
from fsm_saga.stores import sqlite_schema, sqlite_writer
from fsm_saga.stores.opening import open_store
from fsm_saga.stores.sqlite import SqliteWriteStore
from fsm_saga.tools.context import CallContext
from fsm_saga.tools.python import Tool, tool
from tests.conformance.samples import append_of, command_of
from tests.support.kill_grid import open_fast_directory
from tests.support.plans import plan_of
from tests.support.power_disk import Action, RecordingDisk, State, states_of

DATABASE = "sagas.db"
SEED = 20_260_101
TORN = 10
STATES_MIN = 2_200
TWICE = 30
TWICE_MIN = 800
RESUMED_EACH = 40
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


# --- what happened -------------------------------------------------------------------------------


@dataclass
class Promised:
    """What the store has been asked for and what it has acknowledged, at some moment.

    Attributes:
        asked: All records of each saga whose append was begun, in order.
        acknowledged: How many of them are durable, as the store said.
        removed: Sagas whose removal was begun; True once it was acknowledged.
        commands: Numbers of commands that were acknowledged; True once they were answered.
    """

    asked: dict[str, list[Record]] = field(default_factory=dict)
    acknowledged: Counter[str] = field(default_factory=Counter)
    removed: dict[str, bool] = field(default_factory=dict)
    commands: dict[int, bool] = field(default_factory=dict)

    def take_all(self, actions: Sequence[Action]) -> None:
        """Take notice of what is noted among some actions."""
        for action in actions:
            if action.note is not None:
                self._take(*action.note)

    def _take(self, what: str, about: Any) -> None:
        match what:
            case "asked":
                self.asked.setdefault(about.saga_id, []).extend(about.records)
            case "acknowledged":
                self.acknowledged[about.saga_id] += len(about.records)
            case "removing" | "removed":
                self.removed[about] = what == "removed"
            case "command" | "answered":
                self.commands[about] = what == "answered"
            case _:
                raise AssertionError(what)


class Watched:
    """Notes on the disk's list what the store was asked for and what it acknowledged."""

    def __init__(self, disk: RecordingDisk, patch: pytest.MonkeyPatch) -> None:
        append = SqliteWriteStore.append

        async def noted(store: SqliteWriteStore, what: Append) -> None:
            disk.note(("asked", what))
            await append(store, what)
            disk.note(("acknowledged", what))

        patch.setattr(SqliteWriteStore, "append", noted)


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


# --- what is left --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Left:
    """What the real store finds in the files that a power loss left."""

    journals: Mapping[str, tuple[Record, ...]] = field(default_factory=dict)
    pending: frozenset[int] = frozenset()
    answers: Mapping[int, bool] = field(default_factory=dict)
    wrong: str = ""


async def read_left(directory: Path, state: State, numbers: range) -> Left:
    """Open what is left, as the next process would, and go on with it."""
    for name, data in state.files.items():
        (directory / name).write_bytes(data)
    path = directory / DATABASE
    try:
        async with open_store(f"sqlite:///{path}") as store:
            heads = await store.heads()
            journals = {head.saga_id: await store.load(head.saga_id) or () for head in heads}
            for head in heads:
                assert len(journals[head.saga_id]) == head.position
            pending = frozenset(command.number for command in await store.pending_commands())
            answers = {n: await store.command_answer(n) is not None for n in numbers}
            await store.append(append_of("after", len(journals.get("after", ()))))
    except FsmSagaError as error:
        return Left(wrong=f"it was refused: {error}")
    connection = apsw.Connection(str(path))
    found = connection.pragma("integrity_check")
    connection.close()
    if found != "ok":
        return Left(wrong=f"the database is damaged: {found}")
    return Left(journals=journals, pending=pending, answers=answers)


def losses(left: Left, promised: Promised) -> Iterator[str]:
    """Yield what was promised and is not there, or is there and was never asked for."""
    if left.wrong:
        yield left.wrong
        return
    for saga_id, asked in promised.asked.items():
        found = left.journals.get(saga_id, ())
        if saga_id in promised.removed:
            if promised.removed[saga_id] and found:
                yield f"{saga_id} is there, and was removed"
            if not found:
                continue
        if len(found) < promised.acknowledged[saga_id]:
            yield f"{saga_id}: {promised.acknowledged[saga_id]} acknowledged, {len(found)} left"
        if list(found) != asked[: len(found)]:
            yield f"{saga_id} has records that were not asked for"
    strange = set(left.journals) - set(promised.asked) - {"after"}
    if strange:
        yield f"nobody made {strange}"
    for number, is_answered in promised.commands.items():
        if is_answered and not left.answers[number]:
            yield f"the answer to command {number} is lost"
        if number not in left.pending and not left.answers[number]:
            yield f"command {number} is lost"


@dataclass
class Judged:
    """What came of all states."""

    states: Counter[str] = field(default_factory=Counter)
    images: int = 0
    lossy: int = 0
    resumed: int = 0
    first: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {how}" for how, count in sorted(self.states.items()))
        return (
            f"{self.states.total()} crash states ({kinds}), {self.images} different; "
            f"{self.lossy} of them lost something; {self.resumed} were run to their ends"
        )


def judge(
    disk: RecordingDisk, base: Path, *, torn: int = TORN, believes_syncs: bool = True
) -> Judged:
    """Return what is lost in any state that a power loss may leave."""
    return asyncio.run(Judge(disk, base / "left").judge(torn, believes_syncs=believes_syncs))


class Judge:
    """Opens what is left, each different set of files once."""

    def __init__(self, disk: RecordingDisk, place: Path) -> None:
        self._actions = disk.actions
        self._place = place
        self._known: dict[bytes, Left] = {}
        notes = [action.note for action in disk.actions if action.note is not None]
        self._numbers = range(1, 1 + sum(what == "command" for what, _ in notes))
        self.judged = Judged()

    async def judge(self, torn: int, *, believes_syncs: bool) -> Judged:
        """Return what is lost in any state."""
        promised, noted = Promised(), 0
        states = states_of(self._actions, torn=torn, seed=SEED, believes_syncs=believes_syncs)
        for state in states:
            promised.take_all(self._actions[noted : state.after])
            noted = state.after
            await self.look(state, promised, can_resume=believes_syncs)
        return self.judged

    async def judge_twice(self, step: int) -> Judged:
        """Return what is lost when the power goes again while the next process recovers."""
        promised, noted = Promised(), 0
        for number, state in enumerate(states_of(self._actions, torn=1, seed=SEED)):
            promised.take_all(self._actions[noted : state.after])
            noted = state.after
            if number % step:
                continue
            recovery = RecordingDisk()
            try:
                await self._left_by(state)
            finally:
                recovery.unregister()
            again = states_of(recovery.actions, torn=2, seed=number, start=state.files)
            for second in again:
                await self.look(second, promised, can_resume=False)
        return self.judged

    async def look(self, state: State, promised: Promised, *, can_resume: bool) -> None:
        """Judge one state."""
        judged, known = self.judged, self._known
        judged.states[state.how] += 1
        left = known.get(state.digest)
        if left is None:
            is_resumed = can_resume and len(known) % RESUMED_EACH == 0
            left = known[state.digest] = await self._left_by(state, is_resumed=is_resumed)
        wrong = list(losses(left, promised))
        if wrong:
            judged.lossy += 1
            judged.first.append(f"after {state.after} actions, {state.how}: {wrong[0]}")
        judged.images = len(known)

    async def _left_by(self, state: State, *, is_resumed: bool = False) -> Left:
        self._place.mkdir()
        try:
            left = await read_left(self._place, state, self._numbers)
            if is_resumed and not left.wrong:
                self.judged.resumed += await run_to_the_end(self._place)
        finally:
            shutil.rmtree(self._place)
        return left


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


def test_nothing_acknowledged_is_lost_whenever_the_power_goes(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = recorded(base, monkeypatch)
    kinds = Counter((action.kind, action.file) for action in disk.actions)
    # The log was moved into the database, and the rollback journal of the first moment was used.
    assert kinds["write", DATABASE] > 10
    assert kinds["sync", DATABASE] >= 2
    assert kinds["sync", f"{DATABASE}-wal"] > 20
    assert kinds["write", f"{DATABASE}-journal"] > 1
    judged = judge(disk, base)
    sys.stdout.write(f"synchronous=FULL: {judged}\n")
    assert not judged.lossy, "\n".join(judged.first[:10])
    assert judged.states.total() >= STATES_MIN
    assert judged.resumed >= 5


def test_nothing_is_lost_when_the_power_goes_again_while_the_store_recovers(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = recorded(base, monkeypatch)
    judged = asyncio.run(Judge(disk, base / "left").judge_twice(TWICE))
    sys.stdout.write(f"twice: {judged}\n")
    assert not judged.lossy, "\n".join(judged.first[:10])
    assert judged.states.total() >= TWICE_MIN


def test_with_synchronous_normal_acknowledged_records_are_lost(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = sqlite_schema.prepare_for_writing

    def carelessly(connection: apsw.Connection, path: str) -> None:
        prepare(connection, path)
        connection.pragma("synchronous", "normal")

    monkeypatch.setattr(sqlite_schema, "prepare_for_writing", carelessly)
    judged = judge(recorded(base, monkeypatch), base, torn=1)
    sys.stdout.write(f"synchronous=NORMAL: {judged}\n")
    assert judged.lossy >= LOST_MIN
    assert any("acknowledged" in words for words in judged.first)


def test_with_a_disk_that_lies_about_its_syncs_acknowledged_records_are_lost(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = judge(recorded(base, monkeypatch), base, torn=0, believes_syncs=False)
    sys.stdout.write(f"syncs that do nothing: {judged}\n")
    assert judged.lossy >= LOST_MIN
