"""What everything in one run shares: time, chance, faults, counts and the trace."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from fsm_saga.simulation.chance import Chance
from fsm_saga.simulation.faults import Faults
from fsm_saga.simulation.loop import VirtualLoop

if TYPE_CHECKING:
    import asyncio

STARTED_AT = 1_767_225_600.0
"""What a true clock shows at the start: the first second of 2026."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """Something that must hold and did not. ``code`` names it as in ``codes.py``."""

    code: str
    message: str
    at: float

    def __str__(self) -> str:
        return f"{self.code} at {self.at:.3f} s: {self.message}"


class Entry(NamedTuple):
    """One line of the trace: ``who`` did or met ``what``."""

    at: float
    who: str
    what: str
    detail: str


class World:
    """One run's shared parts.

    Attributes:
        counts: How often each thing happened that must happen sometimes.
        trace: What happened, in order.
        in_flight: Messages between coordinators and tools that have not arrived.
        true_at: When the clocks of the nodes showed what they showed, for whoever looked.
    """

    def __init__(
        self,
        seed: int,
        *,
        only: frozenset[str] | None = None,
        without: frozenset[str] = frozenset(),
    ) -> None:
        self.seed = seed
        self.loop = VirtualLoop()  # type: ignore[abstract]  # at run time nothing of it is abstract
        self.chance = Chance(seed)
        self.faults = Faults(self.chance, only, without)
        self.counts: Counter[str] = Counter()
        self.trace: list[Entry] = []
        self.violations: list[Violation] = []
        self.bytes = hashlib.blake2b(digest_size=16)
        self.in_flight = 0
        self.true_at: dict[float, float] = {}

    def now(self) -> float:
        """Return the true time in seconds since 1970."""
        return STARTED_AT + self.loop.time()

    def note(self, who: str, what: str, detail: str = "") -> None:
        """Write a line of the trace."""
        self.trace.append(Entry(self.loop.time(), who, what, detail))

    def happens(self, kind: str, place: str, number: float) -> bool:
        """Return whether the fault happens here, and write it down if it does."""
        if self.faults.happens(kind, place, number, at=self.loop.time()):
            self.note("faults", kind, place)
            return True
        return False

    def broken(self, code: str, message: str) -> None:
        """Note that something does not hold."""
        self.violations.append(Violation(code=code, message=message, at=self.loop.time()))
        self.note("oracle", code, message)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something that belongs to no process."""
        return self.loop.create_task(work, context=self.loop.world)

    def trace_hash(self) -> str:
        """Return a digest of everything that happened and was written."""
        digest = self.bytes.copy()
        digest.update(repr(self.trace).encode())
        return digest.hexdigest()


Work = Callable[[], Awaitable[Any]]
