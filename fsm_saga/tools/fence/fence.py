"""``Fence``: what the author of a synchronous tool uses."""

from __future__ import annotations

import math
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import apsw

from fsm_saga.core.contract import ToolContract
from fsm_saga.errors import OutcomeUnknown, ToolsError
from fsm_saga.tools.check import CheckAnswer
from fsm_saga.tools.context import CallContext
from fsm_saga.tools.fence.passage import FencedCall, Passage, UndoPassage, ask, forget
from fsm_saga.tools.fence.rows import FenceTable, Session
from fsm_saga.tools.fence.sessions import Database, OwnConnections, SharedConnection
from fsm_saga.tools.fence.transient import is_missing_table

if TYPE_CHECKING:
    import sqlalchemy as sa

T = TypeVar("T")

# A lost race is tried again after these many seconds; then the engine's own retry takes over.
RETRY_DELAYS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
# The engine and the tool read different clocks.
PURGE_MARGIN_S = 3600.0
PURGE_BATCH = 1000


class FenceRules:
    """What the two kinds of fence share: the table, the retention, and the contract."""

    def __init__(
        self, table: str, *, retention_s: float | None, clock: Callable[[], float]
    ) -> None:
        if retention_s is not None and not (math.isfinite(retention_s) and retention_s > 0):
            raise ToolsError(
                f"retention_s={retention_s!r} was refused: it is no time above 0; None keeps every "
                "row for ever. Nothing was created."
            )
        self.table = FenceTable(table)
        self.retention_s = retention_s
        self.clock = clock

    @property
    def ddl(self) -> str:
        """The statement that creates the table, for those who keep migrations."""
        return self.table.ddl

    def contract(self, *, check: str | None = None, deadline: bool = False) -> ToolContract:
        """Return what a tool may declare that does everything inside ``do`` or ``run``.

        Args:
            check: The name of the tool that answers with ``status``.
            deadline: Have the engine send a time after which the call is refused. The fence
                refuses late calls in any case; declared, each call lives only for its time-out.

        Example:
            >>> fence = Fence(lambda: sqlite3.connect("shop.db"))
            >>> fence.contract(check="order_status").check_fences
            True
        """
        return ToolContract(
            dedupe=True,
            sticky_failures=True,
            fenced_compensation=True,
            check=check,
            check_fences=check is not None,
            deadline=deadline,
            retention_s=self.retention_s,
        )

    def undo_contract(self) -> ToolContract:
        """Return what an undo tool may declare that does everything inside ``undo``."""
        return ToolContract(dedupe=True, sticky_failures=True, retention_s=self.retention_s)

    def purge_before(self, older_than_s: float | None) -> float:
        """Return the time before which rows may go.

        Raises:
            ToolsError: If rows would go that are still needed.
        """
        if self.retention_s is None:
            raise ToolsError(
                f"{self.table.name!r} was not purged: its fence promises to remember for ever. "
                "Nothing was removed; a fence with retention_s=... may forget."
            )
        age_s = self.retention_s if older_than_s is None else older_than_s
        if not age_s >= self.retention_s:
            raise ToolsError(
                f"{self.table.name!r} was not purged of what is older than {older_than_s!r} s: the "
                f"fence promises to remember for {self.retention_s:g} s. Nothing was removed."
            )
        return self.clock() - age_s - PURGE_MARGIN_S


