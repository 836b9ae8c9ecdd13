"""Which errors of a database mean: nothing was done, the same transaction may be tried again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import apsw

# serialization_failure, deadlock_detected, lock_not_available.
_SQLSTATES = frozenset({"40001", "40P01", "55P03"})
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
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return state in _SQLSTATES


def _is_lost(error: Any) -> bool:
    if getattr(error, "connection_invalidated", False) is True:
        return True
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return isinstance(state, str) and state.startswith(("08", "57P"))
