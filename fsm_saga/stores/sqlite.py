"""``sqlite:///path``: journals in one SQLite file, for one coordinator and any number of readers.

``SqliteWriteStore`` writes through a group commit and one connection, under a lock of the operating
system and fenced by an epoch beside it. Both stores answer questions on a thread with a connection
of its own, so a long answer keeps neither the loop nor a commit waiting.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import apsw
from filelock import FileLock

from fsm_saga.core.records import Record
from fsm_saga.errors import StoreError
from fsm_saga.ports import Append, Command, FinishedPage, Head
from fsm_saga.stores.codec import encode_object
from fsm_saga.stores.group_commit import GroupCommit
from fsm_saga.stores.refusals import check_command, closed, read_only
from fsm_saga.stores.sqlite_commands import insert_command
from fsm_saga.stores.sqlite_faults import words_for
from fsm_saga.stores.sqlite_lock import acquire_writer_lock, has_lock_file
from fsm_saga.stores.sqlite_reader import BUSY_WAIT_MS, JournalReader
from fsm_saga.stores.sqlite_rows import AppendRow
from fsm_saga.stores.sqlite_schema import (
    check_file,
    check_is_present_schema,
    check_library,
    check_place,
)
from fsm_saga.stores.sqlite_writer import JournalWriter

T = TypeVar("T")


class SqliteReadStore:
    """A store opened for reading: while a writer is live too, and from any process."""

    def __init__(self, url: str, path: str) -> None:
        self._url = url
        self._path = os.path.abspath(path)  # whatever directory the process goes to later
        self._is_closed = False
        self._reader = JournalReader(self._path)
        self._read_thread = ThreadPoolExecutor(1, thread_name_prefix="fsm-saga-read")

    @classmethod
    async def open(cls, url: str, path: str) -> SqliteReadStore:
        """Return the store at ``path``, opened for reading.

        Raises:
            StoreError: There is none, or it cannot be read.
            StoreVersionError: A newer version of fsm_saga made it.
        """
        store = cls(url, path)
        try:
            await store._read(check_place, store._path)
            await store._read(store._reader.open)
        except BaseException:  # boundary: nobody else can close what was opened by half
            await store.close()
            raise
        return store

    @property
    def url(self) -> str:
        """The URL it was opened by."""
        return self._url

    @property
    def epoch(self) -> int:
        """The writer's fencing number, 0 for a reader."""
        return 0

    async def append(self, append: Append) -> None:
        """Refuse: see ``Store.append``."""
        raise read_only(self._url, f"An append to saga {append.saga_id!r}")

    async def load(self, saga_id: str) -> tuple[Record, ...] | None:
        """See ``Store.load``."""
        return await self._read(self._reader.load, saga_id)

    async def head(self, saga_id: str) -> Head | None:
        """See ``Store.head``."""
        return await self._read(self._reader.head, saga_id)

    async def heads(
        self, *, only_unfinished: bool = False, limit: int | None = None
    ) -> Sequence[Head]:
        """See ``Store.heads``."""
        return await self._read(
            lambda: self._reader.heads(only_unfinished=only_unfinished, limit=limit)
        )

    async def finished(self, *, after: str = "", limit: int) -> FinishedPage:
        """See ``Store.finished``."""
        return await self._read(lambda: self._reader.finished(after=after, limit=limit))

    async def remove(self, saga_id: str, *, position: int | None = None) -> None:
        """Refuse: see ``Store.remove``."""
        raise read_only(self._url, f"Removing saga {saga_id!r}")

    async def post_command(self, command: Command) -> int:
        """See ``Store.post_command``: the one thing that a reader writes."""
        return await self._read(self._post_command, command)

    async def pending_commands(self) -> Sequence[Command]:
        """See ``Store.pending_commands``."""
        return await self._read(self._reader.pending_commands)

    async def answer_command(self, number: int, answer: Mapping[str, Any]) -> None:
        """Refuse: see ``Store.answer_command``."""
        raise read_only(self._url, f"Answering command {number}")

    async def command_answer(self, number: int) -> Mapping[str, Any] | None:
        """See ``Store.command_answer``."""
        return await self._read(self._reader.command_answer, number)

    async def saga_commands(self, saga_id: str) -> Sequence[Command]:
        """See ``Store.saga_commands``."""
        return await self._read(self._reader.saga_commands, saga_id)

    async def close(self) -> None:
        """Finish what was asked and release the file. A second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        loop = asyncio.get_running_loop()
        try:
            await _to_its_end(loop.run_in_executor(self._read_thread, self._reader.close))
        finally:
            self._read_thread.shutdown(wait=False)

    async def _read(self, question: Callable[..., T], *arguments: Any) -> T:
        if self._is_closed:
            raise closed(self._url)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._read_thread, question, *arguments)

    def _post_command(self, command: Command) -> int:
        check_command(command)
        body = encode_object(command.body)
        connection: apsw.Connection | None = None
        try:
            connection = apsw.Connection(self._path, flags=apsw.SQLITE_OPEN_READWRITE)
            connection.set_busy_timeout(BUSY_WAIT_MS)
            connection.wal_autocheckpoint(0)  # that is the writer's work
            connection.pragma("synchronous", "full")
            check_is_present_schema(connection, self._path)
            connection.execute("BEGIN IMMEDIATE")
            number = insert_command(connection, command, body)
            connection.execute("COMMIT")
        except apsw.Error as error:
            errno = connection.system_errno if connection is not None else 0
            raise StoreError(
                f"The command {command.kind!r} for saga {command.saga_id!r} was not left in store "
                f"{self._path!r}: {words_for(error, errno=errno)}. Remove the cause and try again."
            ) from error
        else:
            return number
        finally:
            if connection is not None:
                connection.close(True)


class SqliteWriteStore(SqliteReadStore):
    """A store opened for writing: the only one of its file, of all processes."""

    def __init__(self, url: str, path: str) -> None:
        super().__init__(url, path)
        self._writer = JournalWriter(self._path)
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="fsm-saga-write")
        self._commits = GroupCommit(self._writer, self._write_thread)
        self._lock: FileLock | None = None

    @classmethod
    async def open(cls, url: str, path: str) -> SqliteWriteStore:
        """Return the store at ``path``, made if need be, with this process as its writer.

        Raises:
            StoreError: The path or the file cannot hold a store that we write.
            StoreLockedError: Another process is its writer.
            StoreVersionError: A newer version of fsm_saga made it.
            StoreUnavailableError: The disk failed.
        """
        store = cls(url, path)
        try:
            await store._read(store._open)
        except BaseException:  # boundary: nobody else can close what was opened by half
            await store.close()
            raise
        return store

    def _open(self) -> None:
        check_library()
        check_place(self._path)
        if not has_lock_file(self._path):
            check_file(self._path)  # before a file is made beside somebody else's database
        self._lock = acquire_writer_lock(self._path)
        check_file(self._path)
        self._writer.open()
        self._reader.open()

    @property
    def epoch(self) -> int:
        """The writer's fencing number; each new writer has a higher one."""
        return self._writer.epoch

    async def append(self, append: Append) -> None:
        """See ``Store.append``."""
        if self._is_closed:
            raise closed(self._url)
        await self._commits.append(AppendRow(append))

    async def remove(self, saga_id: str, *, position: int | None = None) -> None:
        """See ``Store.remove``."""
        await self._write(lambda: self._writer.remove(saga_id, position=position))

    async def post_command(self, command: Command) -> int:
        """See ``Store.post_command``."""
        return await self._write(lambda: self._writer.post_command(command))

    async def pending_commands(self) -> Sequence[Command]:
        """See ``Store.pending_commands``."""
        if self._is_closed:
            raise closed(self._url)
        return await self._commits.run_quick(self._writer.pending_commands)

    async def answer_command(self, number: int, answer: Mapping[str, Any]) -> None:
        """See ``Store.answer_command``."""
        await self._write(lambda: self._writer.answer_command(number, answer))

    async def close(self) -> None:
        """Finish what was accepted, release the file and free the lock."""
        if self._is_closed:
            return
        self._is_closed = True
        loop = asyncio.get_running_loop()
        try:
            await _to_its_end(self._commits.drain())
        finally:
            await _to_its_end(loop.run_in_executor(self._write_thread, self._shut))

    def _shut(self) -> None:
        """Close both connections and free the lock: one job, so that none of it is left out."""
        try:
            self._read_thread.shutdown()  # when what it was asked is answered
            self._reader.close()  # first: the last connection to close moves the log
            self._writer.close()
        finally:
            self._write_thread.shutdown(wait=False)
            if self._lock is not None:
                self._lock.release()

    async def _write(self, job: Callable[[], T]) -> T:
        if self._is_closed:
            raise closed(self._url)
        return await self._commits.run(job)

    async def _read(self, question: Callable[..., T], *arguments: Any) -> T:
        # After a fault the fate of what had failed is open until the writer is up again. To answer
        # before that could be to answer what will not stay.
        if not self._writer.is_open and self._writer.epoch and not self._is_closed:
            await self._commits.run(lambda: None)
        return await super()._read(question, *arguments)


async def _to_its_end(work: Awaitable[None]) -> None:
    """Return when ``work`` is done; a cancellation that came meanwhile is raised afterwards.

    A job that waits for its thread is taken back by a cancellation, and so would be what it closes.
    """
    future = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
