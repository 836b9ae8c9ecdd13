"""What the upper layers ask of a connection to etcd, whatever carries it.

``EtcdClient`` in ``client.py`` and ``Etcd3Transport`` in ``etcd3_transport.py`` are its two
implementations; one suite of tests runs on both.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from fsm_saga.etcd.data import (
    Alarm,
    Delete,
    DeleteResult,
    EndpointStatus,
    LeaseGrant,
    LeaseTime,
    Member,
    Put,
    PutResult,
    Range,
    RangeResult,
    Txn,
    TxnResult,
    WatchAnswer,
    WatchRequest,
)


class WatchStream(Protocol):
    """One watch on one endpoint; it ends with that endpoint."""

    @property
    def created_revision(self) -> int:
        """The cluster's revision when the watch was made; one that begins now begins after it."""

    async def read(self) -> WatchAnswer:
        """Return the next answer, however long it takes. A read may be cancelled only at the end.

        Raises:
            EtcdUnavailableError: The stream broke; open another one.
            NothingWrittenError: The watch was refused.
        """

    async def request_progress(self) -> None:
        """Ask for an answer now, so that silence can be told from a dead endpoint.

        Raises:
            EtcdUnavailableError: The stream broke; open another one.
        """


class EtcdTransport(Protocol):
    """The operations of etcd.

    ``timeout_s`` bounds a whole call, but for the time to get a token. Reads are repeated on other
    endpoints within it. A write is sent once and never again (but when its token had expired: then
    nothing of it was applied), so its default is the time of one try.

    Every method raises ``EtcdError``: ``NothingWrittenError`` and its kinds when etcd refused for
    certain; of reads ``EtcdUnavailableError`` when no endpoint answered; of writes
    ``UnknownOutcomeError`` when it may or may not have been applied, now or some seconds later.
    """

    async def range(self, request: Range, *, timeout_s: float | None = None) -> RangeResult:
        """Read keys."""

    async def put(self, request: Put, *, timeout_s: float | None = None) -> PutResult:
        """Write a key, whatever is there: not safe to repeat. Prefer ``txn``."""

    async def delete(self, request: Delete, *, timeout_s: float | None = None) -> DeleteResult:
        """Delete keys."""

    async def txn(self, request: Txn, *, timeout_s: float | None = None) -> TxnResult:
        """Compare and write. A failed comparison is a result, not an error."""

    async def compact(self, revision: int, *, timeout_s: float | None = None) -> None:
        """Forget every state before ``revision``.

        Raises:
            CompactedError: It was forgotten before.
            FutureRevisionError: There is no such revision yet.
        """

    async def grant_lease(
        self, ttl_s: int, *, lease_id: int = 0, timeout_s: float | None = None
    ) -> LeaseGrant:
        """Make a lease, with an id of etcd's choice or the given one.

        Raises:
            LeaseExistsError: There is a lease of that id.
        """

    async def keep_lease_alive(self, lease_id: int, *, timeout_s: float | None = None) -> int:
        """Renew a lease and return its full time in seconds; safe to repeat, so it is repeated.

        Raises:
            LeaseNotFoundError: It has ended.
        """

    async def revoke_lease(self, lease_id: int, *, timeout_s: float | None = None) -> None:
        """End a lease and delete its keys.

        Raises:
            LeaseNotFoundError: It has ended.
        """

    async def lease_time(
        self, lease_id: int, *, wants_keys: bool = False, timeout_s: float | None = None
    ) -> LeaseTime:
        """Return how long the lease has left."""

    def open_watch(self, request: WatchRequest) -> AbstractAsyncContextManager[WatchStream]:
        """Open a watch on the current endpoint. ``Watch`` in ``watch.py`` resumes; this does not.

        To open it is also the test whether the endpoint lives: when it does not answer within
        one try, the next call uses another one. The end of the context closes the stream.

        Raises:
            EtcdUnavailableError: The endpoint did not answer; open it again.
            NothingWrittenError: The watch was refused.
        """

    async def statuses(self) -> tuple[EndpointStatus, ...]:
        """Ask every endpoint, each within one try; one that is away has a ``problem``."""

    async def range_each(self, request: Range) -> tuple[tuple[str, RangeResult | None], ...]:
        """Read at every endpoint what that member alone knows: its address, and None if it fails.

        What comes may be behind the newest state.
        """

    async def members(self, *, timeout_s: float | None = None) -> tuple[Member, ...]:
        """Return the members of the cluster."""

    async def alarms(self, *, timeout_s: float | None = None) -> tuple[Alarm, ...]:
        """Return the alarms that are on."""

    async def disarm(self, alarm: Alarm, *, timeout_s: float | None = None) -> None:
        """Switch off one member's alarm. An alarm whose cause is still there comes back."""

    async def close(self) -> None:
        """Give everything back; calls under way are cancelled or end with an error."""
