"""Many cases in several processes, each watched: none may raise, hang, die or grow without bound.

A worker takes every n-th number, so what it looks at does not depend on how fast it is. It writes
the number of its present case into shared memory; if it dies or stands still, that is the case
to blame, and another worker goes on behind it.
"""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
import resource
import signal
import time
import tracemalloc
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_any
from types import FrameType
from typing import Any

from tests.fuzz.shrink import shrunk, signature
from tests.fuzz.tally import LARGE_BYTES, Tally
from tests.fuzz.target import Target, case_of

CASE_S_MAX = 20
HUNG_S = 90.0
REPORT_CASES = 500
FAILURES_KEPT = 20
MEMORY_BYTES_MAX = 4 << 30
TRACED_EVERY = 997
LARGE_TRACED_EVERY = 5
TRACED_BYTES_MAX = 128 << 20
SHOWN_CHARS_MAX = 2_000


class TakesTooLongError(BaseException):
    """A case took longer than any case may; no handler of the product may swallow it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A case that was not dealt with as promised; ``again`` types it again."""

    target: str
    seed: int
    number: int
    what: str
    detail: str
    smallest: str

    @property
    def again(self) -> str:
        """The command line that repeats it."""
        return f"python -m tests.fuzz --again {self.target}:{self.seed}:{self.number}"

    def as_json(self) -> dict[str, Any]:
        """Return all of it."""
        return {**asdict(self), "again": self.again}


@dataclass(slots=True)
class Run:
    """What came of many cases of one target."""

    target: str
    cases: int = 0
    seconds: float = 0.0
    tally: Tally = field(default_factory=Tally)
    failures: list[Failure] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return all of it; a failure that came several times is told once."""
        told: dict[str, Failure] = {}
        for failure in self.failures:
            told.setdefault(failure.what, failure)
        return {
            "cases": self.cases,
            "seconds": round(self.seconds, 1),
            "cases_per_s": round(self.cases / self.seconds, 1) if self.seconds else None,
            "failed_cases": len(self.failures),
            "failures": [failure.as_json() for failure in told.values()],
            **self.tally.as_json(),
        }


def check_case(target: Target, case: Any, seen: Tally) -> BaseException | None:
    """Return what a case raised, a time-out included, or None."""
    signal.setitimer(signal.ITIMER_REAL, CASE_S_MAX)
    try:
        target.check(case, seen)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # whatever comes out is a finding
        return error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
    return None


def failure_of(target: Target, seed: int, number: int, error: BaseException) -> Failure:
    """Return the failure of a case, made as small as time allows."""
    what = signature(error)

    def fails(case: Any) -> bool:
        found = check_case(target, case, Tally())
        return found is not None and signature(found) == what

    case = case_of(target, seed, number)
    if not isinstance(error, TakesTooLongError):
        case = shrunk(case, fails, target.smaller)
    return Failure(
        target=target.name,
        seed=seed,
        number=number,
        what=what,
        detail=f"{type(error).__name__}: {error!s:.500}",
        smallest=repr(case)[:SHOWN_CHARS_MAX],
    )


def watch_time() -> None:
    """Let a case that takes too long raise, in this process."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TakesTooLongError(f"more than {CASE_S_MAX} s")

    signal.signal(signal.SIGALRM, stop)


# --- one worker ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The numbers that one worker looks at."""

    seed: int
    numbers: range
    is_traced: bool


def work(make: type[Target], share: Share, at: Any, out: Connection) -> None:
    """Look at a share of the cases; send tallies and failures as they come."""
    faulthandler.enable()
    logging.disable()
    watch_time()
    _bound_memory()
    target = make()
    seen, cases = Tally(), 0
    for number in share.numbers:
        at.value = number
        case = case_of(target, share.seed, number)
        every = TRACED_EVERY if target.size(case) < LARGE_BYTES else LARGE_TRACED_EVERY
        is_traced = share.is_traced and number % every == 0
        error = _traced(target, case, seen) if is_traced else check_case(target, case, seen)
        cases += 1
        if error is not None:
            out.send(failure_of(target, share.seed, number, error))
        if cases >= REPORT_CASES:
            out.send((cases, seen))
            seen, cases = Tally(), 0
    target.close()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seen.at_most("worker_rss_mib", usage.ru_maxrss / 1024)
    out.send((cases, seen))
    out.send(None)


