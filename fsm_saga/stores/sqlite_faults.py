"""What SQLite's errors mean, in words that tell a person what to do."""

from __future__ import annotations

import os

import apsw

from fsm_saga.errors import StoreUnavailableError

# These say that what was to be written is wrong, not that the store is.
ROW_ERRORS = (
    apsw.ConstraintError,
    apsw.MismatchError,
    apsw.TooBigError,
    UnicodeError,
    OverflowError,
    TypeError,
)

_WORDS: tuple[tuple[type[apsw.Error], str], ...] = (
    (apsw.FullError, "the disk is full"),
    (apsw.ReadOnlyError, "the file or its directory is read-only"),
    (apsw.NotADBError, "the file is not a database any more"),
    (apsw.CorruptError, "the database file is damaged"),
    (apsw.CantOpenError, "the file or one beside it cannot be opened"),
    (apsw.BusyError, "another process kept the database locked"),
    (apsw.LockedError, "another process kept the database locked"),
    (apsw.NoMemError, "there is no memory left"),
    (apsw.PermissionsError, "access was denied"),
)

_IO_WORDS = {
    apsw.SQLITE_IOERR_FSYNC: "the disk failed to make a write durable (fsync)",
    apsw.SQLITE_IOERR_DIR_FSYNC: "the disk failed to make a write durable (fsync)",
    apsw.SQLITE_IOERR_WRITE: "the disk refused a write",
    apsw.SQLITE_IOERR_READ: "the disk refused a read",
    apsw.SQLITE_IOERR_SHORT_READ: "the file is shorter than it must be",
}


def is_failed_sync(error: apsw.Error) -> bool:
    """Return True if a disk was asked to make something durable and did not."""
    code = getattr(error, "extendedresult", 0)  # apsw sets it and does not declare it
    return code in (apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC)


def words_for(error: apsw.Error, *, errno: int = 0) -> str:
    """Return in plain words what went wrong; ``errno`` is the system's number, if it gave one."""
    cause = f": {os.strerror(errno)}" if errno else ""
    if isinstance(error, apsw.IOError):
        code = getattr(error, "extendedresult", 0)  # apsw sets it and does not declare it
        return f"{_IO_WORDS.get(code, 'the disk failed')}{cause}"
    for kind, words in _WORDS:
        if isinstance(error, kind):
            return words
    return f"SQLite says {error}"


def unavailable(
    path: str, error: apsw.Error, *, doing: str, errno: int = 0
) -> StoreUnavailableError:
    """Return the error that callers get when the store failed while ``doing`` something."""
    reason = words_for(error, errno=errno)
    return StoreUnavailableError(
        f"Store {path!r} failed while {doing}: {reason}. What was being written may or may not be "
        "there: read back first. The store goes on by itself once the cause is gone.",
        path=path,
        reason=reason,
    )
