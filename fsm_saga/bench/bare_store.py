"""What the disk and SQLite give without us: the same appends, written without an engine.

The statements, the sizes and the grouping are those of the engine's own appends; asyncio, the
decisions and the encoding are left out. Nothing that keeps the promises of the store can be
faster on this disk.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from fsm_saga.bench.measuring import emptied
from fsm_saga.bench.workloads import Moment, appends_of
from fsm_saga.stores.sqlite_rows import AppendRow
from fsm_saga.stores.sqlite_writer import JournalWriter


def bare_saga_ms(place: Path, moments: list[Moment], *, sagas: int) -> float:
    """Return the median time of one saga's appends, each with a commit of its own."""
    taken: list[float] = []
    with emptied(place) as own, _open_writer(own / "alone.db") as writer:
        for number in range(sagas):
            rows = _rows(moments, f"alone-{number}")
            started = time.perf_counter()
            for row in rows:
                _commit(writer, [row])
            taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1e3


def bare_appends_per_s(place: Path, moments: list[Moment], *, group: int, rounds: int) -> float:
    """Return the appends per second when ``group`` sagas go side by side and share commits."""
    spent, written = 0.0, 0
    with emptied(place) as own, _open_writer(own / "grouped.db") as writer:
        for generation in range(rounds):
            # Rows are made before the clock starts: only the store is measured.
            sagas = [_rows(moments, f"grouped-{generation}-{n}") for n in range(group)]
            started = time.perf_counter()
            for position in range(len(moments)):
                _commit(writer, [rows[position] for rows in sagas])
            spent += time.perf_counter() - started
            written += group * len(moments)
    return written / spent


def write_finished(path: Path, moments: list[Moment], *, sagas: int, seconds_max: float) -> int:
    """Make a store with so many finished sagas; return how many it came to in the time given."""
    stop_at = time.monotonic() + seconds_max
    batch, made = 500, 0
    with _open_writer(path) as writer:
        while made < sagas and time.monotonic() < stop_at:
            numbers = range(made, min(made + batch, sagas))
            series = [_rows(moments, f"finished-{number}") for number in numbers]
            _commit(writer, [row for rows in series for row in rows])
            made += len(numbers)
    return made


def _rows(moments: list[Moment], saga_id: str) -> list[AppendRow]:
    return [AppendRow(append) for append in appends_of(moments, saga_id)]


def _commit(writer: JournalWriter, rows: list[AppendRow]) -> None:
    writer.prepare(rows, wait=True)
    writer.commit()
    if writer.needs_checkpoint:
        writer.checkpoint()


@contextlib.contextmanager
def _open_writer(path: Path) -> Iterator[JournalWriter]:
    writer = JournalWriter(str(path))
    writer.open()
    try:
        yield writer
    finally:
        writer.close()
