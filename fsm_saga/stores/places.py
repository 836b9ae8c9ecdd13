"""Where stores for one writer are: a SQLite file, or the memory of this process."""

from __future__ import annotations

import asyncio
import os
from typing import Any, ClassVar

from fsm_saga.errors import StoreError, StoreLockedError
from fsm_saga.ports import Member, Store
from fsm_saga.stores.memory import MemoryStore, forget_memory
from fsm_saga.stores.sqlite import SqliteReadStore, SqliteWriteStore
from fsm_saga.stores.sqlite_lock import acquire_writer_lock, has_lock_file
from fsm_saga.stores.sqlite_reader import JournalReader
from fsm_saga.stores.sqlite_schema import check_file, check_library, check_place


class SqlitePlace:
    """A file; its writer is whoever holds the lock beside it."""

    def __init__(self, url: str, path: str) -> None:
        """Name the file; it is not touched."""
        self._url = url
        self._path = os.path.abspath(path)  # whatever directory the process goes to later

    @property
    def url(self) -> str:
        """The URL of the store."""
        return self._url

    async def check(self) -> None:
        """See ``Place.check``."""
        await asyncio.to_thread(self._check)

    def _check(self) -> None:
        check_library()
        check_place(self._path)
        check_file(self._path)

    async def open_writer(self) -> Store:
        """See ``Place.open_writer``."""
        return await SqliteWriteStore.open(self._url, self._path)

    async def open_reader(self) -> Store:
        """See ``Place.open_reader``."""
        return await SqliteReadStore.open(self._url, self._path)

    async def writer(self) -> tuple[Member, int] | None:
        """See ``Place.writer``.

        The only sure way to learn whether a lock is held is to take it. It is let go at once; who
        wants to write at that moment is refused and has to try again.
        """
        return await asyncio.to_thread(self._writer)

    def _writer(self) -> tuple[Member, int] | None:
        if not has_lock_file(self._path):
            return None
        try:
            acquire_writer_lock(self._path).release()
        except StoreLockedError as error:
            return _writer_of(error.facts), self._epoch()
        return None

    def _epoch(self) -> int:
        reader = JournalReader(self._path)
        try:
            return int(reader.meta().get("epoch", 0))
        except StoreError:  # it is about to make the file
            return 0
        finally:
            reader.close()

    async def release(self) -> None:
        """Do nothing: no file is open here."""


def _writer_of(facts: dict[str, Any]) -> Member:
    host, pid = facts.get("host") or "unknown host", facts.get("pid") or "unknown process"
    name = f"{host}:{pid}"
    return Member(member_id=name, name=name, started_at=float(facts.get("since") or 0.0))


class MemoryPlace:
    """The memory of this process, under a name; without one it is this place's own."""

    _writers: ClassVar[dict[str, Member]] = {}

    def __init__(self, url: str, name: str) -> None:
        """Name the memory; it comes to be with its first writer."""
        self._url = url
        self._is_own = not name
        self._name = name or f"of {id(self):x}"

    @property
    def url(self) -> str:
        """The URL of the store."""
        return self._url

    async def check(self) -> None:
        """Do nothing: there is always room for it."""

    async def open_writer(self) -> Store:
        """See ``Place.open_writer``."""
        if self._name in self._writers:
            raise StoreLockedError(
                f"Store {self._url!r} was not opened for writing: it has a writer already. "
                "Nothing was changed."
            )
        store = _HeldMemory.take(self._url, self._name, self._writers)
        name = f"memory:{os.getpid()}"
        self._writers[self._name] = Member(member_id=name, name=name, started_at=0.0)
        return store

    async def open_reader(self) -> Store:
        """See ``Place.open_reader``."""
        return MemoryStore.open(self._url, self._name, mode="read")

    async def writer(self) -> tuple[Member, int] | None:
        """See ``Place.writer``."""
        member = self._writers.get(self._name)
        return None if member is None else (member, 0)

    async def release(self) -> None:
        """Forget a memory that nobody else can name."""
        if self._is_own:
            forget_memory(self._name)


class _HeldMemory(MemoryStore):
    """A memory that is free for the next writer once it is closed."""

    _place: tuple[str, dict[str, Member]]

    @classmethod
    def take(cls, url: str, name: str, writers: dict[str, Member]) -> _HeldMemory:
        opened = MemoryStore.open(url, name)
        store = cls(url, opened.memory, epoch=opened.epoch)
        store._place = name, writers
        return store

    async def close(self) -> None:
        await super().close()
        name, writers = self._place
        writers.pop(name, None)
