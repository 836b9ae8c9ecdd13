"""What every store keeps to that coordinators share: seats, shards, terms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from fsm_saga.errors import ConflictError, FencedError, StoreError
from fsm_saga.ports import ClusterStore, Command, Member, Seat, Store, Term
from fsm_saga.stores.etcd_cluster import open_etcd_cluster
from fsm_saga.stores.memory_cluster import MemoryCluster
from fsm_saga.stores.redis_cluster import open_redis_cluster
from fsm_saga.stores.sharding import shard_of
from tests.conformance.samples import append_of, submitted

SHARDS = 4
TTL_S = 5.0
PATIENCE_S = 10.0

Open = Callable[[], Any]


@asynccontextmanager
async def one_memory() -> AsyncIterator[Open]:
    cluster = MemoryCluster(shards=SHARDS)

    async def connect() -> ClusterStore:
        return cluster

    yield connect


@pytest.fixture(params=["memory", "etcd", "etcd3", "redis"])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Open]:
    """Give what connects to one empty store, again and again, each time as another process."""
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            yield await stack.enter_async_context(one_memory())
            return
        kind = request.param
        server = request.getfixturevalue("etcd" if kind == "etcd3" else kind)
        prefix = request.getfixturevalue("server_prefix")

        async def open_it() -> ClusterStore:
            cluster: ClusterStore
            if kind == "redis":
                cluster = await open_redis_cluster(f"{server.url}?prefix={prefix}", shards=SHARDS)
            else:
                options = "?transport=etcd3" if kind == "etcd3" else ""
                url = f"etcd://{server.address}/{prefix}{options}"
                cluster = await open_etcd_cluster(url, shards=SHARDS)
            stack.push_async_callback(cluster.close)
            return cluster

        yield open_it


def member(name: str) -> Member:
    return Member(member_id=name, name=f"host:{name}", started_at=1.5, facts={"sagas": 3})


def saga_in(shard: int, number: int = 0) -> str:
    """Return the id of a saga of this shard."""
    found = (f"trip-{n}" for n in range(10_000) if shard_of(f"trip-{n}", SHARDS) == shard)
    return [next(found) for _ in range(number + 1)][number]


async def led(cluster: ClusterStore, name: str, *shards: int) -> tuple[Seat, Store]:
    seat = await cluster.join(member(name), ttl_s=TTL_S)
    return seat, seat.store(*[await won(seat, shard) for shard in shards])


async def won(seat: Seat, shard: int) -> Term:
    term = await seat.campaign(shard)
    assert term is not None
    return term


async def test_a_member_is_seen_by_all_with_what_it_told_until_it_leaves(connect: Open) -> None:
    ours, theirs = await connect(), await connect()
    seat = await ours.join(member("a"), ttl_s=TTL_S)
    assert (await theirs.roster()).members == {"a": member("a")}
    newer = Member(member_id="a", name="renamed", started_at=1.5, is_leaving=True)
    await seat.announce(newer)
    assert (await theirs.roster()).members == {"a": newer}
    await seat.leave()
    await seat.leave()
    assert (await theirs.roster()).members == {}


async def test_a_shard_has_one_leader_and_each_term_a_higher_epoch(connect: Open) -> None:
    ours, theirs = await connect(), await connect()
    a = await ours.join(member("a"), ttl_s=TTL_S)
    b = await theirs.join(member("b"), ttl_s=TTL_S)
    first = await won(a, 1)
    assert await won(a, 1) == first
    assert await b.campaign(1) is None
    leader = (await b.roster()).leaders[1]
    assert (leader.shard, leader.epoch, leader.member_id) == (1, first.epoch, "a")
    await a.resign(first)
    assert (await b.roster()).leaders == {}
    second = await won(b, 1)
    assert second.epoch > first.epoch
    # To resign a term that is over takes nothing from the next one.
    await a.resign(first)
    assert (await a.roster()).leaders[1].epoch == second.epoch


async def test_who_leaves_leads_nothing_any_more(connect: Open) -> None:
    ours, theirs = await connect(), await connect()
    seat, _store = await led(ours, "a", 0, 2)
    assert set((await theirs.roster()).leaders) == {0, 2}
    await seat.leave()
    roster = await theirs.roster()
    assert (roster.members, roster.leaders) == ({}, {})


async def test_those_who_wait_hear_of_changes(connect: Open) -> None:
    ours, theirs = await connect(), await connect()
    seat = await ours.join(member("a"), ttl_s=TTL_S)
    await seat.roster()
    while True:  # what has happened before may still be told
        try:
            async with asyncio.timeout(0.5):
                await seat.wait_change(60.0)
        except TimeoutError:
            break
    waiting = asyncio.create_task(seat.wait_change(60.0))
    await asyncio.sleep(0)
    await theirs.join(member("b"), ttl_s=TTL_S)
    async with asyncio.timeout(PATIENCE_S):
        await waiting
    assert set((await seat.roster()).members) == {"a", "b"}


async def test_waiting_for_a_change_ends_without_one(connect: Open) -> None:
    seat = await (await connect()).join(member("a"), ttl_s=TTL_S)
    async with asyncio.timeout(PATIENCE_S):
        await seat.wait_change(0.01)
        await seat.wait_change(0.01)
    assert set((await seat.roster()).members) == {"a"}


async def test_a_leader_writes_its_shards_and_everybody_reads_them(connect: Open) -> None:
    ours, theirs = await connect(), await connect()
    _seat, store = await led(ours, "a", 0, 1)
    for shard in (0, 1):
        saga_id = saga_in(shard)
        await store.append(append_of(saga_id, 0, submitted(saga_id)))
        journal = await theirs.reader.load(saga_id)
        assert journal == (submitted(saga_id),)
        head = await theirs.reader.head(saga_id)
        assert head is not None
        assert (head.saga_id, head.position) == (saga_id, 1)
    assert len(await theirs.reader.heads()) == 2


async def test_a_leader_cannot_write_a_shard_that_it_does_not_lead(connect: Open) -> None:
    ours, theirs = await connect(), await connect()
    _seat, store = await led(ours, "a", 0)
    with pytest.raises(StoreError):
        await store.append(append_of(saga_in(1), 0, submitted(saga_in(1))))
    assert await theirs.reader.load(saga_in(1)) is None


async def test_a_leader_lists_the_unfinished_sagas_and_commands_of_its_own_shards(
    connect: Open,
) -> None:
    ours, theirs = await connect(), await connect()
    _seat, of_0 = await led(ours, "a", 0)
    _seat, of_1 = await led(theirs, "b", 1)
    for store, shard in ((of_0, 0), (of_1, 1)):
        saga_id = saga_in(shard)
        await store.append(append_of(saga_id, 0, submitted(saga_id)))
        await ours.reader.post_command(Command(saga_id=saga_id, kind="cancel", body={"by": "me"}))
    assert [head.saga_id for head in await of_0.heads(only_unfinished=True)] == [saga_in(0)]
    assert [command.saga_id for command in await of_1.pending_commands()] == [saga_in(1)]
    assert len(await ours.reader.heads(only_unfinished=True)) == 2
    assert len(await ours.reader.pending_commands()) == 2


async def test_a_leader_lists_the_finished_sagas_of_its_own_shards(connect: Open) -> None:
    ours, theirs = await connect(), await connect()
    _seat, of_two = await led(ours, "a", 0, 2)
    _seat, of_one = await led(theirs, "b", 1)
    for shard in range(3):
        for number in range(3):
            saga_id = saga_in(shard, number)
            store = of_one if shard == 1 else of_two
            await store.append(append_of(saga_id, 0, submitted(saga_id), state="DONE"))
    expected = {of_two: (0, 2), of_one: (1,), ours.reader: (0, 1, 2)}
    for store, shards in expected.items():
        found: list[str] = []
        after = ""
        while True:
            page = await store.finished(after=after, limit=2)
            found += [head.saga_id for head in page.heads]
            after = page.after
            if not after:
                break
        assert sorted(found) == sorted(saga_in(shard, n) for shard in shards for n in range(3))


async def test_a_command_from_anywhere_is_answered_by_its_leader(connect: Open) -> None:
    ours, theirs = await connect(), await connect()
    _seat, store = await led(ours, "a", 2)
    assert not await store.pending_commands()
    number = await theirs.reader.post_command(
        Command(saga_id=saga_in(2), kind="cancel", body={"by": "Ada"})
    )
    async with asyncio.timeout(PATIENCE_S):
        while not (found := await store.pending_commands()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert [(c.number, c.kind, c.body) for c in found] == [(number, "cancel", {"by": "Ada"})]
    assert await theirs.reader.command_answer(number) is None
    await store.answer_command(number, {"ok": True})
    assert await theirs.reader.command_answer(number) == {"ok": True}
    assert not await store.pending_commands()
    assert [c.answer for c in await theirs.reader.saga_commands(saga_in(2))] == [{"ok": True}]


async def test_the_writes_of_a_term_that_is_over_are_refused(connect: Open) -> None:
    ours, theirs = await connect(), await connect()
    a = await ours.join(member("a"), ttl_s=TTL_S)
    b = await theirs.join(member("b"), ttl_s=TTL_S)
    old_term = await won(a, 0)
    old, saga_id = a.store(old_term), saga_in(0)
    await old.append(append_of(saga_id, 0, submitted(saga_id)))
    number = await old.post_command(Command(saga_id=saga_id, kind="cancel", body={}))
    await a.resign(old_term)
    new = b.store(await won(b, 0))
    with pytest.raises(FencedError):
        await old.append(append_of(saga_id, 1))
    with pytest.raises(FencedError):
        await old.answer_command(number, {"ok": True})
    await new.append(append_of(saga_id, 1, state="DONE"))
    with pytest.raises(FencedError):
        await old.remove(saga_id)
    journal = await old.load(saga_id)
    assert journal is not None
    assert len(journal) == 2


async def test_of_two_appends_at_one_position_one_is_refused(connect: Open) -> None:
    _seat, store = await led(await connect(), "a", 0)
    saga_id = saga_in(0)
    await store.append(append_of(saga_id, 0, submitted(saga_id)))
    results = await asyncio.gather(
        *(store.append(append_of(saga_id, 1)) for _ in range(5)), return_exceptions=True
    )
    assert results.count(None) == 1
    assert sum(isinstance(result, ConflictError) for result in results) == 4


async def test_many_sagas_at_once_get_what_they_wrote(connect: Open) -> None:
    _seat, store = await led(await connect(), "a", *range(SHARDS))

    async def live(number: int) -> None:
        saga_id = f"saga/{number} %é"
        await store.append(append_of(saga_id, 0, submitted(saga_id)))
        for position in range(1, 5):
            state = "DONE" if position == 4 else "EXECUTING(1)"
            await store.append(append_of(saga_id, position, state=state))

    async with asyncio.timeout(60.0):
        await asyncio.gather(*(live(number) for number in range(200)))
    assert len(await store.heads()) == 200
    assert not await store.heads(only_unfinished=True)
    journal = await store.load("saga/7 %é")
    assert journal is not None
    assert len(journal) == 5
