"""Shards in memory, beside what every cluster keeps to (see tests/conformance)."""

from __future__ import annotations

import asyncio

import pytest

from fsm_saga.errors import ConflictError, FencedError, StoreError, StoreUnavailableError
from fsm_saga.ports import Member, Term
from fsm_saga.stores.memory_cluster import MemoryCluster, MemorySeat
from fsm_saga.stores.sharding import SHARDS_DEFAULT, shard_of
from tests.conformance.samples import append_of, command_of, store_saga, submitted

SHARDS = 3
URL = "memory://shared"
NAMES = [f"trip-{number}" for number in range(9)]


def member(name: str, *, address: str = "") -> Member:
    return Member(member_id=name, name=name, started_at=0.0, address=address)


async def leading(cluster: MemoryCluster, name: str, *shards: int) -> tuple[MemorySeat, list[Term]]:
    seat = await cluster.join(member(name), ttl_s=5.0)
    terms = [await seat.campaign(shard) for shard in shards]
    return seat, [term for term in terms if term is not None]


def of_shards(*shards: int) -> list[str]:
    return [name for name in NAMES if shard_of(name, SHARDS) in shards]


def test_a_cluster_says_what_it_is() -> None:
    cluster = MemoryCluster(shards=SHARDS, url=URL)
    assert (cluster.url, cluster.shards) == (URL, SHARDS)
    assert (cluster.reader.url, cluster.reader.epoch) == (URL, 0)
    assert MemoryCluster().shards == SHARDS_DEFAULT
    assert MemoryCluster().url == "memory://"
    assert set(of_shards(0)) | set(of_shards(1)) | set(of_shards(2)) == set(NAMES)
    assert all(of_shards(shard) for shard in range(SHARDS))


async def test_the_memory_of_a_saga_is_that_of_its_shard() -> None:
    cluster = MemoryCluster(shards=SHARDS, url=URL)
    seat, terms = await leading(cluster, "a", 0, 1, 2)
    store = seat.store(*terms)
    for name in NAMES:
        await store_saga(store, name)
        assert name in cluster.memory_of(name).sagas
        assert cluster.memory_of(name) is cluster.memories[shard_of(name, SHARDS)]


async def test_heads_are_listed_newest_first_over_all_shards() -> None:
    cluster = MemoryCluster(shards=SHARDS)
    seat, terms = await leading(cluster, "a", 0, 1, 2)
    store = seat.store(*terms)
    for name in NAMES:
        await store_saga(store, name, state="DONE" if name == "trip-4" else "EXECUTING(1)")
    newest_first = NAMES[::-1]
    for each in (store, cluster.reader):
        assert [head.saga_id for head in await each.heads()] == newest_first
        unfinished = [head.saga_id for head in await each.heads(only_unfinished=True)]
        assert unfinished == [name for name in newest_first if name != "trip-4"]
        assert [head.saga_id for head in await each.heads(limit=2)] == newest_first[:2]
        assert list(await each.heads(limit=0)) == []
        assert list(await each.heads(limit=-1)) == []


async def test_a_leader_lists_all_heads_but_only_its_own_work() -> None:
    cluster = MemoryCluster(shards=SHARDS)
    first, own = await leading(cluster, "a", 0)
    second, others = await leading(cluster, "b", 1, 2)
    mine, theirs = first.store(*own), second.store(*others)
    numbers: dict[str, int] = {}
    for name in NAMES:
        await store_saga(mine if name in of_shards(0) else theirs, name)
        numbers[name] = await cluster.reader.post_command(command_of(name))
    assert len(await mine.heads()) == len(NAMES)
    unfinished = await mine.heads(only_unfinished=True)
    assert sorted(head.saga_id for head in unfinished) == of_shards(0)
    assert [each.saga_id for each in await mine.pending_commands()] == of_shards(0)
    assert [each.saga_id for each in await theirs.pending_commands()] == of_shards(1, 2)
    assert [each.number for each in await cluster.reader.pending_commands()] == sorted(
        numbers.values()
    )


async def test_a_command_is_answered_wherever_its_saga_is() -> None:
    cluster = MemoryCluster(shards=SHARDS)
    seat, terms = await leading(cluster, "a", 0, 1, 2)
    store = seat.store(*terms)
    numbers = [await cluster.reader.post_command(command_of(name)) for name in NAMES]
    assert len(set(numbers)) == len(NAMES)
    for number in numbers:
        assert await cluster.reader.command_answer(number) is None
        await store.answer_command(number, {"ok": True, "number": number})
    for number in numbers:
        answer = await cluster.reader.command_answer(number)
        assert answer == {"ok": True, "number": number}
    assert list(await store.pending_commands()) == []
    with pytest.raises(StoreError, match="Command 999 was not answered"):
        await store.answer_command(999, {})
    with pytest.raises(StoreError, match="opened for reading"):
        await cluster.reader.answer_command(numbers[0], {})


