"""What is said of a cluster that needs somebody, and of one that does not."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from msgspec import structs

from fsm_saga.cluster.survey import Survey, as_json, survey, troubles
from fsm_saga.ports import Command, Leader, Member, Roster
from fsm_saga.stores.memory_cluster import MemoryCluster
from fsm_saga.stores.sharding import shard_of
from tests.conformance.samples import STARTED_AT, append_of, submitted


def member(name: str, *, version: str = "1", tools: str = "t", left: int = 0) -> Member:
    facts = {"sagas_left_alone": left}
    return Member(
        member_id=name, name=name, started_at=1.0, version=version, tools=tools, facts=facts
    )


def found(
    *members: Member,
    led: Mapping[int, str] | None = None,
    shards: int = 2,
    unfinished: Mapping[int, int] | None = None,
    pending: Mapping[int, int] | None = None,
    waits: Mapping[str, int] | None = None,
) -> Survey:
    leaders = {
        shard: Leader(shard=shard, epoch=7, member_id=name) for shard, name in (led or {}).items()
    }
    return Survey(
        store="etcd://127.0.0.1/x",
        shards=shards,
        roster=Roster(members={m.member_id: m for m in members}, leaders=leaders),
        unfinished=unfinished or {},
        pending=pending or {},
        waits=waits or {},
        at=100.0,
    )


def codes(seen: Survey) -> list[str]:
    return [trouble.code for trouble in troubles(seen)]


def test_a_cluster_whose_shards_are_all_led_needs_nobody() -> None:
    assert codes(found(member("a"), member("b"), led={0: "a", 1: "b"}, unfinished={0: 9})) == []


def test_a_cluster_without_members_is_not_served() -> None:
    (trouble,) = troubles(found(unfinished={0: 1, 1: 2}, pending={1: 1}))
    assert trouble.code == "unserved"
    assert "3 unfinished sagas and 1 command wait" in trouble.message


def test_a_file_that_nobody_writes_is_well_until_something_is_left_in_it() -> None:
    assert codes(found(shards=1)) == []
    assert codes(found(shards=1, unfinished={0: 1})) == ["unserved"]
    assert codes(found(shards=1, pending={0: 1})) == ["unserved"]


def test_a_shard_without_a_leader_is_named_with_what_waits_in_it() -> None:
    (trouble,) = troubles(found(member("a"), led={0: "a"}, unfinished={1: 1}))
    assert trouble.code == "no-leader"
    assert "Shard 1 has no leader: 1 unfinished saga waits" in trouble.message


def test_a_member_on_which_a_shard_failed_is_named_with_it() -> None:
    bad = structs.replace(member("a"), avoids={1: 1, 3: 2})
    (trouble,) = troubles(found(bad, member("b"), led={0: "b", 1: "b"}))
    assert trouble.code == "shard-failed"
    assert "a could not run shards 1, 3 of late, so others lead them" in trouble.message
    shown = as_json(found(bad, led={0: "a", 1: "a"}))
    assert shown["members"][0]["avoids"] == [1, 3]


def test_members_that_differ_are_named_with_what_they_have() -> None:
    seen = found(member("a"), member("b", version="2", tools="u"), led={0: "a", 1: "b"})
    assert codes(seen) == ["different-tools", "different-versions"]
    assert "t on a; u on b" in troubles(seen)[0].message


def test_a_member_that_tells_no_tools_differs_from_nobody() -> None:
    assert codes(found(member("a"), member("b", tools=""), led={0: "a", 1: "b"})) == []


def test_sagas_left_alone_and_people_waited_for_are_told() -> None:
    seen = found(member("a", left=2), led={0: "a", 1: "a"}, waits={"person": 1, "approval": 3})
    assert codes(seen) == ["left-alone", "person-asked", "approval-asked"]
    said = [trouble.message for trouble in troubles(seen)]
    assert said[1].startswith("1 saga needs a person")
    assert said[2].startswith("3 sagas wait for an approval")


def test_the_document_names_each_shard_and_its_leader() -> None:
    document = as_json(found(member("a"), led={0: "a"}, unfinished={0: 4}))
    assert document["members"][0]["leads"] == [0]
    first, second = document["shards"]
    assert (first["leader_name"], first["epoch"], first["unfinished_sagas"]) == ("a", 7, 4)
    assert second["leader"] is None
    assert not document["healthy"]


async def test_a_look_counts_what_waits_in_each_shard() -> None:
    cluster = MemoryCluster(shards=4)
    await cluster.reader.post_command(Command(saga_id="trip", kind="cancel", body={}))
    seen = await survey(cluster)
    assert dict(seen.pending) == {shard_of("trip", 4): 1}
    assert seen.shards == 4


async def test_a_shard_lags_as_long_as_a_saga_of_its_stands_still_that_waits_for_nobody() -> None:
    cluster = MemoryCluster(shards=2)
    ids = {shard_of(f"trip-{n}", 2): f"trip-{n}" for n in range(20)}
    seat = await cluster.join(member("a"), ttl_s=5.0)
    terms = [term for shard in (0, 1) if (term := await seat.campaign(shard)) is not None]
    store = seat.store(*terms)
    await store.append(append_of(ids[0], 0, submitted(ids[0])))
    await store.append(append_of(ids[1], 0, submitted(ids[1]), state="NEEDS_HUMAN"))
    seen = await survey(cluster)
    assert set(seen.lags_s) == {0}
    assert seen.lags_s[0] == pytest.approx(seen.at - STARTED_AT - 1, abs=5.0)
    lags = {each["shard"]: each["lag_s"] for each in as_json(seen)["shards"]}
    assert lags[1] == 0.0
    assert lags[0] > 0.0
