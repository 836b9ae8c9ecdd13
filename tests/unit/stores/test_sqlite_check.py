"""What is found in a SQLite store that is looked at as a whole, and what is left out."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from msgspec.structs import replace

from fsm_saga.core.records import SagaMoved
from fsm_saga.ports import Append
from fsm_saga.stores import sqlite_check
from fsm_saga.stores.heads import head_checksum, head_from_journal
from fsm_saga.stores.opening import open_store
from fsm_saga.stores.sqlite_check import Contents, Damage, check_contents
from tests.conformance.samples import command_of, started, submitted

SAGAS = ("one", "two", "three")
HOUR_S = 3_600.0


@pytest.fixture
async def path(tmp_path: Path) -> str:
    """Give a store of three sagas with three records each, and of three commands, one answered."""
    path = str(tmp_path / "sagas.db")
    async with open_store(f"sqlite:///{path}") as store:
        for saga_id in SAGAS:
            state = "DONE" if saga_id == "two" else "EXECUTING(1)"
            moved = SagaMoved(at=4.0, event="step_succeeded", state=state)
            journal = (submitted(saga_id), started(), moved)
            head = head_from_journal(saga_id, journal)
            await store.append(Append(saga_id=saga_id, position=0, records=journal, head=head))
        for _ in range(3):
            number = await store.post_command(command_of("one"))
        await store.answer_command(number, {"ok": True})
    return path


def change(path: str, *statements: str) -> None:
    """Change the store behind our back."""
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def damages(path: str) -> list[Damage]:
    return check_contents(path, seconds_max=None).damages


def test_a_whole_store_is_counted(path: str) -> None:
    for seconds_max in (None, HOUR_S):
        found = check_contents(path, seconds_max=seconds_max)
        assert found == Contents(sagas=3, records=9, commands=3)


def test_sagas_are_looked_at_on_every_page(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    paged = sqlite_check._NUMBERS.replace("1000", "2")
    monkeypatch.setattr(sqlite_check, "_NUMBERS", paged)
    assert paged.endswith("LIMIT 2")
    assert check_contents(path, seconds_max=None).sagas == 3


def test_each_damage_is_told_with_what_it_is_in(path: str) -> None:
    change(
        path,
        "UPDATE heads SET goal = 'x' WHERE saga_id = 'one'",
        "UPDATE entries SET crc = crc + 1 WHERE saga = 2",
        "UPDATE commands SET crc = crc + 1 WHERE number = 1",
        "UPDATE commands SET crc = crc + 1, answer_crc = 7 WHERE number = 3",
        "INSERT INTO entries SELECT 77, position, count, body, crc FROM entries WHERE saga = 3",
        "INSERT INTO entries SELECT 77, 3, count, body, crc FROM entries WHERE saga = 3",
    )
    found = damages(path)
    assert [(each.what, each.is_harmless) for each in found] == [
        ("command 1", False),
        ("command 3", False),
        ("saga 'two'", False),
        ("saga 'one'", True),
        ("the file", False),
    ]
    words = [each.message for each in found]
    assert words[0] == "Command 1 is damaged; its writer will refuse it. Decide again."
    assert words[1].startswith("The answer to command 3 is damaged")
    assert words[2].startswith("The journal of saga 'two' is damaged at position 0")
    assert words[3] == "The head of saga 'one' is damaged; it is shown as its journal says."
    assert words[4] == "2 appends belong to the 77. saga, which is not there."


def test_a_head_that_is_whole_and_not_what_its_journal_says_is_told_with_the_difference(
    path: str,
) -> None:
    journal = (submitted("one"), started(), SagaMoved(at=4.0, event="x", state="EXECUTING(1)"))
    crc = head_checksum(replace(head_from_journal("one", journal), goal="elsewhere"))
    change(path, f"UPDATE heads SET goal = 'elsewhere', crc = {crc} WHERE number = 1")  # noqa: S608  # our own
    (damage,) = damages(path)
    assert damage == Damage(
        what="saga 'one'",
        message="The head of saga 'one' is not what its journal says: goal 'elsewhere' instead of "
        "None.",
    )


def test_what_sqlite_says_of_its_file_is_told(path: str) -> None:
    change(
        path,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = replace(sql, '= 0', '= 1') WHERE name = 'heads_unfinished'",
    )
    found = damages(path)
    assert found
    assert {each.what for each in found} == {"the file"}
    assert all(each.message.startswith("SQLite says: ") for each in found)


def test_a_page_that_cannot_be_read_ends_it_and_is_said_to(path: str) -> None:
    with sqlite3.connect(path) as connection:
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'heads'"
        ).fetchone()
    connection.close()
    data = bytearray(Path(path).read_bytes())
    data[(root - 1) * 4096 : (root - 1) * 4096 + 12] = b"\xee" * 12
    Path(path).write_bytes(data)
    found = check_contents(path, seconds_max=None)
    assert (found.sagas, found.commands) == (0, 3)
    (damage,) = found.damages
    assert (damage.what, damage.is_harmless) == ("the file", False)
    assert "the database file is damaged" in damage.message
    assert found.left_out == ["what lies behind the damage"]


def test_what_time_is_too_short_for_is_left_out_and_said_to_be(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = os.path.getsize(path)
    monkeypatch.setattr(sqlite_check, "FILE_BYTES_MAX", size)
    found = check_contents(path, seconds_max=-1.0)
    assert (found.sagas, found.records) == (0, 0)
    assert found.left_out == ["the sagas before the 4."]
    monkeypatch.setattr(sqlite_check, "FILE_BYTES_MAX", size - 1)
    assert check_contents(path, seconds_max=HOUR_S).left_out == ["the file as a whole"]
    assert check_contents(path, seconds_max=None).left_out == []
