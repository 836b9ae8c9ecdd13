"""What is asked of etcd and what it answers, as plain data.

Revisions count every write to the whole cluster. A key has the revision that created it
(``create_revision``: new with each creation, so it serves as a fencing number), the one that last
changed it (``mod_revision``), and ``version``, the number of writes since its creation; all three
are 0 for a key that is absent.
"""

from __future__ import annotations

import enum

from msgspec import Struct


class KeyValue(Struct, frozen=True, kw_only=True, gc=False):
    """One key as etcd holds it; of a deleted key only ``key`` and ``mod_revision`` are set."""

    key: bytes
    value: bytes = b""
    create_revision: int = 0
    mod_revision: int = 0
    version: int = 0
    lease: int = 0


class Target(enum.IntEnum):
    """What a comparison looks at."""

    VERSION = 0
    CREATE_REVISION = 1
    MOD_REVISION = 2
    VALUE = 3
    LEASE = 4


class Relation(enum.IntEnum):
    """How what is found must relate to what is given."""

    EQUAL = 0
    GREATER = 1
    LESS = 2
    NOT_EQUAL = 3


class Compare(Struct, frozen=True, kw_only=True, gc=False):
    """A condition of a transaction; it sees the state before the whole transaction.

    ``operand`` is bytes for ``Target.VALUE`` and a number otherwise. With ``range_end`` it must
    hold for every key of the interval. A comparison of values fails when the key is absent.
    """

    key: bytes
    target: Target
    operand: int | bytes
    relation: Relation = Relation.EQUAL
    range_end: bytes = b""


class Put(Struct, frozen=True, kw_only=True, gc=False):
    """Write a key. With a ``lease`` the key goes when the lease ends."""

    key: bytes
    value: bytes
    lease: int = 0
    wants_previous: bool = False


class Delete(Struct, frozen=True, kw_only=True, gc=False):
    """Delete a key, or every key from ``key`` up to and without ``range_end``."""

    key: bytes
    range_end: bytes = b""
    wants_previous: bool = False


class SortOrder(enum.IntEnum):
    """The order of a range's answer."""

    NONE = 0
    ASCENDING = 1
    DESCENDING = 2


class SortBy(enum.IntEnum):
    """What a range's answer is sorted by."""

    KEY = 0
    VERSION = 1
    CREATE_REVISION = 2
    MOD_REVISION = 3
    VALUE = 4


class Range(Struct, frozen=True, kw_only=True, gc=False):
    """Read a key, or every key from ``key`` up to and without ``range_end``.

    Attributes:
        limit: The most keys to return, 0 for all.
        revision: The state to read, 0 for the newest.
        is_serializable: Answered by one member alone: quicker, and possibly stale.
    """

    key: bytes
    range_end: bytes = b""
    limit: int = 0
    revision: int = 0
    sort_order: SortOrder = SortOrder.NONE
    sort_by: SortBy = SortBy.KEY
    keys_only: bool = False
    count_only: bool = False
    is_serializable: bool = False


class Txn(Struct, frozen=True, kw_only=True):
    """Do ``success`` when every comparison holds, else ``failure``; all or nothing.

    An operation may be a transaction of its own, whose comparisons decide for it alone.
    """

    compares: tuple[Compare, ...] = ()
    success: tuple[Operation, ...] = ()
    failure: tuple[Operation, ...] = ()


Operation = Put | Delete | Range | Txn


class RangeResult(Struct, frozen=True, kw_only=True):
    """``count`` is how many keys there are in all, ``revision`` the cluster's when it was read."""

    revision: int
    kvs: tuple[KeyValue, ...] = ()
    count: int = 0
    has_more: bool = False

    @property
    def first(self) -> KeyValue | None:
        """The first key, or None."""
        return self.kvs[0] if self.kvs else None


class PutResult(Struct, frozen=True, kw_only=True, gc=False):
    """The revision of the write."""

    revision: int
    previous: KeyValue | None = None


class DeleteResult(Struct, frozen=True, kw_only=True):
    """The number of keys that were deleted."""

    revision: int
    deleted: int
    previous: tuple[KeyValue, ...] = ()


