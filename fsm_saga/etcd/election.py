"""Who holds a key, with a number that no earlier holder had.

A leader is whoever created the key, which hangs on the leader's lease. The revision of that
creation is the *fence*: it grows with each new leader, and every write of a leader compares it in
the transaction that writes. Neither the lease nor our clock makes that comparison unnecessary: a
leader that was paused acts before it looks.
"""

from __future__ import annotations

import asyncio
from typing import Final

from msgspec import Struct

from fsm_saga.errors import InvariantBrokenError
from fsm_saga.etcd.data import (
    Compare,
    Delete,
    KeyValue,
    Put,
    Range,
    RangeResult,
    Txn,
    TxnResult,
    WatchRequest,
    create_revision_is,
    is_absent,
)
from fsm_saga.etcd.errors import CompactedError, EtcdUnavailableError, UnknownOutcomeError
from fsm_saga.etcd.session import Session
from fsm_saga.etcd.transport import EtcdTransport
from fsm_saga.etcd.watch import Watch

RETRY_PAUSE_S: Final = 0.1


class Leadership(Struct, frozen=True, kw_only=True):
    """We hold ``key``; ``fence`` is the revision by which we created it."""

    key: bytes
    fence: int

    def guard(self) -> Compare:
        """Return the comparison that every write of this leader carries."""
        return create_revision_is(self.key, self.fence)


class Election:
    """One key that at most one session holds.

    ``poll_s`` is how often a candidate looks although no watch told it to. ``conditions`` must
    hold, too, for the key to be taken by ``try_once``; ``campaign`` is for elections without any.
    """

    def __init__(
        self,
        transport: EtcdTransport,
        session: Session,
        *,
        key: bytes,
        value: bytes = b"",
        poll_s: float = 5.0,
        conditions: tuple[Compare, ...] = (),
    ) -> None:
        self._transport = transport
        self._session = session
        self._key = key
        self._value = value
        self._poll_s = poll_s
        self._conditions = conditions

    async def campaign(self) -> Leadership:
        """Return once we lead, however long another one does.

        Raises:
            LeaseLostError: The session is over.
            NothingWrittenError: Etcd refuses.
        """
        self._session.check_alive()
        leadership = await self._session.while_alive(self._campaign())
        self._session.check_alive()
        return leadership

    async def try_once(self) -> Leadership | KeyValue | None:
        """Return our leadership, or the key as its present holder wrote it; never waits for it.

        None if nobody holds it and a condition does not hold.

        A repetition finds what an earlier, unanswered try of the same session has created.

        Raises:
            UnknownOutcomeError: We may lead, or may soon: try again.
            LeaseNotFoundError: The session is over.
        """
        result = await self._transport.txn(
            Txn(
                compares=(is_absent(self._key), *self._conditions),
                success=(Put(key=self._key, value=self._value, lease=self._session.lease_id),),
                failure=(Range(key=self._key),),
            )
        )
        if result.succeeded:
            return Leadership(key=self._key, fence=result.revision)
        holder = _holder(result, may_lack=bool(self._conditions))
        if holder is None:
            return None
        if holder.lease == self._session.lease_id:
            return Leadership(key=self._key, fence=holder.create_revision)
        return holder

    async def resign(self, leadership: Leadership) -> bool:
        """Give the key up if it is still ours, and return whether it was.

        End the session afterwards: a copy of a try that was never answered may still come, and
        creates the key again as long as the lease lives.

        Raises:
            UnknownOutcomeError: It may still be ours, until the session ends.
        """
        result = await self._transport.txn(
            Txn(compares=(leadership.guard(),), success=(Delete(key=leadership.key),))
        )
        return result.succeeded

    async def wait_lost(self, leadership: Leadership) -> str:
        """Return why we no longer lead, once we do not.

        What it waits for may have happened some time ago; the fence alone makes writes safe.
        """
        losing = asyncio.ensure_future(self._session.wait_lost())
        watching = asyncio.ensure_future(self._wait_gone(leadership))
        try:
            await asyncio.wait({losing, watching}, return_when=asyncio.FIRST_COMPLETED)
            return losing.result() if losing.done() else watching.result()
        finally:
            for task in (losing, watching):
                task.cancel()
            await asyncio.gather(losing, watching, return_exceptions=True)

    async def _campaign(self) -> Leadership:
        while True:
            try:
                tried = await self.try_once()
            except UnknownOutcomeError:
                await asyncio.sleep(RETRY_PAUSE_S)
                continue
            if isinstance(tried, Leadership):
                return tried
            await self._wait_free(0 if tried is None else tried.mod_revision + 1)

    async def _wait_free(self, revision: int) -> None:
        """Return when the key was deleted after ``revision``, or when it is time to look."""
        try:
            async with (
                asyncio.timeout(self._poll_s),
                Watch(self._transport, WatchRequest(key=self._key, revision=revision)) as watch,
            ):
                async for answer in watch:
                    if any(event.is_delete for event in answer.events):
                        return
        except (TimeoutError, CompactedError):
            return

    async def _wait_gone(self, leadership: Leadership) -> str:
        revision = leadership.fence + 1
        while True:
            try:
                async with Watch(
                    self._transport, WatchRequest(key=leadership.key, revision=revision)
                ) as watch:
                    async for answer in watch:
                        if any(event.is_delete for event in answer.events):
                            return "the key was deleted"
            except CompactedError:
                pass
            try:
                found = await self._transport.range(Range(key=leadership.key))
            except EtcdUnavailableError:
                await asyncio.sleep(RETRY_PAUSE_S)
                continue
            if found.first is None or found.first.create_revision != leadership.fence:
                return "the key is another leader's"
            revision = found.revision + 1


def _holder(result: TxnResult, *, may_lack: bool) -> KeyValue | None:
    """Return who holds the key, as a transaction found it that did not create it."""
    found = result.results[0]
    if may_lack and isinstance(found, RangeResult) and found.first is None:
        return None
    if not isinstance(found, RangeResult) or found.first is None:
        raise InvariantBrokenError(
            f"etcd answered {found!r} to the read of a key that its comparison had just seen: both "
            "are of one transaction. Nothing may be concluded from such an answer."
        )
    return found.first
