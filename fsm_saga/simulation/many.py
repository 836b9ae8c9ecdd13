"""Many seeds, spread over processes, and what they came to together."""

from __future__ import annotations

import gc
import hashlib
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fsm_saga.simulation.seeds import run_any_seed
from fsm_saga.simulation.sometimes import never_happened
from fsm_saga.simulation.workers import spread

CHUNK = 125
GC_EVERY = 25
CHUNK_OF_CLUSTERS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A seed that failed, with the first thing that did not hold."""

    seed: int
    code: str
    message: str

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.message}"


@dataclass(slots=True)
class Tally:
    """What a set of seeds came to.

    Attributes:
        hash: A digest of all traces, in the order of the seeds.
    """

    seeds: int = 0
    failures: list[Failure] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    hashes: list[str] = field(default_factory=list)
    virtual_s: float = 0.0
    wall_s: float = 0.0
    is_cluster: bool = False

    @property
    def hash(self) -> str:
        """A digest of all traces, in the order of the seeds."""
        return hashlib.sha256("".join(self.hashes).encode()).hexdigest()[:32]

    @property
    def missing(self) -> tuple[str, ...]:
        """What must happen sometimes and never did."""
        return never_happened(self.counts, seeds=self.seeds, is_cluster=self.is_cluster)

    @property
    def is_sound(self) -> bool:
        """True if no seed failed and nothing is missing."""
        return not self.failures and not self.missing

    def add(self, other: Tally) -> None:
        """Take in what another set came to."""
        self.seeds += other.seeds
        self.failures += other.failures
        self.counts.update(other.counts)
        self.faults.update(other.faults)
        self.hashes += other.hashes
        self.virtual_s += other.virtual_s


def run_chunk(first: int, count: int, *, is_cluster: bool = False) -> Tally:
    """Return what the seeds from ``first`` on came to, run one after the other."""
    tally = Tally()
    is_collecting = gc.isenabled()
    # Each run leaves one large knot of young objects; the old ones are plans, and stay.
    gc.disable()
    try:
        for seed in range(first, first + count):
            tally.seeds += 1
            try:
                verdict = run_any_seed(seed, is_cluster=is_cluster)
            except Exception as error:  # noqa: BLE001  # boundary: a bug shows as whatever it raises
                tally.failures.append(Failure(seed=seed, code="TOTAL", message=_told(error)))
                continue
            tally.counts.update(verdict.counts)
            tally.faults.update(name.partition("@")[0] for name in verdict.faults)
            tally.hashes.append(verdict.trace_hash)
            tally.virtual_s += verdict.virtual_s
            if verdict.violations:
                worst = verdict.violations[0]
                tally.failures.append(Failure(seed=seed, code=worst.code, message=str(worst)))
            if seed % GC_EVERY == 0 or is_cluster:
                gc.collect(0)
    finally:
        if is_collecting:
            gc.enable()
    return tally


def _told(error: Exception) -> str:
    """Return an exception in words: as such it may not travel between processes."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"TOTAL: the run failed at {where.name}:{where.lineno}: {error!r}"


def run_many(
    first: int,
    count: int,
    *,
    jobs: int = 1,
    failure_max: int | None = None,
    on_progress: Callable[[Tally], None] | None = None,
    is_cluster: bool = False,
) -> Tally:
    """Return what ``count`` seeds came to.

    Args:
        first: The first seed.
        count: How many.
        jobs: Over how many processes they are spread.
        failure_max: Stop after so many failures; None runs all.
        on_progress: Called with what there is so far.
        is_cluster: Run nodes that share shards.

    Raises:
        WorkerDiedError: If a process ended by itself or was killed.
        WorkerFailedError: If one raised something that is not of a single seed.
    """
    tally = Tally(is_cluster=is_cluster)
    started = time.perf_counter()
    size = CHUNK_OF_CLUSTERS if is_cluster else CHUNK
    chunks = [
        (at, min(size, first + count - at), is_cluster) for at in range(first, first + count, size)
    ]
    for found in _results(chunks, jobs):
        tally.add(found)
        tally.wall_s = time.perf_counter() - started
        if on_progress is not None:
            on_progress(tally)
        if failure_max is not None and len(tally.failures) >= failure_max:
            break
    return tally


def _results(chunks: list[tuple[int, int, bool]], jobs: int) -> Iterator[Tally]:
    if jobs <= 1 or len(chunks) <= 1:
        for chunk in chunks:
            yield _run_chunk(chunk)
        return
    yield from spread(_run_chunk, chunks, jobs=jobs)


def _run_chunk(chunk: tuple[int, int, bool]) -> Tally:
    first, count, is_cluster = chunk
    return run_chunk(first, count, is_cluster=is_cluster)
