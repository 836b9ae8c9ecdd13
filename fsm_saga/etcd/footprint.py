"""What a transaction touches and how much of etcd's limits it takes."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from fsm_saga.etcd.data import Delete, Operation, Put, Range, Txn

# What protobuf and the operations around them need beside keys and values, at most.
OPERATION_BYTES = 32


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


def conflicts(member: Footprint, batch: Footprint) -> bool:
    """Return whether sharing a commit with the batch would change what the member does.

    All comparisons of a commit see the state before it, and a key is written once in it. So a
    member may neither write what another one looks at, nor look at what another one writes.
    """
    return (
        not member.writes.isdisjoint(batch.writes)
        or not member.writes.isdisjoint(batch.reads)
        or not member.reads.isdisjoint(batch.writes)
        or any(_reaches(batch.writes, interval) for interval in member.intervals)
        or any(_reaches(member.writes, interval) for interval in batch.intervals)
    )


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
        found.intervals.append((key, range_end))
    else:
        found.reads.add(key)


def _reaches(keys: set[bytes], interval: tuple[bytes, bytes]) -> bool:
    low, high = interval
    return any(low <= key and (high == b"\0" or key < high) for key in keys)
