"""The rules of the fence: one call's way through the table, in one transaction with its effect.

A call first **claims** its ``req_id`` by writing a row; whoever finds the row already there is a
copy and gets what the row says. Everything rests on that one insert: two copies at once cannot
both write it, a crash takes it back together with the effect, and an undo that finds no row
writes it itself, which is the tombstone that a late original runs into.

What leaves a passage as an exception is one of two things: a refusal, which is in the table, or
``OutcomeUnknown``, of which nothing is in the table. So a refusal is always sticky.

Nothing here waits or repeats: ``fence.py`` and ``async_fence.py`` do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_jsonable_python

from fsm_saga.errors import CallFencedError, CallRefusedError, OutcomeUnknown, ParamsChangedError
from fsm_saga.tools.classify import is_doubtful
from fsm_saga.tools.context import CallContext
from fsm_saga.tools.fence.rows import FenceState, FenceTable, Kind, Row, Session
from fsm_saga.tools.fence.transient import is_missing_table, is_worth_repeating
from fsm_saga.tools.wording import error_line


@dataclass(slots=True, kw_only=True)
class FencedCall:
    """A call that is inside the fence.

    Attributes:
        req_id: The id under which it is remembered.
        is_first: Do it now, through ``db``. False for a copy, and for an undo that has nothing
            to undo: then ``answer`` is there already.
        db: The connection in whose transaction the effect has to happen; None if not first.
        answer: What the tool returns and every copy will get: anything that has a form in JSON.
            After the block it is in that form.
        action_answer: Of an undo: what the action answered.
    """

    req_id: str
    is_first: bool
    db: Any = None
    answer: Any = None
    action_answer: Any = None


def fingerprint(params: Mapping[str, Any] | None) -> str | None:
    """Return a digest of the params that does not hang on the order of their names."""
    return None if params is None else hashlib.sha256(_json(params).encode()).hexdigest()


def _json(value: Any) -> str:
    return json.dumps(to_jsonable_python(value), sort_keys=True, allow_nan=False)


def retry_later(what: str, error: BaseException) -> OutcomeUnknown:
    """Return what is raised when the database would not have it now; nothing was done."""
    return OutcomeUnknown(
        f"{what}: {error_line(error)}. Nothing of this attempt is in the database; the same call "
        "may be sent again",
        is_repeatable=True,
    )


class Passage:
    """One call on its way through the fence; a session has at most one at a time."""

    kind = Kind.DO

    def __init__(
        self,
        table: FenceTable,
        ctx: CallContext,
        params: Mapping[str, Any] | None,
        *,
        clock: Callable[[], float],
    ) -> None:
        self.table = table
        self.req_id = ctx.req_id
        self.not_after = ctx.not_after
        self.fingerprint = fingerprint(params)
        self.clock = clock

    def enter(self, session: Session) -> FencedCall:
        """Claim the ``req_id``; the transaction stays open only for a call that is first.

        Raises:
            CallRefusedError: If it is refused, now or before.
            OutcomeUnknown: If the database would not have it, or does not know.
        """
        with _or_doubt(session, f"call {self.req_id!r} could not enter the fence"):
            session.begin()
            return self._enter(session)

    def finish(self, session: Session, call: FencedCall) -> None:
        """Remember the answer and commit it together with the effect.

        Raises:
            CallRefusedError: If the time of the call ran out meanwhile; nothing was done.
            OutcomeUnknown: If the answer could not be kept; nothing was done, unless the
                database does not know.
        """
        try:
            answer = _json(call.answer)
            self._check_time()
        except Exception as error:  # boundary: the tool's own code; raised again
            self.fail(session, error)
            raise
        with _or_doubt(session, f"call {self.req_id!r} was not committed"):
            session.close_body()
            self._remember(session, answer)
            session.commit()
        call.answer = json.loads(answer)

    def fail(self, session: Session, error: BaseException) -> None:
        """Take back what the tool did; remember it as refused if that is what the error says.

        Returns only after a refusal was remembered, or for an error that is no exception of a
        tool (an interruption): raise the error then.

        Raises:
            OutcomeUnknown: If the error leaves open what happened, or cannot be remembered.
        """
        if not isinstance(error, Exception):
            _roll_back(session)
            return
        if is_worth_repeating(error):
            _roll_back(session)
            raise retry_later(f"call {self.req_id!r} was taken back", error) from error
        if is_doubtful(error):
            _roll_back(session)
            if isinstance(error, OutcomeUnknown):
                return
            # As it is, it might be declared to be a refusal, which nobody would remember.
            raise OutcomeUnknown(
                f"call {self.req_id!r} was taken back in the database: {error_line(error)}"
            ) from error
        with _or_doubt(session, f"the refusal of {self.req_id!r} was not committed"):
            session.discard_body()
            self._settle(session, FenceState.REFUSED, json.dumps(_reason(error)))
            session.commit()

    def _enter(self, session: Session) -> FencedCall:
        if not self._claim(session):
            return self._repeated(session, self.req_id)
        self._refuse_late(session)
        session.open_body()
        return FencedCall(req_id=self.req_id, is_first=True, db=session.db)

    def _remember(self, session: Session, answer: str) -> None:
        self._settle(session, FenceState.DONE, answer)

    def _claim(self, session: Session, *, partner: str | None = None) -> bool:
        now = self.clock()
        return self.table.claim(
            session,
            Row(
                req_id=self.req_id,
                kind=self.kind.value,
                state=FenceState.DOING.value,
                fingerprint=self.fingerprint,
                answer=None,
                partner=partner,
                first_at=now,
                last_at=now,
            ),
        )

    def _settle(self, session: Session, state: FenceState, answer: str | None) -> None:
        self.table.settle(session, self.req_id, state=state, answer=answer, now=self.clock())

    def _repeated(self, session: Session, req_id: str) -> FencedCall:
        """Return what a copy gets."""
        row = self.table.find(session, req_id)
        if row is None:
            raise _vanished(req_id)
        self.table.touch(session, req_id, now=self.clock())
        session.commit()
        self._check_same(row)
        return FencedCall(req_id=req_id, is_first=False, answer=_answer(row))

    def _check_same(self, row: Row) -> None:
        if row.state in (FenceState.FENCED, FenceState.UNDONE):
            raise CallFencedError(
                f"call {row.req_id!r} was refused: it was undone, or is never to be done. It has "
                "no effect; do not send it again",
                req_id=row.req_id,
            )
        if row.kind != self.kind:
            raise CallRefusedError(
                f"call {row.req_id!r} was refused: this req_id belongs to an "
                f"{'undo' if row.kind == Kind.UNDO else 'action'}. Nothing was changed"
            )
        if None not in (row.fingerprint, self.fingerprint) and row.fingerprint != self.fingerprint:
            raise ParamsChangedError(
                f"call {row.req_id!r} was refused: it came with other params before. What the "
                "first one did stands; give another call a req_id of its own",
                req_id=row.req_id,
            )

    def _check_time(self) -> None:
        if self.not_after is not None and self.clock() > self.not_after:
            raise CallRefusedError(
                f"call {self.req_id!r} was refused: its time was over at {self.not_after:.3f} "
                "(seconds since 1970). Nothing was done"
            )

    def _refuse_late(self, session: Session) -> None:
        try:
            self._check_time()
        except CallRefusedError as late:
            self._settle(session, FenceState.REFUSED, json.dumps(late.message))
            session.commit()
            raise


class UndoPassage(Passage):
    """An undo on its way: its own row says what it answered, the action's row that it is undone."""

    kind = Kind.UNDO

    def __init__(
        self,
        table: FenceTable,
        ctx: CallContext,
        params: Mapping[str, Any] | None,
        *,
        clock: Callable[[], float],
        nothing: Any = None,
    ) -> None:
        super().__init__(table, ctx, params, clock=clock)
        if ctx.undoes is None:
            raise CallRefusedError(
                f"call {ctx.req_id!r} was refused: it names no call that it undoes. Nothing was "
                "changed; let the engine call the tool as an undo, or use Fence.do"
            )
        self.undoes = ctx.undoes
        self.nothing = _json(nothing)

    def _enter(self, session: Session) -> FencedCall:
        if not self._claim(session, partner=self.undoes):
            return self._repeated(session, self.req_id)
        self._refuse_late(session)
        answer = self.nothing
        if not leave_tombstone(
            self.table, session, self.undoes, partner=self.req_id, now=self.clock()
        ):
            row = self.table.find(session, self.undoes, for_update=True)
            if row is None:
                raise _vanished(self.undoes)
            if row.kind != Kind.DO:
                self._refuse(session, f"{self.undoes!r} is itself an undo")
            if row.state == FenceState.DONE:
                session.open_body()
                return FencedCall(
                    req_id=self.req_id, is_first=True, db=session.db, action_answer=_answer(row)
                )
            answer = self._answer_of_undone(session, row)
        self._settle(session, FenceState.DONE, answer)
        session.commit()
        return FencedCall(req_id=self.req_id, is_first=False, answer=json.loads(answer))

    def _remember(self, session: Session, answer: str) -> None:
        self._settle(session, FenceState.DONE, answer)
        self.table.mark_undone(session, self.undoes, by=self.req_id, now=self.clock())

    def _answer_of_undone(self, session: Session, row: Row) -> str:
        """Return what is answered where there is no effect to undo (any more)."""
        if row.state == FenceState.DOING:
            raise _half_done(row)
        self.table.touch(session, row.req_id, now=self.clock())
        if row.state == FenceState.UNDONE and row.partner is not None:
            undo = self.table.find(session, row.partner)
            if undo is not None and undo.state == FenceState.DONE and undo.answer is not None:
                return undo.answer
        return self.nothing

    def _refuse(self, session: Session, why: str) -> None:
        refusal = CallRefusedError(f"undo {self.req_id!r} was refused: {why}. Nothing was changed")
        self._settle(session, FenceState.REFUSED, json.dumps(refusal.message))
        session.commit()
        raise refusal


