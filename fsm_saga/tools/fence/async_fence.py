"""``AsyncFence``: what the author of an asynchronous tool uses, on an SQLAlchemy async engine.

The rules are those of ``passage.py``, run inside ``AsyncConnection.run_sync``. Needs the extra
``fence`` and a driver such as ``psycopg`` or ``aiosqlite``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from fsm_saga.errors import OutcomeUnknown, ToolsError
from fsm_saga.tools.check import CheckAnswer
from fsm_saga.tools.context import CallContext
from fsm_saga.tools.fence.fence import (
    PURGE_BATCH,
    RETRY_DELAYS_S,
    FenceRules,
    asked_about,
    prepare,
)
from fsm_saga.tools.fence.passage import FencedCall, Passage, UndoPassage, ask, forget
from fsm_saga.tools.fence.sqlalchemy_sessions import SqlAlchemySession, check_dialect
from fsm_saga.tools.fence.transient import is_missing_table


class AsyncFence(FenceRules):
    """The fence of :class:`~fsm_saga.tools.fence.Fence`, for ``async`` tools.

    Args:
        engine: An async engine of SQLite or PostgreSQL.
        table: The table's name; it is created when it is first needed.
        retention_s: For how long a ``req_id`` is remembered; None is for ever.
        clock: The time in seconds since 1970.

    Raises:
        ToolsError: If the engine is none, or an argument makes no sense.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        table: str = "saga_fence",
        retention_s: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(table, retention_s=retention_s, clock=clock)
        if not isinstance(engine, AsyncEngine):
            raise ToolsError(
                f"An AsyncFence was refused for {type(engine).__name__}: give it an SQLAlchemy "
                "AsyncEngine; a Fence takes the others. Nothing was created."
            )
        check_dialect(engine.dialect.name)
        self._engine = engine
        self._is_prepared = False

    @asynccontextmanager
    async def do(
        self, ctx: CallContext, params: Mapping[str, Any] | None = None
    ) -> AsyncIterator[FencedCall]:
        """Let a call in; do it in the block if ``call.is_first``. See ``Fence.do``.

        ``call.db`` is an ``AsyncConnection``. Being cancelled takes back what the block did.
        """
        async with self._inside(Passage(self.table, ctx, params, clock=self.clock)) as call:
            yield call

    @asynccontextmanager
    async def undo(
        self,
        ctx: CallContext,
        params: Mapping[str, Any] | None = None,
        *,
        nothing: Any = None,  # any value with a form in JSON
    ) -> AsyncIterator[FencedCall]:
        """Let an undo in; take the effect back if ``call.is_first``. See ``Fence.undo``."""
        passage = UndoPassage(self.table, ctx, params, clock=self.clock, nothing=nothing)
        async with self._inside(passage) as call:
            yield call

    async def run(
        self,
        ctx: CallContext,
        params: Mapping[str, Any] | None,
        effect: Callable[[FencedCall], Awaitable[Any]],
    ) -> Any:
        """Return the answer of a call, repeated here when it lost a race. See ``Fence.run``."""
        return await self._repeated(lambda: self.do(ctx, params), effect)

    async def run_undo(
        self,
        ctx: CallContext,
        effect: Callable[[FencedCall], Awaitable[Any]],
        *,
        params: Mapping[str, Any] | None = None,
        nothing: Any = None,  # any value with a form in JSON
    ) -> Any:
        """Return the answer of an undo, repeated here when it lost a race."""
        return await self._repeated(lambda: self.undo(ctx, params, nothing=nothing), effect)

    async def status(self, of: CallContext | str, *, is_fencing: bool = True) -> CheckAnswer:
        """Return what became of a call; "absent" leaves a tombstone. See ``Fence.status``."""
        req_id = asked_about(of)

        def look(session: SqlAlchemySession) -> tuple[str, Any]:
            return ask(self.table, session, req_id, now=self.clock(), is_fencing=is_fencing)

        for delay_s in (*RETRY_DELAYS_S, None):
            try:
                async with self._engine.connect() as connection:
                    session = await self._prepared(connection)
                    status, output = await _run(connection, look, session)
            except OutcomeUnknown as error:
                self._is_prepared &= not is_missing_table(error)
                await _wait_or_raise(error, delay_s)
            else:
                return CheckAnswer.model_validate({"status": status, "output": output})
        raise AssertionError  # pragma: no cover  # the last delay is None, which raises

    async def purge(self, *, older_than_s: float | None = None) -> int:
        """Remove what nobody has asked about for longer than the retention. See ``Fence.purge``."""
        before = self.purge_before(older_than_s)

        def purge(session: SqlAlchemySession) -> int:
            return forget(self.table, session, before=before, most=PURGE_BATCH)

        count = 0
        async with self._engine.connect() as connection:
            session = await self._prepared(connection)
            while True:
                removed: int = await _run(connection, purge, session)
                count += removed
                if removed < PURGE_BATCH:
                    return count

    @asynccontextmanager
    async def _inside(self, passage: Passage) -> AsyncIterator[FencedCall]:
        async with self._engine.connect() as connection:
            call, session = await self._entered(passage, connection)
            try:
                yield call
            except BaseException as error:  # boundary: the tool's block; raised again
                if call.is_first:
                    await _run(connection, passage.fail, session, error)
                raise
            if call.is_first:
                await _run(connection, passage.finish, session, call)

    async def _entered(
        self, passage: Passage, connection: AsyncConnection
    ) -> tuple[FencedCall, SqlAlchemySession]:
        for delay_s in (*RETRY_DELAYS_S, None):
            try:
                session = await self._prepared(connection)
                return await _run(connection, passage.enter, session), session
            except OutcomeUnknown as error:
                self._is_prepared &= not is_missing_table(error)
                await _wait_or_raise(error, delay_s)
        raise AssertionError  # pragma: no cover  # the last delay is None, which raises

    async def _repeated(
        self, enter: Callable[[], Any], effect: Callable[[FencedCall], Awaitable[Any]]
    ) -> Any:
        for delay_s in (*RETRY_DELAYS_S, None):
            try:
                async with enter() as call:
                    if call.is_first:
                        call.answer = await effect(call)
            except OutcomeUnknown as error:
                self._is_prepared &= not is_missing_table(error)
                await _wait_or_raise(error, delay_s)
            else:
                return call.answer
        raise AssertionError  # pragma: no cover  # the last delay is None, which raises

    async def _prepared(self, connection: AsyncConnection) -> SqlAlchemySession:
        session = await connection.run_sync(_session, connection)
        if not self._is_prepared:
            await connection.run_sync(lambda _sync: prepare(self.table, session))
            self._is_prepared = True
        return session


def _session(connection: sa.Connection, db: AsyncConnection) -> SqlAlchemySession:
    return SqlAlchemySession(connection, db=db)


async def _run(connection: AsyncConnection, work: Callable[..., Any], *arguments: Any) -> Any:
    return await connection.run_sync(lambda _sync: work(*arguments))


async def _wait_or_raise(error: OutcomeUnknown, delay_s: float | None) -> None:
    if delay_s is None or not error.facts.get("is_repeatable"):
        raise error
    await asyncio.sleep(delay_s)
