"""The connection that all views of one store in etcd share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress

from fsm_saga.errors import StoreError, StoreUnavailableError
from fsm_saga.etcd.batch import Batcher
from fsm_saga.etcd.data import Range, RangeResult, Txn, TxnResult, WatchRequest, value_is
from fsm_saga.etcd.errors import (
    CompactedError,
    EtcdError,
    EtcdUnavailableError,
    LeaseNotFoundError,
    NoSpaceError,
    NotSentError,
    OverloadedError,
    UnauthenticatedError,
    UnknownOutcomeError,
)
from fsm_saga.etcd.transport import EtcdTransport
from fsm_saga.etcd.watch import Watch
from fsm_saga.stores.etcd_layout import Layout, interval, shard_in

logger = logging.getLogger("fsm_saga.stores")

VALUE_BYTES_MAX = 1024 * 1024
"""The largest value; etcd takes 1.5 MiB for a whole request by default."""
WATCH_AGAIN_S = 1.0
READ_S = 5.0
READ_AGAIN_S = 0.05
ANSWER_KEPT_S = 86_400
"""How long there is an answer about a saga that is not there."""
ANSWER_LEASE_S = 600.0
"""How long one lease is used for further answers."""
LOOK_AGAIN_S = 5.0
"""A watch is a hint: what it failed to tell is found this late at most."""

# Passes by itself. A list of several pages can be overtaken by a compaction, and a write is not
# sent at all while nobody gives a token for it.
_TRANSIENT = (
    CompactedError,
    EtcdUnavailableError,
    NotSentError,
    OverloadedError,
    UnauthenticatedError,
    UnknownOutcomeError,
)


class EtcdLink:
    """Reads and writes for the views of one store, and what they know of each other.

    Attributes:
        url: The URL without a password.
        transport: The client.
        layout: The store's keys.
        shards: The number of shards.
        is_same_store: The condition that the store is the one that was opened. A member's key and
            a leader's are written under it, and every write of a leader rests on its key.
    """

    value_bytes_max = VALUE_BYTES_MAX

    def __init__(
        self,
        url: str,
        transport: EtcdTransport,
        batcher: Batcher,
        layout: Layout,
        *,
        shards: int,
        made_with: bytes,
    ) -> None:
        self.url = url
        self.transport = transport
        self.layout = layout
        self.shards = shards
        self.is_same_store = value_is(layout.meta, made_with)
        self._batcher = batcher
        self._marks_seen = dict.fromkeys(range(shards), 0)
        self._looked_at: dict[int, float] = {}
        self._waiting: dict[int, set[asyncio.Future[None]]] = {s: set() for s in range(shards)}
        self._watching: asyncio.Task[None] | None = None
        self._removals: dict[bytes, int] = {}
        self._answer_lease = (0, 0.0)

    async def read(self, request: Range) -> RangeResult:
        """Read keys.

        Raises:
            StoreUnavailableError: Etcd does not answer.
            StoreError: It refused.
        """
        try:
            return await self.transport.range(request)
        except EtcdError as error:
            raise self.failed("reading", error) from error

    async def read_txn(self, request: Txn) -> TxnResult:
        """Read several keys as of one moment; the transaction must write nothing.

        It is repeated like any other read: the client itself sends a transaction once.

        Raises:
            StoreUnavailableError: Etcd does not answer.
            StoreError: It refused.
        """
        ends_at = _now() + READ_S
        while True:
            try:
                return await self.transport.txn(request)
            except EtcdError as error:
                if not isinstance(error, _TRANSIENT) or _now() >= ends_at:
                    raise self.failed("reading", error) from error
            await asyncio.sleep(READ_AGAIN_S)

    async def write(self, request: Txn) -> TxnResult:
        """Compare and write, together with what else is to be written now.

        Raises:
            StoreUnavailableError: It may be written or not: read back before anything else.
            StoreError: It was refused for certain.
        """
        try:
            return await self._batcher.submit(request)
        except EtcdError as error:
            self._forget_lease(error)
            raise self.failed("writing", error) from error

    async def write_alone(self, request: Txn) -> TxnResult:
        """Compare and write what cannot share a commit, for example deletions of intervals.

        Raises:
            StoreUnavailableError: It may be written or not: read back before anything else.
            StoreError: It was refused for certain.
        """
        try:
            return await self.transport.txn(request)
        except EtcdError as error:
            self._forget_lease(error)
            raise self.failed("writing", error) from error

    def failed(self, doing: str, error: EtcdError) -> StoreError:
        """Return the store's error for one of the client's."""
        if isinstance(error, NoSpaceError):
            return StoreUnavailableError(
                f"Store {self.url!r} failed while {doing}: etcd's space quota is reached, so it "
                "takes no more writes. Nothing that was acknowledged is lost. Compact and "
                "defragment each member, then disarm the alarm (`etcdctl alarm disarm`); "
                "coordinators go on by themselves after that.",
                reason="no space",
            )
        if isinstance(error, _TRANSIENT):
            return StoreUnavailableError(
                f"Store {self.url!r} failed while {doing}: {error.message} What was being written "
                "may or may not be there: read back first.",
                reason=error.message,
            )
        return StoreError(f"Store {self.url!r} refused while {doing}: {error.message}")

    def is_gone(self) -> StoreError:
        """Return the error for a store that is not the one which was opened."""
        return StoreError(
            f"Store {self.url!r} is not the one that was opened: etcd has lost it, or another was "
            "made in its place. Nothing is written to it. Stop all coordinators and bring the "
            "newest copy of etcd's data back, or start them anew to go on with what is there."
        )

    # --- what goes by itself --------------------------------------------------------------------

    def removal_seen(self, mark: bytes) -> int:
        """Return the revision of the last removal under this mark that is known here, or 0."""
        return self._removals.get(mark, 0)

    def note_removal(self, mark: bytes, revision: int) -> None:
        """Take note of a removal; an answer that comes late takes nothing back."""
        self._removals[mark] = max(revision, self.removal_seen(mark))

    async def answer_lease(self) -> int:
        """Return the lease for answers that no saga takes along; many answers share one.

        Raises:
            StoreError: Etcd gave none.
        """
        lease_id, ends_at = self._answer_lease
        if _now() >= ends_at:
            try:
                lease_id = (await self.transport.grant_lease(ANSWER_KEPT_S)).lease_id
            except EtcdError as error:
                raise self.failed("asking for a lease", error) from error
            self._answer_lease = lease_id, _now() + ANSWER_LEASE_S
        return lease_id

    def _forget_lease(self, error: EtcdError) -> None:
        if isinstance(error, LeaseNotFoundError):
            self._answer_lease = (0, 0.0)

    # --- commands that came in ------------------------------------------------------------------

    def may_be_pending(self, shard: int) -> bool:
        """Return False if nothing has come in since the last look, as far as the watch can tell.

        Every now and then it is True all the same, for watches can fail in silence.
        """
        self._begin_to_watch()
        looked_at = self._looked_at.get(shard)
        return looked_at is None or _now() - looked_at > LOOK_AGAIN_S

    def pending_seen(self, shard: int) -> int:
        """Return a number that is another one once something has come in."""
        return self._marks_seen[shard]

    def none_pending(self, shard: int, seen: int) -> None:
        """Take note that a look found nothing, unless something came in since ``seen``."""
        if self._marks_seen[shard] == seen:
            self._looked_at[shard] = _now()

    async def wait_pending(self, seen: Mapping[int, int], timeout_s: float) -> None:
        """Return when something has come in for a shard of ``seen``, or may have: a hint.

        Args:
            seen: Of each shard, what ``pending_seen`` was before it was looked at.
            timeout_s: How long to wait at most.
        """
        self._begin_to_watch()
        if any(self._marks_seen[shard] != number for shard, number in seen.items()):
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for shard in seen:
            self._waiting[shard].add(waiter)
        try:
            await asyncio.wait((waiter,), timeout=timeout_s)
        finally:
            for shard in seen:
                self._waiting[shard].discard(waiter)

    def _begin_to_watch(self) -> None:
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch_marks(), name="watch for commands")

    async def _watch_marks(self) -> None:
        """Forget the last look at a shard whenever a command comes in for it."""
        key, end = interval(self.layout.all_pending)
        while True:
            try:
                async with Watch(self.transport, WatchRequest(key=key, range_end=end)) as watch:
                    await watch.start()
                    # What came in before the watch began is found by looking.
                    for shard in self._marks_seen:
                        self.notice(shard)
                    async for answer in watch:
                        for event in answer.events:
                            if not event.is_delete:  # else it was answered
                                self.notice(shard_in(event.kv.key))
            except EtcdError as error:
                logger.info("the watch for commands begins anew: %s", error)
            self._looked_at.clear()
            await asyncio.sleep(WATCH_AGAIN_S)

    def notice(self, shard: int) -> None:
        """Take note that a command has come in for the shard."""
        if shard in self._marks_seen:
            self._marks_seen[shard] += 1
            self._looked_at.pop(shard, None)
            for waiter in self._waiting[shard]:
                if not waiter.done():
                    waiter.set_result(None)

    async def close(self) -> None:
        """Stop watching. Who made the connection closes it."""
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching


def _now() -> float:
    return asyncio.get_running_loop().time()
