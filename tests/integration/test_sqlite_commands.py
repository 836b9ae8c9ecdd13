"""Commands of a SQLite store that are damaged: never carried out, never held up by them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from fsm_saga.errors import CorruptRecordError
from fsm_saga.stores.opening import open_store
from tests.conformance.samples import append_of, command_of, store_saga

NOT_UTF8 = "CAST(X'FF' AS TEXT)"
DAMAGES = {
    "what it asks": 'body = CAST(\'{"by":"Eve"}\' AS BLOB)',
    "its body is no object": "body = X'5B'",
    "its kind": "kind = 'approve'",
    "its kind is no text": f"kind = {NOT_UTF8}",
    "its checksum": "crc = crc + 1",
    "its number": "number = number + 10",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sagas.db"


def change(path: Path, statement: str) -> None:
    """Change the store behind our back."""
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_a_damaged_command_is_refused_and_the_others_are_carried_out(
    path: Path, damage: str
) -> None:
    url = f"sqlite:///{path}"
    async with open_store(url) as store:
        await store_saga(store, "trip-7")
        bad = await store.post_command(command_of("trip-7", by="Ann"))
        good = await store.post_command(command_of("trip-7", by="Bob"))
    change(path, f"UPDATE commands SET {damage} WHERE number = {bad}")  # noqa: S608  # our own
    if damage.startswith("number"):
        bad += 10
    async with open_store(url, mode="read") as reader:
        assert [c.number for c in await reader.pending_commands()] == [good]
        (shown,) = [c for c in await reader.saga_commands("trip-7") if c.number == bad]
        assert shown.answer is not None, "nobody waits for it"
        async with open_store(url) as writer:
            for _ in range(2):
                assert [c.number for c in await writer.pending_commands()] == [good]
            await writer.append(append_of("trip-7", 3))
        answer = await reader.command_answer(bad)
        assert answer is not None
        assert (answer["ok"], answer["code"]) == (False, "corrupt-record")
        assert f"Command {bad} was refused" in answer["message"]
        assert "decide again" in answer["message"]
        (shown,) = [c for c in await reader.saga_commands("trip-7") if c.number == bad]
        assert (shown.body, shown.answer) == ({}, answer)


async def test_a_command_whose_saga_is_damaged_is_refused(path: Path) -> None:
    url = f"sqlite:///{path}"
    async with open_store(url) as store:
        number = await store.post_command(command_of("trip-7"))
    for name in (NOT_UTF8, "'trip-8'"):
        change(path, f"UPDATE commands SET saga_id = {name}, answer = NULL")  # noqa: S608  # our own
        async with open_store(url) as store:
            assert list(await store.pending_commands()) == []
            assert (await store.command_answer(number) or {})["ok"] is False
            assert list(await store.saga_commands("trip-7")) == []


@pytest.mark.parametrize(
    "damage", ["answer = CAST('{\"ok\":false}' AS BLOB)", "answer_crc = 7", "answer = X'5B'"]
)
async def test_a_damaged_answer_is_never_taken_for_an_answer(path: Path, damage: str) -> None:
    url = f"sqlite:///{path}"
    async with open_store(url) as store:
        number = await store.post_command(command_of("trip-7", by="Ann"))
        await store.answer_command(number, {"ok": True, "message": "done"})
    change(path, f"UPDATE commands SET {damage}")  # noqa: S608  # our own
    async with open_store(url, mode="read") as store:
        with pytest.raises(CorruptRecordError, match=f"answer to command {number} is damaged"):
            await store.command_answer(number)
        (shown,) = await store.saga_commands("trip-7")
        assert shown.body == {"by": "Ann"}
        assert shown.answer is not None
        assert (shown.answer["ok"], shown.answer["code"]) == (False, "corrupt-record")
        assert "history of its saga" in shown.answer["message"]
