"""Values in Redis: what is written comes back, and anything else is damage."""

from __future__ import annotations

import pytest

from fsm_saga.core.records import SagaMoved, SagaSubmitted
from fsm_saga.errors import CorruptRecordError, StoreVersionError
from fsm_saga.ports import Append, Command, Head
from fsm_saga.stores.redis_layout import (
    AppendValue,
    Layout,
    answer_of,
    answer_value,
    check_format,
    command_of,
    command_value,
    head_by_journal,
    head_of,
    journal_of,
    sealed,
)

FIRST = SagaSubmitted(at=1.0, saga_id="trip-7", plan_hash="ab", plan={"goal": "x"}, tools={})
MOVED = SagaMoved(at=2.0, event="step_succeeded", state="EXECUTING(1)", cause="")
HEAD = Head(
    saga_id="trip-7",
    state="EXECUTING(1)",
    outcome=None,
    position=2,
    created_at=1.0,
    updated_at=2.0,
    goal="x",
)
COMMAND = Command(saga_id="trip-7", kind="cancel", body={"by": "安娜"})


@pytest.fixture
def value() -> AppendValue:
    return AppendValue(Append(saga_id="trip-7", position=0, records=(FIRST, MOVED), head=HEAD))


def test_keys_lie_below_the_prefix() -> None:
    layout = Layout("a:")
    assert layout.journal("trip:7") == b"a:journal:trip:7"
    assert (layout.meta, layout.pending(3)) == (b"a:meta", b"a:pending:3")


def test_an_append_comes_back_as_records_and_head(value: AppendValue) -> None:
    assert value.entry.startswith(b"0:2:")
    assert value.size == len(value.entry) + len(value.head)
    assert journal_of("trip-7", [value.entry], end=2) == (FIRST, MOVED)
    assert head_of("trip-7", value.head) == HEAD
    assert head_by_journal("trip-7", [value.entry]) == HEAD


def test_an_entry_that_is_elsewhere_or_is_changed_is_damage(value: AppendValue) -> None:
    entry = value.entry
    wrong = [
        ("trip-8", [entry], 2),
        ("trip-7", [entry, entry], 4),
        ("trip-7", [entry], 3),
        ("trip-7", [entry.replace(b"0:2:", b"0:1:", 1)], None),
        ("trip-7", [entry[:-1]], None),
        ("trip-7", [entry[4:]], None),
        ("trip-7", [b""], None),
    ]
    for saga_id, entries, end in wrong:
        with pytest.raises(CorruptRecordError):
            journal_of(saga_id, entries, end=end)


def test_a_head_that_is_not_what_was_written_is_none(value: AppendValue) -> None:
    assert head_of("trip-8", value.head) is None
    assert head_of("trip-7", value.head[:-1]) is None
    assert head_of("trip-7", b"") is None
    assert head_of("trip-7", None) is None
    assert head_of("trip-7", sealed("head trip-7", b"[]")) is None


def test_a_command_and_its_answer_come_back_under_their_number_alone() -> None:
    kept = command_value(7, COMMAND)
    found = command_of(7, kept)
    assert (found.number, found.saga_id, found.body) == (7, "trip-7", {"by": "安娜"})
    for number, broken in ((8, kept), (7, kept[:-2]), (7, sealed("command 7", b"{}"))):
        with pytest.raises(CorruptRecordError, match=f"Command {number}"):
            command_of(number, broken)
    answer = answer_value(7, {"ok": True})
    assert answer_of(7, answer) == {"ok": True}
    with pytest.raises(CorruptRecordError, match="The answer to command 8"):
        answer_of(8, answer)


def test_the_format_tells_whether_the_store_can_be_read() -> None:
    assert check_format("redis://x", {b"format": b"1", b"shards": b"8"}) == 8
    with pytest.raises(StoreVersionError, match="format 2"):
        check_format("redis://x", {b"format": b"2", b"shards": b"8"})
    for damaged in ({b"format": b"1"}, {b"format": b"one", b"shards": b"8"}):
        with pytest.raises(CorruptRecordError):
            check_format("redis://x", damaged)
