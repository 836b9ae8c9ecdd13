"""Where a store for one writer is, and who writes it."""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from pathlib import Path

import pytest

from fsm_saga.errors import StoreError, StoreLockedError
from fsm_saga.ports import Store
from fsm_saga.stores.memory import MemoryStore, forget_memory
from fsm_saga.stores.opening import open_store
from fsm_saga.stores.places import MemoryPlace, SqlitePlace
from fsm_saga.stores.sqlite_lock import acquire_writer_lock
from tests.conformance.samples import store_saga


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sagas.db"


def place_of(path: Path) -> SqlitePlace:
    return SqlitePlace(f"sqlite:///{path}", str(path))


async def test_the_writer_of_a_file_is_named_by_its_machine_and_its_process(path: Path) -> None:
    before = time.time()
    place = place_of(path)
    assert await place.writer() is None
    async with open_store(place.url):
        pass
    assert await place.writer() is None, "it has ended"
    async with open_store(place.url) as store:
        found = await place.writer()
    assert found is not None
    member, epoch = found
    assert epoch == store.epoch == 2
    assert member.member_id == member.name == f"{socket.gethostname()}:{os.getpid()}"
    assert before <= member.started_at <= time.time()


async def test_a_writer_that_has_not_made_its_file_yet_is_a_writer_all_the_same(
    path: Path,
) -> None:
    lock = acquire_writer_lock(str(path))
    try:
        found = await place_of(path).writer()
    finally:
        lock.release()
    assert found is not None
    member, epoch = found
    assert member.name == "unknown host:unknown process"
    assert (member.started_at, epoch) == (0.0, 0)


async def test_a_store_without_an_epoch_has_none(path: Path) -> None:
    async with open_store(f"sqlite:///{path}"):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM meta")
    connection.close()
    lock = acquire_writer_lock(str(path))
    try:
        found = await place_of(path).writer()
    finally:
        lock.release()
    assert found is not None
    assert found[1] == 0


async def test_looking_who_writes_leaves_the_file_free(path: Path) -> None:
    place = place_of(path)
    async with open_store(place.url):
        pass
    for _ in range(2):
        assert await place.writer() is None
    store = await place.open_writer()
    await store.close()


async def test_a_place_stays_where_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = SqlitePlace("sqlite:///sagas.db", "sagas.db")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    await place.check()
    store = await place.open_writer()
    try:
        assert store.url == "sqlite:///sagas.db"
        assert await place.writer() is not None
        reader = await place.open_reader()
        assert reader.url == "sqlite:///sagas.db"
        await reader.close()
    finally:
        await store.close()
    assert (tmp_path / "sagas.db").is_file()
    assert os.listdir(tmp_path / "other") == []


@pytest.mark.parametrize(
    ("name", "words"), [("letter.txt", "not a SQLite database"), ("no/sagas.db", "no directory")]
)
async def test_a_place_is_looked_at_before_it_is_taken(
    name: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "letter.txt").write_text("Dear Ann, " * 1000)
    with pytest.raises(StoreError, match=words):
        await place_of(tmp_path / name).check()
    assert os.listdir(tmp_path) == ["letter.txt"]


async def is_one_store(first: Store, second: Store) -> bool:
    await store_saga(first, "trip-7")
    return await second.load("trip-7") is not None


async def test_a_memory_has_one_writer_at_a_time() -> None:
    place, other = MemoryPlace("memory://desk", "desk"), MemoryPlace("memory://desk", "desk")
    assert await place.writer() is None
    store = await place.open_writer()
    for each in (place, other):
        found = await each.writer()
        assert found is not None
        member, epoch = found
        assert member.member_id == member.name == f"memory:{os.getpid()}"
        assert (member.started_at, epoch) == (0.0, 0)
        with pytest.raises(StoreLockedError, match="'memory://desk' was not opened for writing"):
            await each.open_writer()
    assert store.url == "memory://desk"
    reader = await other.open_reader()
    assert (reader.url, reader.epoch) == ("memory://desk", 0)
    assert await is_one_store(store, reader)
    await store.close()
    await store.close()
    assert await place.writer() is None
    with pytest.raises(StoreError, match="'memory://desk' is closed"):
        await store.load("trip-7")
    again = await other.open_writer()
    assert again.epoch == store.epoch + 1
    assert await again.load("trip-7") is not None
    await again.close()
    forget_memory("desk")


async def test_a_memory_with_a_name_is_kept_and_one_without_is_forgotten() -> None:
    for name, is_kept in (("desk", True), ("", False)):
        place = MemoryPlace(f"memory://{name}", name)
        writer = await place.open_writer()
        await store_saga(writer, "trip-7")
        assert await (await place.open_reader()).load("trip-7") is not None
        await writer.close()
        await place.release()
        if is_kept:
            assert await (await place.open_reader()).load("trip-7") is not None
        else:
            with pytest.raises(StoreError, match="no store of this process has that name"):
                await place.open_reader()
    forget_memory("desk")


async def test_memories_without_a_name_share_nothing() -> None:
    one, two = MemoryPlace("memory://", ""), MemoryPlace("memory://", "")
    first, second = await one.open_writer(), await two.open_writer()
    assert isinstance(first, MemoryStore)
    assert not await is_one_store(first, second)
    for store, place in ((first, one), (second, two)):
        await store.close()
        await place.release()
