"""Heads of a SQLite store that are damaged: made again from the journal, or shown as damaged."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from fsm_saga.errors import ConflictError, CorruptRecordError
from fsm_saga.ports import Head
from fsm_saga.service.engine import Engine
from fsm_saga.stores import sqlite_reader
from fsm_saga.stores.heads import DAMAGED
from fsm_saga.stores.opening import open_store
from fsm_saga.stores.sqlite_heads import SAGA_OF_ID, SAGA_OF_NUMBER
from fsm_saga.tools.python import tool
from tests.conformance.samples import append_of
from tests.support.plans import plan_of

DONE, ASKING, OTHER = "done", "asking", "other"
NOT_UTF8 = "CAST(X'FF' AS TEXT)"


@tool
def book() -> None:
    """Do nothing."""


@pytest.fixture
async def url(tmp_path: Path) -> str:
    """Give a store with a saga that is done and two that wait for an approval."""
    place = f"sqlite:///{tmp_path}/sagas.db"
    async with Engine.open(place, tools=[book]) as engine:
        await engine.run(plan_of(DONE, "1 book ; kind=pivot"))
        for saga_id in (ASKING, OTHER):
            await engine.run(plan_of(saga_id, "1 book ; kind=pivot approval=yes"))
    return place


def change(url: str, *statements: str) -> None:
    """Change the store behind our back, as a disk would: without a word to the checksum."""
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def replace_bytes(url: str, old: bytes, new: bytes) -> None:
    """Change the one place in the file where these bytes are."""
    path = Path(url.removeprefix("sqlite:///"))
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))


async def heads(url: str, *, only_unfinished: bool = False) -> list[Head]:
    async with open_store(url, mode="read") as store:
        return list(await store.heads(only_unfinished=only_unfinished))


DAMAGES = {
    "its state": "state = 'EXECUTING(9)'",
    "its state is no text": f"state = {NOT_UTF8}",
    "its outcome": "outcome = 'compensated'",
    "its goal": "goal = 'to Mars'",
    "its goal is no text": f"goal = {NOT_UTF8}",
    "its position": "position = position + 1",
    "its times": "created_at = 1.5, updated_at = 2.5",
    "what it waits for": "waits_for = 'person'",
    "its checksum": "crc = crc + 1",
    "its checksum is huge": "crc = -9223372036854775808",
    "whether it is final": "is_final = 1 - is_final",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("saga_id", [DONE, ASKING])
async def test_a_damaged_head_is_shown_as_its_journal_says(
    url: str, saga_id: str, damage: str
) -> None:
    right = await heads(url)
    unfinished = await heads(url, only_unfinished=True)
    change(url, f"UPDATE heads SET {damage} WHERE saga_id = '{saga_id}'")  # noqa: S608  # our own
    for mode in ("read", "write"):
        async with open_store(url, mode=mode) as store:
            assert list(await store.heads()) == right
            assert await store.head(saga_id) == next(h for h in right if h.saga_id == saga_id)
            journal = await store.load(saga_id) or ()
            assert len(journal) == next(h.position for h in right if h.saga_id == saga_id)
    if "is_final" not in damage:  # then the index, which follows such a change, is wrong as well
        assert await heads(url, only_unfinished=True) == unfinished


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_a_saga_with_a_damaged_head_goes_on_and_its_head_is_sound_again(
    url: str, damage: str
) -> None:
    change(url, f"UPDATE heads SET {damage} WHERE saga_id = '{ASKING}'")  # noqa: S608  # our own
    async with Engine.open(url, tools=[book]) as engine:
        await engine.approve(ASKING, "1", by="Ann")
        assert (await engine.wait(ASKING)).state == "DONE"
        assert (await engine.get(OTHER)).state == "EXECUTING(1)"
    async with open_store(url, mode="read") as store:
        head = await store.head(ASKING)
        journal = await store.load(ASKING)
    assert head is not None
    assert journal is not None
    assert (head.state, head.position, head.is_final) == ("DONE", len(journal), True)
    change(url, "DELETE FROM entries")
    shown = {head.saga_id: head.state for head in await heads(url)}
    assert shown[ASKING] == "DONE", "it is sound without the journal"


async def test_without_a_journal_a_damaged_head_is_shown_as_damaged_and_nothing_else_is_lost(
    url: str,
) -> None:
    change(
        url,
        "UPDATE entries SET crc = crc + 1 WHERE saga = 2",
        "UPDATE heads SET state = 'DONE' WHERE number = 2",
    )
    shown = {head.saga_id: head.state for head in await heads(url)}
    assert shown == {DONE: "DONE", ASKING: DAMAGED, OTHER: "EXECUTING(1)"}
    async with Engine.open(url, tools=[book], recover=False) as engine:
        assert await engine.resume() == [OTHER]
        assert list(engine.skipped) == [ASKING]
        with pytest.raises(CorruptRecordError, match=f"'{ASKING}'"):
            await engine.store.head(ASKING)
        with pytest.raises(CorruptRecordError, match=f"'{ASKING}'"):
            await engine.store.remove(ASKING)


async def test_a_journal_that_lost_its_end_is_damaged_for_its_head_is_sound(url: str) -> None:
    change(
        url,
        "DELETE FROM entries WHERE position = (SELECT max(position) FROM entries e WHERE e.saga ="
        " entries.saga)",
    )
    async with open_store(url, mode="read") as store:
        for saga_id in (DONE, ASKING, OTHER):
            with pytest.raises(CorruptRecordError, match=r"should go on to|has no entry"):
                await store.load(saga_id)


async def test_a_name_that_is_wrong_in_the_head_alone_is_known_from_the_journal(url: str) -> None:
    """On the disk the index still has the right name; here it is put back by hand."""
    replace_bytes(url, b"askingEXECUTING", b"axkingEXECUTING")
    assert [head.saga_id for head in await heads(url)] == [OTHER, ASKING, DONE]
    async with Engine.open(url, tools=[book], recover=False) as engine:
        assert sorted(await engine.resume()) == [ASKING, OTHER]
        assert not engine.skipped
        await engine.approve(ASKING, "1", by="Ann")
        assert (await engine.wait(ASKING)).state == "DONE"
    assert [head.state for head in await heads(url)] == ["EXECUTING(1)", "DONE", "DONE"]


async def test_an_unfinished_saga_that_its_index_misses_or_doubles_is_found(url: str) -> None:
    """The index says that the finished one is unfinished: what else it says is not believed."""
    change(
        url,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = replace(sql, '= 0', '<> 7') WHERE name = "
        "'heads_unfinished'",
    )
    change(url, "REINDEX heads_unfinished")
    change(
        url,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = replace(sql, '<> 7', '= 0') WHERE name = "
        "'heads_unfinished'",
    )
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        found = connection.execute("SELECT saga_id FROM heads WHERE is_final = 0").fetchall()
        assert (DONE,) in found, "the index leads to it"
    connection.close()
    assert [head.saga_id for head in await heads(url, only_unfinished=True)] == [OTHER, ASKING]


async def test_damaged_heads_are_found_on_every_page(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_reader, "HEADS_PER_QUESTION", 1)
    right = await heads(url)
    change(url, "UPDATE heads SET state = CAST(X'FF' AS TEXT)")
    assert await heads(url) == right
    async with open_store(url, mode="read") as store:
        assert list(await store.heads(limit=2)) == right[:2]


async def test_a_finished_saga_whose_head_is_damaged_can_be_removed_and_an_unfinished_cannot(
    url: str,
) -> None:
    change(url, "UPDATE heads SET state = 'DONE', waits_for = 'x'")
    async with open_store(url) as store:
        await store.remove(DONE)
        with pytest.raises(ConflictError, match=r"EXECUTING\(1\)"):
            await store.remove(ASKING)
        assert [head.saga_id for head in await store.heads()] == [OTHER, ASKING]


async def test_a_conflict_tells_where_the_journal_really_is(url: str) -> None:
    async with open_store(url) as store:
        journal = await store.load(DONE) or ()
        change(url, "UPDATE heads SET position = 77")
        with pytest.raises(ConflictError) as caught:
            await store.append(append_of(DONE, 1, state="DONE"))
        assert caught.value.facts["found"] == len(journal)


async def test_an_append_at_the_true_end_is_written_at_once_whatever_a_damaged_head_says(
    url: str,
) -> None:
    async with open_store(url) as store:
        end = len(await store.load(ASKING) or ())
        change(url, "UPDATE heads SET position = position + 1")
        await store.append(append_of(ASKING, end))
        assert len(await store.load(ASKING) or ()) == end + 1


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM entries WHERE saga = 2",
        "UPDATE entries SET body = X'00' WHERE saga = 2",
        "UPDATE entries SET body = X'5B5D' WHERE saga = 2",
        "UPDATE entries SET position = position + 1 WHERE saga = 2",
        "UPDATE entries SET body = CAST(replace(body, 'asking', 'axking') AS BLOB) WHERE saga = 2",
    ],
)
async def test_a_saga_of_which_nothing_is_sound_is_damaged_in_every_answer(
    url: str, damage: str
) -> None:
    change(url, damage, "UPDATE heads SET position = 1, state = 'DONE' WHERE number = 2")
    shown = {head.saga_id: head.state for head in await heads(url)}
    assert shown == {DONE: "DONE", ASKING: DAMAGED, OTHER: "EXECUTING(1)"}
    async with open_store(url) as store:
        for question in (store.head, store.load):
            with pytest.raises(CorruptRecordError, match=f"'{ASKING}'"):
                await question(ASKING)
        with pytest.raises(ConflictError):
            await store.append(append_of(ASKING, 9))
        assert await store.head(OTHER) is not None


async def test_a_saga_that_is_removed_while_its_damaged_head_is_looked_at_is_just_gone(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(url, "UPDATE heads SET state = 'DONE' WHERE number = 2")
    monkeypatch.setattr(sqlite_reader, "SAGA_OF_NUMBER", f"{SAGA_OF_NUMBER} LIMIT 0")
    monkeypatch.setattr(sqlite_reader, "SAGA_OF_ID", f"{SAGA_OF_ID} LIMIT 0")
    assert [head.saga_id for head in await heads(url)] == [OTHER, DONE]
    async with open_store(url, mode="read") as store:
        assert await store.head(ASKING) is None


async def test_a_row_whose_columns_have_moved_is_no_head(url: str) -> None:
    """One bit in the widths of a row makes each value the next column's, and leaves no checksum."""
    right = await heads(url)
    replace_bytes(url, *moved_columns(url))
    assert await heads(url) == right


def moved_columns(url: str) -> tuple[bytes, bytes]:
    """Return the beginning of the second head as it is, and with that bit."""
    data = Path(url.removeprefix("sqlite:///")).read_bytes()
    at = data.index(b"askingEXECUTING(1)")
    # Before the name are the types of all columns; the last are goal, what it waits for, two more.
    start = at - 4
    assert data[start] == 0, "there is no goal"
    whole = data[start : at + 6]
    return whole, bytes([whole[0] | 0x80]) + whole[1:]
