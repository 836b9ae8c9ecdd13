"""What the values in etcd say: heads and commands to bytes and back, and journals from keys."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import orjson

from fsm_saga.core.records import Record
from fsm_saga.errors import CorruptRecordError
from fsm_saga.etcd.data import KeyValue
from fsm_saga.ports import Append, Command, Head
from fsm_saga.stores.codec import CODEC, decode_object, encode_object
from fsm_saga.stores.etcd_layout import Layout, last_part, sealed, unsealed

PART_BYTES = 512 * 1024
"""A body with more bytes than this is kept in pieces of this size."""

ANSWER_BYTES_MAX = 256 * 1024
"""An answer is kept in one value with its command, which may have a whole megabyte itself."""
ANSWER_TEXT_MAX = 4_000


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One append as it is kept: the head that it brings, and its records or where they are."""

    head: Head
    records: msgspec.Raw = msgspec.Raw(b"")
    parts: int = 0
    sha256: str = ""


_ENTRIES = msgspec.json.Decoder(Entry)


class EntryValues(msgspec.Struct, frozen=True, kw_only=True):
    """The value of one append, and the pieces that have to be there before it."""

    value: bytes
    parts: Mapping[bytes, bytes]


def entry_values(layout: Layout, append: Append) -> EntryValues:
    """Return one append as values.

    Pieces have names that nothing else is ever written under, so they can be written before the
    append, and once more, and are harmless if the append never comes.

    Raises:
        InvariantBrokenError: A record is not JSON.
    """
    saga_id, head = append.saga_id, append.head
    key = layout.entry(saga_id, head.position)
    records = CODEC.encode(append.records)
    if len(records) <= PART_BYTES:
        entry = Entry(head=head, records=msgspec.Raw(records))
        return EntryValues(value=sealed(key, msgspec.json.encode(entry)), parts={})
    digest = hashlib.sha256(records).hexdigest()
    pieces = [records[at : at + PART_BYTES] for at in range(0, len(records), PART_BYTES)]
    names = [part_key(layout, saga_id, digest, number) for number in range(len(pieces))]
    entry = Entry(head=head, records=msgspec.Raw(b"[]"), parts=len(pieces), sha256=digest)
    return EntryValues(
        value=sealed(key, msgspec.json.encode(entry)),
        parts={name: sealed(name, piece) for name, piece in zip(names, pieces, strict=True)},
    )


def part_key(layout: Layout, saga_id: str, digest: str, number: int) -> bytes:
    """Return the key of a piece of a large append."""
    return b"%s%s/%04d" % (layout.parts(saga_id), digest.encode(), number)


class JournalEntry:
    """One append as it was found.

    Attributes:
        part_keys: Where its records are, if not in it.
    """

    def __init__(self, layout: Layout, saga_id: str, found: KeyValue) -> None:
        """Look at a key of a journal.

        Raises:
            CorruptRecordError: It is not what was written.
        """
        self._saga_id = saga_id
        self._end = int(last_part(found.key))
        self._what = f"The append up to record {self._end} of saga {saga_id!r}"
        body = unsealed(found.key, found.value, what=self._what, saga_id=saga_id)
        try:
            self._entry = _ENTRIES.decode(body)
        except msgspec.MsgspecError as error:
            raise CorruptRecordError(
                f"{self._what} cannot be read: {error}.", saga_id=saga_id
            ) from error
        self.head = self._entry.head
        self.part_keys = tuple(
            part_key(layout, saga_id, self._entry.sha256, number)
            for number in range(self._entry.parts)
        )

    def records(self, position: int, pieces: Sequence[KeyValue | None] = ()) -> tuple[Record, ...]:
        """Return the records, which begin at ``position``.

        Args:
            position: How many records come before.
            pieces: What is under ``part_keys``.

        Raises:
            CorruptRecordError: They cannot be read, or are not as many as the key says.
        """
        body = self._joined(pieces) if self.part_keys else bytes(self._entry.records)
        records = CODEC.decode(body, saga_id=self._saga_id, position=position)
        if position + len(records) != self._end:
            raise CorruptRecordError(
                f"The journal of saga {self._saga_id!r} is damaged at position {position}: "
                f"{len(records)} records are there and the next entry ends at {self._end}. Only "
                "this saga is affected; restore it from a copy of the store.",
                saga_id=self._saga_id,
                position=position,
            )
        return records

    def _joined(self, pieces: Sequence[KeyValue | None]) -> bytes:
        found = [piece for piece in pieces if piece is not None]
        if len(found) != len(self.part_keys):
            raise CorruptRecordError(
                f"{self._what} cannot be read: a piece of it is missing. Only this saga is "
                "affected; restore it from a copy of the store.",
                saga_id=self._saga_id,
            )
        return b"".join(
            unsealed(piece.key, piece.value, what=self._what, saga_id=self._saga_id)
            for piece in found
        )


def end_value(key: bytes, end: int) -> bytes:
    """Return where the journal of a saga ends, as the value of its key."""
    return sealed(key, b"%d" % end)


def end_in(found: KeyValue) -> int:
    """Return where the journal of a saga ends.

    Raises:
        CorruptRecordError: The value is not what was written.
    """
    saga_id = last_part(found.key)
    what = f"Where the journal of saga {saga_id!r} ends"
    return int(unsealed(found.key, found.value, what=what, saga_id=saga_id))


def command_value(key: bytes, command: Command) -> bytes:
    """Return a command, with its answer if it has one, as a value.

    Raises:
        InvariantBrokenError: Its body or answer is not JSON.
    """
    said: dict[str, Any] = {
        "saga_id": command.saga_id,
        "kind": command.kind,
        "body": command.body,
        "answer": command.answer,
    }
    return sealed(key, encode_object(said))


def command_in(found: KeyValue) -> Command:
    """Return the command in a value.

    Raises:
        CorruptRecordError: It is not what was written.
    """
    number = int(last_part(found.key))
    what = f"Command {number}"
    said = decode_object(unsealed(found.key, found.value, what=what), what=what)
    try:
        return msgspec.convert({**said, "number": number}, Command)
    except msgspec.ValidationError as error:
        raise CorruptRecordError(f"{what} cannot be read: {error}.") from error


def answer_that_fits(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an answer, shortened if it would not fit a request beside the command it answers.

    One that could not be written would be tried for ever, and whoever asked would not be told.
    """
    if len(encode_object(answer)) <= ANSWER_BYTES_MAX:
        return answer
    said: dict[str, Any] = {}
    for name, value in answer.items():
        if isinstance(value, str) and len(value) > ANSWER_TEXT_MAX:
            said[name] = f"{value[:ANSWER_TEXT_MAX]} ... (too long to be kept whole)"
        elif isinstance(value, str | int | float | None):
            said[name] = value
    return said


def object_value(key: bytes, said: Mapping[str, Any]) -> bytes:
    """Return a JSON object as a value that people may read with etcdctl."""
    return sealed(key, orjson.dumps(said, option=orjson.OPT_SORT_KEYS))


def object_in(found: KeyValue, *, what: str) -> dict[str, Any]:
    """Return the JSON object in a value.

    Raises:
        CorruptRecordError: It is not what was written.
    """
    return decode_object(unsealed(found.key, found.value, what=what), what=what)
