"""What has to be true of a Redis server, and of what lies in it, before a store is used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from redis import exceptions as failures

from fsm_saga.errors import StoreError, StoreUnavailableError
from fsm_saga.stores.redis_layout import FORMAT, check_format
from fsm_saga.stores.redis_link import RedisLink
from fsm_saga.stores.redis_scripts import CREATE
from fsm_saga.stores.sharding import SHARDS_DEFAULT

OLDEST = (6, 2)
SCAN_ROUNDS_MAX = 50
SCAN_COUNT = 1_000
_RELAXED = "or add 'durability=relaxed' to the URL if what was confirmed may be lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServerFacts:
    """What a server says of itself; None where it may not be asked.

    Attributes:
        version: As it calls itself, for example ``7.0.15``.
        is_replica: It follows another server.
        is_cluster: It spreads its keys over several servers.
        has_journal: It writes a journal (AOF), so a restart loses nothing that was in it.
        sync: When the journal is made durable: ``always``, ``everysec`` or ``no``.
        eviction: What it throws away at its memory limit; ``noeviction`` is nothing.
    """

    version: str | None
    is_replica: bool | None
    is_cluster: bool | None
    has_journal: bool | None
    sync: str | None
    eviction: str | None

    def refusal(self, *, is_relaxed: bool) -> str:
        """Return why a store is not to be written here and what to do, or an empty text."""
        numbers = tuple(int(part) for part in re.findall(r"\d+", self.version or "")[:2])
        if numbers and numbers < OLDEST:
            return f"the server is Redis {self.version}. Use 6.2 or newer, or Valkey"
        if self.is_cluster:
            return (
                "the server belongs to a Redis Cluster, which spreads keys that belong together. "
                "Use a server of its own"
            )
        if self.is_replica:
            return "the server is a replica. Name the one that it follows"
        if self.eviction not in (None, "noeviction"):
            return (
                f"at its memory limit the server throws keys away (maxmemory-policy "
                f"{self.eviction}), and journals with them. Set 'maxmemory-policy noeviction'"
            )
        if is_relaxed:
            return ""
        if self.has_journal is None:
            return (
                "the server does not say whether it keeps a journal. Let this user ask INFO, "
                f"{_RELAXED}"
            )
        if not self.has_journal:
            return (
                "the server keeps no journal (appendonly no), so its end loses what it had "
                f"confirmed. Set 'appendonly yes', {_RELAXED}"
            )
        return ""

    def warning(self) -> str:
        """Return what a person ought to know of what it promises, or an empty text."""
        if not self.has_journal:
            return "no journal (appendonly no): the end of the server loses what it had confirmed"
        if self.sync is None:
            return "the server does not say when its journal is made durable (appendfsync)"
        if self.sync != "always":
            return (
                f"appendfsync is {self.sync!r}: a power failure loses what was confirmed last; set "
                "'appendfsync always'"
            )
        return ""


async def look_at_server(link: RedisLink) -> RedisServerFacts:
    """Return what the server says of itself.

    Raises:
        StoreError: It cannot be reached, or does not let us in.
    """
    info = await _asked(link, "INFO")
    config = await _asked(link, "CONFIG GET", "appendfsync")
    if not info:
        return RedisServerFacts(
            version=None,
            is_replica=None,
            is_cluster=None,
            has_journal=None,
            sync=config.get("appendfsync"),
            eviction=None,
        )
    return RedisServerFacts(
        version=str(info.get("redis_version", "")) or None,
        is_replica=info.get("role") in ("slave", "replica"),
        is_cluster=bool(info.get("cluster_enabled")),
        has_journal=bool(info.get("aof_enabled")),
        sync=config.get("appendfsync"),
        eviction=info.get("maxmemory_policy"),
    )


async def find_store(link: RedisLink, *, shards: int | None, may_create: bool) -> None:
    """Tell the link which store it leads to; that is made first if it may be.

    Raises:
        StoreError: There is none, it has another number of shards than ``shards``, or something
            else lies below the prefix.
        StoreVersionError: A newer version of fsm_saga made it.
    """
    place, meta_key = link.place, link.layout.meta
    meta = await _meta(link)
    if not meta:
        if not may_create:
            raise StoreError(
                f"Store {place.shown!r} was not opened for reading: no store was made below prefix "
                f"{place.prefix!r} yet. Check the URL; the first process that opens it for writing "
                "makes it.",
                is_missing=True,
            )
        await _check_free(link)
        await link.run(CREATE, (meta_key,), FORMAT, shards or SHARDS_DEFAULT, uuid4().hex)
        meta = await _meta(link)
    found = check_format(place.shown, meta)
    if shards not in (None, found):
        raise StoreError(
            f"Store {place.shown!r} was not opened with {shards} shards: it was made with {found}, "
            "and that never changes. Nothing was changed; leave the number out."
        )
    link.shards, link.store_id = found, meta.get(b"id", b"")


async def _meta(link: RedisLink) -> Mapping[bytes, bytes]:
    found: Mapping[bytes, bytes] = await link.ask("HGETALL", link.layout.meta)
    return found


async def _check_free(link: RedisLink) -> None:
    """Return if nothing lies below the prefix, as far as a bounded look can tell."""
    layout, place = link.layout, link.place
    ours = (layout.epoch, layout.leaders, layout.heads, layout.all, layout.commands)
    found = await link.ask("EXISTS", *ours)
    cursor, key = 0, b""
    pattern = re.sub(rb"([\\*?\[\]])", rb"\\\1", layout.root) + b"*"
    for _ in range(SCAN_ROUNDS_MAX):
        if found:
            break
        cursor, keys = await link.ask("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT)
        found, key = len(keys), keys[0] if keys else b""
        if not int(cursor):
            break
    # What was found may be a store that somebody has made in this very moment.
    if found and not await _meta(link):
        example = f" (for example {key.decode(errors='replace')!r})" if key else ""
        raise StoreError(
            f"Store {place.shown!r} was not opened: below prefix {place.prefix!r} lie keys that "
            f"are of no store of ours{example}. Nothing was changed; name another with ?prefix=."
        )


async def _asked(link: RedisLink, command: str, *arguments: str) -> Mapping[str, Any]:
    """Return the answer to a question that a server may forbid; then there is nothing in it."""
    try:
        answer = await link.ask(command, *arguments)
    except StoreUnavailableError as error:
        cause = error.__cause__
        # A server for rent may not know the command at all.
        if isinstance(cause, failures.NoPermissionError) or "unknown command" in str(cause):
            return {}
        raise not_opened(link, error) from error
    return answer if isinstance(answer, Mapping) else {}


def not_opened(link: RedisLink, error: StoreUnavailableError) -> StoreError:
    """Return the error for a store whose server failed while it was being opened."""
    cause, reason = error.__cause__, error.facts.get("reason", "")
    text = f"Store {link.url!r} was not opened: {reason}. Nothing was changed; "
    if isinstance(cause, failures.AuthenticationError | failures.NoPermissionError):
        return StoreError(
            text + "check user and password in the URL, or FSM_SAGA_REDIS_PASSWORD, and what the "
            "user may do."
        )
    said = str(cause)
    if isinstance(cause, failures.ResponseError) and "DB index" in said:
        return StoreError(text + "name a database that the server has.")
    return StoreUnavailableError(
        text + "check host and port, and that the server runs.", path=link.url, reason=reason
    )
