"""What tells a damaged entry, and what is said of it: the same in every store."""

from __future__ import annotations

from fsm_saga.stores.damage import (
    damaged_answer,
    damaged_journal,
    entry_checksum,
    journal_too_short,
)


def test_the_checksum_covers_the_body_and_where_it_belongs() -> None:
    whole = entry_checksum("trip-7", 4, 2, b"body")
    assert entry_checksum("trip-7", 4, 2, b"body") == whole
    others = [
        entry_checksum("trip-7", 4, 2, b"bodz"),
        entry_checksum("trip-8", 4, 2, b"body"),
        entry_checksum("trip-7", 5, 2, b"body"),
        entry_checksum("trip-7", 4, 3, b"body"),
    ]
    assert whole not in others
    assert len(set(others)) == 4
    assert whole == 0x3EDB134E, "it stands in stores"


def test_the_text_of_an_id_that_is_none_has_a_checksum_too() -> None:
    assert entry_checksum("\ud800", 0, 1, b"body") != entry_checksum("trip-7", 0, 1, b"body")


def test_a_damaged_journal_is_told_with_its_saga_and_the_place() -> None:
    error = damaged_journal("trip-7", 4, "it has no entry")
    assert error.message.startswith(
        "The journal of saga 'trip-7' is damaged at position 4: it has no entry. "
    )
    assert error.facts == {"saga_id": "trip-7", "position": 4}
    error = journal_too_short("trip-7", 4, 6)
    assert " at position 4: the journal should go on to 6. " in error.message
    assert error.facts == {"saga_id": "trip-7", "position": 4}


def test_a_refusal_of_a_damaged_command_names_it() -> None:
    refusal = damaged_answer(12)
    assert (refusal["ok"], refusal["code"]) == (False, "corrupt-record")
    assert refusal["message"].startswith("Command 12 was refused: it was damaged in the store, ")
    assert set(refusal) == {"ok", "code", "message"}
