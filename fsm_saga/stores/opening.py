"""Which store a URL means."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any, Literal, NamedTuple
from uuid import uuid4

from fsm_saga.errors import StoreError, StoreLockedError
from fsm_saga.ports import ClusterStore, Member, Roster, Seat, Store
from fsm_saga.stores.memory import MemoryStore
from fsm_saga.stores.places import MemoryPlace, SqlitePlace
from fsm_saga.stores.refusals import is_text
from fsm_saga.stores.single_cluster import SingleCluster
from fsm_saga.stores.sqlite import SqliteReadStore, SqliteWriteStore

Mode = Literal["write", "read"]

LEASE_TTL_S = 5.0
"""How long the others wait for a sign of life of a member before they take over."""
_IF_IT_DIED = (
    f"One that died without a word counts as there until its lease ends, {LEASE_TTL_S:g} s after "
    "its last sign of life unless `--lease-ttl` gave it longer: then try again."
)


class _Server(NamedTuple):
    """A backend on servers, imported only when a URL names it: its packages are an extra."""

    module: str
    opener: str
    extra: str


_SERVERS = {
    "etcd": _Server("fsm_saga.stores.etcd_cluster", "open_etcd_cluster", "etcd"),
    "redis": _Server("fsm_saga.stores.redis_cluster", "open_redis_cluster", "redis"),
    "rediss": _Server("fsm_saga.stores.redis_cluster", "open_redis_cluster", "redis"),
}

_AVAILABLE = (
    "Available are 'sqlite:///relative.db', 'sqlite:////absolute/path.db', 'memory://' (or "
    "'memory://name'), 'etcd://host:port/prefix' and 'redis://host:port/db'."
)


@asynccontextmanager
async def open_store(url: str, *, mode: Mode = "write") -> AsyncIterator[Store]:
    """Give the store at ``url``, open until the end of the block.

    Opened for writing, it is made if need be and has this process as its only writer: of a store
    that a cluster can share it then leads every shard, and while coordinators serve it that is
    refused. Opened for reading it has to exist, and commands are all that can be written.

    Raises:
        StoreError: The URL names no store that can be opened; subclasses say more.
    """
    if _scheme(url) in _SERVERS:
        async with open_cluster(url, may_create=mode == "write") as cluster:
            if mode == "read":
                yield cluster.reader
            else:
                async with _leading_all(cluster) as led:
                    yield led
        return
    store = await _open_single(url, mode)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def open_cluster(
    url: str, *, shards: int | None = None, may_create: bool = True
) -> AsyncIterator[ClusterStore]:
    """Give the store at ``url`` as coordinators share it, open until the end of the block.

    A store for one writer has one shard, which is led by whoever writes.

    Args:
        url: The store.
        shards: How many shards the store is made with; None takes those that it has.
        may_create: False to refuse a store on a server that is not there. A file is made by its
            first writer only.

    Raises:
        StoreError: The URL names no store that can be opened, or it has another number of shards.
    """
    scheme = _scheme(url)
    cluster: ClusterStore
    if scheme in _SERVERS:
        cluster = await _opener(scheme)(url, shards=shards, may_create=may_create)
    elif scheme == "memory":
        place = MemoryPlace(url, url.partition("://")[2])
        cluster = await SingleCluster.open(place, shards=shards)
    elif scheme == "sqlite":
        cluster = await SingleCluster.open(SqlitePlace(url, sqlite_path(url)), shards=shards)
    else:
        raise _no_backend(scheme)
    try:
        yield cluster
    finally:
        await cluster.close()


def this_member(*, is_ready: bool, name: str = "", **facts: Any) -> Member:
    """Return this process as a member, under a new id; ``facts`` are fields of ``Member``."""
    host = socket.gethostname()
    name = name or f"{host}:{os.getpid()}"
    member_id = f"{host}-{os.getpid()}-{uuid4().hex[:8]}"
    return Member(
        member_id=member_id, name=name, started_at=time.time(), is_ready=is_ready, **facts
    )


def is_shared(url: str) -> bool:
    """Return whether the URL names a store on a server."""
    return _scheme(url) in _SERVERS


def _scheme(url: str) -> str:
    scheme, separator, _rest = url.partition("://")
    if not separator:
        raise StoreError(f"Store {url!r} was not opened: it is not a URL. {_AVAILABLE}")
    return scheme


async def _open_single(url: str, mode: Mode) -> Store:
    scheme, _separator, rest = url.partition("://")
    if scheme == "memory":
        return MemoryStore.open(url, rest, mode=mode)
    if scheme == "sqlite":
        path = sqlite_path(url)
        if mode == "read":
            return await SqliteReadStore.open(url, path)
        return await SqliteWriteStore.open(url, path)
    raise _no_backend(scheme)


def _no_backend(scheme: str) -> StoreError:
    # The rest of the URL may hold a password, so it is not repeated.
    return StoreError(f"The store was not opened: there is no backend {scheme!r}. {_AVAILABLE}")


def _opener(scheme: str) -> Callable[..., Awaitable[ClusterStore]]:
    server = _SERVERS[scheme]
    try:
        module = import_module(server.module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing.partition(".")[0] == "fsm_saga":
            raise
        raise StoreError(
            f"The store was not opened: backend {scheme!r} needs the package {missing!r}, which is "
            f"not installed. Install fsm-saga[{server.extra}]."
        ) from error
    opener: Callable[..., Awaitable[ClusterStore]] = getattr(module, server.opener)
    return opener


@asynccontextmanager
async def _leading_all(cluster: ClusterStore) -> AsyncIterator[Store]:
    """Give the store as the leader of all its shards writes it.

    The seat is that of a member which cannot lead, so nobody counts on it when the shards are
    shared out, and those who serve wait until this one has left.
    """
    _check_unserved(cluster.url, await cluster.roster())
    seat = await cluster.join(this_member(is_ready=False), ttl_s=LEASE_TTL_S)
    try:
        yield await _all_shards(cluster, seat)
    finally:
        await seat.leave()


async def _all_shards(cluster: ClusterStore, seat: Seat) -> Store:
    terms = []
    for shard in range(cluster.shards):
        term = await seat.campaign(shard)
        if term is None:
            roster = await seat.roster()
            leader = roster.leaders.get(shard)
            member = roster.members.get(leader.member_id) if leader is not None else None
            who = "another process" if member is None else f"member {member.name!r}"
            raise StoreLockedError(
                f"Store {cluster.url!r} was not opened for writing: {who} leads shard {shard}. "
                "Nothing was changed. Leave it to that process, or try again once it has ended; "
                f"`fsm-saga cluster` tells who is there. {_IF_IT_DIED}"
            )
        terms.append(term)
    return seat.store(*terms)


def _check_unserved(url: str, roster: Roster) -> None:
    serving = sorted(member.name for member in roster.members.values() if member.is_ready)
    if serving:
        raise StoreLockedError(
            f"Store {url!r} was not opened for writing: {', '.join(map(repr, serving))} "
            f"{'serves' if len(serving) == 1 else 'serve'} it. Nothing was changed. Leave the work "
            "to who serves, or stop it first; `fsm-saga cluster` tells who is there. "
            f"{_IF_IT_DIED}"
        )


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
