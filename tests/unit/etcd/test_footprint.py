"""What a transaction touches, and who may share a commit."""

from __future__ import annotations

import pytest

from fsm_saga.etcd.data import (
    Compare,
    Delete,
    Put,
    Range,
    Target,
    Txn,
    create_revision_is,
    is_absent,
    value_is,
)
from fsm_saga.etcd.footprint import Company, footprint


def put(*keys: bytes) -> Txn:
    return Txn(success=tuple(Put(key=key, value=b"v") for key in keys))


def looks_at(low: bytes, high: bytes) -> Txn:
    compare = Compare(key=low, range_end=high, target=Target.VERSION, operand=0)
    return Txn(compares=(compare,))


def reads(key: bytes) -> Txn:
    return Txn(compares=(is_absent(key),))


def test_keys_of_all_branches_and_levels_are_found() -> None:
    inner = Txn(compares=(value_is(b"r1", b"12345"),), failure=(Delete(key=b"w1"),))
    txn = Txn(
        compares=(create_revision_is(b"r2", 1), is_absent(b"w2")),
        success=(Put(key=b"w2", value=b"123"), inner),
        failure=(Range(key=b"r3"), Range(key=b"i", range_end=b"j")),
    )
    found = footprint(txn, [b"order"])
    assert found.writes == {b"w1", b"w2", b"order"}
    assert found.reads == {b"r1", b"r2", b"r3"}
    assert found.intervals == [(b"i", b"j")]


@pytest.mark.parametrize(
    ("txn", "operations"),
    [
        (Txn(), 0),
        (put(b"a", b"b", b"c"), 3),
        (Txn(compares=(is_absent(b"a"),) * 5, success=put(b"a").success), 5),
        (Txn(success=(put(b"a"), put(b"b", b"c"))), 4),
        (Txn(success=(put(b"a"),), failure=(Range(key=b"a"),) * 7), 8),
    ],
)
def test_operations_are_counted_as_etcd_counts_them(txn: Txn, operations: int) -> None:
    assert footprint(txn).operations == operations


def test_the_size_is_never_below_what_is_sent() -> None:
    encode = pytest.importorskip("fsm_saga.etcd.encode")
    txn = Txn(
        compares=(value_is(b"k" * 100, b"v" * 1000), is_absent(b"k")),
        success=(
            Put(key=b"k", value=b"v" * 5000, lease=2**62),
            Delete(key=b"x", wants_previous=True),
        ),
        failure=(Range(key=b"a", range_end=b"b" * 50, limit=2**40),),
    )
    sent = encode.txn_request(Txn(success=(txn,))).ByteSize()
    assert sent <= footprint(txn).size + 64 <= sent + 400


def test_what_cannot_share_a_commit_is_refused() -> None:
    with pytest.raises(ValueError, match="deletion of b'a' to b'b' cannot share"):
        footprint(Txn(success=(Delete(key=b"a", range_end=b"b"),)))
    with pytest.raises(ValueError, match="at revision 3 cannot stand in a transaction"):
        footprint(Txn(failure=(Range(key=b"a", revision=3),)))


@pytest.mark.parametrize(
    ("first", "second", "fits"),
    [
        (put(b"a"), put(b"b"), True),
        (put(b"a"), put(b"a"), False),
        (reads(b"a"), reads(b"a"), True),
        (reads(b"a"), put(b"a"), False),
        (put(b"a"), reads(b"a"), False),
        (looks_at(b"b", b"d"), put(b"a"), True),
        (looks_at(b"b", b"d"), put(b"b"), False),
        (looks_at(b"b", b"d"), put(b"c"), False),
        (looks_at(b"b", b"d"), put(b"d"), True),
        (put(b"c"), looks_at(b"b", b"d"), False),
        (put(b"d"), looks_at(b"b", b"d"), True),
        (put(b"zzz"), looks_at(b"b", b"\0"), False),
        (looks_at(b"b", b"\0"), put(b"zzz"), False),
        (looks_at(b"b", b"\0"), put(b"a"), True),
        (looks_at(b"b", b"d"), looks_at(b"c", b"e"), True),
    ],
)
def test_who_looks_at_what_another_writes_does_not_share(
    first: Txn, second: Txn, fits: bool
) -> None:
    company = Company()
    assert company.fits(footprint(first))
    company.add(footprint(first))
    assert company.fits(footprint(second)) is fits


def test_a_member_may_look_at_what_it_writes_itself() -> None:
    own = Txn(compares=(is_absent(b"a"),), success=(Put(key=b"a", value=b""),))
    company = Company()
    company.add(footprint(put(b"b")))
    assert company.fits(footprint(own))


def test_intervals_that_overlap_are_seen_as_one_and_others_stay_apart() -> None:
    company = Company()
    for low, high in [(b"b", b"d"), (b"h", b"j"), (b"c", b"f"), (b"m", b"p"), (b"n", b"o")]:
        company.add(footprint(looks_at(low, high)))
    seen = [key for key in b"abcdefghijklmnopq" if not company.fits(footprint(put(bytes([key]))))]
    assert bytes(seen) == b"bcdehimno"
