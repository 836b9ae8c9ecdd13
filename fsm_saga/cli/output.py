"""The only way to stdout: lines for people, or one JSON document for programs.

Names, errors and notes were written by planners, tools and strangers. They are printed as text:
no terminal sequence, no markup and no line break of theirs reaches a screen.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from fsm_saga.cli.streams import lose_output, point_to_nothing
from fsm_saga.drawing.plain import plain_text, shorten

VALUE_COLUMNS = 160

# Inside a JSON text these stand in strings only; escaped, they steer no terminal.
_UNPRINTED = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class QuietConsole(Console):
    """A console whose reader may go away: what is left to say is then said to nobody."""

    def on_broken_pipe(self) -> None:
        """Write nothing more; whoever works goes on."""
        self.quiet = True
        point_to_nothing(self.file)


class _Streams:
    """Where this process writes. ``document`` is stdout while stdout is kept for one document."""

    document: TextIO | None = None


@contextmanager
def stdout_for_document() -> Iterator[None]:
    """Keep stdout for ``print_json``; whatever else is printed meanwhile goes to stderr.

    That holds for the tools too, and for the programs that they start.
    """
    stdout = sys.stdout
    saved = _stdout_moved_to_stderr(stdout)
    _Streams.document = stdout if saved is None else os.fdopen(saved, "w", encoding="utf-8")
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout = stdout
        document, _Streams.document = _Streams.document, None
        if saved is not None and document is not None:
            # What was printed is flushed already; what was not can no longer be.
            with suppress(OSError):
                document.flush()
            os.dup2(document.fileno(), 1)
            with suppress(OSError):
                document.close()


def _stdout_moved_to_stderr(stdout: TextIO) -> int | None:
    """Return a new descriptor of stdout once descriptor 1 leads to stderr, or None."""
    try:
        if stdout.fileno() != 1 or sys.stderr.fileno() != 2:
            return None
        stdout.flush()
        saved = os.dup(1)
        os.dup2(2, 1)
    except (OSError, AttributeError):  # no real stream, as in a test, or a closed one
        return None
    return saved


def print_json(value: Any) -> None:
    """Print the one document of a command."""
    stream = _Streams.document or sys.stdout
    is_utf8 = (getattr(stream, "encoding", None) or "").lower().replace("-", "") == "utf8"
    text = json.dumps(value, indent=2, ensure_ascii=not is_utf8, default=_plain_json)
    _write(stream, _UNPRINTED.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def _plain_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def print_text(text: str) -> None:
    """Print a text of our own, DOT or a schema for example, exactly as it is."""
    _write(_Streams.document or sys.stdout, text if text.endswith("\n") else text + "\n")


def print_bytes(body: bytes) -> None:
    """Print the bytes of a file on stdout, exactly as they are."""
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        _write(sys.stdout, body.decode(errors="replace"))
        return
    sys.stdout.flush()
    _write(buffer, body)


def print_line(*parts: str | tuple[str, str]) -> None:
    """Print one line on stdout. Each part is a text, or a text with the style for a terminal."""
    _print_on(sys.stdout, parts)


def note(*parts: str | tuple[str, str]) -> None:
    """Print one line on stderr."""
    _print_on(sys.stderr, parts)


def _print_on(stream: TextIO, parts: tuple[str | tuple[str, str], ...]) -> None:
    # Rich writes to a text of ours, and only its styles depend on the stream.
    written = io.StringIO()
    console = Console(
        file=written,
        force_terminal=stream.isatty() or None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    console.print(line_of(*parts), soft_wrap=True)
    _write(stream, written.getvalue())


def line_of(*parts: str | tuple[str, str]) -> Text:
    """Return the parts as one line in which nothing is markup and nothing steers a terminal."""
    line = Text()
    for part in parts:
        text, style = (part, "") if isinstance(part, str) else part
        line.append(_kept_apart(text), style or None)
    return line


def _kept_apart(text: str) -> str:
    """Return the text as it is, with the spaces that make columns, unless it has to be cleaned."""
    return text if text.isprintable() else plain_text(text)


def exact_text(value: Any) -> str:
    r"""Return a JSON value in one line, whole, with everything that cannot be seen escaped.

    Example:
        >>> exact_text({"to": "Ann\u202eann"})
        '{"to": "Ann\\u202eann"}'
    """
    text = json.dumps(value, ensure_ascii=False, default=_plain_json)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def value_text(value: Any, *, columns: int = VALUE_COLUMNS) -> str:
    """Return a JSON value in one line, cut in its middle if it is long."""
    return shorten(exact_text(value), columns)


def _write(stream: Any, said: str | bytes) -> None:
    try:
        stream.write(said)
        stream.flush()
    except (OSError, ValueError) as error:
        lose_output(stream, error)