def _bound_memory() -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, hard))


def _traced(target: Target, case: Any, seen: Tally) -> BaseException | None:
    """Check a case and note how much memory Python's own allocations took at most."""
    tracemalloc.start()
    try:
        error = check_case(target, case, Tally())
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    seen.count("memory traced")
    seen.at_most("traced_mib", peak / (1 << 20))
    if error is None and peak > TRACED_BYTES_MAX:
        return MemoryError(f"{peak} bytes")
    return error or check_case(target, case, seen)


# --- all of them ---------------------------------------------------------------------------------


class _Worker:
    """A worker process and what is known of it."""

    def __init__(self, make: type[Target], share: Share) -> None:
        context = multiprocessing.get_context("spawn")
        self.share = share
        self.at = context.Value("q", share.numbers.start)
        self.inbox, out = context.Pipe(duplex=False)
        self.process = context.Process(target=work, args=(make, share, self.at, out), daemon=True)
        self.process.start()
        out.close()
        self.is_done = False
        self._seen_at = (-1, time.monotonic())

    def is_hung(self) -> bool:
        number = self.at.value
        if number != self._seen_at[0]:
            self._seen_at = (number, time.monotonic())
        return time.monotonic() - self._seen_at[1] > HUNG_S

    def rest(self) -> Share:
        """Return what is left behind the case that it stopped at."""
        numbers = self.share.numbers
        left = range(self.at.value + numbers.step, numbers.stop, numbers.step)
        return Share(seed=self.share.seed, numbers=left, is_traced=self.share.is_traced)


def run_cases(
    make: type[Target], *, seed: int, numbers: range, workers: int, is_traced: bool = True
) -> Run:
    """Return what came of these cases, looked at by several processes.

    Args:
        make: The target; each process has one of its own.
        seed: The seed of all cases.
        numbers: Which cases.
        workers: How many processes.
        is_traced: Measure the memory of a sample, too.
    """
    started = time.monotonic()
    run = Run(target=make.name)
    active = [
        _Worker(make, Share(seed=seed, numbers=numbers[worker::workers], is_traced=is_traced))
        for worker in range(min(workers, len(numbers)))
    ]
    while active:
        wait_for_any([worker.inbox for worker in active], timeout=0.5)
        for worker in list(active):
            is_alive = worker.process.is_alive()  # before reading: what it sent last is not lost
            _take_in(worker, run)
            if worker.is_done:
                worker.process.join()
                active.remove(worker)
            elif not is_alive or worker.is_hung():
                active.remove(worker)
                run.failures.append(_lost(worker, run.target, is_alive=is_alive))
                if len(run.failures) < FAILURES_KEPT and worker.rest().numbers:
                    active.append(_Worker(make, worker.rest()))
    run.seconds = time.monotonic() - started
    return run


def _take_in(worker: _Worker, run: Run) -> None:
    try:
        while worker.inbox.poll():
            match worker.inbox.recv():
                case None:
                    worker.is_done = True
                case Failure() as failure:
                    run.failures.append(failure)
                case (cases, tally):
                    run.cases += cases
                    run.tally.add(tally)
                case other:
                    raise AssertionError(f"a worker sent {other!r}")
    except EOFError:
        return


def _lost(worker: _Worker, target: str, *, is_alive: bool) -> Failure:
    if is_alive:
        worker.process.kill()
    worker.process.join()
    what = "hangs" if is_alive else f"ends the process ({worker.process.exitcode})"
    number, seed = worker.at.value, worker.share.seed
    detail = "too large to be made smaller here: see the case itself"
    return Failure(target=target, seed=seed, number=number, what=what, detail=detail, smallest="")
