"""What is seen of sagas while they run: a live picture on a terminal, lines in a pipe.

Whoever drives a saga must never wait for whoever watches it: a stopped terminal or a full pipe
would make the calls' timers run out. So everything is written by a thread of its own.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Protocol

from rich.console import Group
from rich.live import Live
from rich.text import Text

from fsm_saga.cli.output import QuietConsole, line_of, print_line
from fsm_saga.cli.record_text import SagaRecord
from fsm_saga.cli.saga_text import headline, status_parts, step_columns, step_label
from fsm_saga.cli.words import counted, duration_text, time_text
from fsm_saga.core.records import Record
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import StepStatus
from fsm_saga.drawing.plain import plain_text
from fsm_saga.service.view import view_of

REFRESHES_PER_S = 8
# Lines of the live picture that are not steps: two of heading, two below.
OTHER_LINES = 4
_QUIET = frozenset(
    {StepStatus.WAITING, StepStatus.SUCCEEDED, StepStatus.SKIPPED, StepStatus.COMPENSATED}
)


class Progress(Protocol):
    """Shows what becomes of sagas. ``show`` never waits and never fails."""

    def show(self, saga: Saga, records: Sequence[Record]) -> None:
        """Show a saga after these records, the last of its journal; without any, as it stands."""


class Silence:
    """Shows nothing."""

    def show(self, saga: Saga, records: Sequence[Record]) -> None:
        """Do nothing."""


class Lines:
    """Prints one line for each durable change."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[Saga, tuple[Record, ...]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._print, daemon=True, name="progress")
        self._thread.start()

    def show(self, saga: Saga, records: Sequence[Record]) -> None:
        """Queue a line for each record, or one for where the saga stands."""
        self._queue.put((saga, tuple(records)))

    def close(self) -> None:
        """Return when everything is printed."""
        self._queue.put(None)
        self._thread.join()

    def _print(self) -> None:
        while (change := self._queue.get()) is not None:
            saga, records = change
            if not records:
                when = time_text(saga.updated_at, has_milliseconds=True)
                print_line((when, "dim"), "  ", *headline(view_of(saga)))
            first = saga.position - len(records)
            for position, record in enumerate(records, start=first):
                print_record(saga.saga_id, SagaRecord(position, record, saga.program))


def print_record(saga_id: str, record: SagaRecord) -> None:
    """Print one record of a saga as a line."""
    when = time_text(record.record.at, has_milliseconds=True)
    print_line((when, "dim"), "  ", (plain_text(saga_id), "bold"), "  ", record.text)


class Picture:
    """Holds the latest state of each saga and draws it whenever the terminal is refreshed."""

    def __init__(self, console: QuietConsole) -> None:
        self._console = console
        self._sagas: dict[str, Saga] = {}
        self._ended: dict[tuple[str, int], float] = {}

    def show(self, saga: Saga, records: Sequence[Record]) -> None:
        """Take the saga's new state; the next refresh shows it."""
        del records
        for index, step in enumerate(saga.steps):
            key = (saga.saga_id, index)
            if _is_moving(step.status):
                self._ended.pop(key, None)
            elif step.started_at:
                self._ended.setdefault(key, saga.updated_at)
        # A dictionary that is replaced, not changed, may be read by the drawing thread meanwhile.
        self._sagas = {**self._sagas, saga.saga_id: saga}

    def draw(self) -> Group:
        """Return the picture as it is now."""
        sagas = list(self._sagas.values())
        if len(sagas) == 1:
            return Group(*self._saga_lines(sagas[0]))
        return Group(*self._overview(sagas))

    def _saga_lines(self, saga: Saga) -> Iterator[Text]:
        view = view_of(saga)
        elapsed = duration_text(self._now(saga) - saga.created_at)
        yield line_of(*headline(view), ("  " + elapsed, "dim"))
        room = max(self._console.size.height - OTHER_LINES, 3)
        shown = _most_interesting(saga, room)
        columns = step_columns(saga)
        for index in shown:
            yield self._step_line(saga, index, columns)
        if len(shown) < len(saga.steps):
            hidden = [s.status for i, s in enumerate(saga.steps) if i not in set(shown)]
            yield line_of(("  and " + _census(hidden), "dim"))

    def _step_line(self, saga: Saga, index: int, columns: tuple[int, int]) -> Text:
        spec, step = saga.program.steps[index], saga.steps[index]
        until = self._ended.get((saga.saga_id, index), self._now(saga))
        elapsed = duration_text(until - step.started_at) if step.started_at else ""
        attempts = step.attempts
        if step.undo is not None and step.status is StepStatus.COMPENSATING:
            attempts = step.undo.attempts
        again = f"attempt {attempts}" if attempts > 1 else ""
        about = step_label(spec.step_id, spec.name, columns)
        timing = (f"{elapsed:>7}  {again}", "dim")
        return line_of("  ", *status_parts(step.status), f"  {about}  ", timing)

    def _overview(self, sagas: list[Saga]) -> Iterator[Text]:
        sagas.sort(key=lambda saga: (saga.state.is_final, -saga.updated_at))
        room = max(self._console.size.height - OTHER_LINES, 3)
        for saga in sagas[:room]:
            yield line_of("  ", *headline(view_of(saga)))
        if len(sagas) > room:
            yield line_of((f"  and {counted(len(sagas) - room, 'more saga')}", "dim"))
        if not sagas:
            yield line_of(("  no saga is under way", "dim"))

    @staticmethod
    def _now(saga: Saga) -> float:
        return saga.updated_at if saga.state.is_final else time.time()


def _is_moving(status: StepStatus) -> bool:
    return status in (StepStatus.RUNNING, StepStatus.COMPENSATING)


def _most_interesting(saga: Saga, room: int) -> list[int]:
    """Return the steps to show where not all fit: those that move or ask, then their neighbours."""
    count = len(saga.steps)
    if count <= room:
        return list(range(count))
    lively = [index for index, step in enumerate(saga.steps) if step.status not in _QUIET]
    chosen = set(lively[:room])
    around = lively[0] if lively else count - 1
    for index in sorted(range(count), key=lambda i: abs(i - around)):
        if len(chosen) >= room:
            break
        chosen.add(index)
    return sorted(chosen)


def _census(statuses: Sequence[StepStatus]) -> str:
    return ", ".join(f"{count} {status}" for status, count in Counter(statuses).items())


@contextmanager
def open_progress(*, as_json: bool) -> Iterator[Progress]:
    """Give what shows the progress of sagas until the end of the block.

    A live picture on a terminal, lines in a pipe; with ``as_json`` a picture on stderr if that
    is a terminal, else nothing.
    """
    stream = sys.stderr if as_json else sys.stdout
    console = QuietConsole(file=stream, highlight=False, markup=False, emoji=False)
    if stream.isatty() and not console.is_dumb_terminal:
        picture = Picture(console)
        with Live(
            console=console,
            get_renderable=picture.draw,
            refresh_per_second=REFRESHES_PER_S,
            transient=True,
            vertical_overflow="crop",
        ):
            yield picture
    elif as_json:
        yield Silence()
    else:
        lines = Lines()
        try:
            yield lines
        finally:
            lines.close()
