"""Rows of the table of heads, back to heads: checked, and made again where they are damaged.

What is asked all the time reads ``HEAD_COLUMNS`` and checks them. ``SAGA_OF_NUMBER`` and
``SAGA_OF_ID`` are for what fails: they read head and journal in one statement, which is one
moment of the store, and take no text for text before it has been looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fsm_saga.core.records import Record, SagaSubmitted
from fsm_saga.errors import CorruptRecordError, StoreVersionError
from fsm_saga.ports import Head
from fsm_saga.stores.codec import CODEC
from fsm_saga.stores.damage import damaged_journal, entry_checksum, journal_too_short
from fsm_saga.stores.heads import head_checksum, head_from_journal
from fsm_saga.stores.sqlite_schema import NO_CHECKSUM

HEAD_COLUMNS = (
    "number, saga_id, state, outcome, position, created_at, updated_at, goal, is_final, waits_for,"
    " crc"
)
_HEAD_WIDTH = 11

# A text that is none keeps apsw from returning any row, so texts come as bytes.
_HEAD = (
    "SELECT h.number, CAST(h.saga_id AS BLOB), CAST(h.state AS BLOB), CAST(h.outcome AS BLOB),"
    " h.position, h.created_at, h.updated_at, CAST(h.goal AS BLOB), h.is_final,"
    " CAST(h.waits_for AS BLOB), h.crc"
)
_HEAD_OF_ID = f"{_HEAD} FROM heads h WHERE h.saga_id = ?"
_SAGA = (
    f"{_HEAD}, e.position, e.count, e.body, e.crc"
    " FROM heads h LEFT JOIN entries e ON e.saga = h.number"
)
SAGA_OF_NUMBER = f"{_SAGA} WHERE h.number = ? ORDER BY e.position"
SAGA_OF_ID = f"{_SAGA} WHERE h.saga_id = ? ORDER BY e.position"

Rows = Sequence[tuple[Any, ...]]


class StoredSaga(NamedTuple):
    """A saga as its rows say, looked at closely.

    Attributes:
        number: Its number in the store.
        name: The id in its head, which may be damaged.
        head: Its head, or None if that is damaged.
        entries: Position, count, body and checksum of each entry.
    """

    number: int
    name: str
    head: Head | None
    entries: Rows

    def journal(self) -> tuple[Record, ...]:
        """Return the records. A sound head is believed as to where the journal ends.

        Raises:
            CorruptRecordError: They are not whole.
        """
        saga_id = self.name if self.head is not None else self._proven_name()
        records = records_of(saga_id, self.entries)
        if not records:
            raise damaged_journal(saga_id, 0, "it has no entry")
        if self.head is not None and self.head.position != len(records):
            raise journal_too_short(saga_id, len(records), self.head.position)
        return records

    def true_head(self) -> Head:
        """Return the head, made again from the journal if it is damaged.

        Raises:
            CorruptRecordError: The journal is damaged too.
        """
        if self.head is not None:
            return self.head
        return head_from_journal(self._proven_name(), self.journal())

    def _proven_name(self) -> str:
        """Return the id that the journal itself names, if its checksum agrees; else the head's."""
        if not self.entries:
            return self.name
        position, count, body, crc = self.entries[0]
        try:
            first = CODEC.decode(body)[0] if type(body) is bytes else None
        except (CorruptRecordError, StoreVersionError):
            return self.name
        if isinstance(first, SagaSubmitted) and (
            entry_checksum(first.saga_id, position, count, body) == crc
        ):
            return first.saga_id
        return self.name


def stored_saga(rows: Rows) -> StoredSaga:
    """Return what ``SAGA_OF_NUMBER`` or ``SAGA_OF_ID`` found, which is at least one row."""
    row = _with_texts(rows[0][:_HEAD_WIDTH])
    entries = [row[_HEAD_WIDTH:] for row in rows if row[_HEAD_WIDTH] is not None]
    return StoredSaga(row[0], row[1], sound_head(row), entries)


def _with_texts(row: Sequence[Any]) -> Sequence[Any]:
    """Return a row of ``_HEAD`` with texts; what is none becomes such that no checksum fits it."""
    return [v.decode(errors="replace") if isinstance(v, bytes) else v for v in row]


def sound_head(row: Sequence[Any]) -> Head | None:
    """Return the head in a row of ``HEAD_COLUMNS``, or None if it fails its checksum."""
    _, saga_id, state, outcome, position, created_at, updated_at, goal, is_final, waits, crc = row
    # A flipped bit can make another type of a value, of which no checksum can be worked out.
    if not (
        type(saga_id) is type(state) is type(waits) is str
        and type(position) is int
        and is_final in (0, 1)
        and type(created_at) is type(updated_at) is float
        and (outcome is None or type(outcome) is str)
        and (goal is None or type(goal) is str)
    ):
        return None
    head = Head(
        saga_id=saga_id,
        state=state,
        outcome=outcome,
        position=position,
        created_at=created_at,
        updated_at=updated_at,
        goal=goal,
        is_final=bool(is_final),
        waits_for=waits,
    )
    return head if crc == NO_CHECKSUM or crc == head_checksum(head) else None


def records_of(saga_id: str, entries: Rows) -> tuple[Record, ...]:
    """Return the records of entries, having checked that they are whole and without a gap.

    Where the journal has to end is not known here.

    Raises:
        CorruptRecordError: They are not.
        StoreVersionError: A newer version of fsm_saga wrote one of them.
    """
    records: list[Record] = []
    for position, count, body, crc in entries:
        if position != len(records):
            raise damaged_journal(saga_id, len(records), f"the next entry is at {position}")
        # A flipped bit can make another type of it, for which there is no checksum.
        if type(body) is not bytes or entry_checksum(saga_id, position, count, body) != crc:
            raise damaged_journal(saga_id, position, "its checksum does not match")
        records += CODEC.decode(body, saga_id=saga_id, position=position)
        if len(records) != position + count:
            raise damaged_journal(saga_id, position, f"it does not hold {count} records")
    return tuple(records)


def mend_position(execute: Callable[..., Any], saga_id: str) -> bool:
    """Set the position in a damaged head right, inside the caller's transaction; False if sound.

    That is the one value that an append is held against. All others are written anew by it.
    """
    heads = execute(_HEAD_OF_ID, (saga_id,)).fetchall()
    if not heads or sound_head(_with_texts(heads[0])) is not None:
        return False  # as mostly: then the journal, which may be long, is not read
    saga = stored_saga(execute(SAGA_OF_ID, (saga_id,)).fetchall())
    try:
        position = len(records_of(saga_id, saga.entries))
    except (CorruptRecordError, StoreVersionError):
        return False
    execute("UPDATE heads SET position = ? WHERE number = ?", (position, saga.number))
    return True
