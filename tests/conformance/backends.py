"""The stores under test: how each is opened, and how its writer is robbed of its place."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from fsm_saga.ports import Store
from fsm_saga.stores.memory import forget_memory
from fsm_saga.stores.opening import open_store
from fsm_saga.stores.sqlite_lock import lock_path_of


class Backend(Protocol):
    """One place that stores of one kind can be opened at, again and again."""

    def writer(self) -> AbstractAsyncContextManager[Store]:
        """Open it for writing."""

    def reader(self) -> AbstractAsyncContextManager[Store]:
        """Open it for reading."""

    def usurper(self) -> AbstractAsyncContextManager[Store]:
        """Open it for writing although its writer lives, as a failing lock would allow."""

    def forget(self) -> None:
        """Clean up."""


class MemoryBackend:
    """A named memory."""

    def __init__(self, directory: Path) -> None:
        self._name = str(directory)

    def writer(self) -> AbstractAsyncContextManager[Store]:
        return open_store(f"memory://{self._name}")

    def reader(self) -> AbstractAsyncContextManager[Store]:
        return open_store(f"memory://{self._name}", mode="read")

    def usurper(self) -> AbstractAsyncContextManager[Store]:
        return self.writer()  # nothing locks a memory

    def forget(self) -> None:
        forget_memory(self._name)


class SqliteBackend:
    """A file."""

    def __init__(self, directory: Path) -> None:
        self._path = str(directory / "sagas.db")

    def writer(self) -> AbstractAsyncContextManager[Store]:
        return open_store(f"sqlite:///{self._path}")

    def reader(self) -> AbstractAsyncContextManager[Store]:
        return open_store(f"sqlite:///{self._path}", mode="read")

    @asynccontextmanager
    async def usurper(self) -> AsyncIterator[Store]:
        os.unlink(lock_path_of(self._path))  # the next one locks another file of that name
        async with self.writer() as store:
            yield store

    def forget(self) -> None:
        """Leave the file to pytest's temporary directory."""


BACKENDS: dict[str, Callable[[Path], Backend]] = {"memory": MemoryBackend, "sqlite": SqliteBackend}
