"""What every transport does, against a real etcd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from fsm_saga.etcd.channel import EtcdOptions
from fsm_saga.etcd.client import EtcdClient
from fsm_saga.etcd.data import (
    Compare,
    Delete,
    DeleteResult,
    Event,
    KeyValue,
    Operation,
    Put,
    PutResult,
    Range,
    RangeResult,
    Relation,
    SortBy,
    SortOrder,
    Target,
    Txn,
    TxnResult,
    WatchRequest,
    create_revision_is,
    is_absent,
    lease_is,
    mod_revision_is,
    prefix_end,
    value_is,
    version_is,
)
from fsm_saga.etcd.errors import (
    CompactedError,
    DuplicateKeyError,
    FutureRevisionError,
    InvalidRequestError,
    LeaseExistsError,
    LeaseNotFoundError,
    NothingWrittenError,
    TooLargeError,
    TooManyOperationsError,
)
from fsm_saga.etcd.etcd3_transport import Etcd3Transport, open_etcd3
from fsm_saga.etcd.paging import pages
from fsm_saga.etcd.transport import EtcdTransport
from tests.integration.etcd_client.like_etcd3 import LikeEtcd3, need_etcd3
from tests.support.servers.etcd import EtcdServer

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(params=["ours", "etcd3", "a client like etcd3's"])
async def transport(
    request: pytest.FixtureRequest, etcd: EtcdServer
) -> AsyncIterator[EtcdTransport]:
    """Give each transport; a client like etcd3's stands in where etcd3 is not installed."""
    options = EtcdOptions(endpoints=(etcd.address,), try_timeout_s=5)
    opened: EtcdTransport
    match request.param:
        case "ours":
            opened = EtcdClient(options)
        case "etcd3":
            need_etcd3()
            opened = await open_etcd3(options)
        case _:
            opened = Etcd3Transport(LikeEtcd3(etcd.address), endpoint=etcd.address, try_timeout_s=5)
    yield opened
    await opened.close()


async def put_many(transport: EtcdTransport, prefix: bytes, count: int) -> int:
    puts = tuple(Put(key=prefix + b"%03d" % each, value=b"%d" % each) for each in range(count))
    return (await transport.txn(Txn(success=puts))).revision


async def test_a_key_that_was_written_is_read_with_its_revisions(
    transport: EtcdTransport, prefix: bytes
) -> None:
    first = await transport.put(Put(key=prefix, value=b"one"))
    second = await transport.put(Put(key=prefix, value=b"two", wants_previous=True))
    assert second.revision == first.revision + 1
    assert second.previous is not None
    assert second.previous.value == b"one"
    found = await transport.range(Range(key=prefix))
    assert found.first == KeyValue(
        key=prefix,
        value=b"two",
        create_revision=first.revision,
        mod_revision=second.revision,
        version=2,
    )
    deleted = await transport.delete(Delete(key=prefix, wants_previous=True))
    assert deleted.deleted == 1
    assert deleted.previous == found.kvs
    assert (await transport.range(Range(key=prefix))).first is None


async def test_limit_revision_order_and_counts_of_a_range_are_kept(
    transport: EtcdTransport, prefix: bytes
) -> None:
    old = await put_many(transport, prefix, 5)
    await transport.put(Put(key=prefix + b"000", value=b"new"))
    end = prefix_end(prefix)
    limited = await transport.range(Range(key=prefix, range_end=end, limit=2))
    assert (len(limited.kvs), limited.count, limited.has_more) == (2, 5, True)
    before = await transport.range(Range(key=prefix + b"000", revision=old))
    assert before.first is not None
    assert before.first.value == b"0"
    last = await transport.range(
        Range(key=prefix, range_end=end, limit=1, sort_order=SortOrder.DESCENDING)
    )
    assert [kv.key for kv in last.kvs] == [prefix + b"004"]
    newest = await transport.range(
        Range(
            key=prefix,
            range_end=end,
            limit=1,
            sort_order=SortOrder.DESCENDING,
            sort_by=SortBy.MOD_REVISION,
            keys_only=True,
        )
    )
    assert [(kv.key, kv.value) for kv in newest.kvs] == [(prefix + b"000", b"")]
    counted = await transport.range(Range(key=prefix, range_end=end, count_only=True))
    assert (counted.kvs, counted.count) == ((), 5)
    alone = await transport.range(Range(key=prefix, range_end=end, is_serializable=True))
    assert len(alone.kvs) == 5


