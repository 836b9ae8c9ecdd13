"""``redis://host``: a store in Redis, which coordinators can share.

Redis keeps what it has confirmed as well as its journal (AOF) and its disk do, on one server. It
is no consensus: after a failover to a replica, confirmed writes may be gone. Where that must not
happen, use etcd.
"""

from __future__ import annotations

import contextlib
import logging
from typing import NamedTuple

from fsm_saga.errors import StoreError, StoreUnavailableError
from fsm_saga.ports import Member, Roster, Store
from fsm_saga.stores.redis_checks import (
    RedisServerFacts,
    find_store,
    look_at_server,
    not_opened,
)
from fsm_saga.stores.redis_commits import RedisCommits
from fsm_saga.stores.redis_link import RedisLink
from fsm_saga.stores.redis_losses import marked_as_lost
from fsm_saga.stores.redis_seat import RedisSeat, look_at_roster
from fsm_saga.stores.redis_store import RedisStore
from fsm_saga.stores.redis_url import parse_redis_url
from fsm_saga.stores.sharding import SHARDS_MAX

logger = logging.getLogger(__name__)


async def open_redis_cluster(
    url: str, *, shards: int | None = None, may_create: bool = True
) -> RedisCluster:
    """Open the store in Redis, which is made if need be.

    Args:
        url: ``redis://[[user]:password@]host[:6379][/0][?prefix=NAME]``; see ``redis_url``.
        shards: The number of shards to make it with; None takes what is there, else the default.
        may_create: False to refuse a store that is not there, and to look at any server.

    Raises:
        StoreError: It cannot be opened; subclasses say more.
    """
    if shards is not None and not 1 <= shards <= SHARDS_MAX:
        raise StoreError(
            f"The store was not opened: it cannot have {shards} shards, only 1 to {SHARDS_MAX}."
        )
    link = RedisLink(parse_redis_url(url))
    try:
        facts = await look_at_server(link)
        if may_create:
            _check_server(link, facts)
        await find_store(link, shards=shards, may_create=may_create)
    except BaseException as error:  # boundary: whatever it was, the connections are given back
        await link.close()
        if isinstance(error, StoreUnavailableError) and error.__cause__ is not None:
            raise not_opened(link, error) from error
        raise
    return RedisCluster(link)


class RedisLook(NamedTuple):
    """What ``doctor`` tells of a store in Redis.

    Attributes:
        shown: Its URL without a password.
        refusal: Why it cannot be written, or empty.
        warning: What a person ought to know of what the server promises, or empty.
    """

    shown: str
    refusal: str
    warning: str


async def look_at_redis(url: str) -> RedisLook:
    """Return what the server of a store promises; nothing is changed.

    Raises:
        StoreError: It cannot be reached, or does not let us in.
    """
    link = RedisLink(parse_redis_url(url))
    try:
        facts = await look_at_server(link)
        is_lost = await link.ask("EXISTS", link.layout.lost)
    finally:
        await link.close()
    refusal = facts.refusal(is_relaxed=link.place.is_relaxed)
    if is_lost:
        refusal = marked_as_lost(link).message.rstrip(".")
    return RedisLook(link.url, refusal, facts.warning())


class RedisCluster:
    """The store in Redis that coordinators share."""

    def __init__(self, link: RedisLink) -> None:
        """Take over open connections."""
        self._link = link
        self._commits = RedisCommits(link)
        self._seats: list[RedisSeat] = []

    @property
    def url(self) -> str:
        """The URL it was opened by, without a password."""
        return self._link.url

    @property
    def shards(self) -> int:
        """The number of shards."""
        return self._link.shards

    @property
    def reader(self) -> Store:
        """The store as readers see it."""
        return RedisStore(self._link, self._commits)

    async def join(self, member: Member, *, ttl_s: float) -> RedisSeat:
        """See ``ClusterStore.join``."""
        seat = RedisSeat(self._link, self._commits, member, ttl_s=ttl_s)
        await seat.join()
        self._seats.append(seat)
        return seat

    async def roster(self) -> Roster:
        """See ``ClusterStore.roster``."""
        return (await look_at_roster(self._link))[0]

    async def close(self) -> None:
        """Leave every seat and close the connections."""
        await self._commits.drain()
        for seat in self._seats:
            with contextlib.suppress(StoreError):  # it ends with its lease
                await seat.leave()
        await self._link.close()


def _check_server(link: RedisLink, facts: RedisServerFacts) -> None:
    """Return if a store may be written on this server; log what a person ought to know of it."""
    refusal = facts.refusal(is_relaxed=link.place.is_relaxed)
    if refusal:
        raise StoreError(f"Store {link.url!r} was not opened for writing: {refusal}.")
    if facts.warning():
        logger.warning("store %s: %s", link.url, facts.warning())
