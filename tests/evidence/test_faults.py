"""Each fault that we set out to survive says what tries it, and what is not tried."""

from __future__ import annotations

import pytest

from tests.evidence.faults import NO, Fault, exists
from tests.evidence.faults_anywhere import SIMULATED
from tests.evidence.faults_page import PAGE, render_faults
from tests.evidence.faults_real import REAL

ROWS = [*SIMULATED, *REAL]


def test_the_lists_are_whole() -> None:
    assert [row.number for row in SIMULATED] == list(range(1, 26))
    assert [row.number for row in REAL] == list(range(1, 31))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_whatever_tries_a_fault_exists_and_what_nothing_tries_is_said(row: Fault) -> None:
    assert [holder for holder in row.holders if not exists(holder)] == []
    assert row.holders or row.missing
    assert (row.verdict == NO) is (not row.holders)


def test_what_is_not_there_is_missed() -> None:
    assert not exists("simulation:earthquake")
    assert not exists("sometimes:never")
    assert not exists("chaos:play")
    assert not exists("tests/nowhere.py::test_x")
    assert not exists("tests/evidence/test_faults.py::test_that_nobody_wrote")
    assert exists("tests/evidence/test_faults.py::test_the_lists_are_whole")


def test_the_page_is_what_the_rows_say() -> None:
    found = PAGE.read_text(encoding="utf-8")
    assert found == render_faults(), "run `python -m tests.evidence --render`"
