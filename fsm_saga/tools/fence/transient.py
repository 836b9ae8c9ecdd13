"""Which errors of a database mean: nothing was done, the same transaction may be tried again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import apsw

# serialization_failure, deadlock_detected, lock_not_available.
_SQLSTATES = frozenset({"40001", "40P01", "55P03"})
_UNDEFINED_TABLE = "42P01"
_SQLITE_CODES = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_CHAIN_MAX = 8


def is_worth_repeating(error: BaseException) -> bool:
    """Return whether the transaction lost a race, or the connection was lost.

    A lost connection may have been lost after the commit; a repeat through the fence finds out.

    Example:
        >>> is_worth_repeating(sqlite3.IntegrityError("UNIQUE constraint failed: seats.number"))
        False
    """
    return any(_is_race(each) or _is_lost(each) for each in _chain(error))


def is_missing_table(error: BaseException) -> bool:
    """Return whether a table is not there (any more): the database was made anew, for example.

    Example:
        >>> is_missing_table(sqlite3.OperationalError("no such table: saga_fence"))
        True
    """
    return any(_has_no_table(each) for each in _chain(error))


def _has_no_table(error: Any) -> bool:
    if isinstance(error, sqlite3.OperationalError | apsw.SQLError):
        return "no such table" in str(error)
    return _sqlstate(error) == _UNDEFINED_TABLE


def _sqlstate(error: Any) -> str | None:
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return state if isinstance(state, str) else None


def _chain(error: BaseException) -> Iterator[Any]:
    """Yield the error and what is inside it: SQLAlchemy and its async drivers wrap twice."""
    current: BaseException | None = error
    for _ in range(_CHAIN_MAX):
        if current is None:
            return
        yield current
        inner = getattr(current, "orig", None) or current.__cause__
        current = inner if isinstance(inner, BaseException) else None


def _is_race(error: Any) -> bool:
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return True
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int) and code & 0xFF in _SQLITE_CODES:
        return True
    return _sqlstate(error) in _SQLSTATES


def _is_lost(error: Any) -> bool:
    if getattr(error, "connection_invalidated", False) is True:
        return True
    return (_sqlstate(error) or "").startswith(("08", "57P"))
