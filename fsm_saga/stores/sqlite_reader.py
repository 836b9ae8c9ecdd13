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
from fsm_saga.errors import CorruptRecordError, StoreError, StoreVersionError
from fsm_saga.ports import SAGA_COMMANDS_MAX, Command, FinishedPage, Head
from fsm_saga.stores.heads import damaged_head
from fsm_saga.stores.refusals import is_text
from fsm_saga.stores.sqlite_commands import (
    ANSWER,
    PENDING_COMMANDS,
    SAGA_COMMANDS,
    answer_of,
    pending_of,
    shown_command,
)
from fsm_saga.stores.sqlite_faults import unavailable, words_for
from fsm_saga.stores.sqlite_heads import (
    HEAD_COLUMNS,
    SAGA_OF_ID,
    SAGA_OF_NUMBER,
    Rows,
    records_of,
    sound_head,
    stored_saga,
)
from fsm_saga.stores.sqlite_schema import (
    check_is_ours,
    has_log,
    not_a_database,
    open_immutable,
    show_as_present_schema,
)

HEADS_PER_QUESTION = 1_000
BUSY_WAIT_MS = 5_000

_HEADS = f"SELECT {HEAD_COLUMNS} FROM heads"  # noqa: S608  # names of ours alone
_JOURNAL = (
    "SELECT h.position, e.position, e.count, e.body, e.crc FROM heads h"
    " LEFT JOIN entries e ON e.saga = h.number WHERE h.saga_id = ? ORDER BY e.position"
)
_ONE_HEAD = f"{_HEADS} WHERE saga_id = ?"
_ALL_HEADS = f"{_HEADS} WHERE number < ? ORDER BY number DESC LIMIT ?"
_UNFINISHED_HEADS = f"{_HEADS} WHERE is_final = 0 AND number < ? ORDER BY number DESC LIMIT ?"
_NUMBER_MAX = 2**63 - 1
_UNREADABLE = (None,) * HEAD_COLUMNS.count(",")


class UnreadableTextError(CorruptRecordError):
    """A text in the answer is none; ``rows`` of other columns may do. Never leaves this module."""


