"""Stores of former schemas, turned into ones of the present schema by their next writer.

Schema 1 had no checksums for heads, commands and answers. What a store of it says there is taken
as it is, for nothing vouches for it; ``fsm-saga doctor`` holds heads against journals.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apsw

from fsm_saga.stores.heads import head_checksum
from fsm_saga.stores.sqlite_commands import answer_checksum, command_checksum
from fsm_saga.stores.sqlite_heads import sound_head
from fsm_saga.stores.sqlite_schema import NO_CHECKSUM, SCHEMA_VERSION

_NEW_COLUMNS = """
ALTER TABLE heads ADD COLUMN crc INTEGER NOT NULL DEFAULT -1;
ALTER TABLE commands ADD COLUMN crc INTEGER NOT NULL DEFAULT -1;
ALTER TABLE commands ADD COLUMN answer_crc INTEGER;
"""
_ONE_HEAD = (
    "SELECT number, saga_id, state, outcome, position, created_at, updated_at, goal, is_final,"  # noqa: S608  # our own
    f" waits_for, '{NO_CHECKSUM}' FROM heads WHERE number = ?"
)
_ONE_COMMAND = "SELECT saga_id, kind, body, answer FROM commands WHERE number = ?"


def migrate(connection: apsw.Connection) -> None:
    """Turn the store into one of the present schema, inside the caller's transaction.

    A head or a command that cannot be read gets a checksum that fits nothing, so it is treated as
    the damaged one that it is.
    """
    if connection.pragma("user_version") >= SCHEMA_VERSION:
        return
    connection.execute(_NEW_COLUMNS)
    _protect_heads(connection)
    _protect_commands(connection)
    connection.pragma("user_version", SCHEMA_VERSION)


def _protect_heads(connection: apsw.Connection) -> None:
    for number, row in _rows(connection, "heads", _ONE_HEAD):
        head = sound_head(row)
        if head is not None:
            crc = head_checksum(head)
            connection.execute("UPDATE heads SET crc = ? WHERE number = ?", (crc, number))


def _protect_commands(connection: apsw.Connection) -> None:
    for number, (saga_id, kind, body, answer) in _rows(connection, "commands", _ONE_COMMAND):
        crc = command_checksum(number, saga_id, kind, body)
        answer_crc = None if answer is None else answer_checksum(number, answer)
        connection.execute(
            "UPDATE commands SET crc = ?, answer_crc = ? WHERE number = ?",
            (crc, answer_crc, number),
        )


def _rows(
    connection: apsw.Connection, table: str, statement: str
) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Yield each row of the table with its number, but for those in which a text is none."""
    numbers: list[Any] = connection.execute(f"SELECT number FROM {table}").fetchall()  # noqa: S608  # our own names
    for (number,) in numbers:
        try:
            rows: list[Any] = connection.execute(statement, (number,)).fetchall()
        except UnicodeDecodeError:
            continue
        yield number, rows[0]
