"""A played seat: its lease ends here before it ends there; what was not heard is found again."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from fsm_saga.errors import StoreUnavailableError
from fsm_saga.ports import Member, Term
from fsm_saga.simulation.member import ClusterWatch, MemberNode
from fsm_saga.simulation.seat import MARGIN_S, SimCluster, SimSeat
from fsm_saga.simulation.sharded import ShardedStorage
from fsm_saga.simulation.storage import LEASE_TTL_S
from fsm_saga.simulation.tools import ToolWorld
from fsm_saga.simulation.world import World

T = TypeVar("T")


class Stage:
    """Some machines on which nothing runs but what a test has run there."""

    def __init__(self) -> None:
        self.world = World(1, only=frozenset())
        self.tools = ToolWorld(self.world)
        self.watch = ClusterWatch(self.world, self.tools)
        self.storage = ShardedStorage(self.world, self.watch, shards=2)

    def machine(self, name: str) -> MemberNode:
        node = MemberNode(name, self.world, self.storage, self.tools, self.watch)
        node._begin()
        return node

    def do(self, node: MemberNode, work: Coroutine[Any, Any, T], *, within_s: float = 5.0) -> T:
        """Return what comes of it in the machine's process, or raise what it raises."""
        assert node.process is not None
        node.process.on_failure = lambda error: None
        task = node.process.spawn(work)
        self.wait(within_s)
        return task.result()

    def wait(self, seconds: float) -> None:
        loop = self.world.loop
        loop.run_while(lambda: True, until=loop.time() + seconds)

    def seat(self, node: MemberNode) -> SimSeat:
        member = Member(member_id=node.member_id, name=node.name, started_at=0.0)
        return self.do(node, SimCluster(node).join(member, ttl_s=LEASE_TTL_S), within_s=0.2)


def is_lost(seat: SimSeat) -> bool:
    return seat.lost_at is not None


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_seat_lives_as_long_as_its_process_renews_it(stage: Stage) -> None:
    node = stage.machine("a")
    seat = stage.seat(node)
    assert stage.do(node, seat.campaign(0)) == Term(shard=0, epoch=1)
    stage.wait(10 * LEASE_TTL_S)
    assert list(stage.storage.roster().members) == ["a.1"]
    assert not is_lost(seat)
    node.crash("it is killed", back_after_s=1e6)
    stage.wait(LEASE_TTL_S)
    assert stage.storage.roster().members == {}
    assert stage.storage.roster().leaders == {}


def test_a_lease_ends_here_before_it_ends_there(stage: Stage) -> None:
    node = stage.machine("a")
    seat = stage.seat(node)
    stage.wait(1.0)
    node.cut_store(1e6)
    for _ in range(100):
        stage.wait(0.1)
        if is_lost(seat):
            break
    assert stage.storage.members, "the store still counts on it"
    stage.wait(MARGIN_S + LEASE_TTL_S / 3 + 0.1)
    assert stage.storage.members == {}


def test_who_is_heard_and_hears_nothing_loses_its_lease_here_alone(stage: Stage) -> None:
    node = stage.machine("a")
    seat = stage.seat(node)
    node.replies_cut_until = 1e6
    stage.wait(LEASE_TTL_S)
    assert is_lost(seat)


def test_a_term_whose_answer_was_lost_is_found_by_the_next_campaign(stage: Stage) -> None:
    node = stage.machine("a")
    seat = stage.seat(node)
    node.replies_cut_until = stage.world.loop.time() + 0.5
    with pytest.raises(StoreUnavailableError):
        stage.do(node, seat.campaign(0), within_s=1.5)
    assert stage.storage.leaders[0].member_id == "a.1"
    assert stage.do(node, seat.campaign(0)) == Term(shard=0, epoch=1)
    assert stage.world.counts["campaign won and not heard"] == 1


def test_what_another_leads_is_not_won_until_it_is_resigned(stage: Stage) -> None:
    one, other = stage.machine("a"), stage.machine("b")
    first, second = stage.seat(one), stage.seat(other)
    term = stage.do(one, first.campaign(0), within_s=0.2)
    assert term is not None
    assert stage.do(other, second.campaign(0), within_s=0.2) is None
    stage.do(one, first.resign(term), within_s=0.2)
    assert stage.do(other, second.campaign(0), within_s=0.2) == Term(shard=0, epoch=2)


def test_a_change_wakes_who_waits_for_one_unless_it_cannot_hear(stage: Stage) -> None:
    one, other = stage.machine("a"), stage.machine("b")
    seat, woken = stage.seat(one), []

    async def wait() -> None:
        await seat.wait_change(3.0)
        woken.append(stage.world.loop.time())

    stage.wait(1.0)
    stage.do(one, wait(), within_s=0.0)
    stage.wait(1.0)
    woken.clear()
    assert one.process is not None
    started_at = stage.world.loop.time()
    one.process.spawn(wait())
    stage.seat(other)
    assert woken
    assert woken[0] - started_at < 0.2
    one.process.spawn(wait())
    one.replies_cut_until = stage.world.loop.time() + 0.5
    stage.storage.forget_member("b.1")
    stage.wait(3.0)
    assert woken[1] - woken[0] > 2.5


def test_who_was_paused_beyond_its_lease_knows_it_as_soon_as_it_goes_on(stage: Stage) -> None:
    node = stage.machine("a")
    seat = stage.seat(node)
    node.pause(3 * LEASE_TTL_S)
    stage.wait(2 * LEASE_TTL_S)
    assert stage.storage.members == {}
    assert not is_lost(seat)
    stage.wait(LEASE_TTL_S + 0.1)
    assert is_lost(seat)
    with pytest.raises(StoreUnavailableError, match="Join again"):
        stage.do(node, seat.campaign(0))
