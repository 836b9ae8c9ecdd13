"""Nothing stays open: whatever fails or is cancelled while a SQLite store opens, asks or closes."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import apsw
import pytest
from filelock import FileLock

from fsm_saga.errors import StoreError
from fsm_saga.stores import sqlite_reader
from fsm_saga.stores.opening import open_store
from fsm_saga.stores.sqlite import SqliteReadStore, SqliteWriteStore
from fsm_saga.stores.sqlite_lock import acquire_writer_lock
from fsm_saga.stores.sqlite_reader import JournalReader
from fsm_saga.stores.sqlite_writer import JournalWriter
from tests.conformance.samples import append_of, command_of, store_saga

PATIENCE_S = 10.0


@pytest.fixture
async def path(tmp_path: Path) -> str:
    """Give the path of a store with one saga."""
    path = tmp_path / "sagas.db"
    async with open_store(f"sqlite:///{path}") as store:
        await store_saga(store, "trip-7")
    return str(path)


def left_open(path: str) -> list[apsw.Connection]:
    """Return the connections of this process to the file."""
    return [each for each in apsw.connections() if each.filename == path]


class Gate:
    """Holds up whoever calls a method of a class, until it is opened."""

    def __init__(self, whose: type, name: str, patched: pytest.MonkeyPatch) -> None:
        self._reached = threading.Event()
        self._is_free = threading.Event()
        inner: Callable[..., Any] = getattr(whose, name)

        def held_up(*arguments: Any, **options: Any) -> Any:
            self._reached.set()
            self._is_free.wait(PATIENCE_S)
            return inner(*arguments, **options)

        patched.setattr(whose, name, held_up)

    async def reached(self) -> None:
        """Return when somebody waits at the gate."""
        assert await asyncio.to_thread(self._reached.wait, PATIENCE_S)

    def open(self) -> None:
        """Let them go on."""
        self._is_free.set()


@pytest.fixture
def gate_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[type, str], Gate]]:
    """Give what makes a gate; all are open in the end, so that no thread is left waiting."""
    gates: list[Gate] = []

    def make(whose: type, name: str) -> Gate:
        gates.append(Gate(whose, name, monkeypatch))
        return gates[-1]

    yield make
    for gate in gates:
        gate.open()


async def cancel(task: asyncio.Task[Any], times: int) -> None:
    """Cancel a task so often, each time when it waits again."""
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0.002)


MakeGate = Callable[[type, str], Gate]


# --- cancelled -----------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    ("mode", "whose"), [("read", JournalReader), ("write", JournalWriter), ("write", JournalReader)]
)
async def test_a_store_whose_opening_is_cancelled_leaves_nothing_open(
    path: str, mode: Literal["read", "write"], whose: type, times: int, gate_at: MakeGate
) -> None:
    url, gate = f"sqlite:///{path}", gate_at(whose, "open")
    kind = SqliteReadStore if mode == "read" else SqliteWriteStore
    opening = asyncio.create_task(kind.open(url, path))
    await gate.reached()
    await cancel(opening, times)
    assert not opening.done(), "what was begun cannot be taken back"
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert left_open(path) == []
    acquire_writer_lock(path).release()


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("mode", ["read", "write"])
async def test_a_store_whose_closing_is_cancelled_leaves_nothing_open(
    path: str, mode: Literal["read", "write"], times: int, gate_at: MakeGate
) -> None:
    async with open_store(f"sqlite:///{path}", mode=mode) as store:
        gate = gate_at(JournalReader, "load")
        asked = asyncio.create_task(store.load("trip-7"))
        await gate.reached()
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0.002)
        await cancel(closing, times)
        assert not closing.done()
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert left_open(path) == []
        assert len(await asked or ()) == 3
    acquire_writer_lock(path).release()


@pytest.mark.parametrize("times", [1, 2])
async def test_what_a_store_has_accepted_is_finished_though_its_closing_is_cancelled(
    path: str, times: int, gate_at: MakeGate
) -> None:
    url = f"sqlite:///{path}"
    async with open_store(url) as store:
        gate = gate_at(JournalWriter, "post_command")
        posted = asyncio.create_task(store.post_command(command_of("trip-7")))
        await gate.reached()
        appended = asyncio.create_task(store.append(append_of("trip-7", 3)))
        await asyncio.sleep(0)
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0.002)
        await cancel(closing, times)
        assert not closing.done()
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await closing
        await asyncio.wait_for(asyncio.gather(posted, appended), PATIENCE_S)
        assert left_open(path) == []
    async with open_store(url, mode="read") as reader:
        assert len(await reader.pending_commands()) == 1
        assert len(await reader.load("trip-7") or ()) == 4


# --- the lock ------------------------------------------------------------------------------------


async def test_the_lock_is_let_go_when_nothing_is_open_any_more(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, opened = FileLock.release, []

    def noted(lock: FileLock, force: bool = False) -> None:
        opened.append(left_open(path))
        release(lock, force)

    async with open_store(f"sqlite:///{path}"):
        assert len(left_open(path)) == 2
        monkeypatch.setattr(FileLock, "release", noted)
    assert opened[0] == []


async def test_a_store_that_fails_in_closing_says_so_and_lets_the_lock_go(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store(f"sqlite:///{path}") as store:
        with monkeypatch.context() as patched:
            patched.setattr(JournalReader, "close", fails_with(StoreError("The disk is gone.")))
            with pytest.raises(StoreError, match="The disk is gone"):
                await store.close()
    acquire_writer_lock(path).release()


# --- what a reader could not open ----------------------------------------------------------------


def fails_with(error: BaseException) -> Callable[..., Any]:
    def fail(*_arguments: Any) -> Any:
        raise error

    return fail


TOLD = {
    apsw.BusyError("busy"): "another process kept the database locked",
    apsw.IOError("failed"): "the disk failed",
    apsw.FullError("full"): "the disk is full",
    apsw.CorruptError("corrupt"): "is not a SQLite database, or its beginning is damaged",
    apsw.NotADBError("none"): "is not a SQLite database, or its beginning is damaged",
    StoreError("It is the database of another application."): "of another application",
    KeyboardInterrupt("stopped"): "stopped",
}


@pytest.fixture
def empty(tmp_path: Path) -> str:
    """Give the path of a file with nothing in it."""
    path = tmp_path / "empty.db"
    path.touch()
    return str(path)


def refused(path: str, error: BaseException, words: str) -> None:
    """Try to open the file for reading, which fails so and leaves nothing open."""
    kind = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else StoreError
    with pytest.raises(kind, match=words) as caught:
        JournalReader(path).open()
    assert left_open(path) == []
    del caught  # until here its traceback keeps what it was raised about alive


@pytest.mark.parametrize("where", ["check_is_ours", "show_as_present_schema"])
@pytest.mark.parametrize("error", TOLD, ids=lambda error: type(error).__name__)
def test_a_file_that_cannot_be_read_is_closed_again(
    empty: str, where: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_reader, "check_is_ours", lambda _connection, _path: True)
    monkeypatch.setattr(sqlite_reader, where, fails_with(error))
    refused(empty, error, TOLD[error])


@pytest.mark.parametrize("error", TOLD, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("first", [apsw.CantOpenError("no log"), apsw.ReadOnlyError("no log")])
def test_a_file_that_cannot_be_read_without_a_log_either_is_closed_again(
    empty: str,
    first: apsw.Error,
    error: BaseException,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failures = [first, error]

    def fail(_connection: apsw.Connection, _empty: str) -> bool:
        raise failures.pop(0)

    monkeypatch.setattr(sqlite_reader, "check_is_ours", fail)
    refused(empty, error, TOLD[error])
    assert failures == []


@pytest.mark.parametrize("first", [apsw.CantOpenError("no log"), apsw.ReadOnlyError("no log")])
def test_a_log_that_may_not_be_read_is_not_left_out(
    empty: str, first: apsw.Error, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(f"{empty}-wal").write_bytes(b"records")
    monkeypatch.setattr(sqlite_reader, "check_is_ours", fails_with(first))
    refused(empty, StoreError(""), "was not opened for reading: the file or")


def test_an_empty_file_is_closed_again(empty: str) -> None:
    refused(empty, StoreError(""), "the file is empty, no store was made in it yet")
    assert os.listdir(Path(empty).parent) == ["empty.db"]
