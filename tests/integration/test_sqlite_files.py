"""The SQLite store on files as they may be found: damaged, newer, foreign, empty."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import apsw
import pytest

from fsm_saga.core.records import Record
from fsm_saga.errors import CorruptRecordError, StoreError, StoreVersionError
from fsm_saga.stores import sqlite_commands, sqlite_reader
from fsm_saga.stores.opening import open_store
from fsm_saga.stores.sqlite_schema import APPLICATION_ID, SCHEMA_VERSION
from tests.conformance.samples import append_of, command_of, started, store_saga

MODES: tuple[Literal["write", "read"], ...] = ("write", "read")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a path for a store, alone in its directory."""
    directory = tmp_path / "place"
    directory.mkdir()
    return directory / "sagas.db"


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


async def make_store(path: Path, *, sagas: int = 3) -> None:
    async with open_store(url_of(path)) as store:
        for number in range(sagas):
            await store_saga(store, f"trip-{number}")


async def load(path: Path, saga_id: str) -> tuple[Record, ...] | None:
    async with open_store(url_of(path), mode="read") as store:
        return await store.load(saga_id)


def change(path: Path, *statements: str) -> None:
    """Change a store behind our back."""
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def write_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.parent.iterdir()}


# --- what is not ours ----------------------------------------------------------------------------


def write_text(path: Path) -> None:
    path.write_text("the passwords of everybody\n" * 300, encoding="utf-8")


def write_short_text(path: Path) -> None:
    path.write_text("x", encoding="utf-8")


def write_foreign_tables(path: Path) -> None:
    change(path, "CREATE TABLE heads(a)", "INSERT INTO heads VALUES (1)")


def write_foreign_mark(path: Path) -> None:
    change(path, "PRAGMA application_id = 7")


def write_foreign_version(path: Path) -> None:
    change(path, "PRAGMA user_version = 7")


def write_foreign_log(path: Path) -> None:
    """Leave a foreign database whose content is in its log, as after a crash."""
    other = path.parent.with_name("other.db")
    connection = sqlite3.connect(other)
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("CREATE TABLE theirs(a)")
    shutil.copy(other, path)
    shutil.copy(f"{other}-wal", f"{path}-wal")
    connection.close()


FOREIGN: list[Callable[[Path], None]] = [
    write_text,
    write_short_text,
    write_foreign_tables,
    write_foreign_mark,
    write_foreign_version,
    write_foreign_log,
]


@pytest.mark.parametrize("write", FOREIGN)
@pytest.mark.parametrize("mode", MODES)
async def test_what_belongs_to_somebody_else_is_refused_and_left_alone(
    path: Path, write: Callable[[Path], None], mode: Literal["write", "read"]
) -> None:
    write(path)
    before = contents(path)
    with pytest.raises(StoreError, match=r"not a SQLite database|another application") as caught:
        async with open_store(url_of(path), mode=mode):
            pass
    assert repr(str(path)) in str(caught.value)
    after = contents(path)
    assert {name: after[name] for name in before} == before
    if write is not write_foreign_log:
        assert after == before, "not even a file was left beside it"


async def test_an_empty_file_becomes_a_store_when_it_is_opened_for_writing(path: Path) -> None:
    write_bytes(path, b"")
    with pytest.raises(StoreError, match="no store was made in it yet"):
        await load(path, "trip-0")
    await make_store(path)
    assert len(await load(path, "trip-0") or ()) == 3


async def test_a_missing_file_is_not_made_by_a_reader(path: Path) -> None:
    with pytest.raises(StoreError, match="no such file"):
        await load(path, "trip-0")
    assert contents(path) == {}


