"""Standard streams that never fail: who works is not stopped by who no longer listens.

A full disk, a reader that went away or a stream that was closed before the start must not reach
a tool that prints, nor the thread that shows the progress: the saga goes on to its end, and what
was lost is told once, afterwards, by a line on stderr and the exit code.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast


class _State:
    """What became of the output of this process."""

    was_lost = False


class SafeStream:
    """A text stream whose writes do not fail. Everything else is the stream's own."""

    def __init__(self, stream: TextIO, *, is_output: bool) -> None:
        """Write to ``stream``; what gets lost counts if it ``is_output``."""
        self._stream = stream
        self._is_output = is_output

    def write(self, said: str) -> int:
        """Write what was said, or lose it."""
        try:
            self._stream.write(said)
        except (OSError, ValueError) as error:  # ValueError: somebody closed it
            self._lose(error)
        return len(said)

    def writelines(self, lines: Any) -> None:
        """Write all lines."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write out what was kept back, or lose it."""
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:  # ValueError: somebody closed it
            self._lose(error)

    def _lose(self, error: Exception) -> None:
        if self._is_output:
            lose_output(self._stream, error)
        else:
            point_to_nothing(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class ClosedStream(io.StringIO):
    """What stands for a stream that was closed before the program began."""

    def write(self, said: str) -> int:
        """Refuse; nothing can be written here.

        Raises:
            OSError: Always.
        """
        raise OSError(errno.EBADF, "standard output is closed")


def output_was_lost() -> bool:
    """Return whether something could not be written, for want of space for example."""
    return _State.was_lost


def lose_output(stream: Any, error: Exception) -> None:
    """Take note that output was lost, tell it the first time, and lead the stream to nowhere.

    A reader that went away has seen what it wanted: nothing is lost then.
    """
    if not isinstance(error, BrokenPipeError):
        is_first, _State.was_lost = not _State.was_lost, True
        if is_first:
            why = getattr(error, "strerror", None) or error
            print(f"The output was not written: {why}.", file=sys.stderr)
    point_to_nothing(stream)


def point_to_nothing(stream: Any) -> None:
    """Lead a stream whose reader is gone to nowhere, so that nothing fails at its next flush."""
    try:
        descriptor = stream.fileno()
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, descriptor)
        os.close(nothing)
    except (OSError, ValueError, AttributeError):
        return


@contextmanager
def open_streams() -> Iterator[None]:
    """Make stdout and stderr safe until the end of the block.

    No character stops the output: what a stream cannot encode is shown as ``?``. A descriptor
    that is closed is taken, so that no file of the store ends up under its number and is written
    to by whoever prints.
    """
    _State.was_lost = False
    _fill_descriptors()
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # Without a stream at its start, Python has None in its place.
    sys.stdout = _safe(sys.stdout, is_output=True)
    sys.stderr = _safe(sys.stderr, is_output=False)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _safe(stream: TextIO | None, *, is_output: bool) -> TextIO:
    safe = SafeStream(ClosedStream() if stream is None else stream, is_output=is_output)
    return cast(TextIO, safe)


def _fill_descriptors() -> None:
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            with suppress(OSError):
                # The lowest number that is free is given: this one.
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
