"""Reading a SQLite store of which a part is damaged, beside tests/integration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fsm_saga.stores.opening import open_store
from fsm_saga.stores.sqlite_reader import JournalReader
from tests.conformance.samples import store_saga

SAGAS = ("one", "two", "three")


@pytest.fixture
async def reader(tmp_path: Path) -> AsyncIterator[JournalReader]:
    """Give a reader of a store with three unfinished sagas."""
    path = tmp_path / "sagas.db"
    async with open_store(f"sqlite:///{path}") as store:
        for saga_id in SAGAS:
            await store_saga(store, saga_id)
    reader = JournalReader(str(path))
    yield reader
    reader.close()


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
