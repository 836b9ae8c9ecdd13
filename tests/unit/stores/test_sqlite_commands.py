"""Rows of commands: what their checksums cover, and what of a damaged one is shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apsw
import pytest

from fsm_saga.errors import CorruptRecordError
from fsm_saga.ports import Command
from fsm_saga.stores.damage import damaged_answer
from fsm_saga.stores.sqlite_commands import (
    ALL_COMMANDS,
    PENDING_COMMANDS,
    SET_ANSWER,
    answer_checksum,
    answer_of,
    command_checksum,
    insert_command,
    pending_of,
    shown_command,
    sound_command,
)
from fsm_saga.stores.sqlite_schema import NO_CHECKSUM, create_tables

BODY = b'{"by":"Ann"}'


@pytest.fixture
def connection() -> Iterator[apsw.Connection]:
    """Give an empty store in memory."""
    connection = apsw.Connection(":memory:")
    create_tables(connection)
    yield connection
    connection.close()


def row(**changes: Any) -> tuple[Any, ...]:
    """Return a row of ``ALL_COMMANDS``, sound but for what is changed."""
    sound = {
        "number": 3,
        "saga_id": b"trip-7",
        "kind": b"cancel",
        "body": BODY,
        "crc": command_checksum(3, "trip-7", "cancel", BODY),
        "answer": None,
        "answer_crc": None,
    }
    return tuple((sound | changes).values())


def test_the_checksum_covers_what_is_asked_of_whom_and_under_which_number() -> None:
    whole = command_checksum(3, "trip-7", "cancel", BODY)
    others = {
        command_checksum(4, "trip-7", "cancel", BODY),
        command_checksum(3, "trip-8", "cancel", BODY),
        command_checksum(3, "trip-7", "approve", BODY),
        command_checksum(3, "trip-7", "cancel", BODY + b" "),
        command_checksum(3, "trip-", "7cancel", BODY),
    }
    assert len(others | {whole}) == 6
    assert whole == 0x6BA6B6A4, "it stands in stores"
    assert command_checksum(3, "\ud800", "cancel", BODY) != whole, "any text has one"


def test_the_checksum_of_an_answer_covers_whose_it_is() -> None:
    assert answer_checksum(3, b"{}") == 0x3B132F67, "it stands in stores"
    assert (
        len({answer_checksum(3, b"{}"), answer_checksum(4, b"{}"), answer_checksum(3, b"[]")}) == 3
    )


def test_what_is_left_is_found_once_with_all_that_it_says(connection: apsw.Connection) -> None:
    for number, kind in ((1, "cancel"), (2, "approve")):
        command = Command(saga_id=f"trip-{number}", kind=kind, body={"by": "Ann"})
        assert insert_command(connection, command, BODY) == number
    asked = pending_of(connection.execute(PENDING_COMMANDS))
    assert asked.damaged == ()
    assert asked.sound == (
        Command(number=1, saga_id="trip-1", kind="cancel", body={"by": "Ann"}),
        Command(number=2, saga_id="trip-2", kind="approve", body={"by": "Ann"}),
    )
    connection.execute("UPDATE commands SET kind = 'amend' WHERE number = 1")
    connection.execute(SET_ANSWER, (b"{}", answer_checksum(2, b"{}"), 2))
    left = pending_of(connection.execute(PENDING_COMMANDS))
    assert (left.sound, left.damaged) == ((), (1,))
    shown = [shown_command(each) for each in connection.execute(ALL_COMMANDS)]
    assert [each.number for each in shown] == [1, 2]
    assert shown[1].answer == {}


@pytest.mark.parametrize(
    "damage",
    [
        {"number": 4},
        {"saga_id": b"trip-8"},
        {"saga_id": b"\xff"},
        {"saga_id": None},
        {"kind": b"approve"},
        {"kind": b"\xff"},
        {"kind": 7},
        {"body": b'{"by":"Eve"}'},
        {"body": '{"by":"Ann"}'},
        {"crc": 7},
        {"crc": None},
        {"body": b"[]", "crc": command_checksum(3, "trip-7", "cancel", b"[]")},
        {"body": b"{", "crc": NO_CHECKSUM},
    ],
)
def test_a_damaged_command_is_none(damage: dict[str, Any]) -> None:
    assert sound_command(row()) is not None
    assert sound_command(row(**damage)) is None


def test_a_command_of_the_former_schema_has_no_checksum() -> None:
    expected = Command(number=3, saga_id="trip-7", kind="cancel", body={"by": "Ann"})
    assert sound_command(row(crc=NO_CHECKSUM)) == expected
    assert answer_of(3, b'{"ok":true}', NO_CHECKSUM) == {"ok": True}


def test_a_damaged_command_is_shown_with_what_can_be_read_and_why_it_was_refused() -> None:
    shown = shown_command(row(saga_id=b"trip-\xff", kind=b"can\xffcel"))
    assert (shown.number, shown.saga_id, shown.kind) == (3, "trip-\ufffd", "can\ufffdcel")
    assert shown.body == {}
    assert shown.answer == damaged_answer(3)
    answer = b'{"ok":false,"code":"x"}'
    told = shown_command(row(crc=7, answer=answer, answer_crc=answer_checksum(3, answer)))
    assert told.answer == {"ok": False, "code": "x"}


def test_an_answer_is_believed_only_with_its_checksum() -> None:
    assert answer_of(3, None, None) is None
    assert answer_of(3, BODY, answer_checksum(3, BODY)) == {"by": "Ann"}
    for answer, crc in ((BODY, answer_checksum(4, BODY)), (BODY, None), ("{}", NO_CHECKSUM)):
        with pytest.raises(CorruptRecordError, match=r"^The answer to command 3 is damaged"):
            answer_of(3, answer, crc)
    with pytest.raises(CorruptRecordError, match=r"^The answer to command 3 cannot be read"):
        answer_of(3, b"[]", answer_checksum(3, b"[]"))
