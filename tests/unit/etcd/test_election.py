"""Who leads, through lost answers and lost leases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from fsm_saga.errors import InvariantBrokenError
from fsm_saga.etcd import election as election_module
from fsm_saga.etcd.data import (
    Delete,
    KeyValue,
    Put,
    RangeResult,
    Txn,
    TxnResult,
    create_revision_is,
)
from fsm_saga.etcd.election import Election, Leadership
from fsm_saga.etcd.errors import (
    CompactedError,
    LeaseLostError,
    LeaseNotFoundError,
    UnknownOutcomeError,
)
from fsm_saga.etcd.session import Session, open_session
from tests.unit.etcd.fake_etcd import FakeEtcd, Fault

KEY = b"/leader"


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(election_module, "RETRY_PAUSE_S", 0.001)


@pytest.fixture
async def session(etcd: FakeEtcd) -> AsyncIterator[Session]:
    async with open_session(etcd, ttl_s=60) as session:
        yield session


@pytest.fixture
def election(etcd: FakeEtcd, session: Session) -> Election:
    return Election(etcd, session, key=KEY, value=b"me", poll_s=60)


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_whoever_finds_the_key_free_leads_with_the_revision_as_fence(
    etcd: FakeEtcd, election: Election, session: Session
) -> None:
    leader = await election.campaign()
    kv = etcd.kvs[KEY]
    assert leader == Leadership(key=KEY, fence=kv.create_revision)
    assert (kv.value, kv.lease) == (b"me", session.lease_id)
    assert leader.guard() == create_revision_is(KEY, leader.fence)


@pytest.mark.parametrize("applied", [True, False])
async def test_a_campaign_whose_answer_was_lost_finds_out_by_asking_again(
    etcd: FakeEtcd, election: Election, applied: bool
) -> None:
    etcd.faults.append(Fault("txn", UnknownOutcomeError("lost"), applied=applied))
    leader = await election.campaign()
    assert leader.fence == etcd.kvs[KEY].create_revision
    assert etcd.revision == leader.fence


async def test_a_candidate_waits_for_the_deletion_and_takes_over(
    etcd: FakeEtcd, election: Election
) -> None:
    etcd.apply(Txn(success=(Put(key=KEY, value=b"other"),)))
    waiting = asyncio.create_task(election.campaign())
    await turns()
    etcd.apply(Txn(success=(Put(key=KEY, value=b"other again"),)))
    await turns()
    assert not waiting.done()
    before = etcd.revision
    etcd.apply(Txn(success=(Delete(key=KEY),)))
    async with asyncio.timeout(2):
        assert (await waiting).fence == before + 2


async def test_a_candidate_looks_by_itself_when_its_watch_is_silent(
    etcd: FakeEtcd, session: Session
) -> None:
    etcd.apply(Txn(success=(Put(key=KEY, value=b"other"),)))
    waiting = asyncio.create_task(Election(etcd, session, key=KEY, poll_s=0.005).campaign())
    await turns()
    for stream in etcd.streams:
        stream.is_deaf = True
    etcd.apply(Txn(success=(Delete(key=KEY),)))
    async with asyncio.timeout(2):
        await waiting


async def test_a_watch_that_is_compacted_away_makes_the_candidate_look(
    etcd: FakeEtcd, election: Election
) -> None:
    etcd.apply(Txn(success=(Put(key=KEY, value=b"other"),)))
    etcd.faults.append(Fault("open_watch", CompactedError("gone")))
    waiting = asyncio.create_task(election.campaign())
    async with asyncio.timeout(2):
        await turns()
        assert etcd.calls.count("txn") == 2
        etcd.apply(Txn(success=(Delete(key=KEY),)))
        await waiting


async def test_who_loses_its_lease_stops_waiting(
    etcd: FakeEtcd, election: Election, session: Session
) -> None:
    etcd.apply(Txn(success=(Put(key=KEY, value=b"other"),)))
    waiting = asyncio.create_task(election.campaign())
    await turns()
    session.lost.set()
    with pytest.raises(LeaseLostError):
        await waiting
    with pytest.raises(LeaseLostError):
        await election.campaign()
    assert etcd.streams == []


async def test_a_lease_that_etcd_does_not_know_is_no_ground_to_go_on(
    etcd: FakeEtcd, election: Election, session: Session
) -> None:
    etcd.end_lease(session.lease_id)
    with pytest.raises(LeaseNotFoundError):
        await election.campaign()


async def test_only_our_own_leadership_is_given_up(etcd: FakeEtcd, election: Election) -> None:
    leader = await election.campaign()
    assert await election.resign(leader)
    etcd.apply(Txn(success=(Put(key=KEY, value=b"other"),)))
    assert not await election.resign(leader)
    assert etcd.kvs[KEY].value == b"other"


@pytest.mark.parametrize("how", ["deleted", "lease", "session", "replaced while away"])
async def test_the_loss_of_leadership_is_seen(
    etcd: FakeEtcd, election: Election, session: Session, how: str
) -> None:
    leader = await election.campaign()
    losing = asyncio.create_task(election.wait_lost(leader))
    await turns()
    etcd.apply(Txn(success=(Put(key=KEY, value=b"new value", lease=session.lease_id),)))
    await turns()
    assert not losing.done(), "a new value is not a new leader"
    match how:
        case "deleted":
            etcd.apply(Txn(success=(Delete(key=KEY),)))
        case "lease":
            etcd.end_lease(session.lease_id)
        case "session":
            session._lose("its end")
        case _:
            for stream in etcd.streams:
                stream.is_deaf = True
            etcd.apply(Txn(success=(Delete(key=KEY),)))
            etcd.apply(Txn(success=(Put(key=KEY, value=b"other"),)))
            etcd.cut(CompactedError("gone"))
    async with asyncio.timeout(2):
        why = await losing
    assert (
        why
        == {
            "deleted": "the key was deleted",
            "lease": "the key was deleted",
            "session": "its end",
            "replaced while away": "the key is another leader's",
        }[how]
    )
    assert etcd.streams == []


async def test_a_watch_that_was_compacted_away_under_a_leader_goes_on(
    etcd: FakeEtcd, election: Election
) -> None:
    leader = await election.campaign()
    losing = asyncio.create_task(election.wait_lost(leader))
    await turns()
    etcd.cut(CompactedError("gone"))
    await turns()
    assert not losing.done()
    etcd.apply(Txn(success=(Delete(key=KEY),)))
    async with asyncio.timeout(2):
        assert await losing == "the key was deleted"


async def test_an_answer_that_cannot_be_is_not_concluded_from(
    etcd: FakeEtcd, election: Election, monkeypatch: pytest.MonkeyPatch
) -> None:
    nonsense = TxnResult(succeeded=False, revision=1, results=(RangeResult(revision=1),))
    monkeypatch.setattr(etcd, "apply", lambda _: nonsense)
    with pytest.raises(InvariantBrokenError):
        await election.try_once()


async def test_the_holder_is_told_to_who_does_not_want_to_wait(
    etcd: FakeEtcd, election: Election
) -> None:
    etcd.apply(Txn(success=(Put(key=KEY, value=b"other"),)))
    holder = await election.try_once()
    assert isinstance(holder, KeyValue)
    assert holder.value == b"other"
