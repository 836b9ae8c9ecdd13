"""What is read from a SQLite store, by a connection of its own and without any lock.

Each answer comes from one statement, so it is one moment of the store: a reader never sees half
of an append. A connection on which something failed is closed; the next question opens another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import apsw

from fsm_saga.core.records import Record
from fsm_saga.errors import CorruptRecordError, StoreError
from fsm_saga.ports import SAGA_COMMANDS_MAX, Command, Head
from fsm_saga.stores.codec import CODEC, decode_object
from fsm_saga.stores.refusals import is_text
from fsm_saga.stores.sqlite_faults import unavailable, words_for
from fsm_saga.stores.sqlite_rows import checksum
from fsm_saga.stores.sqlite_schema import (
    check_is_ours,
    has_log,
    not_a_database,
    open_immutable,
)

HEADS_PER_QUESTION = 1_000
BUSY_WAIT_MS = 5_000

# At most so many at once; the next question brings the next.
PENDING_COMMANDS = (
    "SELECT number, saga_id, kind, body FROM commands WHERE answer IS NULL"
    " ORDER BY number LIMIT 1000"
)

# What people decide is little: no index is worth its cost at each command.
_SAGA_COMMANDS = (
    "SELECT number, saga_id, kind, body, answer FROM commands WHERE saga_id = ?"
    " ORDER BY number DESC LIMIT ?"
)

_HEADS = (
    "SELECT number, saga_id, state, outcome, position, created_at, updated_at, goal, is_final,"
    " waits_for FROM heads"
)
_JOURNAL = (
    "SELECT h.position, e.position, e.count, e.body, e.crc FROM heads h"
    " LEFT JOIN entries e ON e.saga = h.number WHERE h.saga_id = ? ORDER BY e.position"
)
_ONE_HEAD = _HEADS + " WHERE saga_id = ?"
_ALL_HEADS = _HEADS + " WHERE number < ? ORDER BY number DESC LIMIT ?"
_UNFINISHED_HEADS = _HEADS + " WHERE is_final = 0 AND number < ? ORDER BY number DESC LIMIT ?"
_NUMBER_MAX = 2**63 - 1


class JournalReader:
    """Reads journals, heads and commands. For one thread at a time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: apsw.Connection | None = None
        self._is_immutable = False

    def open(self) -> None:
        """Return when the store can be read.

        Raises:
            StoreError: There is no store at the path, or it cannot be read.
            StoreVersionError: A newer version of fsm_saga made it.
        """
        self._rows("SELECT 1")

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(apsw.Error):
                connection.close(True)

    # --- questions -------------------------------------------------------------------------------

    def load(self, saga_id: str) -> tuple[Record, ...] | None:
        """Return a saga's journal, checked. See ``Store.load``."""
        rows = self._rows_of_saga(_JOURNAL, saga_id)
        return _journal(saga_id, rows) if rows else None

    def head(self, saga_id: str) -> Head | None:
        """Return a saga's head, or None."""
        rows = self._rows_of_saga(_ONE_HEAD, saga_id)
        return _head(rows[0]) if rows else None

    def heads(self, *, only_unfinished: bool, limit: int | None) -> list[Head]:
        """Return the heads, newest first, asked for page by page so that no question is long."""
        statement = _UNFINISHED_HEADS if only_unfinished else _ALL_HEADS
        heads: list[Head] = []
        below, wanted = _NUMBER_MAX, 0
        while limit is None or len(heads) < limit:
            left = HEADS_PER_QUESTION if limit is None else limit - len(heads)
            wanted = min(HEADS_PER_QUESTION, left)
            rows = self._rows(statement, below, wanted)
            heads += [_head(row) for row in rows]
            if len(rows) < wanted:
                break
            below = rows[-1][0]
        return heads

    def pending_commands(self) -> Sequence[Command]:
        """Return the commands without an answer, oldest first."""
        return commands_of(self._rows(PENDING_COMMANDS))

    def command_answer(self, number: int) -> Mapping[str, Any] | None:
        """Return the answer to a command, or None."""
        rows = self._rows("SELECT answer FROM commands WHERE number = ?", number)
        if not rows or rows[0][0] is None:
            return None
        return decode_object(rows[0][0], what=f"The answer to command {number}")

    def saga_commands(self, saga_id: str) -> Sequence[Command]:
        """Return the latest commands for a saga with their answers, oldest first."""
        rows = self._rows_of_saga(_SAGA_COMMANDS, saga_id, SAGA_COMMANDS_MAX)
        return tuple(_answered(*row) for row in reversed(rows))

    def meta(self) -> dict[str, Any]:
        """Return the store's facts about its writer: epoch, pid, host, since."""
        return dict(self._rows("SELECT key, value FROM meta"))

    # --- the connection --------------------------------------------------------------------------

    def _rows_of_saga(self, statement: str, saga_id: str, *bindings: Any) -> list[Any]:
        if not is_text(saga_id):  # no saga was ever stored under such an id
            return []
        return self._rows(statement, saga_id, *bindings, saga_id=saga_id)

    def _rows(self, statement: str, *bindings: Any, saga_id: str | None = None) -> list[Any]:
        """Return the rows of one statement.

        Raises:
            CorruptRecordError: The pages that hold the answer are damaged.
            StoreUnavailableError: The store failed; asking changes nothing, so ask again.
        """
        connection = self._connection or self._connect()
        try:
            return connection.execute(statement, bindings).fetchall()
        except (apsw.CorruptError, UnicodeDecodeError) as error:
            self.close()
            whose = "the store" if saga_id is None else f"saga {saga_id!r}"
            raise CorruptRecordError(
                f"A part of {whose} in {self._path!r} cannot be read: the database file is damaged "
                "there. Nothing was changed; restore it from a copy.",
                saga_id=saga_id,
                path=self._path,
            ) from error
        except apsw.Error as error:
            errno = connection.system_errno
            self.close()
            raise unavailable(self._path, error, doing="reading", errno=errno) from error
        finally:
            # Such a connection never notices a change, so it lives for one question.
            if self._is_immutable:
                self.close()

    def _connect(self) -> apsw.Connection:
        if not Path(self._path).is_file():
            raise StoreError(
                f"Store {self._path!r} was not opened for reading: there is no such file. Check "
                "the path; the first process that opens it for writing makes it."
            )
        try:
            connection = self._open()
        except apsw.Error as error:
            raise StoreError(
                f"Store {self._path!r} was not opened for reading: {words_for(error)}. Check the "
                "permissions of the file and of its directory."
            ) from error
        self._connection = connection
        return connection

    def _open(self) -> apsw.Connection:
        """Open the file, without a log if there is none and no right to make one."""
        connection = apsw.Connection(self._path, flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.set_busy_timeout(BUSY_WAIT_MS)
            self._check(connection)
        except (apsw.CantOpenError, apsw.ReadOnlyError):
            connection.close(True)
            if has_log(self._path):
                raise  # there may be records in it, and there is no right to read them with it
            connection = open_immutable(self._path)
            self._check(connection)
            self._is_immutable = True
        else:
            self._is_immutable = False
        return connection

    def _check(self, connection: apsw.Connection) -> None:
        try:
            is_ours = check_is_ours(connection, self._path)
        except (apsw.NotADBError, apsw.CorruptError) as error:
            connection.close(True)
            raise not_a_database(self._path) from error
        except StoreError:
            connection.close(True)
            raise
        if not is_ours:
            connection.close(True)
            raise StoreError(
                f"Store {self._path!r} was not opened for reading: the file is empty, no store was "
                "made in it yet. Open it for writing first."
            )


def commands_of(rows: Sequence[Any]) -> Sequence[Command]:
    """Return the commands that ``PENDING_COMMANDS`` found."""
    return tuple(
        Command(
            number=number,
            saga_id=saga_id,
            kind=kind,
            body=decode_object(body, what=f"Command {number}"),
        )
        for number, saga_id, kind, body in rows
    )


def _answered(number: int, saga_id: str, kind: str, body: bytes, answer: bytes | None) -> Command:
    return Command(
        number=number,
        saga_id=saga_id,
        kind=kind,
        body=decode_object(body, what=f"Command {number}"),
        answer=None
        if answer is None
        else decode_object(answer, what=f"The answer to command {number}"),
    )


def _head(row: tuple[Any, ...]) -> Head:
    """Return a row as a head.

    Raises:
        CorruptRecordError: It has values of types that no head has.
    """
    (
        number,
        saga_id,
        state,
        outcome,
        position,
        created_at,
        updated_at,
        goal,
        is_final,
        waits_for,
    ) = row
    texts, numbers = (saga_id, state, waits_for), (position, created_at, updated_at)
    is_readable = all(type(text) is str for text in texts)
    if not is_readable or not all(isinstance(value, int | float) for value in numbers):
        raise CorruptRecordError(
            f"The head of saga {saga_id!r}, the {number}. of the store, is damaged. Nothing was "
            "changed; restore it from a copy of the store.",
            saga_id=saga_id,
        )
    return Head(
        saga_id=saga_id,
        state=state,
        outcome=outcome,
        position=position,
        created_at=created_at,
        updated_at=updated_at,
        goal=goal,
        is_final=bool(is_final),
        waits_for=waits_for,
    )


def _journal(saga_id: str, rows: list[Any]) -> tuple[Record, ...]:
    """Return the records of the rows, having checked that they are whole and without a gap."""
    records: list[Record] = []
    end = rows[0][0]
    for _end, position, count, body, crc in rows:
        if position is None:
            break
        if position != len(records):
            raise _damaged(saga_id, len(records), f"the next entry is at {position}")
        # A flipped bit can make another type of it, for which there is no checksum.
        if type(body) is not bytes or checksum(saga_id, position, count, body) != crc:
            raise _damaged(saga_id, position, "its checksum does not match")
        records += CODEC.decode(body, saga_id=saga_id, position=position)
        if len(records) != position + count:
            raise _damaged(saga_id, position, f"it does not hold {count} records")
    if len(records) != end:
        raise _damaged(saga_id, len(records), f"the journal should go on to {end}")
    return tuple(records)


def _damaged(saga_id: str, position: int, why: str) -> CorruptRecordError:
    return CorruptRecordError(
        f"The journal of saga {saga_id!r} is damaged at position {position}: {why}. Only this saga "
        "is affected and nothing was changed; restore it from a copy of the store.",
        saga_id=saga_id,
        position=position,
    )
