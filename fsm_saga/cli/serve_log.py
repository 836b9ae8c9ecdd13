"""The log of a process that serves: lines for people, or one JSON object in each.

Lines are written by a thread of their own: a full pipe must not stop the loop that renews the
lease. What comes faster than it can be written is dropped and counted.
"""

from __future__ import annotations

import json
import logging
import queue
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from fsm_saga.cli.failures import is_debugging
from fsm_saga.drawing.plain import plain_text

LINES_MAX = 10_000
WRITE_S = 2.0
"""How long the last lines may take to be written when the process ends."""
_FIELDS = ("event", "member", "shard", "epoch", "saga_id", "position")


class JsonLines(logging.Formatter):
    """Makes one JSON object of each record, in one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        said: dict[str, Any] = {
            "at": _instant(record).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        said |= {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        if record.exc_info and record.exc_info[1] is not None:
            said["exception"] = "".join(traceback.format_exception(record.exc_info[1]))
        return json.dumps(said, default=str)


class PlainLines(logging.Formatter):
    """Makes a line of each record that steers no terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with a stack trace below it only while debugging."""
        when = _instant(record).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        grave = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        error = record.exc_info[1] if record.exc_info else None
        why = "" if error is None else f": {error!r}"
        line = f"{when}  {grave}{plain_text(record.getMessage() + why)}"
        if error is not None and is_debugging():
            line += "\n" + "".join(traceback.format_exception(error)).rstrip()
        return line


def _instant(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


class _Writer(logging.Handler):
    """Leaves lines for a thread that writes them to stderr."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._lines: queue.Queue[str | None] = queue.Queue(LINES_MAX)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write, daemon=True, name="log")
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._dropped += 1

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            print(line, file=sys.stderr)
            if self._lines.empty():
                self._tell_dropped()
        self._tell_dropped()

    def _tell_dropped(self) -> None:
        if count := self._dropped:
            self._dropped -= count
            said = {"levelno": logging.WARNING, "levelname": "WARNING", "name": "fsm_saga.cluster"}
            said["msg"] = f"{count} lines of the log were dropped"
            print(self.format(logging.makeLogRecord(said)), file=sys.stderr)

    def finish(self) -> None:
        try:
            self._lines.put(None, timeout=WRITE_S)
        except queue.Full:
            return
        self._thread.join(WRITE_S)


@contextmanager
def log_to_stderr(*, as_json: bool, is_verbose: bool) -> Iterator[None]:
    """Log to stderr until the end of the block.

    Args:
        as_json: One JSON object in each line.
        is_verbose: Tell every change of a saga too.
    """
    root, ours = logging.getLogger(), logging.getLogger("fsm_saga")
    cluster, before = logging.getLogger("fsm_saga.cluster"), list(root.handlers)
    levels = [(logger, logger.level) for logger in (ours, cluster)]
    writer = _Writer(JsonLines() if as_json else PlainLines())
    root.handlers[:] = [writer]
    ours.setLevel(
        logging.DEBUG if is_debugging() else logging.INFO if is_verbose else logging.WARNING
    )
    cluster.setLevel(min(logging.INFO, ours.level))
    try:
        yield
    finally:
        root.handlers[:] = before
        for logger, level in levels:
            logger.setLevel(level)
        writer.finish()