@pytest.mark.parametrize("mode", MODES)
async def test_a_newer_schema_is_refused_and_left_alone(
    path: Path, mode: Literal["write", "read"]
) -> None:
    await make_store(path)
    change(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = contents(path)
    with pytest.raises(StoreVersionError) as caught:
        async with open_store(url_of(path), mode=mode):
            pass
    assert caught.value.facts == {"found": SCHEMA_VERSION + 1, "known": SCHEMA_VERSION}
    after = contents(path)
    assert {name: after[name] for name in before} == before


async def test_a_store_bears_our_mark_and_leaves_one_database_file(path: Path) -> None:
    await make_store(path)
    assert {"sagas.db", "sagas.db.lock"} == set(contents(path))
    header = contents(path)["sagas.db"][:100]
    assert header[60:64] == SCHEMA_VERSION.to_bytes(4, "big")
    assert header[68:72] == APPLICATION_ID.to_bytes(4, "big")


# --- damage --------------------------------------------------------------------------------------

DAMAGES = {
    "a bit of a body": "UPDATE entries SET body = cast(replace(body, 'step', 'stop') AS BLOB)",
    "a word of a body": "UPDATE entries SET body = cast(replace(body, 'do', 'du') AS BLOB)",
    "the checksum": "UPDATE entries SET crc = crc + 1",
    "the count": "UPDATE entries SET count = count + 1",
    "an entry is gone": "DELETE FROM entries",
    "the first entry is gone": "DELETE FROM entries WHERE position = 0 AND true",
    "an entry elsewhere": "UPDATE entries SET position = position + 1",
}


def only_of(saga_id: str, damage: str) -> str:
    """Return the statement, for the second entry of one saga."""
    number = f"(SELECT number FROM heads WHERE saga_id = '{saga_id}')"  # noqa: S608  # our own
    if "WHERE" in damage:
        return f"{damage} AND saga = {number}"
    return f"{damage} WHERE saga = {number} AND position = 1"


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_damage_to_one_saga_is_found_and_the_others_go_on(path: Path, damage: str) -> None:
    await make_store(path)
    change(path, only_of("trip-1", damage))
    async with open_store(url_of(path)) as store:
        with pytest.raises(CorruptRecordError, match="'trip-1'") as caught:
            await store.load("trip-1")
        assert caught.value.facts["saga_id"] == "trip-1"
        for other in ("trip-0", "trip-2"):
            assert len(await store.load(other) or ()) == 3
            await store.append(append_of(other, 3, started(1)))
        assert [head.saga_id for head in await store.heads()] == ["trip-2", "trip-1", "trip-0"]


async def test_the_place_of_a_gap_is_named(path: Path) -> None:
    await make_store(path)
    async with open_store(url_of(path)) as store:
        await store.append(append_of("trip-1", 3, started(1)))
    change(path, only_of("trip-1", DAMAGES["an entry is gone"]))
    with pytest.raises(CorruptRecordError, match="position 1: the next entry is at 3") as caught:
        await load(path, "trip-1")
    assert caught.value.facts["position"] == 1


async def test_a_flipped_byte_on_the_disk_is_found(path: Path) -> None:
    await make_store(path)
    whole = contents(path)[path.name]
    places = [at for at in range(len(whole)) if whole.startswith(b'"req_id":"req-0"', at)]
    assert len(places) == 3
    damaged = bytearray(whole)
    damaged[places[1] + 12] ^= 1
    write_bytes(path, bytes(damaged))
    results: dict[str, Any] = {}
    for number in range(3):
        try:
            results[f"trip-{number}"] = await load(path, f"trip-{number}")
        except CorruptRecordError as error:
            results[error.facts["saga_id"]] = error
    broken = [saga_id for saga_id, result in results.items() if isinstance(result, Exception)]
    assert len(broken) == 1
    assert "checksum" in str(results[broken[0]])


async def test_a_page_that_makes_no_sense_is_said_to_be_damaged(path: Path) -> None:
    async with open_store(url_of(path)) as store:
        for number in range(50):
            await store.append(append_of(f"trip-{number}", 0, started(0, padding="x" * 900)))
    whole = bytearray(contents(path)[path.name])
    # The page of the middle one's entry loses its header, others keep theirs.
    at = whole.index(b"xxxx", len(whole) // 2) // 4096 * 4096
    whole[at : at + 12] = b"\xee" * 12
    write_bytes(path, bytes(whole))
    async with open_store(url_of(path), mode="read") as store:
        damaged, fine = [], []
        for number in range(50):
            try:
                await store.load(f"trip-{number}")
                fine.append(number)
            except CorruptRecordError as error:
                assert "damaged" in str(error)  # noqa: PT017  # each of them
                damaged.append(number)
    assert damaged
    assert len(fine) > len(damaged)


@pytest.mark.parametrize("mode", MODES)
async def test_a_store_whose_beginning_is_lost_is_refused(
    path: Path, mode: Literal["write", "read"]
) -> None:
    await make_store(path)
    write_bytes(path, b"\0" * 100 + contents(path)[path.name][100:])
    with pytest.raises(StoreError, match="not a SQLite database"):
        async with open_store(url_of(path), mode=mode):
            pass


async def test_a_file_that_is_cut_off_is_damaged_or_refused_never_shorter(path: Path) -> None:
    await make_store(path, sagas=40)
    whole = contents(path)[path.name]
    for pages in range(1, len(whole) // 4096):
        write_bytes(path, whole[: pages * 4096])
        for number in (0, 20, 39):
            try:
                records = await load(path, f"trip-{number}")
            except StoreError:
                continue
            assert records is not None
            assert len(records) == 3


# --- size ----------------------------------------------------------------------------------------


async def test_heads_are_read_page_by_page_without_a_gap(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_reader, "HEADS_PER_QUESTION", 4)
    async with open_store(url_of(path)) as store:
        for number in range(13):
            state = "DONE" if number % 3 == 0 else "PENDING"
            await store.append(append_of(f"trip-{number}", 0, state=state))
        for limit in (None, 0, 1, 3, 4, 5, 8, 12, 13, 99):
            heads = await store.heads(limit=limit)
            assert [head.saga_id for head in heads] == [f"trip-{n}" for n in range(12, -1, -1)][
                :limit
            ]
        unfinished = await store.heads(only_unfinished=True)
        assert [h.saga_id for h in unfinished] == [f"trip-{n}" for n in range(12, -1, -1) if n % 3]


async def test_finding_the_unfinished_and_the_commands_reads_no_finished_saga(path: Path) -> None:
    await make_store(path)
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    questions = {
        sqlite_reader._UNFINISHED_HEADS: "heads_unfinished",
        sqlite_commands.PENDING_COMMANDS: "commands_pending",
    }
    for statement, index in questions.items():
        bindings = (9, 9)[: statement.count("?")]
        (plan,) = connection.execute(f"EXPLAIN QUERY PLAN {statement}", bindings).fetchall()
        assert f"INDEX {index}" in str(plan[3])
    connection.close()


async def test_old_answers_are_dropped_so_that_commands_do_not_pile_up(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fsm_saga.stores.sqlite_writer.ANSWERED_COMMANDS_MAX", 5)
    async with open_store(url_of(path)) as store:
        from_before = await store.post_command(command_of("open"))
        for _ in range(10):
            number = await store.post_command(command_of("trip-0"))
            await store.answer_command(number, {"ok": True})
        assert await store.command_answer(number) == {"ok": True}
        assert await store.command_answer(number - 4) == {"ok": True}
        assert await store.command_answer(number - 5) is None
        assert [command.number for command in await store.pending_commands()] == [from_before]
