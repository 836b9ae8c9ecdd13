"""Shops whose orders stand behind a fence, one for each kind of database that a fence takes.

An order is one row; what a test may ask is how many there are. Each shop says in its own way the
same three things: order, cancel, look up.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import apsw
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from fsm_saga.tools import CallContext, CheckAnswer
from fsm_saga.tools.fence import AsyncFence, Fence, FencedCall

NOW = 1_000_000.0
DAY_S = 86_400.0
NOTHING = {"cancelled": False}
SCHEMA = "CREATE TABLE orders (item VARCHAR(40))"
INSERT = "INSERT INTO orders (item) VALUES (:item)"
DELETE = "DELETE FROM orders WHERE item = :item"
COUNT = "SELECT count(*) FROM orders"

BACKENDS = ("sqlite3", "sqlite3-each", "apsw", "sqlalchemy-sqlite", "postgres")
ASYNC_BACKENDS = ("async-sqlite", "async-postgres")

Meanwhile = Callable[[], None]


def ctx(
    req_id: str,
    *,
    undoes: str | None = None,
    not_after: float | None = None,
    attempt: int = 1,
) -> CallContext:
    """Return what the engine would give to a tool."""
    return CallContext(
        req_id=req_id,
        saga_id="saga",
        step_id=1,
        direction="do" if undoes is None else "undo",
        attempt=attempt,
        undoes=undoes,
        not_after=not_after,
    )


class Time:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Shop(Protocol):
    """What every kind of shop does."""

    time: Time

    def order(
        self, req_id: str, item: str = "tea", *, meanwhile: Meanwhile = ..., **known: Any
    ) -> Any:
        """Order an item; ``meanwhile`` happens after the effect, before it is committed."""

    def cancel(self, req_id: str, undoes: str, *, meanwhile: Meanwhile = ...) -> Any:
        """Take an order back."""

    def look_up(self, req_id: str, *, is_fencing: bool = True) -> CheckAnswer:
        """Return what became of an order."""

    def count(self) -> int:
        """Return how many orders there are."""

    def purge(self, *, older_than_s: float | None = None) -> int:
        """Forget what is old."""

    def execute(self, statement: str) -> None:
        """Do something else with its database."""


def _nothing() -> None:
    return


class BlockingShop:
    """A shop that uses ``Fence``."""

    def __init__(
        self,
        database: Any,
        execute: Callable[[Any, str, dict[str, Any]], Any],
        *,
        transaction: Callable[[], Any],
        retention_s: float | None = None,
    ) -> None:
        self.time = Time()
        self.database = database
        self.fence = Fence(database, retention_s=retention_s, clock=self.time)
        self._execute = execute
        self._transaction = transaction
        with transaction() as db:
            execute(db, SCHEMA, {})

    def order(
        self, req_id: str, item: str = "tea", *, meanwhile: Meanwhile = _nothing, **known: Any
    ) -> Any:
        with self.fence.do(ctx(req_id, **known), {"item": item}) as call:
            if call.is_first:
                self._execute(call.db, INSERT, {"item": item})
                meanwhile()
                call.answer = {"item": item}
        return call.answer

    def cancel(self, req_id: str, undoes: str, *, meanwhile: Meanwhile = _nothing) -> Any:
        with self.fence.undo(ctx(req_id, undoes=undoes), nothing=NOTHING) as call:
            if call.is_first:
                self._execute(call.db, DELETE, {"item": call.action_answer["item"]})
                meanwhile()
                call.answer = {"cancelled": True}
        return call.answer

    def look_up(self, req_id: str, *, is_fencing: bool = True) -> CheckAnswer:
        return self.fence.status(req_id, is_fencing=is_fencing)

    def count(self) -> int:
        with self._transaction() as db:
            return int(next(iter(self._execute(db, COUNT, {})))[0])

    def purge(self, *, older_than_s: float | None = None) -> int:
        return self.fence.purge(older_than_s=older_than_s)

    def execute(self, statement: str) -> None:
        with self._transaction() as db:
            self._execute(db, statement, {})


class AsyncShop:
    """A shop that uses ``AsyncFence``; each thing that it does has an event loop of its own."""

    def __init__(self, url: str, *, retention_s: float | None = None) -> None:
        self.time = Time()
        # Connections hang on their loop, so none is kept.
        self._engine = create_async_engine(url, poolclass=NullPool)
        self.fence = AsyncFence(self._engine, retention_s=retention_s, clock=self.time)
        self.execute(SCHEMA)

    def execute(self, statement: str) -> None:
        async def execute() -> None:
            async with self._engine.begin() as db:
                await db.execute(sa.text(statement))

        asyncio.run(execute())

    def order(
        self, req_id: str, item: str = "tea", *, meanwhile: Meanwhile = _nothing, **known: Any
    ) -> Any:
        async def order() -> Any:
            async with self.fence.do(ctx(req_id, **known), {"item": item}) as call:
                if call.is_first:
                    await call.db.execute(sa.text(INSERT), {"item": item})
                    await asyncio.to_thread(meanwhile)
                    call.answer = {"item": item}
            return call.answer

        return asyncio.run(order())

    def cancel(self, req_id: str, undoes: str, *, meanwhile: Meanwhile = _nothing) -> Any:
        async def effect(call: FencedCall) -> Any:
            await call.db.execute(sa.text(DELETE), {"item": call.action_answer["item"]})
            await asyncio.to_thread(meanwhile)
            return {"cancelled": True}

        undo = ctx(req_id, undoes=undoes)
        return asyncio.run(self.fence.run_undo(undo, effect, nothing=NOTHING))

    def look_up(self, req_id: str, *, is_fencing: bool = True) -> CheckAnswer:
        return asyncio.run(self.fence.status(req_id, is_fencing=is_fencing))

    def count(self) -> int:
        async def count() -> int:
            async with self._engine.connect() as db:
                return int((await db.execute(sa.text(COUNT))).scalar_one())

        return asyncio.run(count())

    def purge(self, *, older_than_s: float | None = None) -> int:
        return asyncio.run(self.fence.purge(older_than_s=older_than_s))


def _execute_plainly(db: Any, statement: str, values: dict[str, Any]) -> Any:
    return db.execute(statement, values)


def _execute_text(db: Any, statement: str, values: dict[str, Any]) -> Any:
    return db.execute(sa.text(statement), values)


@contextmanager
def open_shop(
    backend: str,
    folder: Path,
    *,
    postgres: Callable[[], str] | None = None,
    retention_s: float | None = None,
    isolation_level: str | None = None,
) -> Iterator[Shop]:
    """Open a new, empty shop on a database of this kind.

    Args:
        backend: One of BACKENDS or ASYNC_BACKENDS.
        folder: Where files go.
        postgres: Returns the URL of a new database on a PostgreSQL server.
        retention_s: The fence's.
        isolation_level: The engine's, where it is one of SQLAlchemy.
    """
    path = folder / "shop.db"
    if backend.endswith("postgres"):
        assert postgres is not None
        url = postgres()
    else:
        url = f"sqlite{'+aiosqlite' if backend.startswith('async') else ''}:///{path}"
    if backend.startswith("async"):
        yield AsyncShop(url, retention_s=retention_s)
    elif backend in ("sqlalchemy-sqlite", "postgres"):
        options = {} if isolation_level is None else {"isolation_level": isolation_level}
        engine = sa.create_engine(url, **options)
        yield BlockingShop(engine, _execute_text, transaction=engine.begin, retention_s=retention_s)
        engine.dispose()
    else:
        with _open_sqlite_shop(backend, path, retention_s) as shop:
            yield shop


@contextmanager
def _open_sqlite_shop(backend: str, path: Path, retention_s: float | None) -> Iterator[Shop]:
    def connect() -> Any:
        if backend == "apsw":
            return apsw.Connection(str(path))
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    connection = connect()
    database = connect if backend == "sqlite3-each" else connection

    @contextmanager
    def transaction() -> Iterator[Any]:
        yield connection

    try:
        yield BlockingShop(
            database, _execute_plainly, transaction=transaction, retention_s=retention_s
        )
    finally:
        connection.close()
