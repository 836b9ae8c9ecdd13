"""Rows of heads and journals: what is believed, and what is said of what is not."""

from __future__ import annotations

from typing import Any

import pytest

from fsm_saga.errors import CorruptRecordError
from fsm_saga.stores.codec import CODEC
from fsm_saga.stores.damage import entry_checksum
from fsm_saga.stores.heads import head_checksum
from fsm_saga.stores.sqlite_heads import StoredSaga, records_of, sound_head
from fsm_saga.stores.sqlite_schema import NO_CHECKSUM
from tests.conformance.samples import head_of, submitted

HEAD = head_of("trip-7", 1)
BODY = CODEC.encode((submitted("trip-7"),))
ENTRY = (0, 1, BODY, entry_checksum("trip-7", 0, 1, BODY))


def row(**changes: Any) -> tuple[Any, ...]:
    """Return a row of ``HEAD_COLUMNS``, sound but for what is changed."""
    sound = {
        "number": 1,
        "saga_id": "trip-7",
        "state": HEAD.state,
        "outcome": HEAD.outcome,
        "position": HEAD.position,
        "created_at": HEAD.created_at,
        "updated_at": HEAD.updated_at,
        "goal": HEAD.goal,
        "is_final": 0,
        "waits_for": HEAD.waits_for,
        "crc": head_checksum(HEAD),
    }
    return tuple((sound | changes).values())


@pytest.mark.parametrize(
    "damage",
    [
        {"saga_id": b"trip-7"},
        {"state": None},
        {"waits_for": 7},
        {"position": "1"},
        {"position": 1.0},
        {"is_final": 2},
        {"created_at": 1},
        {"updated_at": "soon"},
        {"outcome": 7},
        {"goal": b"x"},
    ],
    ids=lambda damage: next(iter(damage)),
)
def test_a_value_of_another_type_is_damage_whatever_the_checksum(damage: dict[str, Any]) -> None:
    assert sound_head(row()) == HEAD
    assert sound_head(row(crc=NO_CHECKSUM)) == HEAD
    assert sound_head(row(**damage)) is None
    assert sound_head(row(**damage, crc=NO_CHECKSUM)) is None


@pytest.mark.parametrize(
    ("entries", "position", "why"),
    [
        ((), 0, "position 0: it has no entry"),
        ((ENTRY,), 4, "position 1: the journal should go on to 4"),
    ],
)
def test_a_journal_that_is_not_whole_says_where(
    entries: tuple[Any, ...], position: int, why: str
) -> None:
    saga = StoredSaga(1, "trip-7", head_of("trip-7", position), entries)
    with pytest.raises(CorruptRecordError, match=f"'trip-7' is damaged at {why}") as caught:
        saga.journal()
    assert caught.value.facts == {"saga_id": "trip-7", "position": len(entries)}
    assert StoredSaga(1, "trip-7", HEAD, (ENTRY,)).journal() == (submitted("trip-7"),)


def test_a_sound_head_does_not_take_the_journal_of_another_saga_for_its_own() -> None:
    """Each is sound by itself, as when a page of an earlier moment came back."""
    body = CODEC.encode((submitted("trip-8"),))
    entry = (0, 1, body, entry_checksum("trip-8", 0, 1, body))
    with pytest.raises(CorruptRecordError, match="'trip-7' is damaged at position 0"):
        StoredSaga(1, "trip-7", HEAD, (entry,)).journal()
    damaged = StoredSaga(1, "trip-7", None, (entry,))
    assert damaged.journal() == (submitted("trip-8"),)
    assert damaged.true_head().saga_id == "trip-8", "the journal is the truth"


@pytest.mark.parametrize("body", [BODY.decode(), None, 7])
def test_an_entry_of_another_type_proves_no_name_and_is_damage(body: object) -> None:
    position, count, _body, crc = ENTRY
    saga = StoredSaga(1, "trip-7", None, ((position, count, body, crc),))
    with pytest.raises(CorruptRecordError, match="'trip-7' is damaged at position 0"):
        saga.true_head()


def entry(position: int, count: int, body: bytes) -> tuple[Any, ...]:
    """Return an entry of trip-7 whose checksum is right, whatever is in it."""
    return position, count, body, entry_checksum("trip-7", position, count, body)


@pytest.mark.parametrize(
    ("entries", "position", "why"),
    [
        ((entry(1, 1, BODY),), 0, "is damaged at position 0: the next entry is at 1. "),
        ((ENTRY, (*entry(1, 1, BODY)[:3], 7)), 1, "at position 1: its checksum does not match. "),
        ((ENTRY, entry(1, 2, BODY)), 1, "at position 1: it does not hold 2 records. "),
        ((ENTRY, entry(1, 1, b"[7]")), 1, "Record 1 of saga 'trip-7' cannot be read: "),
    ],
    ids=["gap", "checksum", "count", "no record"],
)
def test_an_entry_that_does_not_fit_is_told_with_its_saga_and_its_place(
    entries: tuple[Any, ...], position: int, why: str
) -> None:
    with pytest.raises(CorruptRecordError) as caught:
        records_of("trip-7", entries)
    assert why in caught.value.message
    assert "'trip-7'" in caught.value.message
    assert caught.value.facts == {"saga_id": "trip-7", "position": position}
