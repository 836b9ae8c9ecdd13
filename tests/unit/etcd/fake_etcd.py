"""An etcd in memory, as far as the layers above the transport need one, with faults on demand.

Leases end when a test says so. A fault is raised by the next call that it fits; with ``applied``
the call is carried out first, as when only the answer is lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from msgspec.structs import replace

from fsm_saga.etcd.data import (
    Alarm,
    Compare,
    Delete,
    DeleteResult,
    EndpointStatus,
    Event,
    KeyValue,
    LeaseGrant,
    LeaseTime,
    Member,
    Operation,
    OperationResult,
    Put,
    PutResult,
    Range,
    RangeResult,
    Relation,
    SortOrder,
    Target,
    Txn,
    TxnResult,
    WatchAnswer,
    WatchRequest,
)
from fsm_saga.etcd.errors import (
    DuplicateKeyError,
    EtcdError,
    LeaseExistsError,
    LeaseNotFoundError,
)
from fsm_saga.etcd.transport import WatchStream

WITHIN = {
    Relation.EQUAL: lambda found, given: found == given,
    Relation.GREATER: lambda found, given: found > given,
    Relation.LESS: lambda found, given: found < given,
    Relation.NOT_EQUAL: lambda found, given: found != given,
}


@dataclass
class Fault:
    """What the next call of this name meets."""

    call: str
    error: EtcdError
    applied: bool = False


@dataclass
class FakeStream:
    """One watch; what is put into ``answers`` is read, or raised."""

    request: WatchRequest
    created_revision: int
    answers: asyncio.Queue[WatchAnswer | EtcdError] = field(default_factory=asyncio.Queue)
    is_deaf: bool = False
    progress_asked: int = 0

    async def read(self) -> WatchAnswer:
        answer = await self.answers.get()
        if isinstance(answer, EtcdError):
            raise answer
        return answer

    async def request_progress(self) -> None:
        self.progress_asked += 1
        if not self.is_deaf:
            self.answers.put_nowait(WatchAnswer(revision=self.created_revision, is_progress=True))


class FakeEtcd:
    """The transport, and what tests do to it."""

    def __init__(self) -> None:
        self.revision = 1
        self.kvs: dict[bytes, KeyValue] = {}
        self.history: list[Event] = []
        self.leases: dict[int, int] = {}
        self.faults: deque[Fault] = deque()
        self.streams: list[FakeStream] = []
        self.calls: list[str] = []
        self.txns: list[Txn] = []
        self.before_txn: Callable[[], asyncio.Future[None] | None] = lambda: None

    def end_lease(self, lease_id: int) -> None:
        """Let a lease run out."""
        del self.leases[lease_id]
        gone = [key for key, kv in self.kvs.items() if kv.lease == lease_id]
        if gone:
            self.revision += 1
            for key in gone:
                self._delete(key)
            self._tell()

    def cut(self, error: EtcdError) -> None:
        """Break every watch that is open."""
        for stream in self.streams:
            stream.answers.put_nowait(error)

    async def range(self, request: Range, *, timeout_s: float | None = None) -> RangeResult:
        self._fault("range")
        return self._range(request)

    async def put(self, request: Put, *, timeout_s: float | None = None) -> PutResult:
        result = await self.txn(Txn(success=(request,)))
        return PutResult(revision=result.revision)

    async def delete(self, request: Delete, *, timeout_s: float | None = None) -> DeleteResult:
        (result,) = (await self.txn(Txn(success=(request,)))).results
        assert isinstance(result, DeleteResult)
        return result

    async def txn(self, request: Txn, *, timeout_s: float | None = None) -> TxnResult:
        self.txns.append(request)
        waiting = self.before_txn()
        if waiting is not None:
            await waiting
        else:
            await asyncio.sleep(0)
        lost = self._fault("txn")
        result = self.apply(request)
        if lost is not None:
            raise lost
        return result

    def apply(self, request: Txn) -> TxnResult:
        """Carry a transaction out, or refuse it whole."""
        before = dict(self.kvs)
        self._check(request)
        events = len(self.history)
        result = self._do(request, before, self.revision + 1)
        if len(self.history) == events:
            return stamped(result, self.revision)
        self.revision += 1
        self._tell()
        return result

    async def compact(self, revision: int, *, timeout_s: float | None = None) -> None:
        self._fault("compact")

    async def grant_lease(
        self, ttl_s: int, *, lease_id: int = 0, timeout_s: float | None = None
    ) -> LeaseGrant:
        lost = self._fault("grant_lease")
        if lease_id in self.leases:
            raise LeaseExistsError("taken")
        self.leases[lease_id] = ttl_s
        if lost is not None:
            raise lost
        return LeaseGrant(lease_id=lease_id, ttl_s=ttl_s)

    async def keep_lease_alive(self, lease_id: int, *, timeout_s: float | None = None) -> int:
        self._fault("keep_lease_alive")
        if lease_id not in self.leases:
            raise LeaseNotFoundError("there is no such lease")
        return self.leases[lease_id]

    async def revoke_lease(self, lease_id: int, *, timeout_s: float | None = None) -> None:
        self._fault("revoke_lease")
        if lease_id not in self.leases:
            raise LeaseNotFoundError("there is no such lease")
        self.end_lease(lease_id)

    async def lease_time(
        self, lease_id: int, *, wants_keys: bool = False, timeout_s: float | None = None
    ) -> LeaseTime:
        left_s = self.leases.get(lease_id, -1)
        return LeaseTime(lease_id=lease_id, left_s=left_s, granted_s=left_s)

    @asynccontextmanager
    async def open_watch(self, request: WatchRequest) -> AsyncIterator[WatchStream]:
        self._fault("open_watch")
        stream = FakeStream(request, self.revision)
        self.streams.append(stream)
        first = request.revision or self.revision + 1
        self._send(stream, [event for event in self.history if event.kv.mod_revision >= first])
        yield stream
        self.streams.remove(stream)

    async def statuses(self) -> tuple[EndpointStatus, ...]:
        return ()

    async def range_each(self, request: Range) -> tuple[tuple[str, RangeResult | None], ...]:
        return (("fake", self._range(request)),)

    async def members(self, *, timeout_s: float | None = None) -> tuple[Member, ...]:
        return ()

    async def alarms(self, *, timeout_s: float | None = None) -> tuple[Alarm, ...]:
        return ()

    async def disarm(self, alarm: Alarm, *, timeout_s: float | None = None) -> None:
        return

    async def close(self) -> None:
        return

    def _fault(self, call: str) -> EtcdError | None:
        self.calls.append(call)
        for fault in self.faults:
            if fault.call == call:
                self.faults.remove(fault)
                if fault.applied:
                    return fault.error
                raise fault.error
        return None

    def _range(self, request: Range) -> RangeResult:
        found = sorted((kv for kv in self._within(request)), key=lambda kv: kv.key)
        if request.sort_order is SortOrder.DESCENDING:
            found.reverse()
        limit = request.limit or len(found)
        return RangeResult(
            revision=self.revision,
            kvs=tuple(found[:limit]),
            count=len(found),
            has_more=len(found) > limit,
        )

    def _within(self, asked: Range | Delete | Compare) -> list[KeyValue]:
        return within(self.kvs, asked.key, asked.range_end)

    def _holds(self, compare: Compare, before: dict[bytes, KeyValue]) -> bool:
        found = within(before, compare.key, compare.range_end)
        if not found and not compare.range_end:
            if compare.target is Target.VALUE:
                return False
            found = [KeyValue(key=compare.key)]
        fields = {
            Target.VERSION: "version",
            Target.CREATE_REVISION: "create_revision",
            Target.MOD_REVISION: "mod_revision",
            Target.VALUE: "value",
            Target.LEASE: "lease",
        }
        name = fields[compare.target]
        return all(WITHIN[compare.relation](getattr(kv, name), compare.operand) for kv in found)

    def _check(self, txn: Txn) -> set[bytes]:
        """Return the keys that either branch writes; refuse one that writes a key twice."""
        both: set[bytes] = set()
        for branch in (txn.success, txn.failure):
            written: set[bytes] = set()
            for operation in branch:
                match operation:
                    case Put():
                        if operation.lease and operation.lease not in self.leases:
                            raise LeaseNotFoundError("there is no such lease")
                        keys = {operation.key}
                    case Delete():
                        keys = {operation.key}
                    case Txn():
                        keys = self._check(operation)
                    case Range():
                        keys = set()
                if written & keys:
                    raise DuplicateKeyError("twice")
                written |= keys
            both |= written
        return both

    def _do(self, txn: Txn, before: dict[bytes, KeyValue], revision: int) -> TxnResult:
        succeeded = all(self._holds(compare, before) for compare in txn.compares)
        branch = txn.success if succeeded else txn.failure
        results = tuple([self._do_one(operation, before, revision) for operation in branch])
        return TxnResult(succeeded=succeeded, revision=revision, results=results)

    def _do_one(
        self, operation: Operation, before: dict[bytes, KeyValue], revision: int
    ) -> OperationResult:
        match operation:
            case Put():
                old = self.kvs.get(operation.key)
                kv = KeyValue(
                    key=operation.key,
                    value=operation.value,
                    create_revision=old.create_revision if old else self.revision + 1,
                    mod_revision=self.revision + 1,
                    version=old.version + 1 if old else 1,
                    lease=operation.lease,
                )
                self.kvs[operation.key] = kv
                self.history.append(Event(kv=kv))
                return PutResult(revision=revision)
            case Delete():
                found = self._within(operation)
                for kv in found:
                    del self.kvs[kv.key]
                    gone = KeyValue(key=kv.key, mod_revision=self.revision + 1)
                    self.history.append(Event(kv=gone, is_delete=True))
                return DeleteResult(revision=revision, deleted=len(found))
            case Range():
                return replace(self._range(operation), revision=revision)
            case Txn():
                return self._do(operation, before, revision)

    def _delete(self, key: bytes) -> None:
        del self.kvs[key]
        gone = KeyValue(key=key, mod_revision=self.revision)
        self.history.append(Event(kv=gone, is_delete=True))

    def _tell(self) -> None:
        newest = [event for event in self.history if event.kv.mod_revision == self.revision]
        for stream in self.streams:
            self._send(stream, newest)

    def _send(self, stream: FakeStream, events: list[Event]) -> None:
        asked = stream.request
        mine = tuple(
            event for event in events if is_within(event.kv.key, asked.key, asked.range_end)
        )
        if mine and not stream.is_deaf:
            stream.answers.put_nowait(WatchAnswer(revision=self.revision, events=mine))


def is_within(key: bytes, low: bytes, high: bytes) -> bool:
    if not high:
        return key == low
    return low <= key and (high == b"\0" or key < high)


def within(kvs: dict[bytes, KeyValue], low: bytes, high: bytes) -> list[KeyValue]:
    return [kv for key, kv in kvs.items() if is_within(key, low, high)]


def stamped(result: TxnResult, revision: int) -> TxnResult:
    """Return the result as one of this revision, all the way down."""
    results = tuple(
        stamped(each, revision) if isinstance(each, TxnResult) else replace(each, revision=revision)
        for each in result.results
    )
    return replace(result, revision=revision, results=results)
