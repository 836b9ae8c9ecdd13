"""What can be fuzzed: a way to make a case from chance, and an oracle for it.

A case is a value that `repr` shows and that can be made smaller: bytes, text, or a tree of JSON.
It is made from ``target:seed:number`` alone, so those three words bring it back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from random import Random
from typing import Any

from tests.fuzz.shrink import smaller_values
from tests.fuzz.tally import Tally


class Target(ABC):
    """One door through which something comes in."""

    name: str
    about: str
    share: float = 1.0
    """How many cases it gets for each one that is asked for."""

    @abstractmethod
    def make(self, draw: Random) -> Any:
        """Return a case."""

    @abstractmethod
    def check(self, case: Any, seen: Tally) -> None:
        """Return if the case is dealt with as promised; raise anything if it is not."""

    def smaller(self, case: Any) -> Iterator[Any]:
        """Yield cases like this one, with less in them."""
        return smaller_values(case)

    def size(self, case: Any) -> int:
        """Return about how many bytes a case has."""
        return len(case) if isinstance(case, bytes | str) else 0

    def close(self) -> None:  # noqa: B027  # most targets hold nothing
        """Let go of what the target holds."""


def case_of(target: Target, seed: int, number: int) -> Any:
    """Return the case of this seed and number."""
    return target.make(Random(f"{target.name}:{seed}:{number}"))
