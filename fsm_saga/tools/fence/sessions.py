"""Connections of the standard library's ``sqlite3`` and of ``apsw``, as the fence uses them."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, Protocol

import apsw

from fsm_saga.errors import OutcomeUnknown, ToolsError
from fsm_saga.tools.fence.rows import Session

SqliteConnection = sqlite3.Connection | apsw.Connection

_BODY = "saga_fence_body"


class Database(Protocol):
    """Where sessions come from."""

    def session(self) -> AbstractContextManager[Session]:
        """Lend a session that nobody else uses meanwhile."""


def ended_in_the_middle() -> OutcomeUnknown:
    """Return what is said of a tool that commits or rolls back by itself."""
    return OutcomeUnknown(
        "the tool ended the transaction that its fence had begun, so the effect and the memory of "
        "it may have come apart: leave commit and rollback to the fence"
    )


class SqliteSession:
    """A connection to SQLite: ``begin`` takes the one lock for writing, so nothing else waits."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection
        self._has_begun = False

    @property
    def locks_rows(self) -> bool:
        """False: the whole database is locked."""
        return False

    @property
    def db(self) -> SqliteConnection:
        """The connection itself."""
        return self._connection

    def begin(self) -> None:
        """Begin a transaction that may write.

        Raises:
            OutcomeUnknown: If one is open already: what is done in it could not be kept apart.
        """
        if self._connection.in_transaction:
            raise OutcomeUnknown(
                "the fence's connection is in a transaction that the fence did not begin: end it "
                "before the call, or give the fence a function that opens a connection"
            )
        self._run("BEGIN IMMEDIATE")
        self._has_begun = True

    def commit(self) -> None:
        """Make it durable."""
        self._run("COMMIT")
        self._has_begun = False

    def rollback(self) -> None:
        """Take everything back; harmless where nothing was begun here."""
        if self._has_begun and self._connection.in_transaction:
            self._run("ROLLBACK")
        self._has_begun = False

    def open_body(self) -> None:
        """Mark where the tool's own part begins."""
        self._run(f"SAVEPOINT {_BODY}")

    def close_body(self) -> None:
        """Keep the tool's own part; a commit by the tool has ended the savepoint."""
        try:
            self._run(f"RELEASE {_BODY}")
        except (sqlite3.OperationalError, apsw.SQLError) as error:
            raise ended_in_the_middle() from error

    def discard_body(self) -> None:
        """Take back the tool's own part and nothing else."""
        try:
            self._run(f"ROLLBACK TO {_BODY}")
        except (sqlite3.OperationalError, apsw.SQLError) as error:
            raise ended_in_the_middle() from error
        self._run(f"RELEASE {_BODY}")

    def rows(self, statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Return what a query finds, whatever form the tool gives to its own rows."""
        if isinstance(self._connection, sqlite3.Connection):
            with closing(self._connection.cursor()) as cursor:
                cursor.row_factory = None
                return cursor.execute(statement, dict(values)).fetchall()
        apsw_cursor = self._connection.cursor()
        apsw_cursor.row_trace = _as_it_is
        return list(apsw_cursor.execute(statement, dict(values)))

    def change(self, statement: str, values: Mapping[str, Any]) -> int:
        """Return how many rows a statement wrote."""
        self.rows(statement, values)
        return int(self.rows("SELECT changes()", {})[0][0])

    def _run(self, statement: str) -> None:
        self.rows(statement, {})


def _as_it_is(_cursor: Any, row: Any) -> Any:
    return row


class SharedConnection:
    """One connection to SQLite that all calls use, one after the other."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection
        # Of the kind that one thread may take twice: a call inside a call is then told that a
        # transaction is open, and does not wait for itself.
        self._lock = threading.RLock()

    @contextmanager
    def session(self) -> Iterator[SqliteSession]:
        """Lend the connection."""
        with self._lock:
            yield SqliteSession(self._connection)


class OwnConnections:
    """A connection to SQLite for each call, opened by the tool's function, closed by the fence."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect

    @contextmanager
    def session(self) -> Iterator[SqliteSession]:
        """Open a connection, lend it, and close it."""
        connection = self._connect()
        if not isinstance(connection, SqliteConnection):
            raise ToolsError(
                f"The fence was given a function that returns {type(connection).__name__}: it has "
                "to open a connection of sqlite3 or apsw. Nothing was done."
            )
        with closing(connection):
            yield SqliteSession(connection)