class _IndexDamagedError(Exception):
    """The index of the unfinished sagas does not fit the heads."""


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
        self.rows("SELECT 1")

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
        if not rows:
            return None
        end, has_entries = rows[0][0], rows[0][1] is not None
        records = records_of(saga_id, [row[1:] for row in rows]) if has_entries else ()
        if len(records) == end and records:
            return records
        # Either the journal lacks its end, or the head that says so is damaged itself.
        closely = self._rows_of_saga(SAGA_OF_ID, saga_id)
        return stored_saga(closely).journal() if closely else None

    def head(self, saga_id: str) -> Head | None:
        """Return a saga's head, made again from its journal if it is damaged, or None.

        Raises:
            CorruptRecordError: If the journal is damaged too.
        """
        try:
            rows = self._rows_of_saga(_ONE_HEAD, saga_id)
        except UnreadableTextError:
            rows = None
        head = sound_head(rows[0]) if rows else None
        if head is not None or rows == []:
            return head
        closely = self._rows_of_saga(SAGA_OF_ID, saga_id)
        return stored_saga(closely).true_head() if closely else None

    def heads(self, *, only_unfinished: bool, limit: int | None) -> list[Head]:
        """Return the heads, newest first, asked for page by page so that no question is long.

        A damaged head is made again from its journal. Of a saga whose journal is damaged too, what
        is returned says so and nothing else.
        """
        try:
            return self._heads(_UNFINISHED_HEADS if only_unfinished else _ALL_HEADS, limit)
        except _IndexDamagedError:
            heads = self._heads(_ALL_HEADS, None)
            return [head for head in heads if not head.is_final][:limit]

    def finished(self, *, after: str, limit: int) -> FinishedPage:
        """Return a page of the sagas that have ended, the newest first. See ``Store.finished``."""
        page = self._page(_ALL_HEADS, int(after or _NUMBER_MAX), limit)
        found = (sound_head(row) or self._close_look(row[0]) for row in page)
        heads = tuple(head for head in found if head is not None and head.is_final)
        return FinishedPage(heads=heads, after=str(page[-1][0]) if len(page) == limit else "")

    def _heads(self, statement: str, limit: int | None) -> list[Head]:
        heads: list[Head] = []
        below, wanted = _NUMBER_MAX, 0
        while limit is None or len(heads) < limit:
            left = HEADS_PER_QUESTION if limit is None else limit - len(heads)
            wanted = min(HEADS_PER_QUESTION, left)
            page = self._page(statement, below, wanted)
            for row in page:
                head = sound_head(row) or self._close_look(row[0])
                if statement is _UNFINISHED_HEADS and (
                    row[0] >= below or (head is not None and head.is_final)
                ):
                    raise _IndexDamagedError
                below = row[0]
                if head is not None:
                    heads.append(head)
            if len(page) < wanted:
                break
        return heads

    def _page(self, statement: str, below: int, wanted: int) -> Rows:
        """Return rows of heads; one by one if a text in one of them is none."""
        try:
            return self.rows(statement, below, wanted)
        except UnreadableTextError:
            numbers = self.rows(statement.replace(HEAD_COLUMNS, "number"), below, wanted)
            return [(number, *_UNREADABLE) for (number,) in numbers]

    def _close_look(self, number: int) -> Head | None:
        """Return the true head of a saga whose head failed; None if it was removed meanwhile."""
        rows = self.rows(SAGA_OF_NUMBER, number)
        if not rows:
            return None
        saga = stored_saga(rows)
        try:
            return saga.true_head()
        except (CorruptRecordError, StoreVersionError):
            return damaged_head(saga.name)

    def pending_commands(self) -> Sequence[Command]:
        """Return the commands without an answer, oldest first.

        Damaged ones are left out: nobody may carry them out, and the writer refuses them.
        """
        return pending_of(self.rows(PENDING_COMMANDS)).sound

    def command_answer(self, number: int) -> Mapping[str, Any] | None:
        """Return the answer to a command, or None."""
        rows = self.rows(ANSWER, number)
        return answer_of(number, *rows[0]) if rows else None

    def saga_commands(self, saga_id: str) -> Sequence[Command]:
        """Return the latest commands for a saga with their answers, oldest first."""
        rows = self._rows_of_saga(SAGA_COMMANDS, saga_id, SAGA_COMMANDS_MAX)
        return tuple(shown_command(row) for row in reversed(rows))

    def meta(self) -> dict[str, Any]:
        """Return the store's facts about its writer: epoch, pid, host, since."""
        return dict(self.rows("SELECT key, value FROM meta"))

    # --- the connection --------------------------------------------------------------------------

    def _rows_of_saga(self, statement: str, saga_id: str, *bindings: Any) -> list[Any]:
        if not is_text(saga_id):  # no saga was ever stored under such an id
            return []
        return self.rows(statement, saga_id, *bindings, saga_id=saga_id)

    def rows(self, statement: str, *bindings: Any, saga_id: str | None = None) -> list[Any]:
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
            is_text = isinstance(error, UnicodeDecodeError)
            raise (UnreadableTextError if is_text else CorruptRecordError)(
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
            self._check(connection)
        except (apsw.CantOpenError, apsw.ReadOnlyError):
            if has_log(self._path):
                raise  # there may be records in it, and there is no right to read them with it
            connection = open_immutable(self._path)
            self._check(connection)
            self._is_immutable = True
        else:
            self._is_immutable = False
        return connection

    def _check(self, connection: apsw.Connection) -> None:
        """Return if the connection reads a store; else close it."""
        try:
            connection.set_busy_timeout(BUSY_WAIT_MS)
            self._check_store(connection)
        except (apsw.NotADBError, apsw.CorruptError) as error:
            connection.close(True)
            raise not_a_database(self._path) from error
        except BaseException:  # boundary: nobody else can close the connection
            connection.close(True)
            raise

    def _check_store(self, connection: apsw.Connection) -> None:
        if not check_is_ours(connection, self._path):
            raise StoreError(
                f"Store {self._path!r} was not opened for reading: the file is empty, no store was "
                "made in it yet. Open it for writing first."
            )
        show_as_present_schema(connection)
