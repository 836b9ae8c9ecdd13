"""The connections to one Redis server, and what its errors mean.

Nothing is sent twice on its own: whether a lost reply's script ran is for the caller to find out.
Appends have a connection to themselves, on which one batch is under way at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from redis import exceptions as failures
from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from fsm_saga.errors import StoreError, StoreUnavailableError
from fsm_saga.stores.redis_layout import Layout
from fsm_saga.stores.redis_scripts import Script
from fsm_saga.stores.redis_url import RedisUrl
from fsm_saga.stores.refusals import closed

ANSWER_S_MAX = 5.0
CONNECT_S_MAX = 5.0
CONNECTIONS_MAX = 8

_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (failures.AuthenticationError, "user or password is wrong or missing"),
    (failures.NoPermissionError, "this user may not do that"),
    (failures.BusyLoadingError, "the server is still loading its data"),
    (failures.ReadOnlyError, "the server is a replica, which takes no writes"),
    (failures.OutOfMemoryError, "the server has reached its memory limit"),
    (failures.TimeoutError, f"the server did not answer within {ANSWER_S_MAX:g} s"),
    (TimeoutError, f"the server did not answer within {ANSWER_S_MAX:g} s"),
    (failures.InvalidResponse, "what came is no answer of Redis"),
    (ValueError, "what came is no answer of Redis"),
    (failures.ConnectionError, "the server cannot be reached"),
    (OSError, "the server cannot be reached"),
)
# A ValueError is what the client makes of an answer that is none.
FAILURES = (failures.RedisError, OSError, ValueError)


class RedisLink:
    """What a store's parts share: connections, keys and the number of shards.

    Attributes:
        layout: Its keys.
        shards: The number of shards, once that is known.
        store_id: What tells this store from another of its name; empty until it is known.
        commits_seen: The most commits that the server was ever seen to count, by shard.
    """

    def __init__(self, place: RedisUrl) -> None:
        self.place = place
        self.layout = Layout(place.prefix)
        self.shards = 0
        self.store_id = b""
        self.commits_seen: dict[int, int] = {}
        self._is_closed = False
        self._many = _client_of(place, CONNECTIONS_MAX)
        self._one = _client_of(place, 1)

    @property
    def url(self) -> str:
        """The URL it was opened by, without a password."""
        return self.place.shown

    @property
    def is_closed(self) -> bool:
        """True after ``close``."""
        return self._is_closed

    async def ask(self, command: str, *arguments: bytes | str | int) -> Any:
        """Return the answer to a command as Redis gives it.

        Raises:
            StoreUnavailableError: The server failed.
        """
        return await self._told(lambda: self._many.execute_command(command, *arguments))

    async def run(
        self, script: Script, keys: Sequence[bytes], *arguments: bytes | str | int
    ) -> Any:
        """Return what a script returns.

        Raises:
            StoreUnavailableError: The server failed; the script may or may not have run.
        """
        return await self._told(lambda: _run(self._many, script, keys, arguments))

    async def run_in_order(
        self, script: Script, keys: Sequence[bytes], *arguments: bytes | str | int
    ) -> Any:
        """Return what a script returns, on the connection that appends have to themselves.

        Raises:
            StoreUnavailableError: The server failed; the script may or may not have run.
        """
        return await self._told(lambda: _run(self._one, script, keys, arguments))

    async def drop_order(self) -> None:
        """Give up the connection of the appends: what comes on it is not to be believed."""
        await self._one.connection_pool.disconnect()

    async def close(self) -> None:
        """Close the connections. A second call does nothing."""
        self._is_closed = True
        await self._many.aclose(close_connection_pool=True)
        await self._one.aclose(close_connection_pool=True)

    async def _told(self, ask: Callable[[], Any]) -> Any:
        """Return what ``ask`` returns, or say in our words what failed."""
        if self._is_closed:
            raise closed(self.url)
        try:
            return await ask()
        except FAILURES as error:
            raise self.unavailable(error) from error

    def unavailable(self, error: Exception) -> StoreError:
        """Return the error that callers get for one of Redis's."""
        reason = words_for(error)
        if isinstance(error, failures.ResponseError) and "WRONGTYPE" in str(error):
            return StoreError(
                f"Store {self.url!r} is damaged: below its prefix {self.place.prefix!r} lies what "
                f"somebody else has written ({error}). Restore it from a copy, or name another "
                "prefix.",
                path=self.url,
            )
        return StoreUnavailableError(
            f"Store {self.url!r} failed: {reason}. What was being written may or may not be "
            "there: read back first. The store goes on by itself once the cause is gone.",
            path=self.url,
            reason=reason,
        )


def words_for(error: Exception) -> str:
    """Return in plain words what went wrong."""
    said = str(error).strip().splitlines()[:1]
    for kind, words in _WORDS:
        if isinstance(error, kind):
            return words if kind is failures.TimeoutError or not said else f"{words} ({said[0]})"
    return f"Redis says {said[0] if said else type(error).__name__}"


def _client_of(place: RedisUrl, connections: int) -> Any:
    """Return a client; redis-py declares no type of what we ask of it."""
    tls: dict[str, Any] = {}
    if place.is_tls:
        tls = {
            "ssl_ca_certs": place.ca and str(place.ca),
            "ssl_certfile": place.cert and str(place.cert),
            "ssl_keyfile": place.key and str(place.key),
        }
    pool = BlockingConnectionPool(
        connection_class=SSLConnection if place.is_tls else Connection,
        max_connections=connections,
        timeout=None,  # each use is bounded, so a free connection comes
        host=place.host,
        port=place.port,
        db=place.db,
        username=place.user,
        password=place.password,
        socket_timeout=ANSWER_S_MAX,
        socket_connect_timeout=CONNECT_S_MAX,
        protocol=2,  # answers look alike, whatever the server speaks beside it
        retry=Retry(NoBackoff(), 0),
        **tls,
    )
    return Redis(connection_pool=pool)


async def _run(
    client: Any,
    script: Script,
    keys: Sequence[bytes],
    arguments: Sequence[bytes | str | int],
) -> Any:
    try:
        return await client.execute_command("EVALSHA", script.sha, len(keys), *keys, *arguments)
    except failures.NoScriptError:  # a server that was started anew knows none
        return await client.execute_command("EVAL", script.text, len(keys), *keys, *arguments)


async def wait_s(event: asyncio.Event, seconds: float) -> bool:
    """Return True as soon as the event is set, False after so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
