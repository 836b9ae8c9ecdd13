"""A sync fails, the disk recovers, and later the power goes: what was acknowledged is there.

After a failed fsync the system takes what was written for clean: it can be read, by this process
and by the next, and no later sync writes it. So a log that looks whole may have a hole on the disk,
and everything that is acknowledged behind the hole is lost when the power goes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fsm_saga.errors import StoreUnavailableError
from fsm_saga.ports import Store
from fsm_saga.stores.opening import open_store
from fsm_saga.stores.sqlite import SqliteWriteStore
from fsm_saga.stores.sqlite_writer import JournalWriter
from tests.conformance.samples import append_of
from tests.support.counting import Count
from tests.support.kill_grid import open_fast_directory
from tests.support.power_disk import RecordingDisk
from tests.support.power_judge import DATABASE, Judged, Watched, judge

LOG = f"{DATABASE}-wal"
APPENDS = 8
SYNCS = range(6)

Forget = Callable[[Store], None]


@pytest.fixture
def base() -> Iterator[Path]:
    with open_fast_directory() as directory:
        yield directory


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class Syncs:
    """Lets the syncs of one file fail from the nth on, so often."""

    def __init__(self, disk: RecordingDisk, file: str, nth: int, times: int) -> None:
        self._file, self._left, self._times = file, nth, times
        self.failed = 0
        disk.may_sync = self._may_sync

    def _may_sync(self, file: str) -> bool:
        if file != self._file:
            return True
        self._left -= 1
        if self._left < 0 and self.failed < self._times:
            self.failed += 1
            return False
        return True


class Work:
    """Appends to two sagas, reading back whenever the store fails, as a driver does."""

    def __init__(self) -> None:
        self.position: Counter[str] = Counter()

    async def append(self, store: Store, name: str) -> bool:
        """Return True once one more record is in the journal, False if the store failed."""
        try:
            await store.append(append_of(name, self.position[name]))
        except StoreUnavailableError:
            return False
        self.position[name] += 1
        return True

    async def read_back(self, store: Store, name: str) -> None:
        """Take the journal's word for what became of it."""
        for _ in range(9):
            try:
                self.position[name] = len(await store.load(name) or ())
            except StoreUnavailableError:
                continue
            return
        raise AssertionError("the store did not come back")


def keep(_store: Store) -> None:
    """The reader's connection stays, and with it the index of the log in shared memory."""


def close_reader(store: Store) -> None:
    """A read fails as well: no connection is left, and the next one trusts the log it finds."""
    assert isinstance(store, SqliteWriteStore)
    store._reader.close()


async def one_process(url: str, disk: RecordingDisk, nth: int, times: int, forget: Forget) -> None:
    """Fail and go on in one process."""
    work = Work()
    async with open_store(url) as store:
        Syncs(disk, LOG, nth, times)
        for number in range(APPENDS):
            name = "ab"[number % 2]
            forget(store)
            if not await work.append(store, name):
                forget(store)
                await work.read_back(store, name)


async def two_processes(url: str, disk: RecordingDisk, nth: int, times: int) -> None:
    """Fail, give up without a goodbye, and let the next process go on."""
    work = Work()
    store = await SqliteWriteStore.open(url, url.removeprefix("sqlite:///"))
    syncs = Syncs(disk, LOG, nth, times)
    for number in range(APPENDS):
        if not await work.append(store, "ab"[number % 2]):
            break
    assert syncs.failed
    store._writer.abandon()  # as a kill would: neither the log is moved nor the file tidied up
    store._reader.close()
    assert store._lock is not None
    store._lock.release()
    async with open_store(url) as later:
        for name in "ab":
            await work.read_back(later, name)
        for number in range(APPENDS):
            assert await work.append(later, "ab"[number % 2])


def judged(base: Path, patch: pytest.MonkeyPatch, scenario: Callable[..., object]) -> Judged:
    """Return what a power loss at any moment of the scenario costs."""
    disk = RecordingDisk()
    try:
        with patch.context() as watched:
            Watched(disk, watched)
            asyncio.run(scenario(f"sqlite:///{base}/{DATABASE}", disk))  # type: ignore[arg-type]
    finally:
        disk.unregister()
    assert any(action.kind == "failed sync" for action in disk.actions)
    return judge(disk, base, torn=1)


def check_kept(count: Count, found: Judged) -> None:
    """Nothing is lost in any state that was looked at."""
    count("after a failed sync: states", found.states.total())
    count("after a failed sync: states that lost something", found.lossy)
    assert not found.lossy, "\n".join(found.first[:5])


@pytest.mark.parametrize("nth", SYNCS)
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("forget", [keep, close_reader])
def test_what_is_acknowledged_after_a_failed_sync_stays(
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    nth: int,
    times: int,
    forget: Forget,
    record_property: Count,
) -> None:
    found = judged(base, monkeypatch, lambda url, disk: one_process(url, disk, nth, times, forget))
    check_kept(record_property, found)


@pytest.mark.parametrize("nth", SYNCS)
def test_what_the_next_process_acknowledges_after_a_failed_sync_stays(
    base: Path, monkeypatch: pytest.MonkeyPatch, nth: int, record_property: Count
) -> None:
    found = judged(base, monkeypatch, lambda url, disk: two_processes(url, disk, nth, 1))
    check_kept(record_property, found)


def test_if_the_log_were_not_written_again_it_would_not_stay(
    base: Path, monkeypatch: pytest.MonkeyPatch, record_property: Count
) -> None:
    monkeypatch.setattr(JournalWriter, "_write_log_again", lambda self, connection: None)
    found = judged(base, monkeypatch, lambda url, disk: two_processes(url, disk, 1, 1))
    record_property("log not written again: states", found.states.total())
    record_property("log not written again: states that lost something", found.lossy)
    assert found.lossy
    assert any("acknowledged" in words for words in found.first)
