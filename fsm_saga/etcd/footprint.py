"""What a transaction touches and how much of etcd's limits it takes."""

from __future__ import annotations

import bisect
from collections.abc import Iterable

from msgspec import Struct

from fsm_saga.etcd.data import Delete, Operation, Put, Range, Txn

# What protobuf and the operations around them need beside keys and values, at most.
OPERATION_BYTES = 32

# Above every key that fits into a request; etcd writes an interval without an end as the byte 0.
_NO_END = b"\xff" * 2048


class Footprint(Struct, kw_only=True):
    """The single keys that are written and read, the intervals that are read, and the size.

    ``operations`` counts as etcd does: the longest list, and below it the longest again.
    """

    writes: set[bytes]
    reads: set[bytes]
    intervals: list[tuple[bytes, bytes]]
    size: int = 0
    operations: int = 0


def footprint(txn: Txn, order_keys: Iterable[bytes] = ()) -> Footprint:
    """Return what the transaction touches; ``order_keys`` count as written.

    Raises:
        ValueError: It deletes an interval, or reads at a revision: neither can share a commit.
    """
    found = Footprint(writes=set(order_keys), reads=set(), intervals=[])
    found.operations = _add_txn(found, txn)
    found.reads -= found.writes
    return found


class Company:
    """The members of one commit so far; ``fits`` says who may join.

    All comparisons of a commit see the state before it, and a key is written once in it. So a
    member may neither write what another one looks at, nor look at what another one writes.
    """

    def __init__(self) -> None:
        self.writes: set[bytes] = set()
        self.size = 0
        self.operations = 0
        self._reads: set[bytes] = set()
        self._writes_in_order: list[bytes] = []
        # Disjoint and in order: whatever overlaps is joined, so that one look finds a key.
        self._lows: list[bytes] = []
        self._highs: list[bytes] = []

    def fits(self, member: Footprint) -> bool:
        """Return whether the member means the same with these as alone."""
        return (
            member.writes.isdisjoint(self.writes)
            and member.writes.isdisjoint(self._reads)
            and member.reads.isdisjoint(self.writes)
            and not any(self._writes_within(low, high) for low, high in member.intervals)
            and not (self._lows and any(self._looks_at(key) for key in member.writes))
        )

    def add(self, member: Footprint) -> None:
        """Take the member in."""
        self.writes |= member.writes
        self._reads |= member.reads
        self.size += member.size
        self.operations = max(self.operations, member.operations)
        for key in member.writes:
            bisect.insort(self._writes_in_order, key)
        for low, high in member.intervals:
            self._add_interval(low, high)

    def _writes_within(self, low: bytes, high: bytes) -> bool:
        first = bisect.bisect_left(self._writes_in_order, low)
        return first < len(self._writes_in_order) and self._writes_in_order[first] < high

    def _looks_at(self, key: bytes) -> bool:
        last = bisect.bisect_right(self._lows, key) - 1
        return last >= 0 and key < self._highs[last]

    def _add_interval(self, low: bytes, high: bytes) -> None:
        first = bisect.bisect_left(self._highs, low)
        last = bisect.bisect_right(self._lows, high)
        if first < last:
            low = min(low, self._lows[first])
            high = max(high, self._highs[last - 1])
        self._lows[first:last] = [low]
        self._highs[first:last] = [high]


def _add_txn(found: Footprint, txn: Txn) -> int:
    for compare in txn.compares:
        operand = compare.operand
        found.size += OPERATION_BYTES + len(compare.key)
        found.size += len(operand) if isinstance(operand, bytes) else 0
        _add_read(found, compare.key, compare.range_end)
    below = 0
    for operation in txn.success:
        below = max(below, _add_operation(found, operation))
    for operation in txn.failure:
        below = max(below, _add_operation(found, operation))
    return max(len(txn.compares), len(txn.success), len(txn.failure)) + below


def _add_operation(found: Footprint, operation: Operation) -> int:
    """Add one operation, and return how many levels of operations lie below it."""
    found.size += OPERATION_BYTES
    if isinstance(operation, Put):
        found.size += len(operation.key) + len(operation.value)
        found.writes.add(operation.key)
        return 0
    if isinstance(operation, Txn):
        return _add_txn(found, operation)
    if operation.range_end and isinstance(operation, Delete):
        raise ValueError(
            f"The deletion of {operation.key!r} to {operation.range_end!r} cannot share a commit: "
            "what it writes is not known before. Send it as a transaction of its own."
        )
    found.size += len(operation.key) + len(operation.range_end)
    if isinstance(operation, Range):
        if operation.revision:
            raise ValueError(
                f"The read of {operation.key!r} at revision {operation.revision} cannot stand in "
                "a transaction: members of etcd can come to differ by it. Read outside."
            )
        _add_read(found, operation.key, operation.range_end)
    else:
        found.writes.add(operation.key)
    return 0


def _add_read(found: Footprint, key: bytes, range_end: bytes) -> None:
    if range_end:
        found.intervals.append((key, range_end if range_end != b"\0" else _NO_END))
    else:
        found.reads.add(key)
