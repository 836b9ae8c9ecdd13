"""Rows of the table of commands: written with checksums, and read back checked.

A command carries a decision of a person. One that is damaged is never carried out: its writer
refuses it, so that whoever left it learns that it has to be left again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from zlib import crc32

import apsw

from fsm_saga.errors import CorruptRecordError
from fsm_saga.ports import Command
from fsm_saga.stores.codec import decode_object
from fsm_saga.stores.damage import answer_with, damaged_answer
from fsm_saga.stores.sqlite_schema import NO_CHECKSUM

# At most so many at once; the next question brings the next. Texts come as bytes, since one text
# that is none would keep apsw from returning any row.
PENDING_COMMANDS = (
    "SELECT number, CAST(saga_id AS BLOB), CAST(kind AS BLOB), body, crc FROM commands"
    " WHERE answer IS NULL ORDER BY number LIMIT 1000"
)
# What people decide is little: no index is worth its cost at each command.
SAGA_COMMANDS = (
    "SELECT number, CAST(saga_id AS BLOB), CAST(kind AS BLOB), body, crc, answer, answer_crc"
    " FROM commands WHERE saga_id = ? ORDER BY number DESC LIMIT ?"
)
ALL_COMMANDS = (
    "SELECT number, CAST(saga_id AS BLOB), CAST(kind AS BLOB), body, crc, answer, answer_crc"
    " FROM commands ORDER BY number"
)
ANSWER = "SELECT answer, answer_crc FROM commands WHERE number = ?"
SET_ANSWER = "UPDATE commands SET answer = ?, answer_crc = ? WHERE number = ? AND answer IS NULL"

Row = Sequence[Any]


class Pending(NamedTuple):
    """The commands without an answer.

    Attributes:
        sound: Those that can be carried out, oldest first.
        damaged: The numbers of the others.
    """

    sound: Sequence[Command]
    damaged: Sequence[int]


def insert_command(connection: apsw.Connection, command: Command, body: bytes) -> int:
    """Insert a command inside the caller's transaction and return its number."""
    connection.execute(
        "INSERT INTO commands(saga_id, kind, body, crc) VALUES (?, ?, ?, 0)",
        (command.saga_id, command.kind, body),
    )
    number = connection.last_insert_rowid()
    # Only now is the number known, which belongs to what is protected.
    crc = command_checksum(number, command.saga_id, command.kind, body)
    connection.execute("UPDATE commands SET crc = ? WHERE number = ?", (crc, number))
    return number


def command_checksum(number: int, saga_id: str, kind: str, body: bytes) -> int:
    """Return the checksum of a command: over what it asks, of whom, and under which number."""
    key = f"{number}\0{saga_id}\0{kind}".encode(errors="surrogatepass")
    return crc32(body, crc32(key))


def answer_checksum(number: int, answer: bytes) -> int:
    """Return the checksum of an answer and of the command that it belongs to."""
    return crc32(answer, crc32(f"{number}".encode()))


def pending_of(rows: Iterable[Row]) -> Pending:
    """Return what ``PENDING_COMMANDS`` found."""
    sound: list[Command] = []
    damaged: list[int] = []
    for row in rows:
        command = sound_command(row)
        if command is None:
            damaged.append(row[0])
        else:
            sound.append(command)
    return Pending(tuple(sound), tuple(damaged))


def sound_command(row: Row) -> Command | None:
    """Return the command in a row, without an answer; None if it is damaged."""
    number, saga_id, kind, body, crc = row[:5]
    if type(body) is not bytes:
        return None
    try:
        texts = saga_id.decode(), kind.decode()
        if crc not in (NO_CHECKSUM, command_checksum(number, *texts, body)):
            return None
        asked = decode_object(body, what=f"Command {number}")
    except (AttributeError, UnicodeDecodeError, CorruptRecordError):
        return None
    return Command(number=number, saga_id=texts[0], kind=texts[1], body=asked)


def shown_command(row: Row) -> Command:
    """Return a command of ``SAGA_COMMANDS`` with its answer, or with what its damage comes to."""
    number, saga_id, kind, *_, answer, answer_crc = row
    command = sound_command(row)
    try:
        answered = answer_of(number, answer, answer_crc)
    except CorruptRecordError as error:
        answered = answer_with(error)
    if command is None:
        texts = [text.decode(errors="replace") for text in (saga_id, kind)]
        refusal = answered or damaged_answer(number)
        return Command(number=number, saga_id=texts[0], kind=texts[1], body={}, answer=refusal)
    return Command(
        number=number,
        saga_id=command.saga_id,
        kind=command.kind,
        body=command.body,
        answer=answered,
    )


def answer_of(number: int, answer: Any, crc: Any) -> Mapping[str, Any] | None:
    """Return the answer in a row; None if there is none yet.

    Raises:
        CorruptRecordError: It is damaged, so whether the command was carried out is not known.
    """
    if answer is None:
        return None
    what = f"The answer to command {number}"
    if type(answer) is not bytes or crc not in (NO_CHECKSUM, answer_checksum(number, answer)):
        raise CorruptRecordError(
            f"{what} is damaged: its checksum does not match. Whether the decision was carried out "
            "is told by the history of its saga; nothing was changed."
        )
    return decode_object(answer, what=what)