async def test_pages_are_of_one_revision_although_others_write(
    transport: EtcdTransport, prefix: bytes
) -> None:
    revision = await put_many(transport, prefix, 7)
    seen: list[bytes] = []
    whole = Range(key=prefix, range_end=prefix_end(prefix))
    async for page in pages(transport, whole, page_size=3):
        assert page.revision == revision
        seen += [kv.key for kv in page.kvs]
        await transport.put(Put(key=prefix + b"zzz", value=b"later"))
        await transport.delete(Delete(key=prefix + b"006"))
    assert seen == [prefix + b"%03d" % each for each in range(7)]


@pytest.mark.parametrize(
    ("kind", "holds"),
    [
        ("value", True),
        ("value not", False),
        ("version", True),
        ("version greater", True),
        ("version less", False),
        ("create", True),
        ("mod", True),
        ("mod not", False),
        ("lease", True),
        ("absent", False),
        ("none in the interval", False),
    ],
)
async def test_each_comparison_is_made(
    transport: EtcdTransport, prefix: bytes, kind: str, holds: bool
) -> None:
    created = (await transport.put(Put(key=prefix, value=b"one"))).revision
    changed = (await transport.put(Put(key=prefix, value=b"two"))).revision
    compares = {
        "value": value_is(prefix, b"two"),
        "value not": value_is(prefix, b"one"),
        "version": version_is(prefix, 2),
        "version greater": Compare(
            key=prefix, target=Target.VERSION, operand=1, relation=Relation.GREATER
        ),
        "version less": Compare(
            key=prefix, target=Target.VERSION, operand=2, relation=Relation.LESS
        ),
        "create": create_revision_is(prefix, created),
        "mod": mod_revision_is(prefix, changed),
        "mod not": mod_revision_is(prefix, created),
        "lease": lease_is(prefix, 0),
        "absent": is_absent(prefix),
        "none in the interval": Compare(
            key=prefix, range_end=prefix_end(prefix), target=Target.VERSION, operand=0
        ),
    }
    result = await transport.txn(Txn(compares=(compares[kind],)))
    assert result.succeeded is holds


async def test_a_nested_transaction_decides_for_itself(
    transport: EtcdTransport, prefix: bytes
) -> None:
    a, b, c = prefix + b"a", prefix + b"b", prefix + b"c"
    await transport.put(Put(key=b, value=b"there"))
    operations: tuple[Operation, ...] = (
        Txn(compares=(is_absent(a),), success=(Put(key=a, value=b"1"),)),
        Txn(compares=(is_absent(b),), success=(Put(key=b, value=b"2"),), failure=(Range(key=b),)),
        Txn(),
        Delete(key=c),
    )
    result = await transport.txn(Txn(success=operations))
    revision = result.revision
    first, second, third, fourth = result.results
    assert first == TxnResult(
        succeeded=True, revision=revision, results=(PutResult(revision=revision),)
    )
    assert isinstance(second, TxnResult)
    assert not second.succeeded
    found = second.results[0]
    assert isinstance(found, RangeResult)
    assert found.first is not None
    assert found.first.value == b"there"
    assert third == TxnResult(succeeded=True, revision=revision)
    assert fourth == DeleteResult(revision=revision, deleted=0)


async def test_a_key_goes_with_its_lease(transport: EtcdTransport, prefix: bytes) -> None:
    granted = await transport.grant_lease(60, lease_id=0x5E55)
    try:
        assert (granted.lease_id, granted.ttl_s) == (0x5E55, 60)
        with pytest.raises(LeaseExistsError):
            await transport.grant_lease(60, lease_id=0x5E55)
        await transport.put(Put(key=prefix, value=b"", lease=0x5E55))
        assert await transport.keep_lease_alive(0x5E55) == 60
        left = await transport.lease_time(0x5E55, wants_keys=True)
        assert (left.granted_s, left.keys) == (60, (prefix,))
        assert 50 < left.left_s <= 60
    finally:
        await transport.revoke_lease(0x5E55)
    assert (await transport.range(Range(key=prefix))).first is None
    assert (await transport.lease_time(0x5E55)).left_s == -1
    with pytest.raises(LeaseNotFoundError):
        await transport.keep_lease_alive(0x5E55)
    with pytest.raises(LeaseNotFoundError):
        await transport.revoke_lease(0x5E55)
    with pytest.raises(LeaseNotFoundError):
        await transport.put(Put(key=prefix, value=b"", lease=0x5E55))


def a_txn_of(count: int, key: bytes) -> Txn:
    return Txn(success=tuple(Put(key=key + b"%d" % each, value=b"") for each in range(count)))


