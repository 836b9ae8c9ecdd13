"""What `doctor` finds in a store: whole, damaged and made good, damaged for good."""

from __future__ import annotations

import sqlite3

import pytest
from msgspec.structs import replace

from fsm_saga.cli import checks_contents
from fsm_saga.stores import sqlite_check
from fsm_saga.stores.heads import head_checksum
from fsm_saga.stores.opening import open_store
from tests.conformance.samples import command_of
from tests.unit.cli.desk import Desk, Ended


@pytest.fixture
def filled(desk: Desk) -> Desk:
    """Give a desk with three sagas, one of which waits for an approval."""
    desk.run("a", name="one")
    desk.run("b", "nothing", name="two")
    desk.run("c", name="three", approval=True)
    return desk


def change(desk: Desk, *statements: str) -> None:
    """Change the store behind our back."""
    with sqlite3.connect(desk.folder / "sagas.db") as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def doctor(desk: Desk, *more: str) -> tuple[Ended, dict[str, list[tuple[str, str]]]]:
    """Return how it ended, and level and message of what it found, by name."""
    ended = desk.on_store("doctor", "--json", *more)
    found: dict[str, list[tuple[str, str]]] = {}
    for finding in ended.json["findings"]:
        found.setdefault(finding["name"], []).append((finding["level"], finding["message"]))
    return ended, found


def test_a_whole_store_is_said_to_be_whole(filled: Desk) -> None:
    for more in ((), ("--thorough",)):
        ended, found = doctor(filled, *more)
        assert ended.code == 0
        ((level, message),) = found["contents"]
        assert level == "ok"
        assert message.startswith("3 sagas of ")
        assert message.endswith("0 commands: all whole")
        assert "damage" not in found


def test_a_damaged_head_is_a_warning_since_its_journal_makes_it_good(filled: Desk) -> None:
    change(filled, "UPDATE heads SET state = 'DONE' WHERE saga_id = 'three'")
    ended, found = doctor(filled)

    assert ended.code == 0
    assert [level for level, _ in found["contents"]] == ["warn"]
    ((level, message),) = found["damage"]
    assert level == "warn"
    assert message == "The head of saga 'three' is damaged; it is shown as its journal says."


def test_a_damaged_journal_fails_and_is_named(filled: Desk) -> None:
    change(filled, "UPDATE entries SET crc = crc + 1 WHERE saga = 2 AND position = 0")
    ended, found = doctor(filled)

    assert ended.code == 1
    ((level, message),) = found["damage"]
    assert level == "fail"
    assert "'two' is damaged at position 0" in message
    assert found["contents"][0][1].endswith("damage in 1 place")
    change(filled, "UPDATE heads SET state = 'DONE' WHERE number = 2")
    listed = filled.on_store("list")
    assert (listed.code, listed.err) == (0, "")
    assert "damaged in the store" in next(line for line in listed.out.split("\n") if "two" in line)


def test_a_journal_that_lost_its_end_fails(filled: Desk) -> None:
    change(filled, "DELETE FROM entries WHERE saga = 1 AND position > 0")
    _, found = doctor(filled)

    assert "should go on to" in found["damage"][0][1]


async def test_a_head_that_is_whole_and_not_what_its_journal_says_fails(filled: Desk) -> None:
    """As when a page of an earlier moment came back: its checksum is right."""
    async with open_store(filled.store, mode="read") as store:
        head = await store.head("three")
    assert head is not None
    crc = head_checksum(replace(head, outcome="committed", waits_for=""))
    change(
        filled,
        f"UPDATE heads SET outcome = 'committed', waits_for = '', crc = {crc} WHERE number = 3",  # noqa: S608  # our own
    )
    found = await checks_contents.contents_findings(filled.store, is_thorough=False)

    assert [finding.level for finding in found] == ["fail", "fail"]
    assert "outcome 'committed' instead of None, waits_for '' instead of 'approval'" in (
        found[1].message
    )


def test_entries_of_no_saga_and_a_wrong_index_fail(filled: Desk) -> None:
    change(
        filled,
        "INSERT INTO entries SELECT 77, position, count, body, crc FROM entries WHERE saga = 1",
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = replace(sql, '= 0', '= 1') WHERE name = 'heads_unfinished'",
    )
    ended, found = doctor(filled)

    assert ended.code == 1
    said = " ".join(message for _, message in found["damage"])
    assert "belong to the 77. saga, which is not there" in said
    assert "SQLite says: " in said


async def test_commands_are_looked_at(desk: Desk) -> None:
    async with open_store(desk.store) as store:
        numbers = [await store.post_command(command_of("trip")) for _ in range(3)]
        await store.answer_command(numbers[2], {"ok": True})
    change(
        desk,
        "UPDATE commands SET kind = 'approve' WHERE number = 1",
        "UPDATE commands SET answer_crc = 7 WHERE number = 3",
    )
    found = await checks_contents.contents_findings(desk.store, is_thorough=False)

    assert found[0].message == "0 sagas of 0 records, 3 commands: damage in 2 places"
    assert "Command 1 is damaged" in found[1].message
    assert "The answer to command 3 is damaged" in found[2].message


def test_a_large_store_is_looked_at_in_part_unless_all_of_it_is_wanted(
    filled: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks_contents, "SECONDS_MAX", -1.0)
    monkeypatch.setattr(sqlite_check, "FILE_BYTES_MAX", 100)
    ended, found = doctor(filled)
    ((level, message),) = found["contents"]

    assert (ended.code, level) == (0, "warn")
    assert message.endswith("not looked at: the sagas before the 4., the file as a whole")
    assert doctor(filled, "--thorough")[1]["contents"][0][0] == "ok"


def test_a_page_that_cannot_be_read_is_told(filled: Desk) -> None:
    path = filled.folder / "sagas.db"
    with sqlite3.connect(path) as connection:
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'entries'"
        ).fetchone()
    connection.close()
    data = bytearray(path.read_bytes())
    data[(root - 1) * 4096 : (root - 1) * 4096 + 12] = b"\xee" * 12
    path.write_bytes(data)
    ended, found = doctor(filled)

    assert ended.code == 1
    assert "the database file is damaged" in found["damage"][0][1]


async def test_a_store_without_a_file_has_nothing_to_look_at(desk: Desk) -> None:
    for url in ("memory://", desk.store, "sqlite:///", "wat"):
        assert await checks_contents.contents_findings(url, is_thorough=True) == []
