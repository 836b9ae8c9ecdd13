"""A watch through faults: each change once, in order."""

from __future__ import annotations

import asyncio

import pytest

from fsm_saga.etcd import watch as watch_module
from fsm_saga.etcd.data import Put, Txn, WatchAnswer, WatchRequest
from fsm_saga.etcd.errors import CompactedError, EtcdUnavailableError, PermissionDeniedError
from fsm_saga.etcd.watch import Watch
from tests.unit.etcd.fake_etcd import FakeEtcd, Fault
from tests.unit.etcd.timing import on_virtual_time

PREFIX = WatchRequest(key=b"/a", range_end=b"/b")


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "PAUSE_S_MIN", 0.001)
    monkeypatch.setattr(watch_module, "PAUSE_S_MAX", 0.002)


def write(etcd: FakeEtcd, *keys: bytes) -> int:
    return etcd.apply(Txn(success=tuple(Put(key=key, value=b"") for key in keys))).revision


async def keys(watch: Watch) -> list[bytes]:
    async with asyncio.timeout(2):
        return [event.kv.key for event in (await anext(watch)).events]


async def test_changes_come_in_order_whole_revisions_at_a_time(etcd: FakeEtcd) -> None:
    async with Watch(etcd, PREFIX) as watch:
        first = await watch.start()
        assert first == etcd.revision + 1
        write(etcd, b"/a/1", b"/a/2")
        write(etcd, b"/x")
        last = write(etcd, b"/a/3")
        assert await keys(watch) == [b"/a/1", b"/a/2"]
        assert await keys(watch) == [b"/a/3"]
        assert watch.next_revision == last + 1


async def test_a_broken_stream_is_opened_again_after_the_last_change(etcd: FakeEtcd) -> None:
    write(etcd, b"/a/1")
    async with Watch(etcd, WatchRequest(key=b"/a", range_end=b"/b", revision=1)) as watch:
        assert await keys(watch) == [b"/a/1"]
        etcd.cut(EtcdUnavailableError("broken"))
        for _ in range(3):
            etcd.faults.append(Fault("open_watch", EtcdUnavailableError("away")))
        write(etcd, b"/a/2")
        assert await keys(watch) == [b"/a/2"]
        assert etcd.streams[0].request.revision == 3
    assert etcd.streams == []


async def test_a_watch_from_now_keeps_its_beginning_when_it_breaks_before_any_change(
    etcd: FakeEtcd,
) -> None:
    etcd.faults.append(Fault("open_watch", EtcdUnavailableError("away")))
    async with Watch(etcd, PREFIX) as watch:
        begun = await watch.start()
        etcd.cut(EtcdUnavailableError("broken"))
        write(etcd, b"/a/1")
        assert await keys(watch) == [b"/a/1"]
        assert etcd.streams[0].request.revision == begun


async def test_what_is_told_twice_is_handed_out_once(etcd: FakeEtcd) -> None:
    async with Watch(etcd, PREFIX) as watch:
        await watch.start()
        write(etcd, b"/a/1")
        write(etcd, b"/a/2")
        (stream,) = etcd.streams
        again = tuple(etcd.history)
        stream.answers.put_nowait(WatchAnswer(revision=9, events=again))
        write(etcd, b"/a/3")
        seen = [*await keys(watch), *await keys(watch), *await keys(watch)]
        assert seen == [b"/a/1", b"/a/2", b"/a/3"]


async def test_only_what_is_new_of_an_answer_is_handed_out(etcd: FakeEtcd) -> None:
    async with Watch(etcd, PREFIX) as watch:
        await watch.start()
        write(etcd, b"/a/1")
        assert await keys(watch) == [b"/a/1"]
        (stream,) = etcd.streams
        etcd.streams.clear()  # so that the next write comes below, with an old one
        write(etcd, b"/a/2")
        stream.answers.put_nowait(WatchAnswer(revision=9, events=tuple(etcd.history)))
        assert await keys(watch) == [b"/a/2"]
        etcd.streams.append(stream)


async def test_compaction_is_told_with_both_revisions(etcd: FakeEtcd) -> None:
    async with Watch(etcd, WatchRequest(key=b"/a", revision=3)) as watch:
        reading = asyncio.create_task(keys(watch))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        etcd.streams[0].answers.put_nowait(
            WatchAnswer(revision=9, is_cancelled=True, compact_revision=8)
        )
        with pytest.raises(CompactedError, match="everything before 8 is compacted") as caught:
            await reading
    assert caught.value.facts == {"revision": 3, "compact_revision": 8}
    assert etcd.streams == []


@on_virtual_time
async def test_silence_is_asked_about_and_an_answer_suffices(etcd: FakeEtcd) -> None:
    async with Watch(etcd, PREFIX, silence_s=5) as watch:
        reading = asyncio.create_task(anext(watch))
        await asyncio.sleep(16)
        assert etcd.streams[0].progress_asked == 3
        write(etcd, b"/a/1")
        assert len((await reading).events) == 1
    assert etcd.calls.count("open_watch") == 1


@on_virtual_time
async def test_a_stream_that_gives_no_sign_of_life_is_replaced(etcd: FakeEtcd) -> None:
    async with Watch(etcd, PREFIX, silence_s=5, sign_of_life_s=1) as watch:
        await watch.start()
        (deaf,) = etcd.streams
        deaf.is_deaf = True
        write(etcd, b"/a/1")
        began = asyncio.get_running_loop().time()
        assert len((await anext(watch)).events) == 1
        assert asyncio.get_running_loop().time() - began == pytest.approx(6)
        assert deaf.progress_asked == 1
        assert deaf not in etcd.streams


@on_virtual_time
async def test_an_etcd_that_is_away_is_asked_less_and_less_often(
    etcd: FakeEtcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    for _ in range(1000):
        etcd.faults.append(Fault("open_watch", EtcdUnavailableError("away")))
    async with Watch(etcd, PREFIX) as watch:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await anext(watch)
    assert 50 < etcd.calls.count("open_watch") < 80


async def test_a_refused_watch_is_not_asked_for_again(etcd: FakeEtcd) -> None:
    etcd.faults.append(Fault("open_watch", PermissionDeniedError("no")))
    async with Watch(etcd, PREFIX) as watch:
        with pytest.raises(PermissionDeniedError):
            await anext(watch)
    assert etcd.calls == ["open_watch"]


async def test_the_end_of_the_context_ends_the_stream_and_its_read(etcd: FakeEtcd) -> None:
    async with Watch(etcd, PREFIX, silence_s=60) as watch:
        reading = asyncio.create_task(keys(watch))
        await asyncio.sleep(0.001)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert len(etcd.streams) == 1
    assert etcd.streams == []
    assert {task.get_name() for task in asyncio.all_tasks()}.isdisjoint({"etcd watch"})


async def test_a_caller_that_gave_up_waiting_loses_nothing_by_it(etcd: FakeEtcd) -> None:
    async with Watch(etcd, PREFIX) as watch:
        await watch.start()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.005):
                await anext(watch)
        write(etcd, b"/a/1")
        assert await keys(watch) == [b"/a/1"]