def leave_tombstone(
    table: FenceTable, session: Session, req_id: str, *, partner: str | None, now: float
) -> bool:
    """Bind a tombstone to a call that never came; return False where it did, or has one."""
    return table.claim(
        session,
        Row(
            req_id=req_id,
            kind=Kind.DO.value,
            state=FenceState.FENCED.value,
            fingerprint=None,
            answer=None,
            partner=partner,
            first_at=now,
            last_at=now,
        ),
    )


def ask(
    table: FenceTable, session: Session, req_id: str, *, now: float, is_fencing: bool
) -> tuple[str, Any]:
    """Return ``done``, ``absent`` or ``refused``, and what a done call answered.

    Raises:
        OutcomeUnknown: If the database would not answer, or does not know.
    """
    with _or_doubt(session, f"what became of {req_id!r} could not be looked up"):
        session.begin()
        is_new = is_fencing and leave_tombstone(table, session, req_id, partner=None, now=now)
        row = None if is_new else table.find(session, req_id)
        if row is not None:
            table.touch(session, req_id, now=now)
        session.commit()
    if row is None or row.state in (FenceState.FENCED, FenceState.UNDONE):
        return "absent", None
    if row.state == FenceState.DOING:
        raise _half_done(row)
    if row.state == FenceState.REFUSED:
        return "refused", None
    return "done", _answer(row)


