"""A lease's end by our own clock, and by etcd's word."""

from __future__ import annotations

import asyncio

import pytest

from fsm_saga.etcd.errors import (
    EtcdUnavailableError,
    LeaseLostError,
    NoSpaceError,
    PermissionDeniedError,
    UnknownOutcomeError,
)
from fsm_saga.etcd.session import Session, open_session
from tests.unit.etcd.fake_etcd import FakeEtcd, Fault
from tests.unit.etcd.timing import on_virtual_time


class Clock:
    """The loop's time, and jumps of it as a paused process sees them."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lives(session: Session) -> bool:
    """Ask anew: the answer changes while a test waits."""
    return session.is_alive


@on_virtual_time
async def test_a_session_renews_its_lease_and_ends_it_at_last(etcd: FakeEtcd, clock: Clock) -> None:
    async with open_session(etcd, ttl_s=3, clock=clock) as session:
        first = session.expires_at
        await asyncio.sleep(10)
        assert lives(session)
        assert session.expires_at > first
        assert etcd.calls.count("keep_lease_alive") >= 3
        assert session.lease_id in etcd.leases
    assert etcd.leases == {}
    assert not lives(session)
    with pytest.raises(LeaseLostError, match="it was given back"):
        session.check_alive()


@on_virtual_time
async def test_our_end_is_counted_from_when_the_answered_renewal_was_sent(
    etcd: FakeEtcd, clock: Clock
) -> None:
    before = clock()
    async with open_session(etcd, ttl_s=30, margin_s=4, clock=clock) as session:
        assert before + 26 <= session.expires_at <= clock() + 26


@on_virtual_time
async def test_a_process_that_was_paused_finds_its_lease_over_when_it_looks(
    etcd: FakeEtcd, clock: Clock
) -> None:
    async with open_session(etcd, ttl_s=30, clock=clock) as session:
        assert lives(session)
        clock.ahead += 29.5
        assert not lives(session)
        assert session.lost.is_set()
        clock.ahead -= 29.5
        assert not lives(session), "once lost it stays lost, whatever the clock does"
        assert session.lease_id in etcd.leases


@on_virtual_time
async def test_renewals_that_fail_are_repeated_until_our_end(etcd: FakeEtcd, clock: Clock) -> None:
    async with open_session(etcd, ttl_s=3, clock=clock) as session:
        for _ in range(3):
            etcd.faults.append(Fault("keep_lease_alive", EtcdUnavailableError("away")))
        await asyncio.sleep(6)
        assert lives(session)
        for _ in range(1000):
            etcd.faults.append(Fault("keep_lease_alive", EtcdUnavailableError("away")))
        async with asyncio.timeout(100):
            assert await session.wait_lost() == "no renewal was answered in time"
        assert clock() >= session.expires_at


@on_virtual_time
async def test_a_renewal_that_hangs_ends_with_the_lease(etcd: FakeEtcd, clock: Clock) -> None:
    async def hangs(lease_id: int, *, timeout_s: float | None = None) -> int:
        await asyncio.sleep(60)
        return 3

    etcd.keep_lease_alive = hangs  # type: ignore[method-assign]  # a peer that is paused
    async with open_session(etcd, ttl_s=3, clock=clock) as session, asyncio.timeout(100):
        assert await session.wait_lost() == "no renewal was answered in time"


@on_virtual_time
async def test_an_answer_after_our_end_does_not_bring_the_lease_back(
    etcd: FakeEtcd, clock: Clock
) -> None:
    async def late(lease_id: int, *, timeout_s: float | None = None) -> int:
        # Sent at 1, answered at 2.5: our end was at 2, and this answer would move it to 3.
        clock.ahead += 1.5
        return 3

    etcd.keep_lease_alive = late  # type: ignore[method-assign]  # an answer that took its time
    async with open_session(etcd, ttl_s=3, clock=clock) as session:
        await asyncio.sleep(1.1)
        assert session.lost.is_set()


@on_virtual_time
async def test_etcds_word_that_the_lease_is_gone_is_the_end(etcd: FakeEtcd, clock: Clock) -> None:
    async with open_session(etcd, ttl_s=3, clock=clock) as session:
        etcd.end_lease(session.lease_id)
        async with asyncio.timeout(100):
            assert await session.wait_lost() == "there is no such lease"


@on_virtual_time
async def test_work_is_stopped_by_the_end_of_the_lease_and_not_by_its_own(
    etcd: FakeEtcd, clock: Clock
) -> None:
    async def three() -> int:
        return 3

    async def fails() -> int:
        raise ValueError("its own")

    async with open_session(etcd, ttl_s=3, clock=clock) as session:
        assert await session.while_alive(three()) == 3
        with pytest.raises(ValueError, match="its own"):
            await session.while_alive(fails())
        etcd.end_lease(session.lease_id)
        with pytest.raises(LeaseLostError):
            await session.while_alive(asyncio.sleep(60))


@on_virtual_time
async def test_a_grant_whose_answer_was_lost_is_asked_for_again_under_its_id(
    etcd: FakeEtcd, clock: Clock
) -> None:
    for applied in (False, True):
        etcd.faults.append(Fault("grant_lease", UnknownOutcomeError("no answer"), applied=applied))
    async with open_session(etcd, ttl_s=30, clock=clock, choose_id=lambda: 7) as session:
        assert session.lease_id == 7
        assert etcd.leases == {7: 30}
    assert etcd.calls.count("grant_lease") == 3


@on_virtual_time
async def test_an_id_that_is_somebody_elses_is_not_taken(etcd: FakeEtcd, clock: Clock) -> None:
    etcd.leases[7] = 99
    ids = iter((7, 8))
    async with open_session(etcd, clock=clock, choose_id=lambda: next(ids)) as session:
        assert session.lease_id == 8
    assert etcd.leases == {7: 99}


@on_virtual_time
async def test_no_lease_for_as_long_as_it_would_have_lived_is_an_error(
    etcd: FakeEtcd, clock: Clock
) -> None:
    for _ in range(1000):
        etcd.faults.append(Fault("grant_lease", NoSpaceError("full")))
    with pytest.raises(NoSpaceError):
        async with asyncio.timeout(100), open_session(etcd, ttl_s=2, clock=clock):
            pytest.fail("there is no lease")


@on_virtual_time
async def test_a_refused_lease_is_told_at_once(etcd: FakeEtcd) -> None:
    etcd.faults.append(Fault("grant_lease", PermissionDeniedError("no")))
    with pytest.raises(PermissionDeniedError):
        async with open_session(etcd, clock=Clock()):
            pytest.fail("there is no lease")


@on_virtual_time
async def test_what_the_body_raises_comes_out_as_it_is(etcd: FakeEtcd) -> None:
    with pytest.raises(ValueError, match="mine"):
        async with open_session(etcd, clock=Clock()):
            raise ValueError("mine")
    assert etcd.leases == {}


@on_virtual_time
async def test_an_etcd_that_is_away_does_not_stop_the_end_of_a_session(etcd: FakeEtcd) -> None:
    async with open_session(etcd, clock=Clock()):
        etcd.faults.append(Fault("revoke_lease", UnknownOutcomeError("away")))
    assert len(etcd.leases) == 1


@pytest.mark.parametrize("margin_s", [-1, 10, 11])
@on_virtual_time
async def test_a_margin_that_leaves_nothing_is_refused(etcd: FakeEtcd, margin_s: float) -> None:
    with pytest.raises(ValueError, match="below ttl_s=10"):
        async with open_session(etcd, ttl_s=10, margin_s=margin_s, clock=Clock()):
            pytest.fail("there is no lease")