async def test_a_reader_of_a_cluster_writes_nothing_but_commands() -> None:
    cluster = MemoryCluster(shards=SHARDS, url=URL)
    for refused, what in (
        (
            cluster.reader.append(append_of("trip-7", 0, submitted("trip-7"))),
            "An append to saga 'trip-7'",
        ),
        (cluster.reader.remove("trip-7"), "Removing saga 'trip-7'"),
    ):
        words = f"^{what} was refused: store '{URL}' was opened for reading"
        with pytest.raises(StoreError, match=words):
            await refused


async def test_a_leader_writes_its_own_shards_alone_and_its_refusals_name_the_store() -> None:
    cluster = MemoryCluster(shards=SHARDS, url=URL)
    seat, terms = await leading(cluster, "a", 0)
    store = seat.store(*terms)
    (name, *_) = of_shards(1)
    with pytest.raises(StoreError, match=f"store '{URL}' was opened for reading"):
        await store.append(append_of(name, 0, submitted(name)))
    await seat.resign(terms[0])
    (mine, *_) = of_shards(0)
    for refused in (store.append(append_of(mine, 0, submitted(mine))), store.remove(mine)):
        with pytest.raises(FencedError, match=f"'{URL}': epoch 1 tried, but epoch 2") as caught:
            await refused
        assert caught.value.facts == {"epoch": 1, "leader": 2}


async def test_a_saga_that_has_grown_is_not_removed_as_it_was() -> None:
    cluster = MemoryCluster(shards=SHARDS)
    seat, terms = await leading(cluster, "a", 0, 1, 2)
    store = seat.store(*terms)
    await store_saga(store, "trip-7", state="DONE")
    assert await cluster.reader.finished(limit=9) == await store.finished(after="", limit=9)
    with pytest.raises(ConflictError, match="its journal is at 3"):
        await store.remove("trip-7", position=2)
    assert await store.load("trip-7") is not None
    await store.remove("trip-7", position=3)
    assert await store.load("trip-7") is None


async def test_the_epoch_of_a_store_is_the_newest_of_its_terms() -> None:
    cluster = MemoryCluster(shards=SHARDS)
    seat, terms = await leading(cluster, "a", 0)
    await seat.resign(terms[0])
    again = await seat.campaign(0)
    other = await seat.campaign(1)
    assert again is not None
    assert other is not None
    assert (again.epoch, other.epoch) == (3, 1)
    assert seat.store(other, again).epoch == 3
    assert seat.store().epoch == 0


async def test_a_lease_may_end_twice() -> None:
    cluster = MemoryCluster(shards=SHARDS)
    await leading(cluster, "a", 0)
    cluster.expire("a")
    cluster.expire("a")
    assert dict((await cluster.roster()).members) == {}
    assert dict((await cluster.roster()).leaders) == {}


async def test_who_has_no_lease_any_more_is_told_what_was_not_written() -> None:
    cluster = MemoryCluster(shards=SHARDS)
    seat, _terms = await leading(cluster, "a")
    cluster.expire("a")
    with pytest.raises(StoreUnavailableError, match=r"^Its record was not written") as caught:
        await seat.announce(member("a"))
    assert caught.value.facts == {"reason": "the lease has ended"}
    with pytest.raises(StoreUnavailableError, match=r"^The leadership of shard 2 was not written"):
        await seat.campaign(2)


async def test_to_resign_takes_nothing_from_who_leads_now() -> None:
    cluster = MemoryCluster(shards=SHARDS)
    first, (term,) = await leading(cluster, "a", 0)
    second, _none = await leading(cluster, "b")
    await second.resign(term)  # not its own
    await first.resign(Term(shard=0, epoch=term.epoch + 1))  # not this one
    assert cluster.leaders[0].member_id == "a"
    await first.resign(term)
    assert cluster.leaders == {}


async def test_who_joins_again_is_not_put_out_by_its_former_seat() -> None:
    cluster = MemoryCluster(shards=SHARDS)
    former, _terms = await leading(cluster, "a", 0)
    again, _terms = await leading(cluster, "a", 1)
    await former.leave()
    await asyncio.wait_for(former.wait_lost(), 1.0)
    assert set(cluster.members) == {"a"}
    assert set(cluster.leaders) == {0, 1}
    await cluster.close()
    await asyncio.wait_for(again.wait_lost(), 1.0)
    assert (cluster.members, cluster.leaders, cluster.seats) == ({}, {}, {})


async def test_what_a_member_announces_is_seen_and_wakes_who_waits() -> None:
    cluster = MemoryCluster(shards=SHARDS)
    seat, _terms = await leading(cluster, "a")
    waiting = asyncio.create_task(cluster.changed())
    await asyncio.sleep(0)
    await seat.announce(member("a", address="http://127.0.0.1:1"))
    await asyncio.wait_for(waiting, 1.0)
    assert (await seat.roster()).members["a"].address == "http://127.0.0.1:1"
    later = asyncio.create_task(cluster.changed())
    await asyncio.sleep(0)
    assert not later.done(), "each change wakes once"
    later.cancel()