def forget(table: FenceTable, session: Session, *, before: float, most: int) -> int:
    """Remove at most so many old rows, and return how many.

    Raises:
        OutcomeUnknown: If the database would not have it; nothing of this was removed.
    """
    with _or_doubt(session, f"{table.name!r} could not be purged"):
        session.begin()
        removed = table.purge(session, before=before, most=most)
        session.commit()
    return removed


def _answer(row: Row) -> Any:
    if row.state == FenceState.DOING:
        raise _half_done(row)
    value = None if row.answer is None else json.loads(row.answer)
    if row.state == FenceState.REFUSED:
        raise CallRefusedError(str(value), req_id=row.req_id)
    return value


def _reason(error: Exception) -> str:
    return error.message if isinstance(error, CallRefusedError) else error_line(error)


def _half_done(row: Row) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"call {row.req_id!r} was begun, and its transaction ended in the middle: its effect may "
        "or may not be there. A person has to look"
    )


class _VanishedError(Exception):
    """A row that was there is gone: a purge came between two statements."""


def _vanished(req_id: str) -> _VanishedError:
    return _VanishedError(f"the memory of {req_id!r} was purged at this moment")


@contextmanager
def _or_doubt(session: Session, what: str) -> Iterator[None]:
    """Turn an error of the database into doubt: nothing that could be taken for a refusal."""
    try:
        yield
    except (CallRefusedError, OutcomeUnknown):
        _roll_back(session)
        raise
    except Exception as error:  # boundary: each driver has errors of its own
        _roll_back(session)
        if (
            isinstance(error, _VanishedError)
            or is_worth_repeating(error)
            or is_missing_table(error)
        ):
            raise retry_later(what, error) from error
        raise OutcomeUnknown(f"{what}: {error_line(error)}") from error
    except BaseException:  # boundary: an interrupt: no transaction stays open
        _roll_back(session)
        raise


def _roll_back(session: Session) -> None:
    # What ended the transaction is raised; that a lost connection cannot roll back is no news.
    with suppress(Exception):
        session.rollback()
