"""What a person is told when SQLite fails."""

from __future__ import annotations

import errno

import apsw
import pytest

from fsm_saga.stores.sqlite_faults import is_failed_sync, unavailable, words_for


def io_error(code: int) -> apsw.IOError:
    error = apsw.IOError("disk I/O error")
    error.extendedresult = code  # type: ignore[attr-defined]  # set by apsw, not declared
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (apsw.FullError("x"), "the disk is full"),
        (apsw.ReadOnlyError("x"), "read-only"),
        (apsw.BusyError("x"), "another process kept the database locked"),
        (apsw.CorruptError("x"), "damaged"),
        (apsw.CantOpenError("x"), "cannot be opened"),
        (apsw.NoMemError("x"), "no memory"),
        (io_error(apsw.SQLITE_IOERR_FSYNC), "fsync"),
        (io_error(apsw.SQLITE_IOERR_WRITE), "refused a write"),
        (apsw.SQLError("no such table: heads"), "no such table: heads"),
    ],
)
def test_an_error_of_sqlite_is_said_in_words(error: apsw.Error, words: str) -> None:
    assert words in words_for(error)


@pytest.mark.parametrize("error", [io_error(apsw.SQLITE_IOERR_LOCK), apsw.IOError("x")])
def test_without_more_to_tell_the_disk_failed(error: apsw.Error) -> None:
    assert words_for(error) == "the disk failed"
    told = unavailable("sagas.db", error, doing="committing")
    assert told.facts == {"path": "sagas.db", "reason": "the disk failed"}
    assert not is_failed_sync(error)


def test_the_systems_own_words_are_added_to_a_failed_write() -> None:
    said = words_for(io_error(apsw.SQLITE_IOERR_WRITE), errno=errno.EFBIG)
    assert said == "the disk refused a write: File too large"


def test_the_error_for_callers_says_what_is_unknown_and_what_to_do() -> None:
    error = unavailable("/tmp/x.db", apsw.FullError("full"), doing="committing")  # noqa: S108
    assert error.facts == {"path": "/tmp/x.db", "reason": "the disk is full"}  # noqa: S108
    assert "while committing: the disk is full" in str(error)
    assert "read back first" in str(error)


def test_only_a_failed_sync_casts_doubt_on_what_was_written_before() -> None:
    assert is_failed_sync(io_error(apsw.SQLITE_IOERR_FSYNC))
    assert is_failed_sync(io_error(apsw.SQLITE_IOERR_DIR_FSYNC))
    assert not is_failed_sync(io_error(apsw.SQLITE_IOERR_WRITE))
    assert not is_failed_sync(apsw.FullError("x"))
