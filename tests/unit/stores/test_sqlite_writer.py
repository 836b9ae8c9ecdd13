"""The connection that writes: what a failure of each of its works says, and what comes after."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import pytest

from fsm_saga.errors import (
    ConflictError,
    FencedError,
    InvariantBrokenError,
    StoreError,
    StoreUnavailableError,
)
from fsm_saga.stores import sqlite_writer
from fsm_saga.stores.group_commit import RowRefusedError, WriterBusyError
from fsm_saga.stores.sqlite_rows import AppendRow
from fsm_saga.stores.sqlite_writer import (
    BUSY_WAIT_MS,
    CHECKPOINT_WAIT_MS,
    LOG_PAGES_FORCED,
    LOG_PAGES_MAX,
    JournalWriter,
)
from tests.conformance.samples import append_of, command_of, started, submitted


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[JournalWriter]:
    """Give the writer of a new store with one saga."""
    writer = JournalWriter(str(tmp_path / "sagas.db"))
    writer.open()
    write(writer, "trip-7", 0)
    yield writer
    writer.close()


def write(writer: JournalWriter, saga_id: str, position: int, state: str = "EXECUTING(1)") -> None:
    record = started(position) if position else submitted(saga_id)
    row = AppendRow(append_of(saga_id, position, record, state=state))
    assert writer.prepare([row], wait=True) == [None]
    writer.commit()


def io_error(code: int = apsw.SQLITE_IOERR_WRITE) -> apsw.IOError:
    error = apsw.IOError("disk I/O error")
    error.extendedresult = code  # type: ignore[attr-defined]  # set by apsw, not declared
    return error


def is_open(writer: JournalWriter) -> bool:
    return writer.is_open


def needs_checkpoint(writer: JournalWriter) -> bool:
    return writer.needs_checkpoint


def fail(writer: JournalWriter, words: str, error: Exception) -> None:
    """Let every statement fail that begins with these words, until the writer is opened again."""
    execute = writer._execute

    def failing(statement: str, *bindings: Any) -> Any:
        if statement.startswith(words):
            raise error
        return execute(statement, *bindings)

    writer._execute = failing


ROW = AppendRow(append_of("trip-7", 1, started(1)))

WORKS: dict[str, tuple[str, Callable[[JournalWriter], object]]] = {
    "writing": ("INSERT INTO entries", lambda writer: writer.prepare([ROW], wait=False)),
    "beginning": ("BEGIN", lambda writer: writer.prepare([ROW], wait=True)),
    "looking for commands": ("SELECT number", JournalWriter.pending_commands),
}


@pytest.mark.parametrize("doing", WORKS)
def test_a_failure_says_what_failed_and_the_connection_is_given_up(
    doing: str, writer: JournalWriter
) -> None:
    words, work = WORKS[doing]
    fail(writer, words, io_error())
    with pytest.raises(StoreUnavailableError, match=f"failed while {doing}: the disk refused") as e:
        work(writer)
    assert e.value.facts["path"] == writer._path
    assert not is_open(writer)
    with pytest.raises(InvariantBrokenError, match="used after it had failed"):
        writer.checkpoint()
    writer.open()
    write(writer, "trip-7", 1)


def test_a_commit_that_fails_says_so(writer: JournalWriter) -> None:
    writer.prepare([ROW], wait=False)
    fail(writer, "COMMIT", io_error())
    with pytest.raises(StoreUnavailableError, match="failed while committing: the disk refused"):
        writer.commit()
    assert not is_open(writer)


def test_a_transaction_that_fails_says_so(writer: JournalWriter) -> None:
    fail(writer, "COMMIT", io_error())
    with pytest.raises(StoreUnavailableError, match="failed while writing: the disk refused"):
        writer.post_command(command_of("trip-7"))
    assert not is_open(writer)


def other_writer(writer: JournalWriter) -> apsw.Connection:
    connection = apsw.Connection(writer._path)
    connection.execute("BEGIN IMMEDIATE")
    return connection


def test_who_does_not_wait_is_told_that_another_writes(
    writer: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = other_writer(writer)
    with pytest.raises(WriterBusyError):
        writer.prepare([ROW], wait=False)
    assert is_open(writer)
    monkeypatch.setattr(sqlite_writer, "BUSY_WAIT_MS", 1)
    with pytest.raises(StoreUnavailableError, match="while waiting for its turn: another process"):
        writer.prepare([ROW], wait=True)
    assert not is_open(writer)
    other.close()


def test_it_waits_for_others_only_where_it_says_so(
    writer: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[int] = []
    connection = writer._connected()
    seen = SimpleNamespace(set_busy_timeout=waits.append, changes=connection.changes)
    monkeypatch.setattr(writer, "_connection", seen)
    writer.prepare([ROW], wait=False)
    writer.commit()
    assert waits == []
    writer.prepare([AppendRow(append_of("trip-7", 2))], wait=True)
    writer.commit()
    assert waits == [BUSY_WAIT_MS, 0]
    monkeypatch.setattr(writer, "_connection", connection)


def test_a_row_that_cannot_be_stored_leaves_nothing_behind(writer: JournalWriter) -> None:
    fail(writer, "INSERT INTO entries", apsw.TooBigError("string or blob too big"))
    with pytest.raises(RowRefusedError, match="too big"):
        writer.prepare([ROW], wait=False)
    assert is_open(writer)
    other = apsw.Connection(writer._path)
    assert other.execute("SELECT position FROM heads").fetchall() == [(1,)]
    other.close()
    writer.post_command(command_of("trip-7"))  # no transaction was left open


def test_what_a_job_refuses_is_rolled_back_on_the_same_connection(writer: JournalWriter) -> None:
    connection = writer._connected()
    with pytest.raises(ConflictError, match="only DONE or FAILED"):
        writer.remove("trip-7")
    with pytest.raises(StoreError, match="Command 99 was not answered"):
        writer.answer_command(99, {})
    assert writer._connected() is connection
    assert not connection.in_transaction


def test_a_roll_back_that_fails_gives_the_connection_up(writer: JournalWriter) -> None:
    fail(writer, "ROLLBACK", io_error())
    with pytest.raises(ConflictError):
        writer.remove("trip-7")
    assert not is_open(writer)


def test_a_newer_writer_is_named_and_nothing_is_written(writer: JournalWriter) -> None:
    newer = JournalWriter(writer._path)
    newer.open()
    assert newer.epoch == writer.epoch + 1
    with pytest.raises(FencedError) as caught:
        writer.prepare([ROW], wait=True)
    assert caught.value.facts == {"epoch": 1, "leader": 2}
    assert repr(writer._path) in caught.value.message
    writer.abandon()
    with pytest.raises(FencedError):
        writer.open()
    newer.close()


# --- after a failed sync -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "is_suspect"),
    [(apsw.SQLITE_IOERR_FSYNC, True), (apsw.SQLITE_IOERR_WRITE, False)],
)
def test_the_log_is_written_again_after_a_failed_sync(
    code: int, is_suspect: bool, writer: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    again: list[str] = []
    monkeypatch.setattr(sqlite_writer, "write_log_again", lambda _c, path: again.append(path))
    writer.prepare([ROW], wait=False)
    fail(writer, "COMMIT", io_error(code))
    with pytest.raises(StoreUnavailableError):
        writer.commit()
    writer.open()
    assert again == [writer._path] * is_suspect
    writer.abandon()
    writer.open()
    assert len(again) == is_suspect, "once is enough"


def test_a_failed_sync_is_not_forgotten_by_another_fault_before_the_log_is_written_again(
    writer: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def fails_once(_connection: object, path: str) -> None:
        said.append(path)
        if len(said) == 1:
            raise io_error()

    monkeypatch.setattr(sqlite_writer, "write_log_again", fails_once)
    writer.prepare([ROW], wait=False)
    fail(writer, "COMMIT", io_error(apsw.SQLITE_IOERR_FSYNC))
    with pytest.raises(StoreUnavailableError, match="durable"):
        writer.commit()
    with pytest.raises(StoreUnavailableError, match="failed while making its log durable: the"):
        writer.open()
    assert not is_open(writer)
    writer.open()
    assert len(said) == 2
    write(writer, "trip-8", 0)


def test_the_systems_own_number_is_told_in_words(writer: JournalWriter) -> None:
    connection = writer._connected()
    writer._connection = SimpleNamespace(system_errno=errno.EDQUOT, close=lambda _force: None)  # type: ignore[assignment]
    error = writer._failed(io_error(), doing="writing")
    connection.close()
    assert error.facts["reason"] == "the disk refused a write: Disk quota exceeded"
    assert "failed while writing: the disk refused a write: Disk quota exceeded. " in error.message
    later = writer._failed(io_error(), doing="writing")  # without a connection nobody has a number
    assert later.facts["reason"] == "the disk refused a write"


def test_giving_up_a_connection_that_cannot_even_be_closed_is_quiet(
    writer: JournalWriter,
) -> None:
    connection = writer._connected()

    def close(force: bool) -> None:
        connection.close(force)
        raise io_error()

    writer._connection = SimpleNamespace(close=close)  # type: ignore[assignment]
    writer.abandon()
    assert not is_open(writer)
    writer.abandon()


def test_a_connection_whose_log_cannot_be_moved_is_closed_by_force(writer: JournalWriter) -> None:
    connection = writer._connected()
    closings: list[bool] = []

    def close(force: bool = False) -> None:
        closings.append(force)
        if not force:
            raise io_error()
        connection.close(force)

    writer._connection = SimpleNamespace(close=close, config=connection.config)  # type: ignore[assignment]
    writer.close()
    assert closings == [False, True]
    writer.close()
    assert closings == [False, True], "it is closed"


# --- the log -------------------------------------------------------------------------------------


class Log:
    """Stands in for a connection: notes how its log is moved into the database."""

    system_errno = 0

    def __init__(self, error: apsw.Error | None = None) -> None:
        self.said: list[object] = []
        self._error = error

    def set_busy_timeout(self, milliseconds: int) -> None:
        self.said.append(milliseconds)

    def wal_checkpoint(self, _name: str, mode: int) -> None:
        self.said.append(mode)
        if self._error is not None:
            raise self._error

    def close(self, _force: bool) -> None:
        self.said.append("closed")


def moving(pages: int, error: apsw.Error | None = None) -> tuple[JournalWriter, Log]:
    writer, log = JournalWriter("sagas.db"), Log(error)
    writer._connection = log  # type: ignore[assignment]
    writer._note_log_pages(log, "main", pages)  # type: ignore[arg-type]
    return writer, log


def test_a_log_is_moved_when_it_has_grown_and_then_when_it_has_grown_as_much_again() -> None:
    writer, _log = moving(LOG_PAGES_MAX - 1)
    assert not needs_checkpoint(writer)
    writer, log = moving(LOG_PAGES_MAX)
    assert needs_checkpoint(writer)
    writer.checkpoint()
    assert not needs_checkpoint(writer)
    for pages, is_due in ((2 * LOG_PAGES_MAX - 1, False), (2 * LOG_PAGES_MAX, True), (7, False)):
        assert writer._note_log_pages(log, "main", pages) == apsw.SQLITE_OK  # type: ignore[arg-type]
        assert needs_checkpoint(writer) is is_due
    writer._note_log_pages(log, "main", LOG_PAGES_MAX)  # type: ignore[arg-type]
    assert needs_checkpoint(writer), "it had started anew"


def test_only_a_log_that_has_grown_far_makes_readers_wait() -> None:
    writer, log = moving(LOG_PAGES_FORCED - 1)
    writer.checkpoint()
    assert log.said == [0, apsw.SQLITE_CHECKPOINT_PASSIVE, 0]
    writer, log = moving(LOG_PAGES_FORCED)
    writer.checkpoint()
    assert log.said == [CHECKPOINT_WAIT_MS, apsw.SQLITE_CHECKPOINT_RESTART, 0]


def test_a_reader_in_the_way_of_the_log_is_no_failure() -> None:
    writer, log = moving(LOG_PAGES_FORCED, apsw.BusyError("locked"))
    writer.checkpoint()
    assert is_open(writer)
    assert log.said[-1] == 0, "the next commit waits for nobody"


def test_a_log_that_cannot_be_moved_says_so() -> None:
    writer, log = moving(LOG_PAGES_MAX, io_error())
    with pytest.raises(StoreUnavailableError, match="failed while moving its log: the disk"):
        writer.checkpoint()
    assert not is_open(writer)
    assert log.said[-1] == "closed"
