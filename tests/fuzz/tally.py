"""What a run has seen: how often, at most, and one digest over all verdicts."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

SLOW_S = 1.0
SLOW = "slower than 1 s"
LARGE_BYTES = 16_384
_DIGEST_BITS = 64


class BrokenPromiseError(AssertionError):
    """Something came out that must not come out. ``rule`` names the promise."""

    def __init__(self, rule: str, detail: str = "") -> None:
        super().__init__(f"{rule}: {detail}" if detail else rule)
        self.rule = rule


def must(is_kept: object, rule: str, detail: object = "") -> None:
    """Return if a promise is kept.

    Raises:
        BrokenPromiseError: If it is not.
    """
    if not is_kept:
        raise BrokenPromiseError(rule, str(detail)[:2000])


@dataclass(slots=True)
class Tally:
    """Counts and largest values of a run; tallies of several processes add up.

    ``digest`` does not depend on the order of the cases.
    """

    counts: Counter[str] = field(default_factory=Counter)
    most: dict[str, float] = field(default_factory=dict)
    digest: int = 0

    def count(self, what: str, times: int = 1) -> None:
        """Note that something happened."""
        self.counts[what] += times

    def at_most(self, what: str, value: float) -> None:
        """Note a value of which only the largest is of interest."""
        if value > self.most.get(what, float("-inf")):
            self.most[what] = value

    def verdict(self, text: str) -> None:
        """Add to the digest what became of one case."""
        found = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8]
        self.digest = (self.digest + int.from_bytes(found, "big")) % (1 << _DIGEST_BITS)

    @contextmanager
    def timed(self, size: int) -> Iterator[None]:
        """Note the processor's time that a block takes for an input of so many bytes."""
        started = time.process_time()
        yield
        took = time.process_time() - started
        self.at_most("cpu_ms", took * 1e3)
        if took > SLOW_S:
            self.count(SLOW)
        if size >= LARGE_BYTES:
            self.at_most("cpu_ms_per_kib_of_large_input", took * 1e3 / (size / 1024))

    def add(self, other: Tally) -> None:
        """Take over what another tally has seen."""
        self.counts.update(other.counts)
        for what, value in other.most.items():
            self.at_most(what, value)
        self.digest = (self.digest + other.digest) % (1 << _DIGEST_BITS)

    @staticmethod
    def of_json(document: Mapping[str, Any]) -> Tally:
        """Return the tally that ``as_json`` wrote."""
        counts, most = document["counts"], document["most"]
        return Tally(Counter(counts), dict(most), int(document["digest"], 16))

    def as_json(self) -> dict[str, Any]:
        """Return all of it."""
        return {
            "codes": sum(what.startswith("code ") for what in self.counts),
            "counts": dict(sorted({SLOW: 0, **self.counts}.items())),
            "most": {what: round(value, 3) for what, value in sorted(self.most.items())},
            "digest": f"{self.digest:016x}",
        }
