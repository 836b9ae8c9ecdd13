"""Whether all that a SQLite store holds is whole: asked by ``fsm-saga doctor``, changes nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

from fsm_saga.errors import CorruptRecordError, StoreVersionError
from fsm_saga.ports import Head
from fsm_saga.stores.heads import head_from_journal
from fsm_saga.stores.sqlite_commands import ALL_COMMANDS, answer_of, sound_command
from fsm_saga.stores.sqlite_heads import SAGA_OF_NUMBER, StoredSaga, stored_saga
from fsm_saga.stores.sqlite_reader import JournalReader

FILE_BYTES_MAX = 256 * 2**20
"""A larger file is not looked at as a whole where time is bounded."""
FILE_PROBLEMS_MAX = 20

_NUMBERS = "SELECT number FROM heads WHERE number < ? ORDER BY number DESC LIMIT 1000"
_NUMBER_MAX = 2**63 - 1
_STRAY_ENTRIES = (
    "SELECT saga, count(*) FROM entries WHERE saga NOT IN (SELECT number FROM heads)"
    " GROUP BY saga LIMIT 20"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """One thing that is not whole.

    ``is_harmless``: it is made good whenever it is read, so nothing is lost by it.
    """

    what: str
    message: str
    is_harmless: bool = False


@dataclass(slots=True, kw_only=True)
class Contents:
    """What was looked at, and what was found.

    Attributes:
        sagas: How many sagas were looked at.
        records: How many records their journals have.
        commands: How many commands were looked at.
        damages: What is not whole.
        left_out: In words, what was not looked at; empty if that is nothing.
    """

    sagas: int = 0
    records: int = 0
    commands: int = 0
    damages: list[Damage] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def check_contents(path: str, *, seconds_max: float | None) -> Contents:
    """Return what all that the store at ``path`` holds comes to, the newest sagas first.

    Each saga is read in one moment of the store, so a writer may be at work meanwhile.

    Args:
        path: The file.
        seconds_max: After so long the rest is left out; None looks at everything.

    Raises:
        StoreError: The store cannot be read at all.
    """
    contents = Contents()
    stop_at = None if seconds_max is None else time.monotonic() + seconds_max
    with closing(JournalReader(path)) as reader:
        reader.open()
        try:
            _check_commands(reader, contents)
            _check_sagas(reader, contents, stop_at)
            if stop_at is None or os.path.getsize(path) <= FILE_BYTES_MAX:
                _check_file(reader, contents)
            else:
                contents.left_out.append("the file as a whole")
        except CorruptRecordError as error:  # pages that cannot be read: more cannot be told
            contents.damages.append(Damage(what="the file", message=error.message))
            contents.left_out.append("what lies behind the damage")
    return contents


def _check_sagas(reader: JournalReader, contents: Contents, stop_at: float | None) -> None:
    for number in _numbers(reader):
        if stop_at is not None and time.monotonic() > stop_at:
            contents.left_out.append(f"the sagas before the {number + 1}.")
            return
        rows = reader.rows(SAGA_OF_NUMBER, number)
        if rows:  # else it was removed meanwhile
            _check_saga(stored_saga(rows), contents)


def _numbers(reader: JournalReader) -> Iterator[int]:
    below = _NUMBER_MAX
    while page := reader.rows(_NUMBERS, below):
        for (number,) in page:
            yield number
        below = page[-1][0]


def _check_saga(saga: StoredSaga, contents: Contents) -> None:
    contents.sagas += 1
    try:
        journal = saga.journal()
        contents.records += len(journal)
        told = saga.true_head()
        made = head_from_journal(told.saga_id, journal)
    except (CorruptRecordError, StoreVersionError) as error:
        contents.damages.append(Damage(what=f"saga {saga.name!r}", message=error.message))
        return
    what = f"saga {made.saga_id!r}"
    if saga.head is None:
        message = f"The head of {what} is damaged; it is shown as its journal says."
        contents.damages.append(Damage(what=what, message=message, is_harmless=True))
    elif told != made:
        message = f"The head of {what} is not what its journal says: {_difference(told, made)}."
        contents.damages.append(Damage(what=what, message=message))


def _difference(told: Head, made: Head) -> str:
    return ", ".join(
        f"{name} {getattr(told, name)!r} instead of {getattr(made, name)!r}"
        for name in Head.__struct_fields__
        if getattr(told, name) != getattr(made, name)
    )


def _check_commands(reader: JournalReader, contents: Contents) -> None:
    for row in reader.rows(ALL_COMMANDS):
        contents.commands += 1
        number, *_, answer, answer_crc = row
        what = f"command {number}"
        # Once it is answered, nobody carries it out any more.
        if answer is None and sound_command(row) is None:
            message = f"{what.capitalize()} is damaged; its writer will refuse it. Decide again."
            contents.damages.append(Damage(what=what, message=message))
        try:
            answer_of(number, answer, answer_crc)
        except CorruptRecordError as error:
            contents.damages.append(Damage(what=what, message=error.message))


def _check_file(reader: JournalReader, contents: Contents) -> None:
    """See what no checksum of a row can show: the pages, the indexes, and entries of no saga."""
    for (problem,) in reader.rows(f"PRAGMA integrity_check({FILE_PROBLEMS_MAX})"):
        if problem != "ok":
            contents.damages.append(Damage(what="the file", message=f"SQLite says: {problem}."))
    for number, count in reader.rows(_STRAY_ENTRIES):
        message = f"{count} appends belong to the {number}. saga, which is not there."
        contents.damages.append(Damage(what="the file", message=message))
