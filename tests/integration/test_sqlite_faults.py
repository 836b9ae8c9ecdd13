"""The SQLite store on a disk that is full, broken, slow or in use: a file system that obeys us."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from msgspec.structs import replace

from fsm_saga.errors import (
    ConflictError,
    FencedError,
    InvariantBrokenError,
    StoreError,
    StoreUnavailableError,
)
from fsm_saga.ports import Store
from fsm_saga.stores import sqlite_writer
from fsm_saga.stores.opening import open_store
from fsm_saga.stores.sqlite import SqliteWriteStore
from tests.conformance.samples import append_of, command_of, started, store_saga, submitted


class Disk(apsw.VFS):
    """A file system that asks ``fault`` before each sync and write; it may raise or take long."""

    def __init__(self, base: str = "unix") -> None:
        self.fault: Callable[[str, str], None] | None = None
        self.base = base
        super().__init__("faulty-disk", base, makedefault=True)

    def xOpen(self, name: Any, flags: Any) -> apsw.VFSFile:  # noqa: N802  # SQLite's name
        return DiskFile(self, name, flags)

    def meet(self, action: str, name: str) -> None:
        if self.fault is not None:
            self.fault(action, name)


class DiskFile(apsw.VFSFile):
    """A file on that disk."""

    def __init__(self, disk: Disk, name: Any, flags: Any) -> None:
        self._disk = disk
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        super().__init__(disk.base, name, flags)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.meet("sync", self._name)
        super().xSync(flags)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        self._disk.meet("write", self._name)
        super().xWrite(data, offset)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self._disk.meet("read", self._name)
        return super().xRead(amount, offset)


def error_of(kind: type[apsw.Error], code: int) -> apsw.Error:
    error = kind("made by the test")
    error.extendedresult = code  # type: ignore[attr-defined]  # set by apsw, not declared
    return error


FAULTS: dict[str, tuple[str, Callable[[], apsw.Error], str]] = {
    "fsync fails": ("sync", lambda: error_of(apsw.IOError, apsw.SQLITE_IOERR_FSYNC), "fsync"),
    "disk full": ("write", lambda: error_of(apsw.FullError, apsw.SQLITE_FULL), "disk is full"),
    "write fails": ("write", lambda: error_of(apsw.IOError, apsw.SQLITE_IOERR_WRITE), "refused a"),
}


@pytest.fixture
def disk() -> Iterator[Disk]:
    """Give a file system for all stores that the test opens."""
    made = Disk()
    yield made
    made.fault = None
    made.unregister()


@pytest.fixture
async def store(disk: Disk, tmp_path: Path) -> AsyncIterator[Store]:
    """Give a store on that disk with one saga of three records."""
    async with open_store(f"sqlite:///{tmp_path}/sagas.db") as opened:
        await store_saga(opened, "trip-7")
        yield opened
        disk.fault = None


def on_log(action: str, make: Callable[[], BaseException]) -> Callable[[str, str], None]:
    """Return a fault that meets this action on the log."""

    def fault(what: str, name: str) -> None:
        if what == action and name.endswith("-wal"):
            raise make()

    return fault


# --- a disk that fails ---------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "make", "words"), FAULTS.values(), ids=FAULTS)
async def test_a_failed_commit_is_not_acknowledged_and_the_store_goes_on_later(
    store: Store, disk: Disk, action: str, make: Callable[[], apsw.Error], words: str
) -> None:
    disk.fault = on_log(action, make)
    for _ in range(3):
        results = await asyncio.gather(
            store.append(append_of("trip-7", 3)),
            store.append(append_of("trip-8", 0)),
            return_exceptions=True,
        )
        for result in results:
            assert isinstance(result, StoreUnavailableError)
            assert words in str(result)
            assert words in result.facts["reason"]
    disk.fault = None
    assert len(await store.load("trip-7") or ()) == 3
    assert await store.load("trip-8") is None
    await store.append(append_of("trip-7", 3, started(4)))
    await store.append(append_of("trip-8", 0, submitted("trip-8")))
    assert (await store.load("trip-7") or ())[3:] == (started(4),)
    assert await store.load("trip-8") == (submitted("trip-8"),)


def copy_as_a_crash_would_leave_it(place: Path) -> None:
    """Copy the database and its log, without any goodbye."""
    for name in ("sagas.db", "sagas.db-wal"):
        (place / f"copy-{name}").write_bytes((place / name).read_bytes())


def rename_all(place: Path, rename: Callable[[str], str]) -> None:
    for file in sorted(place.iterdir()):
        file.rename(file.with_name(rename(file.name)))


@pytest.mark.parametrize(("action", "make", "words"), FAULTS.values(), ids=FAULTS)
async def test_after_the_fault_what_is_read_back_is_what_a_restart_finds(
    tmp_path: Path, disk: Disk, action: str, make: Callable[[], apsw.Error], words: str
) -> None:
    url = f"sqlite:///{tmp_path}/sagas.db"
    async with open_store(url) as store:
        await store_saga(store, "trip-7")
        disk.fault = on_log(action, make)
        with pytest.raises(StoreUnavailableError, match=words):
            await store.append(append_of("trip-7", 3, started(4)))
        disk.fault = None
        read_back = await store.load("trip-7")
        copy_as_a_crash_would_leave_it(tmp_path)
    async with open_store(f"sqlite:///{tmp_path}/copy-sagas.db") as copy:
        assert await copy.load("trip-7") == read_back


async def test_as_long_as_the_disk_fails_nothing_is_read_back_that_may_not_stay(
    store: Store, disk: Disk
) -> None:
    disk.fault = on_log("sync", FAULTS["fsync fails"][1])
    with pytest.raises(StoreUnavailableError):
        await store.append(append_of("trip-7", 3))
    with pytest.raises(StoreUnavailableError):
        await store.load("trip-7")
    disk.fault = None
    assert len(await store.load("trip-7") or ()) == 3


async def test_a_job_that_fails_is_told_and_the_next_one_works(store: Store, disk: Disk) -> None:
    disk.fault = on_log("sync", FAULTS["fsync fails"][1])
    with pytest.raises(StoreUnavailableError):
        await store.post_command(command_of("trip-7"))
    disk.fault = None
    number = await store.post_command(command_of("trip-7"))
    assert [command.number for command in await store.pending_commands()] == [number]


async def test_a_failed_read_is_told_and_the_next_one_works(store: Store, disk: Disk) -> None:
    def fault(action: str, _name: str) -> None:
        if action == "read":
            raise error_of(apsw.IOError, apsw.SQLITE_IOERR_READ)

    assert isinstance(store, SqliteWriteStore)
    store._reader.close()  # it has all pages in memory
    disk.fault = fault
    with pytest.raises(StoreError):
        await store.load("trip-7")
    disk.fault = None
    assert len(await store.load("trip-7") or ()) == 3


async def test_a_failed_checkpoint_loses_nothing(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "LOG_PAGES_MAX", 20)
    failed = 0

    def fault(action: str, name: str) -> None:
        nonlocal failed
        if action == "write" and not name.endswith("-wal"):
            failed += 1
            raise error_of(apsw.FullError, apsw.SQLITE_FULL)

    async with open_store(f"sqlite:///{tmp_path}/sagas.db") as store:
        disk.fault = fault
        for position in range(100):
            await store.append(append_of("trip-7", position, started(position)))
        assert failed > 1
        disk.fault = None
        for position in range(100, 150):
            await store.append(append_of("trip-7", position, started(position)))
        assert len(await store.load("trip-7") or ()) == 150


async def test_a_store_that_cannot_be_made_says_why(disk: Disk, tmp_path: Path) -> None:
    def fault(action: str, _name: str) -> None:
        if action == "write":
            raise error_of(apsw.FullError, apsw.SQLITE_FULL)

    disk.fault = fault
    with pytest.raises(StoreUnavailableError, match="the disk is full"):
        async with open_store(f"sqlite:///{tmp_path}/sagas.db"):
            pass
    disk.fault = None
    async with open_store(f"sqlite:///{tmp_path}/sagas.db") as store:
        await store_saga(store, "trip-7")


async def test_a_file_system_without_a_shared_log_is_refused(tmp_path: Path) -> None:
    disk = Disk("unix-none")
    try:
        with pytest.raises(StoreError, match="does not allow durable commits"):
            async with open_store(f"sqlite:///{tmp_path}/sagas.db"):
                pass
    finally:
        disk.unregister()


# --- a database that may not grow ----------------------------------------------------------------


async def test_a_full_disk_stops_appends_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    async with open_store(f"sqlite:///{tmp_path}/sagas.db") as store:
        assert isinstance(store, SqliteWriteStore)
        connection = store._writer._connection
        assert connection is not None
        connection.pragma("max_page_count", connection.pragma("page_count") + 5)
        position, refusal = 0, None
        while refusal is None:
            try:
                await store.append(append_of("trip-7", position, started(position, pad="x" * 999)))
            except StoreUnavailableError as error:
                refusal = error
            else:
                position += 1
        assert "the disk is full" in str(refusal)
        assert position > 3
        records = await store.load("trip-7")
        assert records == tuple(started(n, pad="x" * 999) for n in range(position))
        for more in range(position, position + 20):  # the new connection has no such limit
            await store.append(append_of("trip-7", more, started(more)))
        assert len(await store.load("trip-7") or ()) == position + 20


async def test_a_command_of_a_reader_is_durable_before_it_is_acknowledged(
    store: Store, disk: Disk
) -> None:
    syncs: list[str] = []

    def note(action: str, name: str) -> None:
        if action == "sync":
            syncs.append(name[-4:])

    async with open_store(store.url, mode="read") as reader:
        disk.fault = note
        await reader.post_command(command_of("trip-7"))
        assert "-wal" in syncs
        disk.fault = on_log("sync", FAULTS["fsync fails"][1])
        with pytest.raises(StoreError, match="was not left in store"):
            await reader.post_command(command_of("trip-7"))


# --- a disk that is slow -------------------------------------------------------------------------


async def test_a_slow_disk_does_not_keep_the_loop_waiting(store: Store, disk: Disk) -> None:
    def fault(action: str, name: str) -> None:
        if action == "sync" and name.endswith("-wal"):
            time.sleep(0.05)

    disk.fault = fault
    await store.append(append_of("trip-7", 3))  # the one from which the store learns it
    longest, last = 0.0, time.perf_counter()
    tasks = [asyncio.create_task(store.append(append_of(f"slow-{n}", 0))) for n in range(8)]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0.001)
        longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
    await asyncio.gather(*tasks)
    assert longest < 0.04, "the loop stood still for as long as a commit takes"


# --- others at the same file ---------------------------------------------------------------------


async def test_a_process_that_writes_just_now_is_waited_for_off_the_loop(tmp_path: Path) -> None:
    path = tmp_path / "sagas.db"
    async with open_store(f"sqlite:///{path}") as store:
        other = apsw.Connection(str(path))
        other.execute("BEGIN IMMEDIATE")
        task = asyncio.create_task(store.append(append_of("trip-7", 0)))
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert not task.done()
        other.execute("COMMIT")
        await task
        other.close()
        assert len(await store.load("trip-7") or ()) == 1


async def test_a_process_that_writes_for_too_long_makes_the_store_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "BUSY_WAIT_MS", 50)
    path = tmp_path / "sagas.db"
    async with open_store(f"sqlite:///{path}") as store:
        other = apsw.Connection(str(path))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match="another process kept"):
            await store.append(append_of("trip-7", 0))
        other.execute("ROLLBACK")
        other.close()
        await store.append(append_of("trip-7", 0))
        with pytest.raises(ConflictError):
            await store.append(append_of("trip-7", 0))


async def test_readers_that_never_pause_cannot_make_the_log_grow_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "LOG_PAGES_MAX", 20)
    monkeypatch.setattr(sqlite_writer, "LOG_PAGES_FORCED", 60)
    path = tmp_path / "sagas.db"
    readers = [apsw.Connection(":memory:")]

    async def read_without_a_pause() -> None:
        while True:  # the next reader begins before the last one ends
            reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
            reader.execute("BEGIN")
            assert reader.execute("SELECT count(*) FROM heads").get is not None
            readers.pop().close()
            readers.append(reader)
            await asyncio.sleep(0.005)

    async with open_store(f"sqlite:///{path}") as store:
        await store_saga(store, "trip-7")
        task = asyncio.create_task(read_without_a_pause())
        for number in range(300):
            await store.append(append_of(f"trip-{100 + number}", 0))
        task.cancel()
        assert path.with_name("sagas.db-wal").stat().st_size < 400 * 4_096
        assert len(await store.heads()) == 301
    readers.pop().close()


async def test_a_reader_that_stays_for_long_sees_its_moment_and_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "LOG_PAGES_MAX", 20)
    monkeypatch.setattr(sqlite_writer, "LOG_PAGES_FORCED", 60)
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_WAIT_MS", 5)
    path = tmp_path / "sagas.db"
    async with open_store(f"sqlite:///{path}") as store:
        await store_saga(store, "trip-7")
        reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM heads").get == 1
        for number in range(100):
            await store.append(append_of(f"trip-{100 + number}", 0))
        assert reader.execute("SELECT count(*) FROM heads").get == 1
        reader.close()
        assert len(await store.heads()) == 101


async def test_a_crash_in_the_middle_of_a_checkpoint_leaves_a_store_that_opens(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "LOG_PAGES_MAX", 60)
    for writes in range(1, 12):
        place = tmp_path / str(writes)
        place.mkdir()
        left = writes

        def fault(action: str, name: str, place: Path = place) -> None:
            nonlocal left
            if action == "write" and not name.endswith("-wal"):
                left -= 1
                if left < 0:
                    if not (place / "copy-sagas.db").exists():
                        copy_as_a_crash_would_leave_it(place)
                    raise error_of(apsw.IOError, apsw.SQLITE_IOERR_WRITE)

        async with open_store(f"sqlite:///{place}/sagas.db") as store:
            disk.fault = fault
            position = 0
            while not (place / "copy-sagas.db").exists():
                await store.append(append_of("trip-7", position, started(position, pad="x" * 900)))
                position += 1
            disk.fault = None
        async with open_store(f"sqlite:///{place}/copy-sagas.db") as copy:
            assert len(await copy.load("trip-7") or ()) >= position - 1


async def test_a_transaction_that_was_left_open_costs_one_append_and_nothing_else(
    tmp_path: Path,
) -> None:
    async with open_store(f"sqlite:///{tmp_path}/sagas.db") as store:
        assert isinstance(store, SqliteWriteStore)
        await store_saga(store, "trip-7")
        store._writer._execute("BEGIN")
        store._writer._execute("DELETE FROM heads")
        with pytest.raises(StoreUnavailableError, match="while beginning"):
            await store.append(append_of("trip-8", 0))
        await store.append(append_of("trip-8", 0))
        assert [head.saga_id for head in await store.heads()] == ["trip-8", "trip-7"]


async def test_tables_that_were_changed_behind_our_back_make_the_store_unavailable(
    tmp_path: Path,
) -> None:
    path = tmp_path / "sagas.db"
    async with open_store(f"sqlite:///{path}") as store:
        await store_saga(store, "trip-7")
        other = apsw.Connection(str(path))
        other.execute("ALTER TABLE entries RENAME TO moved")
        with pytest.raises(StoreUnavailableError, match="no such table"):
            await store.append(append_of("trip-7", 3))
        with pytest.raises(StoreUnavailableError, match="no such table"):
            await store.load("trip-7")
        other.execute("ALTER TABLE moved RENAME TO entries")
        other.close()
        await store.append(append_of("trip-7", 3))
        assert len(await store.load("trip-7") or ()) == 4


async def test_a_head_that_no_column_takes_is_a_bug_of_ours_and_hurts_no_other(
    tmp_path: Path,
) -> None:
    async with open_store(f"sqlite:///{tmp_path}/sagas.db") as store:
        good = [append_of(f"trip-{number}", 0) for number in range(3)]
        head = replace(append_of("bad", 0).head, created_at=float("nan"))
        bad = replace(append_of("bad", 0), head=head)
        results = await asyncio.gather(
            *(store.append(append) for append in (*good, bad)), return_exceptions=True
        )
        assert results[:3] == [None] * 3
        assert isinstance(results[3], InvariantBrokenError)
        assert len(await store.heads()) == 3


async def test_a_store_that_vanished_is_a_fault_and_no_new_store(
    tmp_path: Path, disk: Disk
) -> None:
    path = tmp_path / "sagas.db"
    async with open_store(f"sqlite:///{path}") as store:
        await store_saga(store, "trip-7")
        disk.fault = on_log("sync", FAULTS["fsync fails"][1])
        with pytest.raises(StoreUnavailableError):
            await store.append(append_of("trip-7", 3))
        disk.fault = None
        rename_all(tmp_path, lambda name: f"moved-{name}")
        with pytest.raises(StoreUnavailableError, match="cannot be opened"):
            await store.append(append_of("trip-7", 3))
        assert not path.exists()
        rename_all(tmp_path, lambda name: name.removeprefix("moved-"))
        await store.append(append_of("trip-7", 3))


async def test_a_writer_that_was_replaced_while_it_had_failed_stays_out(
    tmp_path: Path, disk: Disk
) -> None:
    url = f"sqlite:///{tmp_path}/sagas.db"
    async with open_store(url) as old:
        await store_saga(old, "trip-7")
        disk.fault = on_log("sync", FAULTS["fsync fails"][1])
        with pytest.raises(StoreUnavailableError):
            await old.append(append_of("trip-7", 3))
        disk.fault = None
        (tmp_path / "sagas.db.lock").unlink()
        async with open_store(url) as new:
            await new.append(append_of("trip-7", 3, started(7)))
            for _ in range(2):
                with pytest.raises(FencedError):
                    await old.append(append_of("trip-7", 4))
            assert len(await new.load("trip-7") or ()) == 4
