"""Members that take turns as the writer of one store, and who is told of whom."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from fsm_saga.errors import StoreError, StoreUnavailableError
from fsm_saga.ports import ClusterStore, Command, Leader, Member, Seat, Term
from fsm_saga.stores import single_cluster
from fsm_saga.stores.memory import forget_memory
from fsm_saga.stores.opening import open_cluster, open_store
from fsm_saga.stores.places import MemoryPlace
from fsm_saga.stores.single_cluster import SingleCluster
from tests.conformance.samples import append_of, store_saga

PATIENCE_S = 10.0


@pytest.fixture(params=["sqlite", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "memory":
        yield "memory://taken"
        forget_memory("taken")
        return
    yield f"sqlite:///{tmp_path / 'sagas.db'}"


def member(name: str) -> Member:
    return Member(member_id=name, name=name, started_at=0.0)


@asynccontextmanager
async def sitting(url: str, *names: str) -> AsyncIterator[list[tuple[ClusterStore, Seat]]]:
    """Give each of these members a cluster of its own, as processes have."""
    async with AsyncExitStack() as stack:
        found = []
        for name in names:
            cluster = await stack.enter_async_context(open_cluster(url))
            found.append((cluster, await cluster.join(member(name), ttl_s=5.0)))
        yield found


async def test_one_is_the_writer_and_the_other_stands_by(url: str) -> None:
    async with sitting(url, "a", "b") as ((_one, first), (_two, second)):
        term = await first.campaign(0)
        assert term is not None
        assert await second.campaign(0) is None
        assert (await first.roster()).leaders[0].member_id == "a"
        seen = await second.roster()
        assert seen.leaders[0].member_id in seen.members
        assert seen.leaders[0].member_id != "b"


async def test_who_resigns_can_write_no_more_and_the_next_has_a_higher_epoch(url: str) -> None:
    async with sitting(url, "a", "b") as ((_one, first), (_two, second)):
        term = await first.campaign(0)
        assert term is not None
        store = first.store(term)
        await first.resign(term)
        with pytest.raises(StoreError):
            first.store(term)
        with pytest.raises(StoreError):
            await store.remove("trip")
        taken = await second.campaign(0)
        assert taken is not None
        assert taken.epoch > term.epoch
        await first.resign(term)  # of long ago: it takes nothing from anybody
        assert second.store(taken).epoch == taken.epoch


async def test_who_stands_by_is_woken_when_the_writer_leaves(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single_cluster, "LOCK_LOOK_S", 0.005)
    async with sitting(url, "a", "b") as ((_one, first), (_two, second)):
        await first.campaign(0)
        waiting = asyncio.create_task(second.wait_change(10 * PATIENCE_S))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await first.leave()
        async with asyncio.timeout(PATIENCE_S):
            await waiting
        assert (await second.roster()).leaders == {}
        assert await second.campaign(0) is not None


async def test_waiting_for_a_change_ends_when_its_time_is_over(url: str) -> None:
    async with sitting(url, "a") as ((_one, seat),):
        await seat.campaign(0)
        async with asyncio.timeout(PATIENCE_S):
            await seat.wait_change(0.005)


async def test_who_has_left_does_not_campaign_and_knows_its_seat_is_lost(url: str) -> None:
    async with sitting(url, "a") as ((cluster, seat),):
        await seat.leave()
        await seat.leave()
        await seat.wait_lost()
        with pytest.raises(StoreUnavailableError):
            await seat.campaign(0)
        assert (await cluster.roster()).members == {}


async def test_campaigning_again_returns_the_same_term(url: str) -> None:
    async with sitting(url, "a") as ((_cluster, seat),):
        assert await seat.campaign(0) == await seat.campaign(0)


async def test_a_reader_leaves_commands_for_the_writer(url: str) -> None:
    async with sitting(url, "a", "b") as ((_one, first), (two, _second)):
        term = await first.campaign(0)
        assert term is not None
        number = await two.reader.post_command(Command(saga_id="trip", kind="cancel", body={}))
        pending = await first.store(term).pending_commands()
        assert [command.number for command in pending] == [number]
        assert await two.reader.heads() == []
        with pytest.raises(StoreError):
            await two.reader.remove("trip")


async def test_more_than_one_shard_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="one shard"):
        async with open_cluster(url, shards=2):
            pass
    async with open_cluster(url, shards=1) as cluster:
        assert isinstance(cluster, SingleCluster)
        assert cluster.shards == 1


async def test_a_writer_outside_any_cluster_is_seen_with_its_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'sagas.db'}"
    async with open_store(url) as writer, open_cluster(url) as cluster:
        roster = await cluster.roster()
    (found,) = roster.members.values()
    assert found.started_at > 0
    assert roster.leaders[0] == Leader(shard=0, epoch=writer.epoch, member_id=found.member_id)
    assert ":" in found.name


async def test_looking_makes_no_file(tmp_path: Path) -> None:
    async with open_cluster(f"sqlite:///{tmp_path / 'sagas.db'}") as cluster:
        assert (await cluster.roster()).leaders == {}
        with pytest.raises(StoreError):
            await cluster.reader.heads()
    assert os.listdir(tmp_path) == []


async def test_what_is_no_store_of_ours_is_refused_before_anybody_sits_down(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear Ann, " * 1000)
    for path in ("letter.txt", "missing/sagas.db", ""):
        with pytest.raises(StoreError):
            async with open_cluster(f"sqlite:///{tmp_path}/{path}"):
                pass


async def test_memory_without_a_name_is_one_store_for_its_cluster_alone() -> None:
    async with sitting("memory://", "a", "b") as ((one, first), (_two, second)):
        term = await first.campaign(0)
        assert term is not None
        assert await second.campaign(0) is not None
        await one.reader.post_command(Command(saga_id="trip", kind="cancel", body={}))
        assert len(await first.store(term).pending_commands()) == 1


async def test_a_term_names_its_shard_and_a_store_that_is_not_led_is_closed(url: str) -> None:
    async with sitting(url, "a") as ((_cluster, seat),):
        with pytest.raises(StoreError, match="is closed") as caught:
            seat.store(Term(shard=0, epoch=1))
        assert repr(url) in caught.value.message
        term = await seat.campaign(0)
        assert term is not None
        assert term == Term(shard=0, epoch=seat.store(term).epoch)
        with pytest.raises(StoreError, match="is closed"):
            seat.store(Term(shard=0, epoch=term.epoch + 1))


async def test_who_leads_is_not_woken_by_there_being_no_other_writer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The place says that nobody writes, as it may just after another process was refused."""

    looks = 0

    async def nobody(_place: object) -> None:
        nonlocal looks
        looks += 1

    monkeypatch.setattr(single_cluster, "LOCK_LOOK_S", 0.0005)
    async with sitting("memory://", "a") as ((_cluster, seat),):
        await seat.campaign(0)
        monkeypatch.setattr(MemoryPlace, "writer", nobody)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await seat.wait_change(0.003)
        assert loop.time() - began >= 0.003
        assert looks == 0


