"""Foreign text made fit for a picture: one line, nothing invisible, no control of anything.

Names come from a language model, errors from tools. In a picture they are words to be read, so
whatever steers a terminal, a text direction or a parser is taken out here, once, and each writer
then only has to quote what is left.
"""

from __future__ import annotations

import re
import unicodedata

ELLIPSIS = "…"
REPLACED = "\N{REPLACEMENT CHARACTER}"
COMBINING_MAX = 4
"""More marks on one letter than any language writes; above it they paint over their neighbours."""

# A whole sequence goes, not only its ESC: "]52;c;..." left behind would still be noise.
_TERMINAL_SEQUENCE = re.compile(
    r"(?:\x1b\]|\x9d|\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|$)"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|\x1b[ -/]*[0-~]?"
)
# Overrides, embeddings and isolates reorder what follows them: their place is shown instead.
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Invisible by Unicode's book-keeping, but part of how words and emoji are written.
_KEPT_FORMATS = frozenset("\u200c\u200d\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u08e2")


def plain_text(text: str) -> str:
    r"""Return the text as one line that is safe to show anywhere.

    Terminal sequences and control characters are gone, every kind of white space is one space,
    invisible characters are gone, and what reorders text or cannot be encoded is shown as
    ``U+FFFD``. Applying it twice changes nothing more.

    Example:
        >>> plain_text("book\x1b[31m the\n flight\x00")
        'book the flight'
        >>> plain_text("ab\u202ecd")
        'ab\ufffdcd'
    """
    text = _TERMINAL_SEQUENCE.sub("", text)
    kept: list[str] = []
    marks = 0
    for char in text:
        shown = _shown(char)
        if not shown:
            continue
        marks = marks + 1 if unicodedata.combining(char) else 0
        if marks <= COMBINING_MAX:
            kept.append(shown)
    return " ".join("".join(kept).split())


def _shown(char: str) -> str:
    if char.isspace():
        return " "
    category = unicodedata.category(char)
    is_noncharacter = ord(char) & 0xFFFE == 0xFFFE or "\ufdd0" <= char <= "\ufdef"
    if char in _BIDI_CONTROLS or category == "Cs" or is_noncharacter:
        return REPLACED
    if category == "Cc" or (category == "Cf" and char not in _KEPT_FORMATS):
        return ""
    return char


def display_width(text: str) -> int:
    """Return how many columns the text fills: two for a Chinese character, none for a mark."""
    width = 0
    for char in text:
        if unicodedata.combining(char) or unicodedata.category(char) in ("Cf", "Me", "Mn"):
            continue
        width += 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1
    return width


def shorten(text: str, columns: int) -> str:
    """Return the text cleaned and, where it is wider than ``columns``, cut in its middle.

    Beginning and end both stay, because names that a model numbers differ at the end.

    Example:
        >>> shorten("book the flight to Beijing", 13)
        'book t…eijing'
    """
    text = plain_text(text)
    if display_width(text) <= columns:
        return text
    room = max(columns - 1, 2)
    head = _cut(text, room - room // 2).rstrip()
    tail = _cut(text[::-1], room // 2)[::-1].lstrip()
    while tail and unicodedata.combining(tail[0]):
        tail = tail[1:]
    return f"{head}{ELLIPSIS}{tail}"


def _cut(text: str, columns: int) -> str:
    kept = 0
    width = 0
    for char in text:
        width += display_width(char)
        if width > columns:
            break
        kept += 1
    return text[:kept]


def wrap(text: str, columns: int, *, line_max: int) -> tuple[str, ...]:
    """Return the text in at most ``line_max`` lines of at most ``columns``; the rest is cut.

    Breaks at spaces, and within a word only where the word alone is wider than a line.

    Example:
        >>> wrap("apologise to the guest and refund", 16, line_max=2)
        ('apologise to the', 'guest and refund')
    """
    rest = plain_text(text)
    lines: list[str] = []
    while len(lines) < line_max - 1 and display_width(rest) > columns:
        line = _cut(rest, columns)
        if rest[len(line)] != " " and " " in line:
            line = line[: line.rindex(" ")]
        lines.append(line.rstrip())
        rest = rest[len(line) :].lstrip()
    return (*lines, shorten(rest, columns))
