"""The far end of the store that nodes share: what hangs on a lease, and who may write what."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from fsm_saga.core.records import PlanClosed
from fsm_saga.ports import Append, Command, Head, Member
from fsm_saga.simulation.sharded import LeaderKey, ShardedStorage
from fsm_saga.simulation.storage import LEASE_TTL_S
from fsm_saga.simulation.world import World

SHARDS = 2
SAGA_OF = {0: "s2", 1: "s0"}


class Listener:
    def __init__(self) -> None:
        self.accepts: list[tuple[int, int | None]] = []
        self.refusals: list[str] = []
        self.epochs: list[int] = []

    def accepted(self, epoch: int, leader: int | None, append: Append, body: bytes) -> None:
        self.accepts.append((epoch, leader))

    def refused(self, epoch: int, append: Append, error: Any) -> None:
        self.refusals.append(error.code)

    def elected(self, epoch: int) -> None:
        self.epochs.append(epoch)


class Stage:
    def __init__(self) -> None:
        self.world = World(1)
        self.listener = Listener()
        self.storage = ShardedStorage(self.world, self.listener, shards=SHARDS)
        self.told = 0
        self.storage.listeners["test"] = self.hear

    def hear(self) -> None:
        self.told += 1

    def join(self, member_id: str, lease_id: str) -> None:
        self.storage.grant(lease_id)
        member = Member(member_id=member_id, name=member_id, started_at=0.0)
        assert self.storage.put_member(lease_id, member)

    def append(self, member_id: str, epoch: int, shard: int, position: int = 0) -> str:
        saga_id = SAGA_OF[shard]
        head = Head(
            saga_id=saga_id,
            state="EXECUTING(1)",
            outcome=None,
            position=position + 1,
            created_at=0.0,
            updated_at=0.0,
        )
        records = (PlanClosed(at=1.0),)
        append = Append(saga_id=saga_id, position=position, records=records, head=head)
        refusal = self.storage.append_by(member_id, epoch, append)
        return "" if refusal is None else refusal.code

    def wait(self, seconds: float) -> None:
        loop = self.world.loop
        loop.run_while(lambda: True, until=loop.time() + seconds)


@pytest.fixture
def stage() -> Stage:
    stage = Stage()
    assert {shard: stage.storage.shard_of(s) for shard, s in SAGA_OF.items()} == {0: 0, 1: 1}
    stage.join("a", "a/1")
    return stage


def test_a_lease_that_nobody_renews_takes_all_that_hangs_on_it_along(stage: Stage) -> None:
    storage = stage.storage
    assert storage.campaign("a/1", "a", 0) == LeaderKey(1, "a", "a/1")
    stage.wait(0.9 * LEASE_TTL_S)
    assert storage.renew("a/1")
    stage.wait(0.9 * LEASE_TTL_S)
    assert storage.roster().leaders[0].member_id == "a"
    stage.wait(0.2 * LEASE_TTL_S)
    assert storage.roster().members == {}
    assert storage.roster().leaders == {}
    assert not storage.renew("a/1")
    assert storage.campaign("a/1", "a", 0) is None
    assert not storage.put_member("a/1", Member(member_id="a", name="a", started_at=0.0))


def test_a_put_with_another_lease_takes_the_key_over_from_the_first(stage: Stage) -> None:
    stage.wait(0.5 * LEASE_TTL_S)
    stage.join("a", "a/2")
    stage.wait(0.6 * LEASE_TTL_S)
    assert "a/1" not in stage.storage.leases
    assert "a" in stage.storage.members


def test_whoever_leads_keeps_the_shard_until_it_resigns_and_epochs_grow(stage: Stage) -> None:
    storage = stage.storage
    stage.join("b", "b/1")
    assert storage.campaign("a/1", "a", 0) == LeaderKey(1, "a", "a/1")
    assert storage.campaign("b/1", "b", 0) == LeaderKey(1, "a", "a/1")
    storage.resign(0, 7)
    assert 0 in storage.leaders
    storage.resign(0, 1)
    assert storage.campaign("b/1", "b", 0) == LeaderKey(2, "b", "b/1")
    assert storage.campaign("b/1", "b", 1) == LeaderKey(3, "b", "b/1")
    assert stage.listener.epochs == [1, 2, 3]
    assert [(move.shard, move.member_id) for move in storage.moves] == [
        (0, "a"),
        (0, "b"),
        (1, "b"),
    ]
    assert stage.told == 6


def test_only_the_shards_leader_writes_and_only_in_its_own_term(stage: Stage) -> None:
    storage = stage.storage
    stage.join("b", "b/1")
    storage.campaign("a/1", "a", 0)
    storage.campaign("b/1", "b", 1)
    assert stage.append("a", 1, 0) == ""
    assert stage.append("a", 1, 1) == "fenced"
    assert stage.append("a", 2, 0, 1) == "fenced"
    assert stage.append("b", 2, 1) == ""
    assert stage.listener.accepts == [(1, 1), (2, 2)]
    storage.end("a/1", "expired")
    assert stage.append("a", 1, 0, 1) == "fenced"
    storage.campaign("b/1", "b", 0)
    assert stage.append("a", 1, 0, 1) == "fenced"
    assert stage.world.violations == []


def test_that_another_writes_in_somebodys_term_is_seen(stage: Stage) -> None:
    stage.storage.campaign("a/1", "a", 0)
    assert stage.append("b", 1, 0) == ""
    assert [violation.code for violation in stage.world.violations] == ["L1"]


def test_keys_that_are_deleted_by_hand_leave_the_lease(stage: Stage) -> None:
    storage = stage.storage
    storage.campaign("a/1", "a", 0)
    storage.forget_member("a")
    storage.forget_leader(0)
    assert (storage.members, storage.leaders) == ({}, {})
    assert storage.renew("a/1")
    stage.join("a", "a/1")
    assert stage.world.counts["member key restored"] == 1


def test_each_shard_has_its_own_heads_and_commands(stage: Stage) -> None:
    storage = stage.storage
    for shard in range(SHARDS):
        storage.campaign("a/1", "a", shard)
        assert stage.append("a", shard + 1, shard) == ""
        storage.post(Command(saga_id=SAGA_OF[shard], kind="cancel", body={}))
    for shard in range(SHARDS):
        assert [head.saga_id for head in storage.heads_in(shard, limit=None)] == [SAGA_OF[shard]]
        assert [c.saga_id for c in storage.pending_in(shard)] == [SAGA_OF[shard]]
    journal = storage.journals[SAGA_OF[0]]
    journal.head = replace(journal.head, is_final=True)
    assert storage.heads_in(0, limit=None) == []
