"""Who holds the lock of a file, as it is told to the one who is refused."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsm_saga.errors import StoreError, StoreLockedError
from fsm_saga.stores.opening import open_store
from fsm_saga.stores.sqlite_lock import acquire_writer_lock, has_lock_file, lock_path_of

SINCE = 1_760_000_000.25


@pytest.fixture
async def path(tmp_path: Path) -> str:
    """Give the path of a store."""
    path = tmp_path / "sagas.db"
    async with open_store(f"sqlite:///{path}"):
        pass
    return str(path)


@pytest.fixture
def held(path: str) -> Iterator[str]:
    """Give the path of a store whose lock is held."""
    lock = acquire_writer_lock(path)
    yield path
    lock.release()


def say(path: str, **facts: object) -> None:
    """Let the store say this of its writer, and nothing else."""
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM meta")
        connection.executemany("INSERT INTO meta VALUES (?, ?)", list(facts.items()))
    connection.close()


def refusal(path: str) -> StoreLockedError:
    with pytest.raises(StoreLockedError) as caught:
        acquire_writer_lock(path)
    return caught.value


@pytest.mark.parametrize("whose", ["another", "this"])
def test_the_writer_is_named_with_the_time_in_one_zone(
    held: str, whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = os.getpid() if whose == "this" else 1
    who = f"Process {pid} on 'desk'" + (" (this process)" if whose == "this" else "")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    say(held, pid=pid, host="desk", since=SINCE)
    error = refusal(held)
    assert error.message.startswith(
        f"Store {held!r} was not opened for writing: {who}, since 2025-10-09T08:53:20+00:00, "
        "is its writer. "
    )
    assert error.facts == {"path": held, "pid": pid, "host": "desk", "since": SINCE}


@pytest.mark.parametrize("facts", [{}, {"pid": 1, "host": "desk"}, {"since": SINCE}])
def test_a_writer_of_which_too_little_is_known_is_another_process(
    held: str, facts: dict[str, object]
) -> None:
    say(held, **facts)
    error = refusal(held)
    assert "for writing: Another process is its writer. " in error.message
    assert error.facts == {"path": held, "pid": None, "host": None, "since": None} | facts


def test_a_writer_whose_file_cannot_be_read_is_another_process(tmp_path: Path) -> None:
    path = str(tmp_path / "sagas.db")
    lock = acquire_writer_lock(path)
    try:
        assert "Another process is its writer" in refusal(path).message
    finally:
        lock.release()
    acquire_writer_lock(path).release()


def test_one_file_has_one_lock_by_whatever_link_it_is_reached(held: str, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(held)
    assert lock_path_of(str(link)) == lock_path_of(held) == f"{os.path.realpath(held)}.lock"
    assert has_lock_file(str(link))
    assert not has_lock_file(str(tmp_path / "other.db"))
    assert refusal(str(link)).facts["path"] == str(link)


def test_a_lock_that_cannot_be_made_is_told_with_its_cause(tmp_path: Path) -> None:
    path = str(tmp_path / "sagas.db")
    os.mkdir(f"{path}.lock")
    with pytest.raises(StoreError, match="could not be locked") as caught:
        acquire_writer_lock(path)
    assert "Is a directory" in caught.value.message
    assert repr(f"{path}.lock") in caught.value.message
    assert not isinstance(caught.value, StoreLockedError)


def test_a_file_system_without_locks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that only stands for a lock would outlive whoever is killed."""

    def no_locks(_file: int, _how: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(StoreError, match="could not be locked") as caught:
        acquire_writer_lock(str(tmp_path / "sagas.db"))
    assert os.strerror(errno.ENOSYS) in caught.value.message
