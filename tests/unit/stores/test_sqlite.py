"""A SQLite store beside what every store promises: its words, and who moves its log."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Awaitable
from pathlib import Path

import apsw
import pytest

from fsm_saga.core.records import Record
from fsm_saga.errors import StoreError
from fsm_saga.stores.opening import open_store
from fsm_saga.stores.sqlite_reader import JournalReader
from tests.conformance.samples import append_of, command_of, store_saga


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sagas.db"


def touched(path: Path) -> tuple[int, int]:
    """Return what a write changes; to open the file would drop the locks that we hold on it."""
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns


async def test_what_a_reader_may_not_do_is_named(path: Path) -> None:
    url = f"sqlite:///{path}"
    async with open_store(url) as writer:
        await store_saga(writer, "trip-7")
    async with open_store(url, mode="read") as reader:
        assert (reader.url, reader.epoch) == (url, 0)
        for refused, what in (
            (reader.append(append_of("trip-7", 3)), "An append to saga 'trip-7'"),
            (reader.remove("trip-7"), "Removing saga 'trip-7'"),
            (reader.answer_command(7, {}), "Answering command 7"),
        ):
            with pytest.raises(StoreError, match=f"{what} was refused") as caught:
                await refused
            assert repr(url) in caught.value.message


@pytest.mark.parametrize("mode", ["read", "write"])
async def test_a_store_that_is_closed_names_itself(path: Path, mode: str) -> None:
    url = f"sqlite:///{path}"
    async with open_store(url) as store:
        await store_saga(store, "trip-7")
    async with open_store(url, mode="read" if mode == "read" else "write") as store:
        await store.close()
        await store.close()
        asked: list[Awaitable[object]] = [
            store.load("trip-7"),
            store.post_command(command_of("trip-7")),
        ]
        if mode == "write":
            asked += [store.append(append_of("trip-7", 3)), store.pending_commands()]
        for question in asked:
            with pytest.raises(StoreError, match="is closed") as caught:
                await question
            assert repr(url) in caught.value.message


async def test_a_command_that_cannot_be_left_is_named_with_the_cause(path: Path) -> None:
    async with open_store(f"sqlite:///{path}"):
        pass
    async with open_store(f"sqlite:///{path}", mode="read") as reader:
        os.unlink(path)
        with pytest.raises(StoreError, match="cannot be opened") as caught:
            await reader.post_command(command_of("trip-7"))
    message = caught.value.message
    assert (
        f"The command 'cancel' for saga 'trip-7' was not left in store {str(path)!r}: " in message
    )


class FullQuota:
    """A connection to a file that may not grow."""

    system_errno = errno.EDQUOT

    def __init__(self) -> None:
        self.closings = 0

    def set_busy_timeout(self, _milliseconds: int) -> None:
        error = apsw.IOError("disk I/O error")
        error.extendedresult = apsw.SQLITE_IOERR_WRITE  # type: ignore[attr-defined]  # not declared
        raise error

    def close(self, _force: bool) -> None:
        self.closings += 1


async def test_a_command_that_cannot_be_left_is_told_with_the_systems_own_words(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store(f"sqlite:///{path}"):
        pass
    full = FullQuota()
    async with open_store(f"sqlite:///{path}", mode="read") as reader:
        with monkeypatch.context() as patched:
            patched.setattr(apsw, "Connection", lambda _path, flags: full)
            with pytest.raises(StoreError, match="the disk refused a write") as caught:
                await reader.post_command(command_of("trip-7"))
    assert f": {os.strerror(errno.EDQUOT)}. Remove the cause" in caught.value.message
    assert full.closings == 1


@pytest.mark.parametrize("mode", ["read", "write"])
async def test_what_was_asked_is_answered_before_the_store_is_closed(
    path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{path}"
    async with open_store(url) as store:
        await store_saga(store, "trip-7")
    may_answer = threading.Event()
    load, close = JournalReader.load, JournalReader.close
    order: list[str] = []

    def late(reader: JournalReader, saga_id: str) -> tuple[Record, ...] | None:
        may_answer.wait(10.0)
        order.append("answered")
        return load(reader, saga_id)

    def noted(reader: JournalReader) -> None:
        order.append("closed")
        close(reader)

    async with open_store(url, mode="read" if mode == "read" else "write") as store:
        monkeypatch.setattr(JournalReader, "load", late)
        monkeypatch.setattr(JournalReader, "close", noted)
        asked = asyncio.create_task(store.load("trip-7"))
        await asyncio.sleep(0)
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        may_answer.set()
        assert len(await asked or ()) == 3
        await closing
    assert order == ["answered", "closed"]


async def test_who_leaves_a_command_does_not_move_the_log(path: Path) -> None:
    url = f"sqlite:///{path}"
    async with open_store(url) as writer, open_store(url, mode="read") as reader:
        await store_saga(writer, "trip-7")
        before = touched(path)
        number = await reader.post_command(command_of("trip-7"))
        assert touched(path) == before, "that is the writer's work"
        assert [each.number for each in await writer.pending_commands()] == [number]
