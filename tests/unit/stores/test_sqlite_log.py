"""A log of which a sync failed is written once more, byte by byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from fsm_saga.stores.sqlite_log import CHUNK_BYTES, write_log_again
from tests.support.power_disk import RecordingDisk


@pytest.fixture
def disk() -> Iterator[RecordingDisk]:
    made = RecordingDisk()
    yield made
    made.unregister()


@pytest.fixture
def connection(disk: RecordingDisk, tmp_path: Path) -> Iterator[apsw.Connection]:
    opened = apsw.Connection(str(tmp_path / "some.db"))
    opened.pragma("journal_mode", "wal")
    opened.wal_autocheckpoint(0)
    opened.execute("CREATE TABLE t(a)")
    yield opened
    opened.close()


def test_every_byte_of_a_long_log_is_written_and_synced_and_none_is_changed(
    connection: apsw.Connection, disk: RecordingDisk, tmp_path: Path
) -> None:
    connection.execute("INSERT INTO t VALUES (randomblob(400000))")
    log = tmp_path / "some.db-wal"
    before = log.read_bytes()
    assert len(before) > 5 * CHUNK_BYTES
    disk.actions.clear()
    write_log_again(connection, str(tmp_path / "some.db"))
    assert log.read_bytes() == before
    *writes, sync = [action for action in disk.actions if action.file == log.name]
    assert sync.kind == "sync"
    assert b"".join(action.data for action in writes) == before
    assert not connection.in_transaction
    assert connection.execute("SELECT length(a) FROM t").get == 400_000


def test_an_empty_log_needs_no_sync(
    connection: apsw.Connection, disk: RecordingDisk, tmp_path: Path
) -> None:
    connection.wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_TRUNCATE)
    disk.actions.clear()
    write_log_again(connection, str(tmp_path / "some.db"))
    assert not disk.actions


def test_while_somebody_else_writes_it_is_left_alone(
    connection: apsw.Connection, tmp_path: Path
) -> None:
    other = apsw.Connection(str(tmp_path / "some.db"))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(apsw.BusyError):
        write_log_again(connection, str(tmp_path / "some.db"))
    other.execute("ROLLBACK")
    other.close()
    write_log_again(connection, str(tmp_path / "some.db"))


def test_a_sync_that_fails_again_is_told_and_ends_the_transaction(
    connection: apsw.Connection, disk: RecordingDisk, tmp_path: Path
) -> None:
    disk.may_sync = lambda file: False
    with pytest.raises(apsw.IOError):
        write_log_again(connection, str(tmp_path / "some.db"))
    assert not connection.in_transaction
    disk.may_sync = lambda file: True
