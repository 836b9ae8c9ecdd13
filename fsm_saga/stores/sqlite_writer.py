"""The one connection that writes a SQLite store: transactions, without any asyncio.

Not for two threads at once; ``GroupCommit`` sees to that. A connection on which anything failed
is closed and never used again: after a failed fsync the pages in memory and on the disk may differ
and nobody can tell. The next use opens a fresh one, which writes the log again if a sync failed
(``sqlite_log`` says why), makes sure that this writer still leads, then commits a mark: from then
on the fate of what had failed is settled for good, so a caller that reads back reads what stays.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import apsw

from fsm_saga.errors import (
    ConflictError,
    CorruptRecordError,
    FsmSagaError,
    InvariantBrokenError,
    StoreError,
)
from fsm_saga.ports import Command
from fsm_saga.stores.codec import encode_object
from fsm_saga.stores.damage import damaged_answer
from fsm_saga.stores.group_commit import RowRefusedError, WriterBusyError
from fsm_saga.stores.refusals import (
    check_command,
    conflict,
    fenced,
    grown,
    is_text,
    no_command,
    not_final,
    removed_answer,
)
from fsm_saga.stores.sqlite_commands import (
    PENDING_COMMANDS,
    SET_ANSWER,
    answer_checksum,
    insert_command,
    pending_of,
)
from fsm_saga.stores.sqlite_faults import ROW_ERRORS, is_failed_sync, unavailable
from fsm_saga.stores.sqlite_heads import SAGA_OF_ID, mend_position, stored_saga
from fsm_saga.stores.sqlite_log import write_log_again
from fsm_saga.stores.sqlite_migration import migrate
from fsm_saga.stores.sqlite_rows import AppendRow
from fsm_saga.stores.sqlite_schema import open_for_writing

ANSWERED_COMMANDS_MAX = 1_000
BUSY_WAIT_MS = 5_000
CHECKPOINT_WAIT_MS = 250
LOG_PAGES_MAX = 1_000
# A log that readers keep from starting anew is made to: new readers wait for a moment.
LOG_PAGES_FORCED = 16 * LOG_PAGES_MAX

_EPOCH = "SELECT value FROM meta WHERE key = 'epoch'"
_NEW_HEAD = (
    "INSERT INTO heads(state, outcome, position, created_at, updated_at, goal, waits_for, crc,"
    " saga_id, is_final) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_SET_HEAD = (
    "UPDATE heads SET state = ?, outcome = ?, position = ?, created_at = ?, updated_at = ?,"
    " goal = ?, waits_for = ?, crc = ?"
)
# Without a word on is_final the index of the unfinished sagas need not be touched.
_GO_ON = f"{_SET_HEAD} WHERE saga_id = ? AND position = ? AND is_final = 0"
_UNFINISH = f"{_SET_HEAD}, is_final = 0 WHERE saga_id = ? AND position = ?"
_FINISH = f"{_SET_HEAD}, is_final = 1 WHERE saga_id = ? AND position = ?"
_NEW_ENTRY = (
    "INSERT INTO entries(saga, position, count, body, crc)"
    " SELECT number, ?, ?, ?, ? FROM heads WHERE saga_id = ?"
)
_COMMANDS_OF = "SELECT number FROM commands WHERE saga_id = ?"
_SET_META = (
    "INSERT INTO meta(key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
)

T = TypeVar("T")


class JournalWriter:
    """Writes appends, commands and answers as the writer of one epoch."""

    _execute: Callable[..., Any]  # of a cursor, which keeps its statements prepared

    def __init__(self, path: str) -> None:
        self.epoch = 0
        self._log_pages = 0
        self._checkpoint_at = LOG_PAGES_MAX
        self._path = path
        self._connection: apsw.Connection | None = None
        self._has_commands = True
        self._data_version = -1
        # What the process before us left may be the work of a disk that failed under it.
        self._is_log_suspect = True

    @property
    def is_open(self) -> bool:
        """True if the connection can be used; False after a fault, until ``open``."""
        return self._connection is not None

    @property
    def needs_checkpoint(self) -> bool:
        """True when the log has grown so far that it should be moved into the database."""
        return self._log_pages >= self._checkpoint_at

    # --- opening and closing ---------------------------------------------------------------------

    def open(self) -> None:
        """Open the connection; the first time become the writer of a new epoch.

        Raises:
            FencedError: A newer writer has opened the store meanwhile.
            StoreError: See ``open_for_writing``.
        """
        if self._connection is not None:
            return
        connection = open_for_writing(self._path, may_create=self.epoch == 0)
        connection.set_wal_hook(self._note_log_pages)
        self._connection = connection
        self._execute = connection.cursor().execute
        self._data_version, self._has_commands = -1, True
        if self._is_log_suspect:
            self._write_log_again(connection)
        if self.epoch == 0:
            self.transact(lambda: migrate(connection))
        self.transact(self._claim if self.epoch == 0 else self._mark_reopened)

    def _write_log_again(self, connection: apsw.Connection) -> None:
        try:
            connection.set_busy_timeout(BUSY_WAIT_MS)
            write_log_again(connection, self._path)
        except apsw.Error as error:
            raise self._failed(error, doing="making its log durable") from error
        connection.set_busy_timeout(0)
        self._is_log_suspect = False

    def _claim(self) -> None:
        epoch = self._execute(_EPOCH).get
        if not isinstance(epoch, int):
            raise CorruptRecordError(
                f"Store {self._path!r} was not opened for writing: the number of its last writer "
                "is damaged. Nothing was changed; restore it from a copy.",
                path=self._path,
            )
        facts = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        for key, value in {"epoch": epoch + 1, **facts}.items():
            self._execute(_SET_META, (key, value))
        self.epoch = epoch + 1

    def _mark_reopened(self) -> None:
        self._execute("UPDATE meta SET value = value + 1 WHERE key = 'reopened'")

    def _note_log_pages(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        if pages < self._log_pages:  # it started anew
            self._checkpoint_at = LOG_PAGES_MAX
        self._log_pages = pages
        return apsw.SQLITE_OK

    def abandon(self) -> None:
        """Give the connection up without writing anything more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(apsw.Error):
                connection.close(True)

    def close(self) -> None:
        """Move the log into the database and close; whatever fails here has lost nothing."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(apsw.Error):
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
                connection.close()
            connection.close(True)

    # --- appends ---------------------------------------------------------------------------------

    def prepare(self, rows: Sequence[AppendRow], *, wait: bool) -> list[FsmSagaError | None]:
        """Begin a transaction, write all rows, and return for each why it was refused, or None.

        What is refused hurts no other row. ``commit`` has to follow. Without ``wait`` nothing
        here waits for another process.

        Raises:
            WriterBusyError: Another process writes just now; nothing was begun.
            FencedError: A newer writer has opened the store; nothing was written.
            RowRefusedError: A row holds what cannot be stored; nothing was written.
            StoreUnavailableError: The store failed.
        """
        self._begin(wait=wait)
        execute = self._execute
        refusals: list[FsmSagaError | None] = []
        try:
            for row in rows:
                if self._set_head(row) or self._set_mended_head(row):
                    execute(_NEW_ENTRY, row.entry)
                    refusals.append(None)
                else:
                    refusals.append(self._conflict(row))
        except ROW_ERRORS as error:
            self._roll_back()
            raise RowRefusedError(str(error)) from error
        except apsw.Error as error:
            raise self._failed(error, doing="writing") from error
        return refusals

    def _set_head(self, row: AppendRow) -> bool:
        """Write a row's head; False if the journal is not where the row expects it."""
        execute, changes = self._execute, self._connected().changes
        if row.is_new:
            execute(_NEW_HEAD, row.head)
        elif row.is_final:
            execute(_FINISH, row.head)
        else:
            execute(_GO_ON, row.head)
            if not changes():
                execute(_UNFINISH, row.head)
        return changes() > 0

    def _set_mended_head(self, row: AppendRow) -> bool:
        """Write a row's head if what refused it was damage to the head that is there."""
        return mend_position(self._execute, row.saga_id) and self._set_head(row)

    def commit(self) -> None:
        """Return when what ``prepare`` wrote is durable.

        Raises:
            StoreUnavailableError: It may or may not be.
        """
        try:
            self._execute("COMMIT")
        except apsw.Error as error:
            raise self._failed(error, doing="committing") from error

    def _begin(self, *, wait: bool) -> None:
        """Begin a transaction in which no other process writes and this writer leads."""
        connection = self._connected()
        try:
            if wait:
                connection.set_busy_timeout(BUSY_WAIT_MS)
            self._execute("BEGIN IMMEDIATE")
            epoch = self._execute(_EPOCH).fetchone()
        except apsw.BusyError as error:
            if not wait:
                raise WriterBusyError from error
            raise self._failed(error, doing="waiting for its turn") from error
        except apsw.Error as error:
            raise self._failed(error, doing="beginning") from error
        finally:
            if wait and self._connection is not None:
                connection.set_busy_timeout(0)
        if self.epoch and (epoch is None or epoch[0] != self.epoch):
            self._roll_back()
            raise fenced(self._path, epoch=self.epoch, leader=epoch and epoch[0])

    def _conflict(self, row: AppendRow) -> ConflictError:
        found = self._execute("SELECT position FROM heads WHERE saga_id = ?", (row.saga_id,)).get
        return conflict(row.saga_id, expected=row.position, found=found)

    # --- everything else -------------------------------------------------------------------------

    def transact(self, job: Callable[[], T]) -> T:
        """Return what ``job`` returns, once what it wrote is durable.

        Raises:
            FencedError: A newer writer has opened the store; nothing was written.
            StoreUnavailableError: The store failed.
        """
        self._begin(wait=True)
        try:
            result = job()
            self._execute("COMMIT")
        except apsw.Error as error:
            raise self._failed(error, doing="writing") from error
        except BaseException:  # boundary: the job's own, or an interrupt: no transaction stays open
            self._roll_back()
            raise
        return result

    def remove(self, saga_id: str, *, position: int | None = None) -> None:
        """Delete a final saga, its journal and its commands. See ``Store.remove``.

        Nothing that was appended before can come after it: what failed was rolled back, or was
        settled when the file was opened anew.
        """
        if is_text(saga_id):
            self.transact(lambda: self._remove(saga_id, position))

    def _remove(self, saga_id: str, position: int | None) -> None:
        found = self._execute("SELECT number FROM heads WHERE saga_id = ?", (saga_id,)).get
        if found is None:
            return
        saga = stored_saga(self._execute(SAGA_OF_ID, (saga_id,)).fetchall())
        head = saga.true_head()
        if not head.is_final:
            raise not_final(saga_id, head.state)
        if position not in (None, head.position):
            raise grown(saga_id, expected=position, found=head.position)
        number = saga.number
        self._execute("DELETE FROM entries WHERE saga = ?", (number,))
        self._execute("DELETE FROM heads WHERE number = ?", (number,))
        self._execute("DELETE FROM commands WHERE saga_id = ? AND answer IS NOT NULL", (saga_id,))
        body = encode_object(removed_answer(saga_id))
        for (waiting,) in self._execute(_COMMANDS_OF, (saga_id,)).fetchall():
            self._execute(SET_ANSWER, (body, answer_checksum(waiting, body), waiting))

    def post_command(self, command: Command) -> int:
        """Store a command and return its number."""
        check_command(command)
        body = encode_object(command.body)
        number = self.transact(lambda: insert_command(self._connected(), command, body))
        self._has_commands = True
        return number

    def pending_commands(self) -> Sequence[Command]:
        """Return the commands without an answer, oldest first.

        As long as no other process has written, and nothing was pending the last time, that is
        one look at a counter in shared memory. Damaged ones are refused, which their askers see.
        """
        self._connected()
        try:
            version = self._execute("PRAGMA data_version").get
            if version == self._data_version and not self._has_commands:
                return ()
            pending = pending_of(self._execute(PENDING_COMMANDS).fetchall())
        except apsw.BusyError:  # a log is being recovered just now; the next look finds them
            return ()
        except apsw.Error as error:
            raise self._failed(error, doing="looking for commands") from error
        for number in pending.damaged:
            self.answer_command(number, damaged_answer(number))
        self._data_version, self._has_commands = version, bool(pending.sound)
        return pending.sound

    def answer_command(self, number: int, answer: Mapping[str, Any]) -> None:
        """Store the answer; the first one stands. Old answers are dropped."""
        body = encode_object(answer)
        self.transact(lambda: self._answer(number, body))

    def _answer(self, number: int, body: bytes) -> None:
        self._execute(SET_ANSWER, (body, answer_checksum(number, body), number))
        if not self._connected().changes():
            known = self._execute("SELECT 1 FROM commands WHERE number = ?", (number,)).get
            if known is None:
                raise no_command(number)
        self._execute(
            "DELETE FROM commands WHERE number <= ? AND answer IS NOT NULL",
            (number - ANSWERED_COMMANDS_MAX,),
        )

    def checkpoint(self) -> None:
        """Move the log into the database, so that it can start anew.

        Raises:
            StoreUnavailableError: The disk failed; nothing that was committed is lost.
        """
        connection = self._connected()
        is_forced = self._log_pages >= LOG_PAGES_FORCED
        mode = apsw.SQLITE_CHECKPOINT_RESTART if is_forced else apsw.SQLITE_CHECKPOINT_PASSIVE
        self._checkpoint_at = self._log_pages + LOG_PAGES_MAX
        try:
            connection.set_busy_timeout(CHECKPOINT_WAIT_MS if is_forced else 0)
            connection.wal_checkpoint("main", mode)
        except apsw.BusyError:
            pass  # a reader is in the way: tried again when the log has grown by as much
        except apsw.Error as error:
            raise self._failed(error, doing="moving its log") from error
        connection.set_busy_timeout(0)

    def _connected(self) -> apsw.Connection:
        if self._connection is None:
            raise InvariantBrokenError(f"Store {self._path!r} was used after it had failed.")
        return self._connection

    def _roll_back(self) -> None:
        try:
            self._execute("ROLLBACK")
        except apsw.Error:
            self.abandon()

    def _failed(self, error: apsw.Error, *, doing: str) -> StoreError:
        errno = self._connection.system_errno if self._connection is not None else 0
        self._is_log_suspect |= is_failed_sync(error)
        self.abandon()
        return unavailable(self._path, error, doing=doing, errno=errno)