async def test_a_reader_asks_for_what_it_was_asked(url: str) -> None:
    async with sitting(url, "a") as ((cluster, seat),):
        term = await seat.campaign(0)
        assert term is not None
        store = seat.store(term)
        for name, state in (("one", "DONE"), ("two", "EXECUTING(1)"), ("three", "EXECUTING(1)")):
            await store_saga(store, name, state=state)
        reader = cluster.reader
        assert (reader.url, reader.epoch) == (url, 0)
        assert [head.saga_id for head in await reader.heads()] == ["three", "two", "one"]
        unfinished = await reader.heads(only_unfinished=True)
        assert [head.saga_id for head in unfinished] == ["three", "two"]
        assert [head.saga_id for head in await reader.heads(limit=1)] == ["three"]
        page = await reader.finished(limit=9)
        assert [head.saga_id for head in page.heads] == ["one"]
        first = await reader.finished(limit=1)
        second = await reader.finished(after=first.after, limit=1)
        assert (first, second) == (
            await store.finished(limit=1),
            await store.finished(after=first.after, limit=1),
        )
        assert first != second
        assert len(await reader.load("two") or ()) == 3
        assert await reader.head("one") == await store.head("one")
        number = await reader.post_command(Command(saga_id="two", kind="cancel", body={}))
        assert [each.number for each in await reader.pending_commands()] == [number]
        assert [each.number for each in await reader.saga_commands("two")] == [number]
        assert await reader.command_answer(number) is None
        other = await reader.post_command(Command(saga_id="three", kind="cancel", body={}))
        await store.answer_command(other, {"ok": True})
        assert await reader.command_answer(other) == {"ok": True}
        for refused, what in (
            (reader.append(append_of("two", 3)), "An append to saga 'two'"),
            (reader.remove("two"), "Removing saga 'two'"),
            (reader.answer_command(number, {}), f"Answering command {number}"),
        ):
            with pytest.raises(StoreError, match=f"{what} was refused"):
                await refused


async def test_what_a_member_announces_is_seen(url: str) -> None:
    async with sitting(url, "a") as ((cluster, seat),):
        told = replace(member("a"), address="http://127.0.0.1:1")
        await seat.announce(told)
        assert (await cluster.roster()).members == {"a": told}


async def test_a_store_that_failed_to_close_is_not_led_by_the_same_term_again(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sitting(url, "a") as ((_cluster, seat),):
        term = await seat.campaign(0)
        assert term is not None
        store = seat.store(term)
        close = store.close

        async def failing() -> None:
            await close()
            raise StoreUnavailableError("The store failed: it was told to.")

        monkeypatch.setattr(store, "close", failing)
        with pytest.raises(StoreUnavailableError):
            await seat.resign(term)
        again = await seat.campaign(0)
        assert again is not None
        assert again.epoch > term.epoch
