"""Where everything lies in Redis, and how a value is kept: one place for both.

All keys begin with the store's prefix.

    meta               hash: format, number of shards, and an id that no other store has
    epoch              the last epoch that was given out; it only ever grows
    leaders            hash, by shard: "<epoch> <member>", or "<epoch> " when nobody leads
    commits            hash, by shard: how many commits there were; it only ever grows
    lost               that the server has lost what it had confirmed: then nobody writes
    removals:<shard>   hash, by mark: how many sagas that share it were removed in this term
    members            set: the ids of all that joined
    member:<id>        what a member tells of itself; goes with its lease
    journal:<saga>     list: one entry for each append
    heads              hash, by saga
    sagas              the number of the newest saga
    all                sorted set: sagas by number
    open:<shard>       sorted set: the unfinished ones
    commands           the number of the newest command
    command, answer    hashes, by number
    pending:<shard>    sorted set: numbers without an answer
    answered           sorted set: numbers with one
    of-saga:<saga>     sorted set: the numbers of a saga's commands

Entries say of themselves where they belong, ``position:count:checksum body``, so the journal alone
decides whether an append fits: nothing beside it could tell otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

import msgspec

from fsm_saga.core.records import Record
from fsm_saga.errors import CorruptRecordError, StoreVersionError
from fsm_saga.ports import Append, Command, Head
from fsm_saga.stores.codec import CODEC, decode_object, encode_object
from fsm_saga.stores.damage import damaged_journal, entry_checksum, journal_too_short
from fsm_saga.stores.heads import head_from_journal
from fsm_saga.stores.refusals import check_fits

FORMAT = 1
_ENTRY = re.compile(rb"(\d{1,15}):(\d{1,15}):([0-9a-f]{8}) ")
REMOVAL_MARKS = 64
"""Marks of a term that sagas share, so that few of them are in each other's way."""
_CRC_DIGITS = 8


class Layout:
    """The keys of one store."""

    def __init__(self, prefix: str) -> None:
        """Lay it out below ``prefix``, which ends with a colon."""
        self.root = root = prefix.encode()
        self.meta = root + b"meta"
        self.epoch = root + b"epoch"
        self.leaders = root + b"leaders"
        self.commits = root + b"commits"
        self.lost = root + b"lost"
        self.members = root + b"members"
        self.heads = root + b"heads"
        self.sagas = root + b"sagas"
        self.all = root + b"all"
        self.commands = root + b"commands"
        self.command = root + b"command"
        self.answer = root + b"answer"
        self.answered = root + b"answered"

    def member(self, member_id: str) -> bytes:
        """The key of a member."""
        return b"%smember:%s" % (self.root, member_id.encode())

    def journal(self, saga_id: str) -> bytes:
        """The key of a saga's journal."""
        return b"%sjournal:%s" % (self.root, saga_id.encode())

    def open(self, shard: int) -> bytes:
        """The key of a shard's unfinished sagas."""
        return b"%sopen:%d" % (self.root, shard)

    def removals(self, shard: int) -> bytes:
        """The key of the removals of a shard in this term."""
        return b"%sremovals:%d" % (self.root, shard)

    def pending(self, shard: int) -> bytes:
        """The key of a shard's commands without an answer."""
        return b"%spending:%d" % (self.root, shard)

    def of_saga(self, saga_id: str) -> bytes:
        """The key of the numbers of a saga's commands."""
        return b"%sof-saga:%s" % (self.root, saga_id.encode())


def removal_mark(saga_id: str) -> int:
    """Return the mark under which the removal of a saga is counted."""
    return crc32(saga_id.encode()) % REMOVAL_MARKS


# --- values --------------------------------------------------------------------------------------


def sealed(place: str, body: bytes) -> bytes:
    """Return the value to keep at ``place``: the body after its checksum.

    The place is part of the sum: a value that turns up elsewhere is as wrong as a flipped bit.

    Example:
        >>> sealed("answer 7", b"{}")
        b'fa5cf909 {}'
    """
    return b"%08x %s" % (crc32(body, crc32(place.encode())), body)


def unsealed(place: str, value: bytes, *, what: str) -> bytes:
    """Return the body of what ``sealed`` made; ``what`` names it in the message.

    Raises:
        CorruptRecordError: It is not what was written.
    """
    body = value[_CRC_DIGITS + 1 :]
    if value != sealed(place, body):
        raise CorruptRecordError(
            f"{what} cannot be read: it is not what was written, for its checksum is wrong. "
            "Nothing was changed; restore it from a copy of the store."
        )
    return body


