"""Reading a SQLite store of which a part is damaged, beside tests/integration."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fsm_saga.errors import CorruptRecordError
from fsm_saga.stores.opening import open_store
from fsm_saga.stores.sqlite_heads import SAGA_OF_ID
from fsm_saga.stores.sqlite_reader import JournalReader
from tests.conformance.samples import append_of, store_saga

SAGAS = ("one", "two", "three")


@pytest.fixture
async def path(tmp_path: Path) -> str:
    """Give the path of a store with three unfinished sagas."""
    path = str(tmp_path / "sagas.db")
    async with open_store(f"sqlite:///{path}") as store:
        for saga_id in SAGAS:
            await store_saga(store, saga_id)
    return path


@pytest.fixture
def reader(path: str) -> Iterator[JournalReader]:
    """Give a reader of that store."""
    reader = JournalReader(path)
    yield reader
    reader.close()


async def test_a_finished_saga_whose_head_is_damaged_is_on_its_page(
    path: str, reader: JournalReader
) -> None:
    async with open_store(f"sqlite:///{path}") as store:
        await store.append(append_of("two", 3, state="DONE"))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE heads SET state = 'FAILED' WHERE saga_id = 'two'")
    connection.close()
    first = reader.finished(after="", limit=2)
    assert [(head.saga_id, head.state) for head in first.heads] == [("two", "DONE")]
    assert first.after
    last = reader.finished(after=first.after, limit=2)
    assert (last.heads, last.after) == ((), "")


def test_a_saga_that_is_removed_while_it_is_looked_at_closely_is_just_gone(
    reader: JournalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = reader.rows

    def removed(statement: str, *bindings: Any, **more: Any) -> list[Any]:
        rows = real(statement, *bindings, **more)
        if statement == SAGA_OF_ID:
            return []
        return [(row[0] + 1, *row[1:]) for row in rows]  # so that what is found needs that look

    monkeypatch.setattr(reader, "rows", removed)
    assert reader.load("two") is None


def test_a_page_that_cannot_be_read_is_told_with_the_saga_that_was_asked_for(
    path: str, reader: JournalReader
) -> None:
    with sqlite3.connect(path) as connection:
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'entries'"
        ).fetchone()
    connection.close()
    data = bytearray(Path(path).read_bytes())
    data[(root - 1) * 4096 : (root - 1) * 4096 + 12] = b"\xee" * 12
    Path(path).write_bytes(data)
    with pytest.raises(CorruptRecordError) as caught:
        reader.load("two")
    assert caught.value.message.startswith(f"A part of saga 'two' in {path!r} cannot be read: ")
    assert caught.value.facts == {"saga_id": "two", "path": path}


def test_the_unfinished_are_found_without_reading_all(
    reader: JournalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = reader.rows, []

    def noted(statement: str, *bindings: Any, **more: Any) -> list[Any]:
        asked.append(statement)
        return real(statement, *bindings, **more)

    monkeypatch.setattr(reader, "rows", noted)
    assert len(reader.heads(only_unfinished=True, limit=None)) == len(SAGAS)
    assert len(asked) == 1
    assert "is_final = 0" in asked[0]


def test_an_index_that_names_a_saga_twice_is_not_believed(
    reader: JournalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = reader.rows

    def doubled(statement: str, *bindings: Any, **more: Any) -> list[Any]:
        rows = real(statement, *bindings, **more)
        return [rows[0], *rows] if "is_final = 0" in statement else rows

    monkeypatch.setattr(reader, "rows", doubled)
    heads = reader.heads(only_unfinished=True, limit=None)
    assert [head.saga_id for head in heads] == ["three", "two", "one"]
    assert [head.saga_id for head in reader.heads(only_unfinished=True, limit=2)] == [
        "three",
        "two",
    ]
