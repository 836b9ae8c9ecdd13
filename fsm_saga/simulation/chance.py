"""Chance from a seed: every drawing hangs on its name and on nothing that was drawn before.

So a run in which one fault is left out draws the same for everything that still happens, which is
what makes a failed run shrink.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

Draw = tuple[float, float, float, float, float, float, float, float]
"""Eight independent numbers in [0, 1)."""

_EIGHT = struct.Struct("<8Q").unpack
_UNIT = 2.0**-53


class Chance:
    """Numbers by name for one seed."""

    def __init__(self, seed: int) -> None:
        self._prefix = b"%d|" % seed
        self._counts: dict[str, int] = {}

    def draw(self, name: str) -> Draw:
        """Return the numbers of this name, always the same."""
        digest = hashlib.blake2b(self._prefix + name.encode()).digest()
        a, b, c, d, e, f, g, h = _EIGHT(digest)
        return (
            (a >> 11) * _UNIT,
            (b >> 11) * _UNIT,
            (c >> 11) * _UNIT,
            (d >> 11) * _UNIT,
            (e >> 11) * _UNIT,
            (f >> 11) * _UNIT,
            (g >> 11) * _UNIT,
            (h >> 11) * _UNIT,
        )

    def next_name(self, name: str) -> str:
        """Return ``name`` with how often it was asked for before: ``append.s0#2``."""
        count = self._counts.get(name, 0)
        self._counts[name] = count + 1
        return f"{name}#{count}"


def pick(items: Sequence[T], number: float) -> T:
    """Return the item that a number in [0, 1) stands for.

    Example:
        >>> pick("abcd", 0.6)
        'c'
    """
    return items[int(number * len(items))]


def between(low: float, high: float, number: float) -> float:
    """Return what a number in [0, 1) stands for between two bounds.

    Example:
        >>> between(2.0, 4.0, 0.25)
        2.5
    """
    return low + (high - low) * number
