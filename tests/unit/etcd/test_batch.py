"""Group commit by itself: who travels together, in what order, and what each is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm_saga.etcd.batch import BatchLimits, open_batcher
from fsm_saga.etcd.data import (
    Delete,
    Operation,
    Put,
    Range,
    Txn,
    TxnResult,
    create_revision_is,
    is_absent,
    value_is,
)
from fsm_saga.etcd.errors import (
    FenceLostError,
    LeaseNotFoundError,
    NoSpaceError,
    NotSentError,
    UnknownOutcomeError,
)
from tests.unit.etcd.fake_etcd import FakeEtcd, Fault


def put(key: bytes, value: bytes = b"") -> Txn:
    return Txn(success=(Put(key=key, value=value),))


def keys_of(commit: Txn) -> list[bytes]:
    """Return the first written key of each member."""
    found = []
    for member in commit.success:
        assert isinstance(member, Txn)
        (first, *_) = member.success
        assert isinstance(first, Put)
        found.append(first.key)
    return found


class Gate:
    """Holds commits back until a test lets them go."""

    def __init__(self, etcd: FakeEtcd) -> None:
        self.held: list[asyncio.Future[None]] = []
        etcd.before_txn = self.hold

    def hold(self) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.held.append(future)
        return future

    def open(self, index: int) -> None:
        self.held[index].set_result(None)


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_is_submitted_in_one_turn_travels_together(etcd: FakeEtcd) -> None:
    async with open_batcher(etcd) as batcher:
        results = await asyncio.gather(*(batcher.submit(put(b"%d" % n)) for n in range(10)))
    assert [len(commit.success) for commit in etcd.txns] == [10]
    assert all(result.succeeded for result in results)
    assert {result.revision for result in results} == {etcd.revision}


async def test_an_idle_batcher_sends_at_once_and_two_are_on_their_way_at_most(
    etcd: FakeEtcd,
) -> None:
    gate = Gate(etcd)
    async with open_batcher(etcd) as batcher:
        tasks = []
        for number in range(6):
            tasks.append(asyncio.create_task(batcher.submit(put(b"%d" % number))))
            await turns()
        assert [keys_of(commit) for commit in etcd.txns] == [[b"0"], [b"1"]]
        gate.open(1)
        await turns()
        assert keys_of(etcd.txns[2]) == [b"2", b"3", b"4", b"5"]
        gate.open(0)
        gate.open(2)
        await asyncio.gather(*tasks)


async def test_a_batch_is_bounded_by_members_bytes_and_operations(etcd: FakeEtcd) -> None:
    limits = BatchLimits(member_max=3, bytes_max=1000, in_flight_max=1)
    async with open_batcher(etcd, limits=limits) as batcher:
        await asyncio.gather(*(batcher.submit(put(b"m%d" % n)) for n in range(7)))
        assert [len(commit.success) for commit in etcd.txns] == [3, 3, 1]
        etcd.txns.clear()
        large = bytes(400)
        await asyncio.gather(*(batcher.submit(put(b"s%d" % n, large)) for n in range(3)))
        assert [len(commit.success) for commit in etcd.txns] == [2, 1]
        etcd.txns.clear()
        # Alone it may be above our bound: etcd itself decides about it.
        await asyncio.gather(batcher.submit(put(b"x", bytes(5000))), batcher.submit(put(b"y")))
        assert sorted(len(commit.success) for commit in etcd.txns) == [1, 1]
        etcd.txns.clear()
    many = Txn(success=tuple(Put(key=b"o%d" % n, value=b"") for n in range(126)))
    async with open_batcher(etcd, limits=BatchLimits(in_flight_max=1)) as batcher:
        await asyncio.gather(
            *(batcher.submit(put(b"p%d" % n)) for n in range(3)), batcher.submit(many)
        )
    assert [len(commit.success) for commit in etcd.txns] == [3, 1]


async def test_writes_of_one_key_wait_for_each_other_and_keep_their_order(etcd: FakeEtcd) -> None:
    gate = Gate(etcd)
    async with open_batcher(etcd, limits=BatchLimits(in_flight_max=3)) as batcher:
        tasks = [
            asyncio.create_task(batcher.submit(put(key, value)))
            for key, value in [(b"k", b"1"), (b"k", b"2"), (b"a", b""), (b"k", b"3")]
        ]
        await turns()
        assert [keys_of(commit) for commit in etcd.txns] == [[b"k", b"a"]]
        gate.open(0)
        await turns()
        assert [keys_of(commit) for commit in etcd.txns[1:]] == [[b"k"]]
        gate.open(1)
        await turns()
        gate.open(2)
        revisions = [result.revision for result in await asyncio.gather(*tasks)]
    assert revisions[0] < revisions[1] < revisions[3]
    assert etcd.kvs[b"k"].value == b"3"


async def test_a_later_write_does_not_overtake_one_that_waits(etcd: FakeEtcd) -> None:
    gate = Gate(etcd)
    both = Txn(success=(Put(key=b"a", value=b"2"), Put(key=b"b", value=b"2")))
    async with open_batcher(etcd) as batcher:
        first = asyncio.create_task(batcher.submit(put(b"a", b"1")))
        await turns()
        second = asyncio.create_task(batcher.submit(both))
        third = asyncio.create_task(batcher.submit(put(b"b", b"3")))
        await turns()
        assert len(etcd.txns) == 1, "the third would overtake the second, which waits for the first"
        gate.open(0)
        await turns()
        gate.open(1)
        await turns()
        gate.open(2)
        await asyncio.gather(first, second, third)
    assert etcd.kvs[b"b"].value == b"3"


async def test_an_order_key_orders_what_writes_different_keys(etcd: FakeEtcd) -> None:
    async with open_batcher(etcd) as batcher:
        await asyncio.gather(
            *(batcher.submit(put(b"entry%d" % n), order_keys=(b"saga",)) for n in range(3))
        )
    assert [keys_of(commit) for commit in etcd.txns] == [[b"entry0"], [b"entry1"], [b"entry2"]]


async def test_each_is_told_its_own_refusal_and_the_others_are_written(etcd: FakeEtcd) -> None:
    leased = Txn(success=(Put(key=b"5", value=b"", lease=99),))
    async with open_batcher(etcd) as batcher:
        members = [leased if n == 5 else put(b"%d" % n) for n in range(11)]
        results = await asyncio.gather(
            *(batcher.submit(member) for member in members), return_exceptions=True
        )
    assert [n for n, each in enumerate(results) if isinstance(each, LeaseNotFoundError)] == [5]
    assert [n for n, each in enumerate(results) if isinstance(each, TxnResult)] == [
        *range(5),
        *range(6, 11),
    ]
    assert sorted(etcd.kvs) == sorted(b"%d" % n for n in range(11) if n != 5)


@pytest.mark.parametrize("error", [UnknownOutcomeError("lost"), NoSpaceError("full")])
@pytest.mark.parametrize("applied", [True, False])
async def test_an_unknown_outcome_is_told_to_every_member_and_nothing_is_sent_again(
    etcd: FakeEtcd, error: UnknownOutcomeError, applied: bool
) -> None:
    etcd.faults.append(Fault("txn", error, applied=applied))
    async with open_batcher(etcd) as batcher:
        results = await asyncio.gather(
            *(batcher.submit(put(b"%d" % n)) for n in range(3)), return_exceptions=True
        )
    assert [type(result) for result in results] == [type(error)] * 3
    assert len({id(result) for result in results}) == 3
    assert len(etcd.txns) == 1
    assert len(etcd.kvs) == (3 if applied else 0)


async def test_without_the_fence_all_are_told_who_leads(etcd: FakeEtcd) -> None:
    etcd.apply(put(b"leader"))
    fence = create_revision_is(b"leader", 999)
    async with open_batcher(etcd, fence=(fence,)) as batcher:
        results = await asyncio.gather(
            *(batcher.submit(put(b"%d" % n)) for n in range(3)), return_exceptions=True
        )
    for result in results:
        assert isinstance(result, FenceLostError)
        assert result.facts["holders"] == {b"leader": 2}
    assert sorted(etcd.kvs) == [b"leader"]


async def test_who_gives_up_before_it_is_sent_is_not_sent(etcd: FakeEtcd) -> None:
    gate = Gate(etcd)
    async with open_batcher(etcd, limits=BatchLimits(in_flight_max=1)) as batcher:
        first = asyncio.create_task(batcher.submit(put(b"1")))
        await turns()
        second = asyncio.create_task(batcher.submit(put(b"2")))
        third = asyncio.create_task(batcher.submit(put(b"3")))
        await turns()
        second.cancel()
        gate.open(0)
        await turns()
        gate.open(1)
        await asyncio.gather(first, third)
    assert sorted(etcd.kvs) == [b"1", b"3"]


async def test_the_end_of_the_context_answers_everything_first(etcd: FakeEtcd) -> None:
    async with open_batcher(etcd, limits=BatchLimits(member_max=2)) as batcher:
        tasks = [asyncio.create_task(batcher.submit(put(b"%d" % n))) for n in range(9)]
        await asyncio.sleep(0)
    assert all(task.done() and task.result().succeeded for task in tasks)
    with pytest.raises(RuntimeError, match="closed"):
        await batcher.submit(put(b"late"))


async def test_a_context_that_fails_leaves_nobody_waiting(etcd: FakeEtcd) -> None:
    Gate(etcd)
    tasks: list[asyncio.Task[TxnResult]] = []

    async def fails() -> None:
        async with open_batcher(etcd, limits=BatchLimits(in_flight_max=1)) as batcher:
            for number in range(2):
                tasks.append(asyncio.create_task(batcher.submit(put(b"%d" % number))))
                await turns()
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await fails()
    sent, waiting = await asyncio.gather(*tasks, return_exceptions=True)
    assert type(sent) is UnknownOutcomeError
    assert type(waiting) is NotSentError


async def test_a_fault_of_our_own_is_raised_and_leaves_nobody_waiting(
    etcd: FakeEtcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(_: Txn) -> TxnResult:
        raise KeyError("a bug")

    async def uses() -> None:
        async with open_batcher(etcd) as batcher:
            with pytest.raises(UnknownOutcomeError):
                await batcher.submit(put(b"k"))

    monkeypatch.setattr(etcd, "apply", breaks)
    with pytest.raises(KeyError, match="a bug"):
        await uses()


async def test_what_cannot_share_a_commit_is_refused_before_anything_is_sent(
    etcd: FakeEtcd,
) -> None:
    async with open_batcher(etcd) as batcher:
        with pytest.raises(ValueError, match="cannot share a commit"):
            await batcher.submit(Txn(success=(Delete(key=b"a", range_end=b"b"),)))
    assert etcd.txns == []


KEYS = st.sampled_from([b"a", b"b", b"c", b"d"])
VALUES = st.sampled_from([b"1", b"2"])


def unique_writes(operations: Sequence[Operation]) -> bool:
    written = [op.key for op in operations if isinstance(op, Put | Delete)]
    return len(set(written)) == len(written)


OPERATIONS = st.lists(
    st.builds(Put, key=KEYS, value=VALUES)
    | st.builds(Delete, key=KEYS)
    | st.builds(Range, key=KEYS, range_end=st.sampled_from([b"", b"c", b"\0"])),
    max_size=3,
).filter(unique_writes)

MEMBERS = st.builds(
    Txn,
    compares=st.lists(
        st.builds(is_absent, KEYS) | st.builds(value_is, KEYS, VALUES), max_size=2
    ).map(tuple),
    success=OPERATIONS.map(tuple),
    failure=OPERATIONS.map(tuple),
)


def without_revisions(result: TxnResult) -> object:
    """Return what the member was told, but for the numbers that sharing a commit changes."""

    def plain(each: object) -> Iterator[object]:
        match each:
            case TxnResult():
                yield (each.succeeded, [list(plain(one)) for one in each.results])
            case _:
                kvs = getattr(each, "kvs", None)
                yield (
                    type(each).__name__,
                    getattr(each, "deleted", None),
                    None if kvs is None else [(kv.key, kv.value) for kv in kvs],
                )

    return list(plain(result))


@given(members=st.lists(MEMBERS, max_size=12), in_flight_max=st.integers(1, 3))
def test_in_company_each_is_told_what_it_would_have_been_told_alone(
    members: list[Txn], in_flight_max: int
) -> None:
    """Each commit is taken apart and done member by member on a second etcd: the same comes out."""
    etcd, alone = FakeEtcd(), FakeEtcd()

    async def run() -> list[TxnResult]:
        async with open_batcher(etcd, limits=BatchLimits(in_flight_max=in_flight_max)) as batcher:
            return await asyncio.gather(*(batcher.submit(member) for member in members))

    told = {id(member): result for member, result in zip(members, asyncio.run(run()), strict=True)}
    done = [member for commit in etcd.txns for member in commit.success]
    assert len(done) == len(members)
    for member in done:
        assert isinstance(member, Txn)
        assert without_revisions(alone.apply(member)) == without_revisions(told[id(member)])
    assert {k: kv.value for k, kv in etcd.kvs.items()} == {
        k: kv.value for k, kv in alone.kvs.items()
    }
