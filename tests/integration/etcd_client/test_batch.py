"""Group commit on a real etcd: what one member does never changes another's result."""

from __future__ import annotations

import asyncio

import pytest

from fsm_saga.etcd.batch import BatchLimits, open_batcher
from fsm_saga.etcd.client import EtcdClient
from fsm_saga.etcd.data import (
    Compare,
    Delete,
    Put,
    Range,
    RangeResult,
    Target,
    Txn,
    TxnResult,
    create_revision_is,
    is_absent,
    mod_revision_is,
    prefix_end,
    version_is,
)
from fsm_saga.etcd.errors import FenceLostError, LeaseNotFoundError, TooManyOperationsError

pytestmark = pytest.mark.timeout(60)


async def fence_of(client: EtcdClient, key: bytes) -> Compare:
    return create_revision_is(key, (await client.put(Put(key=key, value=b""))).revision)


async def test_sagas_that_step_at_once_share_revisions_and_lose_nothing(
    client: EtcdClient, prefix: bytes
) -> None:
    fence = await fence_of(client, prefix + b"leader")

    async def steps(saga: int) -> list[int]:
        head, revision, revisions = prefix + b"head/%d" % saga, 0, []
        for step in range(10):
            entry = prefix + b"journal/%d/%d" % (saga, step)
            result = await batcher.submit(
                Txn(
                    compares=(mod_revision_is(head, revision), version_is(entry, 0)),
                    success=(Put(key=head, value=b"%d" % step), Put(key=entry, value=b"e")),
                    failure=(Range(key=head),),
                )
            )
            assert result.succeeded
            revision = result.revision
            revisions.append(revision)
        return revisions

    async with open_batcher(client, fence=(fence,), timeout_s=10) as batcher:
        revisions = await asyncio.gather(*(steps(saga) for saga in range(100)))
    assert len({revision for each in revisions for revision in each}) < 200
    heads = await client.range(
        Range(key=prefix + b"head/", range_end=prefix_end(prefix + b"head/"))
    )
    assert [kv.value for kv in heads.kvs] == [b"9"] * 100
    assert [kv.version for kv in heads.kvs] == [10] * 100


async def test_a_failed_comparison_hurts_its_own_member_only(
    client: EtcdClient, prefix: bytes
) -> None:
    taken = prefix + b"taken"
    await client.put(Put(key=taken, value=b"there"))
    async with open_batcher(client, timeout_s=10) as batcher:
        keys = [prefix + b"%d" % each for each in range(5)]
        results = await asyncio.gather(
            *(
                batcher.submit(Txn(compares=(is_absent(k),), success=(Put(key=k, value=b""),)))
                for k in keys
            ),
            batcher.submit(
                Txn(
                    compares=(is_absent(taken),),
                    success=(Put(key=taken, value=b"mine"),),
                    failure=(Range(key=taken),),
                )
            ),
        )
    *good, bad = results
    assert all(result.succeeded for result in good)
    assert len({result.revision for result in results}) == 1
    assert not bad.succeeded
    (found,) = bad.results
    assert isinstance(found, RangeResult)
    assert found.first is not None
    assert found.first.value == b"there"


async def test_members_that_etcd_refuses_are_found_and_the_rest_is_written(
    client: EtcdClient, prefix: bytes
) -> None:
    def member(number: int) -> Txn:
        key = prefix + b"%02d" % number
        if number == 13:
            return Txn(success=(Put(key=key, value=b"", lease=0xDEAD),))
        if number == 40:
            puts = tuple(Put(key=key + b"/%d" % each, value=b"") for each in range(140))
            return Txn(success=puts)
        return Txn(success=(Put(key=key, value=b""),))

    async with open_batcher(client, timeout_s=10) as batcher:
        results = await asyncio.gather(
            *(batcher.submit(member(number)) for number in range(64)), return_exceptions=True
        )
    refused = {number: each for number, each in enumerate(results) if isinstance(each, Exception)}
    assert {number: type(error) for number, error in refused.items()} == {
        13: LeaseNotFoundError,
        40: TooManyOperationsError,
    }
    assert all(isinstance(each, TxnResult) or each in refused.values() for each in results)
    found = await client.range(Range(key=prefix, range_end=prefix_end(prefix), count_only=True))
    assert found.count == 62


async def test_without_the_fence_nothing_is_written_and_everyone_is_told(
    client: EtcdClient, prefix: bytes
) -> None:
    leader = prefix + b"leader"
    fence = await fence_of(client, leader)
    await client.delete(Delete(key=leader))
    newer = await fence_of(client, leader)
    async with open_batcher(client, fence=(fence,), timeout_s=10) as batcher:
        submitted = [
            batcher.submit(Txn(success=(Put(key=prefix + b"%d" % each, value=b""),)))
            for each in range(3)
        ]
        results = await asyncio.gather(*submitted, return_exceptions=True)
    assert [type(result) for result in results] == [FenceLostError] * 3
    assert isinstance(results[0], FenceLostError)
    assert results[0].facts["holders"] == {leader: newer.operand}
    found = await client.range(Range(key=prefix, range_end=prefix_end(prefix), count_only=True))
    assert found.count == 1


async def test_writes_of_one_key_take_effect_in_the_order_of_submission(
    client: EtcdClient, prefix: bytes
) -> None:
    async with open_batcher(client, limits=BatchLimits(member_max=4), timeout_s=10) as batcher:
        results = await asyncio.gather(
            *(
                batcher.submit(
                    Txn(
                        compares=(version_is(prefix, number),),
                        success=(Put(key=prefix, value=b"%d" % number),),
                    )
                )
                for number in range(20)
            )
        )
    assert all(result.succeeded for result in results)


async def test_members_with_intervals_share_a_commit_when_they_do_not_meet(
    client: EtcdClient, prefix: bytes
) -> None:
    """As a store appends: nothing may lie behind the position that the append takes."""

    def append(saga: int, position: int) -> Txn:
        journal = prefix + b"%03d/" % saga
        rest = Compare(
            key=journal + b"%010d" % position,
            range_end=prefix_end(journal),
            target=Target.VERSION,
            operand=0,
        )
        return Txn(compares=(rest,), success=(Put(key=journal + b"%010d" % position, value=b""),))

    async with open_batcher(client, timeout_s=10) as batcher:
        results = await asyncio.gather(*(batcher.submit(append(saga, 1)) for saga in range(60)))
        assert {result.succeeded for result in results} == {True}
        assert len({result.revision for result in results}) == 1
        late = await batcher.submit(append(7, 1))
        assert not late.succeeded
    with pytest.raises(RuntimeError, match="closed"):
        await batcher.submit(append(7, 2))