@pytest.mark.parametrize(
    ("refused", "kind"),
    [
        (a_txn_of(129, b"/limits/"), TooManyOperationsError),
        (Txn(success=(a_txn_of(128, b"/limits/"),)), TooManyOperationsError),
        (Txn(success=(Put(key=b"/k", value=b""), Put(key=b"/k", value=b""))), DuplicateKeyError),
        (
            Txn(success=tuple(Txn(success=(Put(key=b"/k", value=b""),)) for _ in range(2))),
            DuplicateKeyError,
        ),
        (Txn(success=(Put(key=b"/k", value=bytes(1_600_000)),)), TooLargeError),
        (Txn(success=(Put(key=b"/k", value=bytes(2_200_000)),)), TooLargeError),
        (Txn(success=(Put(key=b"/k", value=b"", lease=12345),)), LeaseNotFoundError),
        (Txn(success=(Put(key=b"", value=b""),)), InvalidRequestError),
    ],
)
async def test_what_etcd_refuses_is_refused_for_certain_and_writes_nothing(
    transport: EtcdTransport, refused: Txn, kind: type[NothingWrittenError]
) -> None:
    before = (await transport.range(Range(key=b"/k"))).revision
    with pytest.raises(kind) as caught:
        await transport.txn(refused)
    assert type(caught.value) is kind
    assert "etcd refused a transaction of" in caught.value.message
    assert (await transport.range(Range(key=b"/k"))).revision == before


async def test_the_limits_themselves_are_accepted(transport: EtcdTransport, prefix: bytes) -> None:
    assert (await transport.txn(a_txn_of(128, prefix))).succeeded
    nested = Txn(success=tuple(a_txn_of(64, prefix + b"%d/" % each) for each in range(64)))
    assert (await transport.txn(nested)).succeeded


async def test_a_compacted_and_a_future_revision_are_told_apart(
    transport: EtcdTransport, prefix: bytes
) -> None:
    old = (await transport.put(Put(key=prefix, value=b"1"))).revision
    new = (await transport.put(Put(key=prefix, value=b"2"))).revision
    await transport.compact(new)
    with pytest.raises(CompactedError):
        await transport.range(Range(key=prefix, revision=old))
    with pytest.raises(CompactedError):
        await transport.compact(old)
    with pytest.raises(FutureRevisionError):
        await transport.range(Range(key=prefix, revision=new + 1000))


async def test_a_range_at_a_revision_inside_a_transaction_is_never_sent(
    transport: EtcdTransport,
) -> None:
    with pytest.raises(ValueError, match="members of etcd can come to differ"):
        await transport.txn(Txn(success=(Range(key=b"/k", revision=1),)))


async def test_a_watch_tells_of_writes_and_deletions(
    transport: EtcdTransport, prefix: bytes
) -> None:
    revision = (await transport.put(Put(key=prefix + b"a", value=b"1"))).revision
    request = WatchRequest(
        key=prefix, range_end=prefix_end(prefix), revision=revision + 1, wants_previous=True
    )
    async with asyncio.timeout(10), transport.open_watch(request) as stream:
        assert stream.created_revision >= revision
        await transport.put(Put(key=prefix + b"a", value=b"2"))
        await transport.delete(Delete(key=prefix + b"a"))
        events: list[Event] = []
        while len(events) < 2:
            events += (await stream.read()).events
    assert [(event.is_delete, event.kv.value) for event in events] == [(False, b"2"), (True, b"")]
    assert [event.previous and event.previous.value for event in events] == [b"1", b"2"]
    assert [event.kv.mod_revision for event in events] == [revision + 1, revision + 2]


async def test_a_watch_at_a_compacted_revision_says_so(
    transport: EtcdTransport, prefix: bytes
) -> None:
    await transport.put(Put(key=prefix, value=b"1"))
    revision = (await transport.put(Put(key=prefix, value=b"2"))).revision
    await transport.compact(revision)
    request = WatchRequest(key=prefix, revision=1)
    async with asyncio.timeout(10), transport.open_watch(request) as stream:
        answer = await stream.read()
    assert (answer.is_cancelled, answer.compact_revision) == (True, revision)


async def test_the_cluster_tells_of_itself(transport: EtcdTransport, etcd: EtcdServer) -> None:
    (status,) = await transport.statuses()
    assert status.endpoint == etcd.address
    assert status.problem is None
    assert status.version.startswith("3.")
    assert status.db_size > 0
    assert status.leader_id == status.member_id
    (member,) = await transport.members()
    assert member.member_id == status.member_id
    assert not member.is_learner
    assert await transport.alarms() == ()
