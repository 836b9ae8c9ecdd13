"""An append as rows."""

from __future__ import annotations

import pytest

from fsm_saga.stores.heads import head_checksum
from fsm_saga.stores.sqlite_rows import AppendRow
from tests.conformance.samples import append_of, started


@pytest.mark.parametrize(("position", "state"), [(0, "PENDING"), (0, "DONE"), (3, "EXECUTING(2)")])
def test_a_row_holds_the_head_then_whose_it_is(position: int, state: str) -> None:
    append = append_of("trip-7", position, started(0), started(1), state=state)
    row = AppendRow(append)
    assert row.head[:3] == (state, append.head.outcome, position + 2)
    assert row.head[7] == head_checksum(append.head)
    assert row.head[8:] == ("trip-7", append.head.is_final if position == 0 else position)
    assert row.entry[:2] == (position, 2)
    assert row.entry[4] == "trip-7"
    assert row.size == len(row.entry[2])
    assert row.is_new == (position == 0)
