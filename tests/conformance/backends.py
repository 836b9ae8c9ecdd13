"""The stores under test: how each is opened, and how its writer is robbed of its place.

To put another store through the suite, write a ``Backend`` for it and enter what opens one in
``BACKENDS``; every test of this folder then runs on it, and ``-k NAME`` runs it alone. What opens
it is a context manager, given the test's request and an empty directory: a backend that lives in a
server takes the server from a fixture (``request.getfixturevalue``), uses a prefix of its own in
it, and removes what is below the prefix on the way out.

``LOCAL_BACKENDS`` are those that are a place of this machine. What only they can promise is in
``test_local_stores.py``.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from pathlib import Path
from typing import Protocol

import pytest

from fsm_saga.ports import Store
from fsm_saga.stores.memory import forget_memory
from fsm_saga.stores.opening import open_store
from fsm_saga.stores.sqlite_lock import lock_path_of
from tests.conformance.server_backends import open_etcd, open_etcd3, open_redis


class Backend(Protocol):
    """One place that stores of one kind can be opened at, again and again; empty at first."""

    def writer(self) -> AbstractAsyncContextManager[Store]:
        """Open it for writing."""

    def reader(self) -> AbstractAsyncContextManager[Store]:
        """Open it for reading."""

    def usurper(self) -> AbstractAsyncContextManager[Store]:
        """Open it for writing although its writer lives, as a failing lock would allow."""


class MemoryBackend:
    """A named memory."""

    def __init__(self, name: str) -> None:
        self._name = name

    def writer(self) -> AbstractAsyncContextManager[Store]:
        return open_store(f"memory://{self._name}")

    def reader(self) -> AbstractAsyncContextManager[Store]:
        return open_store(f"memory://{self._name}", mode="read")

    def usurper(self) -> AbstractAsyncContextManager[Store]:
        return self.writer()  # nothing locks a memory


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


Opener = Callable[[pytest.FixtureRequest, Path], AbstractContextManager[Backend]]


@contextmanager
def open_memory(_request: pytest.FixtureRequest, directory: Path) -> Iterator[Backend]:
    """Give a memory that is forgotten afterwards."""
    name = str(directory)
    yield MemoryBackend(name)
    forget_memory(name)


@contextmanager
def open_sqlite(_request: pytest.FixtureRequest, directory: Path) -> Iterator[Backend]:
    """Give a file in pytest's temporary directory, which is left to pytest."""
    yield SqliteBackend(directory)


LOCAL_BACKENDS: Mapping[str, Opener] = {"memory": open_memory, "sqlite": open_sqlite}
BACKENDS: Mapping[str, Opener] = {
    **LOCAL_BACKENDS,
    "etcd": open_etcd,
    "etcd3": open_etcd3,
    "redis": open_redis,
}
