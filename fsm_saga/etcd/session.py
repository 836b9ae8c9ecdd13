"""A lease that is kept alive, and the moment from which it must not be relied on.

Etcd ends a lease when it has not been renewed for its time to live; it counts from when it took
the renewal. We count from when the last *answered* renewal was sent, which is earlier, and stop a
margin before. So our end comes first, however long the answer took, as long as our clock runs no
faster than the margin allows. No message is needed to learn of it: a process that was paused finds
its lease over as soon as it looks.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fsm_saga.etcd.clock import Clock, lease_time_s
from fsm_saga.etcd.data import LeaseGrant
from fsm_saga.etcd.errors import (
    EtcdError,
    ForeignClusterError,
    LeaseExistsError,
    LeaseLostError,
    LeaseNotFoundError,
    UnknownOutcomeError,
)
from fsm_saga.etcd.transport import EtcdTransport

RETRY_PAUSE_S = 0.1
REVOKE_TIMEOUT_S = 1.0
RENEWALS_PER_TTL = 3

T = TypeVar("T")


class Session:
    """A lease in use. Made by ``open_session``; once lost it stays lost.

    Attributes:
        lease_id: The lease, for keys that are to go with it.
        ttl_s: How long the lease lives without renewal.
        lost: Set when the lease is over.
    """

    def __init__(
        self,
        transport: EtcdTransport,
        granted: LeaseGrant,
        *,
        sent_at: float,
        margin_s: float,
        clock: Clock,
    ) -> None:
        self.lease_id = granted.lease_id
        self.ttl_s = granted.ttl_s
        self.lost = asyncio.Event()
        self._transport = transport
        self._margin_s = margin_s
        self._clock = clock
        self._expires_at = sent_at + granted.ttl_s - margin_s
        self._reason = ""

    @property
    def expires_at(self) -> float:
        """When the lease is over unless it is renewed before, on the session's clock."""
        return self._expires_at

    @property
    def is_alive(self) -> bool:
        """Whether the lease may be relied on now."""
        if not self.lost.is_set() and self._clock() >= self._expires_at:
            self._lose("no renewal was answered in time")
        return not self.lost.is_set()

    def check_alive(self) -> None:
        """Return if the lease may be relied on now.

        Raises:
            LeaseLostError: It is over.
        """
        if not self.is_alive:
            raise self._lost_error()

    async def wait_lost(self) -> str:
        """Return why the lease is over, once it is."""
        await self.lost.wait()
        return self._reason

    async def while_alive(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what ``work`` returns; it is cancelled when the lease is over first.

        Raises:
            LeaseLostError: The lease is over.
        """
        working = asyncio.ensure_future(work)
        losing = asyncio.ensure_future(self.lost.wait())
        try:
            await asyncio.wait({working, losing}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise self._lost_error()
        finally:
            for task in (working, losing):
                task.cancel()
            await asyncio.gather(working, losing, return_exceptions=True)

    async def keep_alive(self) -> None:
        """Renew the lease three times in its life, and return when it is lost."""
        try:
            await self._keep_alive()
        finally:
            self._lose("it is no longer renewed")

    async def _keep_alive(self) -> None:
        pause_s = self.ttl_s / RENEWALS_PER_TTL
        while self.is_alive:
            # The lease's own end comes in any case, also while a renewal hangs.
            await asyncio.sleep(min(pause_s, max(self._expires_at - self._clock(), 0.0)))
            pause_s = self.ttl_s / RENEWALS_PER_TTL
            left_s = self._expires_at - self._clock()
            if left_s <= 0:
                continue
            sent_at = self._clock()
            try:
                async with asyncio.timeout(left_s):
                    ttl_s = await self._transport.keep_lease_alive(self.lease_id, timeout_s=left_s)
            except (LeaseNotFoundError, ForeignClusterError) as error:
                self._lose(error.message)
            except (EtcdError, TimeoutError):
                pause_s = RETRY_PAUSE_S
            else:
                # Asked first: an answer that came after our own end changes nothing.
                if self.is_alive:
                    self._expires_at = sent_at + ttl_s - self._margin_s

    async def revoke(self) -> None:
        """End the lease, as far as etcd can be reached; if not it ends by itself."""
        self._lose("it was given back")
        with contextlib.suppress(EtcdError, TimeoutError):
            async with asyncio.timeout(REVOKE_TIMEOUT_S):
                await self._transport.revoke_lease(self.lease_id)

    def _lose(self, reason: str) -> None:
        if not self.lost.is_set():
            self._reason = reason
            self.lost.set()

    def _lost_error(self) -> LeaseLostError:
        return LeaseLostError(
            f"lease {self.lease_id:x} is over: {self._reason}. Whatever depends on it must stop; "
            "open a new session.",
            lease_id=self.lease_id,
        )


@asynccontextmanager
async def open_session(
    transport: EtcdTransport,
    *,
    ttl_s: int = 10,
    margin_s: float = 1.0,
    clock: Clock = lease_time_s,
    choose_id: Callable[[], int] = lambda: secrets.randbits(62) + 1,
) -> AsyncIterator[Session]:
    """Open a session whose lease is renewed until the end of the context, which ends the lease.

    The body is not interrupted when the lease is lost: it asks ``is_alive``, waits for ``lost``,
    or works inside ``while_alive``.

    Args:
        transport: The cluster.
        ttl_s: The lease's time to live; etcd may grant more (its least is 2 with the defaults).
        margin_s: How long before etcd's end ours comes.
        clock: Seconds that never go back and do not stand still.
        choose_id: Chooses the id of the lease, at random.

    Raises:
        ValueError: ``margin_s`` leaves nothing of ``ttl_s``.
        NothingWrittenError: Etcd refuses the lease.
        UnknownOutcomeError: Etcd gave no clear answer for as long as the lease would have lived.
    """
    if not 0 <= margin_s < ttl_s:
        raise ValueError(f"margin_s={margin_s} must be at least 0 and below ttl_s={ttl_s}.")
    session = await _grant(transport, ttl_s, margin_s, clock, choose_id)
    # Not a task group: what the body raises is to come out as it is.
    keeping = asyncio.create_task(session.keep_alive(), name="etcd lease")
    try:
        yield session
    finally:
        keeping.cancel()
        if session.is_alive:
            await session.revoke()
        await asyncio.gather(keeping, return_exceptions=True)
        if not keeping.cancelled() and (error := keeping.exception()) is not None:
            raise error


async def _grant(
    transport: EtcdTransport,
    ttl_s: int,
    margin_s: float,
    clock: Clock,
    choose_id: Callable[[], int],
) -> Session:
    """Get a lease under an id of our own, so that a lost answer can be asked for again."""
    lease_id = choose_id()
    first_at = clock()
    is_sent = False
    while True:
        sent_at = clock()
        try:
            granted = await transport.grant_lease(ttl_s, lease_id=lease_id)
        except LeaseExistsError:
            if not is_sent:
                # The id is somebody else's, by a chance of one in quintillions.
                lease_id = choose_id()
                continue
            # An earlier try went through, and its time began as early as that.
            granted, sent_at = LeaseGrant(lease_id=lease_id, ttl_s=ttl_s), first_at
        except UnknownOutcomeError:
            is_sent = True
            if clock() - first_at >= ttl_s - margin_s:
                raise
            await asyncio.sleep(RETRY_PAUSE_S)
            continue
        return Session(transport, granted, sent_at=sent_at, margin_s=margin_s, clock=clock)
