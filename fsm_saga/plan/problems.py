"""Finding problems: collecting them within bounds, pointing at their place, showing values.

Whatever a planner wrote can stand in a problem, and problems are printed to terminals and sent
back to models. So values are shown as short `repr` texts, in which nothing unprintable is left.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Iterator

from fsm_saga.core.limits import LIMITS, Limits
from fsm_saga.core.references import escape_pointer
from fsm_saga.errors import Problem

SHOWN_CHARS_MAX = 80
SEGMENT_CHARS_MAX = 200
# Near names cost time in proportion to both lists; a plan full of slips needs a few hints only.
NEAR_LOOKUP_MAX = 12
NEAR_NAME_MAX = 500

_MORE = "more-problems"

# The way to a place in a JSON document. Pointers are made from it only where there is a problem.
Path = tuple[str | int, ...]


def pointer(*segments: str | int) -> str:
    """Return the JSON pointer (RFC 6901) of these segments, safe to print.

    Characters that cannot be printed appear as U+FFFD and very long keys are cut.

    Example:
        >>> pointer("steps", 0, "params", "a/b")
        '/steps/0/params/a~1b'
    """
    return "".join("/" + (str(part) if type(part) is int else _segment(part)) for part in segments)


def _segment(part: str | int) -> str:
    text = str(part)
    if len(text) > SEGMENT_CHARS_MAX:
        text = text[:SEGMENT_CHARS_MAX] + "..."
    return escape_pointer(printable(text))


def printable(text: str) -> str:
    """Return a text in which what cannot be printed appears as U+FFFD."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def shown(value: object) -> str:
    """Return a value as a short, printable text."""
    if isinstance(value, str):
        return repr(value if len(value) <= SHOWN_CHARS_MAX else value[:SHOWN_CHARS_MAX] + "...")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        # str() of an int refuses some thousand digits, and nobody wants to read them.
        return repr(int(value)) if value.bit_length() <= 64 else "a number beyond 64 bits"
    if isinstance(value, float):
        return repr(float(value))
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    return f"a value of type {type(value).__name__}"


def listed(names: Iterable[object], *, at_most: int = 8) -> str:
    """Return names as a readable, bounded list.

    Example:
        >>> listed(["a", "b"])
        "'a', 'b'"
    """
    texts = [shown(name) for name in names]
    rest = len(texts) - at_most
    return ", ".join(texts[:at_most]) + (f" and {rest} more" if rest > 0 else "")


class Near:
    """Suggests the names nearest to a wrong one, for a bounded number of wrong names."""

    def __init__(self) -> None:
        self._left = NEAR_LOOKUP_MAX

    def hint(self, wrong: str, names: Iterable[str], *, otherwise: str) -> str:
        """Return "Did you mean ...?", or ``otherwise`` where no name is near."""
        if self._left <= 0 or len(wrong) > SHOWN_CHARS_MAX:
            return otherwise
        self._left -= 1
        candidates = list(itertools.islice(names, NEAR_NAME_MAX))
        # Case and separators are the commonest slips, and difflib counts each of them.
        plain = {_plain(name): name for name in reversed(candidates)}
        near = difflib.get_close_matches(_plain(wrong), plain, n=3, cutoff=0.6)
        if not near:
            return otherwise
        return f"Did you mean {' or '.join(shown(plain[each]) for each in near)}?"


def _plain(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")


class Problems:
    """A bounded collection of problems: of what is beyond the bound only that it exists."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.near = Near()
        self._limits = limits
        self._found: list[Problem] = []
        self._has_more = False

    def add(self, code: str, at: str | Path, message: str, hint: str) -> None:
        """Note one problem; ``at`` is a pointer, or the path to make it from."""
        if self.is_full or code == _MORE:
            self._has_more = True
            return
        where = at if isinstance(at, str) else pointer(*at)
        self._found.append(
            Problem(code=code, pointer=where, message=printable(message), hint=printable(hint))
        )

    def extend(self, problems: Iterable[Problem]) -> None:
        """Note these problems too."""
        for problem in problems:
            self.add(problem.code, problem.pointer, problem.message, problem.hint)

    def extend_elsewhere(self, problems: Iterable[Problem]) -> None:
        """Note the problems of a later look, save where an earlier look found the place bad.

        A value that could not be read was replaced by a neutral one, and what is said of that
        replacement would mislead.
        """
        known = {problem.pointer for problem in self._found}
        self.extend([problem for problem in problems if problem.pointer not in known])

    @property
    def is_full(self) -> bool:
        """True when further problems are not kept, so that looking for them is wasted."""
        return len(self._found) >= self._limits.problem_max

    def __iter__(self) -> Iterator[Problem]:
        return iter(self.as_tuple())

    def __bool__(self) -> bool:
        return bool(self._found)

    def as_tuple(self) -> tuple[Problem, ...]:
        """Return the problems in the order found; the last one may say that there are more."""
        if not self._has_more:
            return tuple(self._found)
        more = Problem(
            code=_MORE,
            pointer="",
            message=f"Only the first {len(self._found)} problems are listed.",
            hint="Mend those and send the plan again.",
        )
        return (*self._found, more)
