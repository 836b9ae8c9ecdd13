"""A store of the former schema: read as it is, and raised by its next writer."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import apsw
import pytest

from fsm_saga.errors import CorruptRecordError, StoreVersionError
from fsm_saga.stores import sqlite_migration
from fsm_saga.stores.heads import DAMAGED
from fsm_saga.stores.opening import open_store
from fsm_saga.stores.sqlite_schema import SCHEMA_VERSION
from tests.conformance.samples import append_of, command_of, head_of, started, store_saga

SAGAS = ("trip-0", "trip-1", "trip-2")
AS_BEFORE = """
ALTER TABLE heads DROP COLUMN crc;
ALTER TABLE commands DROP COLUMN crc;
ALTER TABLE commands DROP COLUMN answer_crc;
PRAGMA user_version = 1;
"""


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Give a store as the first version left it: three sagas, a command, an answered command."""
    place = tmp_path / "place" / "sagas.db"
    place.parent.mkdir()
    async with open_store(f"sqlite:///{place}") as store:
        for saga_id in SAGAS:
            await store_saga(store, saga_id)
        number = await store.post_command(command_of("trip-0", by="Ann"))
        await store.answer_command(number, {"ok": True})
        await store.post_command(command_of("trip-1", by="Bob"))
    with sqlite3.connect(place) as connection:
        connection.executescript(AS_BEFORE)
    connection.close()
    return place


def bytes_of(path: Path) -> bytes:
    return path.read_bytes()


def schema_of(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return int(version)


async def check_reads_all(path: Path, *, mode: str) -> None:
    async with open_store(f"sqlite:///{path}", mode=mode) as store:  # type: ignore[arg-type]
        assert [head.saga_id for head in await store.heads()] == list(reversed(SAGAS))
        assert len(await store.heads(only_unfinished=True)) == 3
        assert await store.head("trip-1") == head_of("trip-1", 3)
        assert len(await store.load("trip-1") or ()) == 3
        assert [c.body for c in await store.pending_commands()] == [{"by": "Bob"}]
        assert await store.command_answer(1) == {"ok": True}
        assert [c.answer for c in await store.saga_commands("trip-0")] == [{"ok": True}]


async def test_a_reader_reads_the_former_schema_and_leaves_it_as_it_is(path: Path) -> None:
    before = bytes_of(path)
    await check_reads_all(path, mode="read")
    assert bytes_of(path) == before
    assert schema_of(path) == 1


async def test_a_reader_reads_the_former_schema_where_nothing_may_be_written(path: Path) -> None:
    os.chmod(path, 0o400)
    os.chmod(path.parent, 0o500)
    try:
        await check_reads_all(path, mode="read")
    finally:
        os.chmod(path.parent, 0o700)


async def test_a_reader_leaves_no_command_in_the_former_schema(path: Path) -> None:
    async with open_store(f"sqlite:///{path}", mode="read") as store:
        with pytest.raises(StoreVersionError, match="schema is version 1") as caught:
            await store.post_command(command_of("trip-1"))
    assert caught.value.facts == {"found": 1, "known": SCHEMA_VERSION}
    assert repr(str(path)) in caught.value.message


async def test_the_next_writer_raises_the_schema_and_protects_what_is_there(path: Path) -> None:
    async with open_store(f"sqlite:///{path}", mode="read") as reader:
        assert len(await reader.heads()) == 3
        await check_reads_all(path, mode="write")
        assert schema_of(path) == SCHEMA_VERSION
        assert len(await reader.heads()) == 3, "who had it open goes on reading"
    await check_reads_all(path, mode="read")
    async with open_store(f"sqlite:///{path}") as store:
        await store.append(append_of("trip-0", 3, started(1)))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE heads SET state = 'DONE' WHERE saga_id = 'trip-1'")
        connection.execute("UPDATE commands SET kind = 'approve' WHERE answer IS NULL")
        connection.execute("UPDATE commands SET answer_crc = 1 WHERE answer IS NOT NULL")
    connection.close()
    async with open_store(f"sqlite:///{path}") as store:
        assert [head.state for head in await store.heads()] == [
            "EXECUTING(1)",
            "PENDING",  # as the samples' journal says, in which no saga has moved
            "EXECUTING(1)",
        ]
        assert list(await store.pending_commands()) == []
        with pytest.raises(CorruptRecordError):
            await store.command_answer(1)


async def test_what_cannot_be_read_is_as_damaged_after_the_schema_was_raised(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        for table, column in (("heads", "state"), ("commands", "kind")):
            connection.execute(f"UPDATE {table} SET {column} = CAST(X'FF' AS TEXT)")  # noqa: S608
        connection.execute("UPDATE entries SET crc = 0")
    connection.close()
    async with open_store(f"sqlite:///{path}") as store:
        assert [head.state for head in await store.heads()] == [DAMAGED] * 3
        assert list(await store.pending_commands()) == []


async def test_what_cannot_be_read_takes_nothing_after_it_along(path: Path) -> None:
    """The first saga and the first command are damaged; the others are as sound as before."""
    with sqlite3.connect(path) as connection:
        for table, column in (("heads", "state"), ("commands", "kind")):
            connection.execute(
                f"UPDATE {table} SET {column} = CAST(X'FF' AS TEXT) WHERE number = 1"  # noqa: S608
            )
    connection.close()
    async with open_store(f"sqlite:///{path}") as store:
        # The first is shown as its journal says, in which no saga of the samples has moved.
        states = [head.state for head in await store.heads()]
        assert states == ["EXECUTING(1)", "EXECUTING(1)", "PENDING"]
        assert [command.body for command in await store.pending_commands()] == [{"by": "Bob"}]


async def test_a_migration_that_breaks_off_leaves_the_former_schema(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_connection: apsw.Connection) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(sqlite_migration, "_protect_commands", fail)
        with pytest.raises(KeyboardInterrupt):
            async with open_store(f"sqlite:///{path}"):
                pass
    assert schema_of(path) == 1
    await check_reads_all(path, mode="read")
    await check_reads_all(path, mode="write")
