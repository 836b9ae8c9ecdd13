"""The late action after its undo: every safe row stays safe, every unsafe one unsafe.

The searches run the real ``decide``; ``docs/truth-table.md`` is made of what they come to.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fsm_saga.core.states import DoubtExit
from tests.truthtable.__main__ import main
from tests.truthtable.page import PAGE, document, render_page, verdicts
from tests.truthtable.rows import BY_NAME, HONEST, ROWS, Row

SAFE = {"E", "J", "M", "O", "Q", "U"}
STATES_MIN = 2_500

# What each safe row has to have seen: a search that never came there proves nothing about it.
SEEN_BY_ALL = {
    "another coordinator takes over",
    "a coordinator that was replaced sends",
    "a repeat is answered as before",
    "a copy arrives after the end",
}
SEEN = {
    "E": {"an undo leaves a tombstone", "a late copy meets a tombstone"},
    "J": set[str](),
    "M": {"an undo leaves a tombstone", "a late copy meets a tombstone"},
    "O": {"a check leaves a tombstone", "a late copy meets a tombstone"},
    "Q": {"an undo comes before its action", "a late copy meets a deadline"},
    "U": {"an undo leaves a tombstone", "a late copy meets a tombstone"},
}
ENDS = {"DONE committed", "FAILED compensated", "NEEDS_HUMAN unknown"}

# The habits that a safe row rests on, each of which is dropped alone.
NEEDED = [
    ("E", "dedupes"),
    ("E", "fences_undo"),
    ("J", "dedupes"),
    ("J", "keeps_refusals"),
    ("M", "fences_undo"),
    ("M", "dedupes"),
    ("O", "check_fences"),
    ("O", "dedupes"),
    ("Q", "has_deadline"),
    ("Q", "dedupes"),
    ("U", "dedupes"),
    ("U", "fences_undo"),
]
EXITS = {
    "E": DoubtExit.COMPENSATE_NOW,
    "J": DoubtExit.RESEND,
    "M": DoubtExit.COMPENSATE_NOW,
    "O": DoubtExit.CHECK,
    "Q": DoubtExit.WAIT_DEADLINE,
    "U": DoubtExit.COMPENSATE_NOW,
}


def test_the_rows_are_those_of_the_table_and_the_safe_ones_are_the_six_that_it_lists() -> None:
    assert [row.name for row in ROWS] == [*"ABCDEFGHIJKLM", "M2", *"NOQRU"]
    assert {row.name for row in ROWS if row.is_safe} == SAFE


@pytest.mark.parametrize("at", range(len(ROWS)), ids=lambda at: ROWS[at].name)
def test_a_row_is_as_safe_as_it_is_listed(at: int) -> None:
    row, verdict = verdicts()[0][at]
    assert verdict.is_safe is row.is_safe, verdict.trace
    if row.is_safe:
        assert verdict.states >= STATES_MIN
        return
    listed = row.events_listed
    assert listed is not None
    # Another length than the listed one has its reason in the table, and the other way round.
    assert (verdict.events == listed) is (not row.why), (verdict.events, verdict.trace)
    assert verdict.events <= listed


@pytest.mark.parametrize("name", sorted(SAFE))
def test_a_safe_row_has_seen_what_makes_it_dangerous(name: str) -> None:
    verdict = next(verdict for row, verdict in verdicts()[0] if row.name == name)
    assert {what for what, count in verdict.sometimes.items() if count} >= SEEN_BY_ALL | SEEN[name]
    assert set(verdict.ends) >= ENDS


@pytest.mark.parametrize("name", sorted(SAFE))
def test_a_safe_row_runs_the_engine_as_it_is(name: str) -> None:
    row = BY_NAME[name]
    assert not row.wrong_rule
    assert row.forced_exit is None
    assert row.decide is Row.__dataclass_fields__["decide"].default
    assert row.program().steps[0].exit is EXITS[name]


@pytest.mark.parametrize(("name", "habit"), NEEDED)
def test_every_habit_that_a_safe_row_rests_on_is_needed(name: str, habit: str) -> None:
    row = BY_NAME[name]
    spoilt = replace(row, habits=replace(row.habits, **{habit: False}))
    assert not spoilt.search().is_safe


@pytest.mark.parametrize("at", range(len(HONEST)))
def test_a_tool_that_is_told_of_truthfully_is_as_safe_as_it_can_be(at: int) -> None:
    row, verdict = verdicts()[1][at]
    assert not row.wrong_rule
    assert verdict.is_safe is row.is_safe, verdict.trace
    # Whatever stays unsafe is unsafe by a copy that the network made, and by nothing else.
    assert verdict.is_safe or replace(row, has_copies=False).search().is_safe


def test_the_page_is_what_the_searches_come_to() -> None:
    assert PAGE.read_text(encoding="utf-8") == render_page(), (
        "docs/truth-table.md is stale: python -m tests.truthtable"
    )


def test_the_document_has_the_numbers_of_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    before = PAGE.read_bytes()
    assert main(["--json"]) == 0
    assert PAGE.read_bytes() == before
    assert json.loads(capsys.readouterr().out) == document()
    found = document()
    assert {row["row"] for row in found["listed"] if row["verdict"] == "safe"} == SAFE
    assert found["rows"] == found["safe"] + found["unsafe"] == len(ROWS) + len(HONEST)
    assert not found["not_as_listed"]
