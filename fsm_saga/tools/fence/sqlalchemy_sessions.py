"""Connections of SQLAlchemy, to SQLite and PostgreSQL, as the fence uses them.

Imported only when a fence is given something of SQLAlchemy: it is an optional extra.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from fsm_saga.errors import OutcomeUnknown, ToolsError
from fsm_saga.tools.fence.sessions import ended_in_the_middle

DIALECTS = ("postgresql", "sqlite")


class SqlAlchemySession:
    """A synchronous SQLAlchemy connection; an asynchronous one lends it by ``run_sync``.

    Args:
        connection: The connection.
        db: What a tool's own statements go through; the connection if not given.
    """

    def __init__(self, connection: sa.Connection, *, db: Any = None) -> None:
        self._connection = connection
        self._db = connection if db is None else db
        self._is_sqlite = connection.dialect.name == "sqlite"
        self._whole: sa.Transaction | None = None
        self._body: sa.Transaction | None = None

    @property
    def locks_rows(self) -> bool:
        """True but for SQLite."""
        return not self._is_sqlite

    @property
    def db(self) -> Any:
        """The connection itself."""
        return self._db

    def begin(self) -> None:
        """Begin a transaction that may write.

        Raises:
            OutcomeUnknown: If one is open already, or the engine commits each statement.
        """
        if self._connection.in_transaction():
            raise OutcomeUnknown(
                "the fence's connection is in a transaction that the fence did not begin: end it "
                "before the call, or give the fence an engine"
            )
        self._whole = self._connection.begin()
        driver: Any = self._connection.connection.driver_connection
        if self._is_sqlite:
            # The drivers begin late, and for reading only: two that read first would then both
            # want to write.
            if not driver.in_transaction:
                self._connection.exec_driver_sql("BEGIN IMMEDIATE")
        elif getattr(driver, "autocommit", False) is True:
            self.rollback()
            raise OutcomeUnknown(
                "the fence's engine commits each statement by itself (AUTOCOMMIT), so an effect "
                "and the memory of it cannot be one: give the fence another engine"
            )

    def commit(self) -> None:
        """Make it durable."""
        if self._whole is None or not self._whole.is_active:
            raise ended_in_the_middle()
        self._whole.commit()
        self._whole = self._body = None

    def rollback(self) -> None:
        """Take everything back; harmless where nothing was begun here."""
        if self._whole is not None:
            self._whole = self._body = None
            self._connection.rollback()

    def open_body(self) -> None:
        """Mark where the tool's own part begins."""
        self._body = self._connection.begin_nested()

    def close_body(self) -> None:
        """Keep the tool's own part."""
        self._checked_body().commit()

    def discard_body(self) -> None:
        """Take back the tool's own part and nothing else."""
        self._checked_body().rollback()

    def _checked_body(self) -> sa.Transaction:
        if self._body is None or not self._body.is_active:
            raise ended_in_the_middle()
        return self._body

    def rows(self, statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        found = self._connection.execute(_text(statement), dict(values))
        return [tuple(row) for row in found]

    def change(self, statement: str, values: Mapping[str, Any]) -> int:
        """Return how many rows a statement wrote."""
        return self._connection.execute(_text(statement), dict(values)).rowcount


@lru_cache(maxsize=64)
def _text(statement: str) -> sa.TextClause:
    return sa.text(statement)


def check_dialect(name: str) -> None:
    """Refuse a database whose rules the fence was not made for.

    Raises:
        ToolsError: If it is neither SQLite nor PostgreSQL.
    """
    if name not in DIALECTS:
        raise ToolsError(
            f"The fence was given a database of dialect {name!r}: it is made for "
            f"{' and '.join(DIALECTS)}. Nothing was created."
        )


def database_of(given: Any) -> SqlAlchemyDatabase:
    """Return where sessions come from.

    Raises:
        ToolsError: If it is neither an engine nor a connection.
    """
    if isinstance(given, sa.Engine | sa.Connection):
        return SqlAlchemyDatabase(given)
    raise ToolsError(
        f"A fence was refused for {type(given).__name__} of SQLAlchemy: give Fence an Engine or a "
        "Connection, AsyncFence an AsyncEngine. Nothing was created."
    )


class SqlAlchemyDatabase:
    """An engine, of which each call takes a connection, or one connection that all share."""

    def __init__(self, source: sa.Engine | sa.Connection) -> None:
        check_dialect(source.dialect.name)
        self._source = source
        self._lock = threading.RLock()

    @contextmanager
    def session(self) -> Iterator[SqlAlchemySession]:
        """Lend a connection."""
        if isinstance(self._source, sa.Engine):
            with self._source.connect() as connection:
                yield SqlAlchemySession(connection)
        else:
            with self._lock, nullcontext(self._source) as connection:
                yield SqlAlchemySession(connection)
