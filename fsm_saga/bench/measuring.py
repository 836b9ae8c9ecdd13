"""Numbers with their spread, and the place on the disk where they are taken."""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsm_saga.stores.opening import sqlite_path

PLACE_PREFIX = "fsm-saga-bench-"
DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured.

    Attributes:
        sagas: Sagas of one run, by how many of them are in flight at a time.
        bare_sagas: Sagas whose appends are committed one by one.
        bare_rounds: Groups of sagas whose appends share their commits.
        fsyncs: Bare writes of a page.
        decisions: How often each sequence of events is decided.
        plan_steps: Lengths of the plans that are compiled.
        verify_plans: Plans that are verified: lengths of sequential ones, and ``diamond``.
        resting_sagas: Sagas that wait in memory.
        finished_sagas: Finished sagas in the store that is opened; 0 leaves it out.
        finished_s_max: Seconds after which no more of them are made.
        coordinators: How many coordinators share a store on a server, in turn.
        idle_s: How long a coordinator is watched at rest.
    """

    sagas: Mapping[int, int]
    bare_sagas: int
    bare_rounds: int
    fsyncs: int
    decisions: int
    plan_steps: tuple[int, ...]
    verify_plans: tuple[str, ...]
    resting_sagas: int
    finished_sagas: int
    finished_s_max: float = 60.0
    coordinators: tuple[int, ...] = (1, 3)
    idle_s: float = 10.0


FULL = Sizes(
    sagas={1: 300, 32: 2_000, 128: 3_000},
    bare_sagas=100,
    bare_rounds=40,
    fsyncs=100,
    decisions=2_000,
    plan_steps=(3, 10, 50, 200),
    verify_plans=("3", "4", "6", "diamond"),
    resting_sagas=10_000,
    finished_sagas=100_000,
)
QUICK = Sizes(
    sagas={1: 50, 32: 300, 128: 500},
    bare_sagas=25,
    bare_rounds=5,
    fsyncs=25,
    decisions=200,
    plan_steps=(3, 10, 50, 200),
    verify_plans=("3", "4", "diamond"),
    resting_sagas=1_000,
    finished_sagas=0,
    idle_s=3.0,
)


class Samples:
    """Collects the values of each measurement under a dotted name, run after run.

    Example:
        >>> samples = Samples()
        >>> for value in (3.0, 1.0, 2.0):
        ...     samples.add("raw.commit_ms", value)
        >>> samples.as_json()
        {'raw': {'commit_ms': {'median': 2.0, 'min': 1.0, 'max': 3.0, 'runs': 3}}}
    """

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def add(self, name: str, value: float) -> None:
        """Note one value of the measurement ``name``."""
        self._values.setdefault(name, []).append(value)

    def as_json(self) -> dict[str, Any]:
        """Return all spreads, nested by the dots in their names."""
        whole: dict[str, Any] = {}
        for name, values in self._values.items():
            *path, last = name.split(".")
            inner = whole
            for part in path:
                inner = inner.setdefault(part, {})
            inner[last] = spread(values)
        return whole


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return the median of the values, the least, the greatest and how many there are."""
    return {
        "median": rounded(statistics.median(values)),
        "min": rounded(min(values)),
        "max": rounded(max(values)),
        "runs": len(values),
    }


def rounded(value: float) -> float:
    """Return the value with as many digits as a measurement deserves.

    Example:
        >>> rounded(0.123456), rounded(123456.7), rounded(0)
        (0.1235, 123500.0, 0.0)
    """
    return float(f"{value:.{DIGITS}g}")


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of the values lie.

    Example:
        >>> percentile([4.0, 1.0, 3.0, 2.0], 0.5)
        3.0
    """
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def seconds(job: Callable[[], object]) -> float:
    """Return how long the job takes."""
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


@contextlib.contextmanager
def bench_place(store_url: str | None) -> Iterator[Path | None]:
    """Give a directory on the store's disk, removed afterwards; None for a store in memory.

    Without a store it lies in the current directory.

    Raises:
        StoreError: If the URL names no place.
    """
    if store_url is not None and store_url.startswith("memory://"):
        yield None
        return
    beside = Path.cwd() if store_url is None else Path(sqlite_path(store_url)).absolute().parent
    with tempfile.TemporaryDirectory(dir=beside, prefix=PLACE_PREFIX) as place:
        yield Path(place)


@contextlib.contextmanager
def emptied(place: Path) -> Iterator[Path]:
    """Give a directory of its own inside the place, removed afterwards."""
    with tempfile.TemporaryDirectory(dir=place) as own:
        yield Path(own)


def fsync_ms(place: Path, count: int) -> float:
    """Return the median time of writing one page to the end of a file and flushing it."""
    taken: list[float] = []
    with (place / "pages").open("wb", buffering=0) as pages:
        for _ in range(count):
            pages.write(bytes(4096))
            taken.append(seconds(lambda: os.fsync(pages.fileno())))
    return statistics.median(taken) * 1e3
