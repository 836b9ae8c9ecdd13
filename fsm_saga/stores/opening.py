"""Which store a URL means."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from fsm_saga.errors import StoreError
from fsm_saga.ports import Store
from fsm_saga.stores.memory import MemoryStore
from fsm_saga.stores.refusals import is_text
from fsm_saga.stores.sqlite import SqliteReadStore, SqliteWriteStore

Mode = Literal["write", "read"]

_AVAILABLE = (
    "Available are 'sqlite:///relative.db', 'sqlite:////absolute/path.db' and 'memory://' (or "
    "'memory://name')."
)


@asynccontextmanager
async def open_store(url: str, *, mode: Mode = "write") -> AsyncIterator[Store]:
    """Give the store at ``url``, open until the end of the block.

    Opened for writing, it is made if need be and has this process as its only writer. Opened for
    reading it has to exist, and commands are all that can be written.

    Raises:
        StoreError: The URL names no store that can be opened; subclasses say more.
    """
    store = await _open(url, mode)
    try:
        yield store
    finally:
        await store.close()


async def _open(url: str, mode: Mode) -> Store:
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise StoreError(f"Store {url!r} was not opened: it is not a URL. {_AVAILABLE}")
    if scheme == "memory":
        return MemoryStore.open(url, rest, mode=mode)
    if scheme == "sqlite":
        path = sqlite_path(url)
        if mode == "read":
            return await SqliteReadStore.open(url, path)
        return await SqliteWriteStore.open(url, path)
    # The rest of the URL may hold a password, so it is not repeated.
    raise StoreError(f"The store was not opened: there is no backend {scheme!r}. {_AVAILABLE}")


def sqlite_path(url: str) -> str:
    """Return the path in a ``sqlite:///`` URL; four slashes begin an absolute one.

    Raises:
        StoreError: There is no path in it.

    Example:
        >>> sqlite_path("sqlite:///trips.db"), sqlite_path("sqlite:////var/lib/trips.db")
        ('trips.db', '/var/lib/trips.db')
    """
    prefix = "sqlite:///"
    path = url.removeprefix(prefix)
    if not url.startswith(prefix) or not path or "\0" in path or not is_text(path):
        raise StoreError(
            f"Store {url!r} was not opened: a path has to follow three slashes. {_AVAILABLE}"
        )
    if path == ":memory:":
        raise StoreError(f"Store {url!r} was not opened: use 'memory://' for that. {_AVAILABLE}")
    return path