class Fence(FenceRules):
    """A table in the tool's own database that lets each effect happen at most once.

    The effect and the memory of it are one transaction, which the fence begins and commits. So
    a call that comes again gets its first answer; one that comes after its undo is refused; an
    undo that comes first succeeds and leaves a tombstone; a refusal stays one; the same
    ``req_id`` with other params is refused.

    Args:
        database: An SQLAlchemy ``Engine`` (SQLite or PostgreSQL), or a function that opens a
            connection of ``sqlite3`` or ``apsw``, for each call one. A single connection serves
            too, one call after the other; to be used by tools, which run in threads, ``sqlite3``
            has to be told ``check_same_thread=False``.
        table: The table's name; it is created when it is first needed.
        retention_s: For how long a ``req_id`` is remembered after it was last heard of; None is
            for ever. It has to be longer than any saga may take, its waiting for people included.
        clock: The time in seconds since 1970.

    Raises:
        ToolsError: If the database is none of these, or an argument makes no sense.

    Example:
        >>> shop = sqlite3.connect(":memory:", isolation_level=None)
        >>> _ = shop.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT)")
        >>> fence = Fence(shop)
        >>> def order(item: str, ctx: CallContext) -> int:
        ...     with fence.do(ctx, {"item": item}) as call:
        ...         if call.is_first:
        ...             row = call.db.execute("INSERT INTO orders (item) VALUES (?)", (item,))
        ...             call.answer = row.lastrowid
        ...     return call.answer
        >>> ctx = CallContext(req_id="r1", saga_id="s", step_id=1, direction="do", attempt=1)
        >>> order("tea", ctx), order("tea", ctx)
        (1, 1)
        >>> shop.execute("SELECT count(*) FROM orders").fetchone()
        (1,)
        >>> shop.close()
    """

    def __init__(
        self,
        database: (
            sqlite3.Connection
            | apsw.Connection
            | Callable[[], sqlite3.Connection]
            | Callable[[], apsw.Connection]
            | sa.Engine
            | sa.Connection
        ),
        *,
        table: str = "saga_fence",
        retention_s: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(table, retention_s=retention_s, clock=clock)
        self._database = _database_of(database)
        self._lock = threading.Lock()
        self._is_prepared = False

    @contextmanager
    def do(self, ctx: CallContext, params: Mapping[str, Any] | None = None) -> Iterator[FencedCall]:
        """Let a call in; do it in the block if ``call.is_first``, and set ``call.answer``.

        What the block does through ``call.db`` is committed with the answer when it ends. An
        exception takes it back; if it is a refusal, it is remembered and copies get it too.
        A block cannot be run twice, so a race that it lost at its end is left to the engine,
        which sends the call again; ``run`` repeats it here.

        Args:
            ctx: What the engine gave to the tool.
            params: What the tool was called with; a copy has to have the same.

        Raises:
            CallFencedError: The call came after its undo.
            ParamsChangedError: It came with other params before.
            CallRefusedError: It was refused before, or came too late.
            OutcomeUnknown: The database would not have it; send it again.
        """
        with self._inside(Passage(self.table, ctx, params, clock=self.clock)) as call:
            yield call

    @contextmanager
    def undo(
        self,
        ctx: CallContext,
        params: Mapping[str, Any] | None = None,
        *,
        nothing: Any = None,  # any value with a form in JSON
    ) -> Iterator[FencedCall]:
        """Let an undo in; take the effect back in the block if ``call.is_first``.

        It is not first if there is nothing to undo: the call never came (a tombstone keeps it
        from coming late), was refused, or was undone before. ``call.action_answer`` is what the
        action answered, so an undo need not be told what to undo.

        Args:
            ctx: What the engine gave to the tool; ``ctx.undoes`` names the action.
            params: What the tool was called with, if a copy has to have the same.
            nothing: The answer if there is nothing to undo.

        Raises:
            CallRefusedError: It was refused before, or names no action.
            OutcomeUnknown: The database would not have it; send it again.
        """
        passage = UndoPassage(self.table, ctx, params, clock=self.clock, nothing=nothing)
        with self._inside(passage) as call:
            yield call

    def run(
        self,
        ctx: CallContext,
        params: Mapping[str, Any] | None,
        effect: Callable[[FencedCall], Any],
    ) -> Any:
        """Return the answer of a call; ``effect`` makes and returns it, if the call is first.

        Unlike a block it is run again when the transaction lost a race (a serialisation failure,
        a deadlock, a lost connection), so it must do nothing but through ``call.db``.
        """
        return self._repeated(lambda: self.do(ctx, params), effect)

    def run_undo(
        self,
        ctx: CallContext,
        effect: Callable[[FencedCall], Any],
        *,
        params: Mapping[str, Any] | None = None,
        nothing: Any = None,  # any value with a form in JSON
    ) -> Any:
        """Return the answer of an undo; ``effect`` takes the effect back if there is one."""
        return self._repeated(lambda: self.undo(ctx, params, nothing=nothing), effect)

    def status(self, of: CallContext | str, *, is_fencing: bool = True) -> CheckAnswer:
        """Return what became of a call: the answer of a check tool.

        "absent" leaves a tombstone, so that it stays true.

        Args:
            of: What the engine gave to the check tool, or a ``req_id``.
            is_fencing: False only looks; "absent" may then be untrue a moment later.

        Raises:
            OutcomeUnknown: If the database would not answer.
        """
        req_id = asked_about(of)
        for delay_s in (*RETRY_DELAYS_S, None):
            try:
                with self._database.session() as session:
                    self._prepare(session)
                    status, output = ask(
                        self.table, session, req_id, now=self.clock(), is_fencing=is_fencing
                    )
            except OutcomeUnknown as error:
                self._is_prepared &= not is_missing_table(error)
                _wait_or_raise(error, delay_s)
            else:
                return CheckAnswer.model_validate({"status": status, "output": output})
        raise AssertionError  # pragma: no cover  # the last delay is None, which raises

    def purge(self, *, older_than_s: float | None = None) -> int:
        """Remove what nobody has asked about for longer than the retention; return how much.

        Whatever its state, a row goes by age alone: a tombstone that had refused one late copy
        has to be there for the next. Age counts from when a copy, an undo or a query last came.

        Args:
            older_than_s: An age above the retention, to keep rows for longer.

        Raises:
            ToolsError: If the fence remembers for ever, or for longer than that.
            OutcomeUnknown: If the database would not have it; what is old is removed next time.
        """
        before = self.purge_before(older_than_s)
        count = 0
        with self._database.session() as session:
            self._prepare(session)
            while True:
                removed = forget(self.table, session, before=before, most=PURGE_BATCH)
                count += removed
                if removed < PURGE_BATCH:
                    return count

    @contextmanager
    def _inside(self, passage: Passage) -> Iterator[FencedCall]:
        with self._database.session() as session:
            call = self._entered(passage, session)
            try:
                yield call
            except BaseException as error:  # boundary: the tool's block; raised again
                if call.is_first:
                    passage.fail(session, error)
                raise
            if call.is_first:
                passage.finish(session, call)

    def _entered(self, passage: Passage, session: Session) -> FencedCall:
        for delay_s in (*RETRY_DELAYS_S, None):
            try:
                self._prepare(session)
                return passage.enter(session)
            except OutcomeUnknown as error:
                self._is_prepared &= not is_missing_table(error)
                _wait_or_raise(error, delay_s)
        raise AssertionError  # pragma: no cover  # the last delay is None, which raises

    def _repeated(self, enter: Callable[[], Any], effect: Callable[[FencedCall], Any]) -> Any:
        for delay_s in (*RETRY_DELAYS_S, None):
            try:
                with enter() as call:
                    if call.is_first:
                        call.answer = effect(call)
            except OutcomeUnknown as error:
                self._is_prepared &= not is_missing_table(error)
                _wait_or_raise(error, delay_s)
            else:
                return call.answer
        raise AssertionError  # pragma: no cover  # the last delay is None, which raises

    def _prepare(self, session: Session) -> None:
        if self._is_prepared:
            return
        with self._lock:
            if not self._is_prepared:
                prepare(self.table, session)
                self._is_prepared = True


def prepare(table: FenceTable, session: Session) -> None:
    """Create the table if it is not there; two that do so at once both succeed.

    Raises:
        OutcomeUnknown: If it is not there and cannot be created.
    """
    problem: Exception | None = None
    for statement in (None, table.ddl, None):
        try:
            session.begin()
            if statement is not None:
                session.change(statement, {})
            session.rows(table.probe, {})
            session.commit()
        except OutcomeUnknown:
            raise
        except Exception as error:  # noqa: BLE001  # boundary: each driver has errors of its own
            session.rollback()
            problem = error
        else:
            return
    raise OutcomeUnknown(
        f"the fence table {table.name!r} cannot be used or created: {problem}. Nothing was done",
        is_repeatable=True,
    ) from problem


def asked_about(of: CallContext | str) -> str:
    """Return the ``req_id`` that a query is about.

    Raises:
        ToolsError: If the context names none.
    """
    req_id = of if isinstance(of, str) else of.undoes
    if req_id is None:
        raise ToolsError(
            "A status was asked for no call: the context has no 'undoes'. Nothing was changed; "
            "the engine sets it when it calls a check tool."
        )
    return req_id


def _wait_or_raise(error: OutcomeUnknown, delay_s: float | None) -> None:
    if delay_s is None or not error.facts.get("is_repeatable"):
        raise error
    time.sleep(delay_s)


def _database_of(given: Any) -> Database:
    if isinstance(given, sqlite3.Connection | apsw.Connection):
        return SharedConnection(given)
    if type(given).__module__.partition(".")[0] == "sqlalchemy":
        # The optional extra `fence`: whoever has such an object has it.
        from fsm_saga.tools.fence.sqlalchemy_sessions import (  # noqa: PLC0415
            database_of,
        )

        return database_of(given)
    if callable(given):
        return OwnConnections(given)
    raise ToolsError(
        f"A fence was refused for {type(given).__name__}: give it an SQLAlchemy engine, a "
        "connection of sqlite3 or apsw, or a function that opens one. Nothing was created."
    )
