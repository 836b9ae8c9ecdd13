"""What the disk and SQLite give without us: the yardstick for ``fsm-saga bench``."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from fsm_saga.core.records import SagaMoved
from fsm_saga.ports import Append, Head
from fsm_saga.stores.sqlite_rows import AppendRow
from fsm_saga.stores.sqlite_writer import JournalWriter

# A saga of a plan with three steps makes so many appends.
APPENDS_PER_SAGA = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RawLimit:
    """The store's own limit on this disk.

    Attributes:
        commits_per_s: Durable commits of one append each, one after the other.
        grouped_appends_per_s: Appends when ``group_size`` of them share a commit.
        body_bytes: The size of each append.
    """

    commits_per_s: float
    grouped_appends_per_s: float
    group_size: int
    body_bytes: int


def measure_raw_commits(
    directory: Path, *, seconds: float = 1.0, group_size: int = 128, body_bytes: int = 450
) -> RawLimit:
    """Return what the store's own statements reach in ``directory``, without asyncio or engine.

    Takes about twice ``seconds``; the file that it writes is removed again. Give the directory of
    the store in question: another one may lie on another disk.

    Raises:
        StoreError: Nothing can be written there.
    """
    with tempfile.TemporaryDirectory(dir=directory, prefix="fsm-saga-raw-") as place:
        single = _appends_per_s(f"{place}/single.db", 1, seconds=seconds, body_bytes=body_bytes)
        grouped = _appends_per_s(
            f"{place}/grouped.db", group_size, seconds=seconds, body_bytes=body_bytes
        )
    return RawLimit(
        commits_per_s=single,
        grouped_appends_per_s=grouped,
        group_size=group_size,
        body_bytes=body_bytes,
    )


def _appends_per_s(path: str, group_size: int, *, seconds: float, body_bytes: int) -> float:
    """Return the appends per second with ``group_size`` sagas side by side."""
    writer = JournalWriter(path)
    writer.open()
    try:
        written, spent, generation = 0, 0.0, 0
        while spent < seconds:
            # Rows are made before the clock starts: only the store is measured.
            rounds = _rounds(generation, group_size, body_bytes)
            started = time.perf_counter()
            for rows in rounds:
                writer.prepare(rows, wait=True)
                writer.commit()
                if writer.needs_checkpoint:
                    writer.checkpoint()
            spent += time.perf_counter() - started
            written += APPENDS_PER_SAGA * group_size
            generation += 1
        return written / spent
    finally:
        writer.close()


def _rounds(generation: int, group_size: int, body_bytes: int) -> list[list[AppendRow]]:
    """Return the appends of ``group_size`` new sagas, one append of each saga per round."""
    names = [f"raw-{generation}-{index}" for index in range(group_size)]
    return [
        [_row(name, position, body_bytes) for name in names] for position in range(APPENDS_PER_SAGA)
    ]


def _row(saga_id: str, position: int, body_bytes: int) -> AppendRow:
    record = SagaMoved(at=0.0, event="step_succeeded", state="EXECUTING(1)", cause="x" * body_bytes)
    head = Head(
        saga_id=saga_id,
        state="EXECUTING(1)",
        outcome=None,
        position=position + 1,
        created_at=0.0,
        updated_at=0.0,
        is_final=position == APPENDS_PER_SAGA - 1,
    )
    return AppendRow(Append(saga_id=saga_id, position=position, records=(record,), head=head))