class AppendValue:
    """What one append writes.

    Attributes:
        size: Its bytes.
    """

    __slots__ = ("entry", "head", "is_final", "position", "saga_id", "size")

    def __init__(self, append: Append) -> None:
        check_fits(append)
        saga_id, position, count = append.saga_id, append.position, len(append.records)
        body = CODEC.encode(append.records)
        self.saga_id = saga_id
        self.position = position
        self.is_final = append.head.is_final
        crc = entry_checksum(saga_id, position, count, body)
        self.entry = b"%d:%d:%08x %s" % (position, count, crc, body)
        self.head = sealed(_head_place(saga_id), msgspec.json.encode(append.head))
        self.size = len(self.entry) + len(self.head)


def journal_of(saga_id: str, entries: Sequence[bytes], *, end: int | None) -> tuple[Record, ...]:
    """Return the records of a journal's entries; ``end`` is where a sound head says it ends.

    Raises:
        CorruptRecordError: They are not whole.
        StoreVersionError: A newer version of fsm_saga wrote one of them.
    """
    records: list[Record] = []
    for entry in entries:
        at = len(records)
        form = _ENTRY.match(entry)
        if form is None:
            raise damaged_journal(saga_id, at, "the next entry does not say where it belongs")
        position, count, crc = int(form[1]), int(form[2]), int(form[3], 16)
        if position != at:
            raise damaged_journal(saga_id, at, f"the next entry is at {position}")
        body = entry[form.end() :]
        if entry_checksum(saga_id, position, count, body) != crc:
            raise damaged_journal(saga_id, at, "its checksum does not match")
        records += CODEC.decode(body, saga_id=saga_id, position=position)
        if len(records) != position + count:
            raise damaged_journal(saga_id, position, f"it does not hold {count} records")
    if end is not None and end != len(records):
        raise journal_too_short(saga_id, len(records), end)
    return tuple(records)


def head_of(saga_id: str, value: bytes | None) -> Head | None:
    """Return the head in a value, or None if it is damaged."""
    if value is None:
        return None
    try:
        body = unsealed(_head_place(saga_id), value, what="A head")
        return msgspec.json.decode(body, type=Head)
    except (CorruptRecordError, msgspec.MsgspecError):
        return None


def head_by_journal(saga_id: str, entries: Sequence[bytes]) -> Head:
    """Return the head that a journal's entries come to.

    Raises:
        CorruptRecordError: The journal is damaged too.
        StoreVersionError: A newer version of fsm_saga wrote it.
    """
    return head_from_journal(saga_id, journal_of(saga_id, entries, end=None))


def command_value(number: int, command: Command) -> bytes:
    """Return a command as a value.

    Raises:
        InvariantBrokenError: Its body is not JSON.
    """
    said = {"saga_id": command.saga_id, "kind": command.kind, "body": command.body}
    return sealed(f"command {number}", encode_object(said))


def command_of(number: int, value: bytes) -> Command:
    """Return the command in a value, without an answer.

    Raises:
        CorruptRecordError: It is not what was written.
    """
    what = f"Command {number}"
    said = decode_object(unsealed(f"command {number}", value, what=what), what=what)
    try:
        return msgspec.convert({**said, "number": number}, Command)
    except msgspec.ValidationError as error:
        raise CorruptRecordError(f"{what} cannot be read: {error}.") from error


def answer_value(number: int, answer: Mapping[str, Any]) -> bytes:
    """Return an answer as a value.

    Raises:
        InvariantBrokenError: It is not JSON.
    """
    return sealed(f"answer {number}", encode_object(answer))


def answer_of(number: int, value: bytes) -> dict[str, Any]:
    """Return the answer in a value.

    Raises:
        CorruptRecordError: It is not what was written.
    """
    what = f"The answer to command {number}"
    return decode_object(unsealed(f"answer {number}", value, what=what), what=what)


def check_format(shown: str, meta: Mapping[bytes, bytes]) -> int:
    """Return the number of shards that ``meta`` tells.

    Raises:
        StoreVersionError: A newer version of fsm_saga made the store.
        CorruptRecordError: It tells nothing that can be read.
    """
    try:
        form, shards = int(meta[b"format"]), int(meta[b"shards"])
    except (KeyError, ValueError) as error:
        raise CorruptRecordError(
            f"Store {shown!r} was not opened: what it says of itself is damaged. Nothing was "
            "changed; restore it from a copy, or name another prefix."
        ) from error
    if form > FORMAT:
        raise StoreVersionError(
            f"Store {shown!r} was not opened: it has format {form}, and this version of fsm_saga "
            f"knows format {FORMAT}. Nothing was changed; use the version that made it, or a newer "
            "one."
        )
    return shards


def _head_place(saga_id: str) -> str:
    return f"head {saga_id}"