class TxnResult(Struct, frozen=True, kw_only=True):
    """Which branch was done, and its results in the order of its operations.

    ``revision`` is that of the cluster afterwards, so of a transaction that wrote, its own. All
    results inside it have the same.
    """

    succeeded: bool
    revision: int
    results: tuple[OperationResult, ...] = ()


OperationResult = PutResult | DeleteResult | RangeResult | TxnResult


class LeaseGrant(Struct, frozen=True, kw_only=True):
    """A lease of etcd; ``ttl_s`` is what was granted, which may be more than was asked."""

    lease_id: int
    ttl_s: int


class LeaseTime(Struct, frozen=True, kw_only=True):
    """``left_s`` is -1 for a lease that is not there."""

    lease_id: int
    left_s: int
    granted_s: int
    keys: tuple[bytes, ...] = ()


class Member(Struct, frozen=True, kw_only=True):
    """One member of the cluster."""

    member_id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    is_learner: bool


class Alarm(Struct, frozen=True, kw_only=True):
    """An alarm of one member; ``kind`` is ``NOSPACE`` or ``CORRUPT``."""

    member_id: int
    kind: str


class EndpointStatus(Struct, frozen=True, kw_only=True):
    """What one endpoint says of itself, or in ``problem`` why it said nothing.

    ``errors`` has its alarms. ``db_quota`` is told by etcd 3.6 and newer, before that it is 0.
    """

    endpoint: str
    problem: str | None = None
    cluster_id: int = 0
    member_id: int = 0
    leader_id: int = 0
    version: str = ""
    revision: int = 0
    raft_term: int = 0
    db_size: int = 0
    db_size_in_use: int = 0
    db_quota: int = 0
    is_learner: bool = False
    errors: tuple[str, ...] = ()


class WatchRequest(Struct, frozen=True, kw_only=True):
    """See every change of a key or an interval from ``revision`` on; 0 means from now."""

    key: bytes
    range_end: bytes = b""
    revision: int = 0
    wants_previous: bool = False


class Event(Struct, frozen=True, kw_only=True):
    """A key was written, or with ``is_delete`` deleted: by somebody, or with its lease."""

    kv: KeyValue
    is_delete: bool = False
    previous: KeyValue | None = None


class WatchAnswer(Struct, frozen=True, kw_only=True):
    """One message on a watch.

    All events of one revision come in one answer. ``is_progress`` says that nothing happened up
    to ``revision``. ``compact_revision`` is set when what was asked for is compacted away.
    """

    revision: int
    events: tuple[Event, ...] = ()
    is_created: bool = False
    is_cancelled: bool = False
    is_progress: bool = False
    compact_revision: int = 0
    reason: str = ""


def prefix_end(prefix: bytes) -> bytes:
    r"""Return the end of the interval of all keys that begin with ``prefix``.

    Example:
        >>> prefix_end(b"/saga/")
        b'/saga0'
        >>> prefix_end(b"a\xff")
        b'b'
        >>> prefix_end(b"")
        b'\x00'
    """
    kept = prefix.rstrip(b"\xff")
    # To etcd, the single byte 0 as an end means: every key there is.
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else b"\0"


def value_is(key: bytes, value: bytes) -> Compare:
    """Return the condition that ``key`` exists and has this value."""
    return Compare(key=key, target=Target.VALUE, operand=value)


def version_is(key: bytes, version: int) -> Compare:
    """Return the condition that ``key`` was written so often since its creation."""
    return Compare(key=key, target=Target.VERSION, operand=version)


def create_revision_is(key: bytes, revision: int) -> Compare:
    """Return the condition that ``key`` was created by this revision."""
    return Compare(key=key, target=Target.CREATE_REVISION, operand=revision)


def mod_revision_is(key: bytes, revision: int) -> Compare:
    """Return the condition that ``key`` was last changed by this revision."""
    return Compare(key=key, target=Target.MOD_REVISION, operand=revision)


def lease_is(key: bytes, lease_id: int) -> Compare:
    """Return the condition that ``key`` hangs on this lease."""
    return Compare(key=key, target=Target.LEASE, operand=lease_id)


def is_absent(key: bytes) -> Compare:
    """Return the condition that there is no such key."""
    return create_revision_is(key, 0)
