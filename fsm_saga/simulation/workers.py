"""Work spread over processes, its results in order; a worker that dies or fails is told at once.

The pools of the standard library do not do here: one waits for ever when a worker is killed, the
other leaves its workers behind when its owner is. Here each worker has a pipe of its own. Whoever
waits sees an answer or the end of the process, and a worker ends when its owner has.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from multiprocessing.context import ForkContext, SpawnContext

T = TypeVar("T")
R = TypeVar("R")

LOOKS_AGAIN_S = 0.1
AHEAD_MAX = 64
"""How many results may wait for an earlier one, so that a slow start does not pile up the rest."""


class WorkerDiedError(RuntimeError):
    """A worker process ended without an answer.

    Attributes:
        item: What it was working on.
        exit_code: Of the process; negative for the signal that killed it.
    """

    def __init__(self, item: object, exit_code: int | None) -> None:
        super().__init__(f"a worker ended with {exit_code} at {item!r}")
        self.item = item
        self.exit_code = exit_code


class WorkerFailedError(RuntimeError):
    """What a worker did raised an exception; the message is its trace."""


class Stopped(Exception):  # noqa: N818  # no error: somebody wanted it
    """Whoever waits for the results has had enough of them."""


def core_count() -> int:
    """Return how many cores this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # Linux has it
    return (os.cpu_count() or 1) if allowed is None else max(1, len(allowed(0)))


def spread(
    work: Callable[[T], R],
    items: Iterable[T],
    *,
    jobs: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[R]:
    """Yield what the work makes of each item, in the order of the items.

    Args:
        work: Done in the workers; it, the items and what it returns travel between processes.
        items: Taken one by one, as workers come free; there may be any number.
        jobs: How many workers there are.
        should_stop: Asked ten times a second.

    Raises:
        WorkerDiedError: If a worker ended by itself or was killed.
        WorkerFailedError: If the work raised something.
        Stopped: If ``should_stop`` said so.
    """
    team: _Team[T, R] = _Team(work)
    try:
        yield from team.results(iter(items), jobs=jobs, should_stop=should_stop)
    finally:
        team.end()


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    pipe: Connection
    number: int
    item: object


class _Team(Generic[T, R]):
    """The workers of one ``spread``."""

    def __init__(self, work: Callable[[T], R]) -> None:
        self._work = work
        # A forked child has the imports already; but beside other threads a fork may hang.
        can_fork = sys.platform == "linux" and threading.active_count() == 1
        self._context: ForkContext | SpawnContext = (
            multiprocessing.get_context("fork")
            if can_fork
            else multiprocessing.get_context("spawn")
        )
        self._workers: list[_Worker] = []
        self._found: dict[int, R] = {}

    def results(
        self, items: Iterator[T], *, jobs: int, should_stop: Callable[[], bool]
    ) -> Iterator[R]:
        """Yield the results in order, with at most ``jobs`` workers."""
        numbered = enumerate(items)
        idle: list[_Worker] = []
        due = 0
        is_over = False
        while True:
            while not is_over and self._has_room(due, jobs, idle):
                following = next(numbered, None)
                if following is None:
                    is_over = True
                else:
                    self._give(idle.pop() if idle else None, *following)
            while due in self._found:
                yield self._found.pop(due)
                due += 1
            busy = [worker for worker in self._workers if worker not in idle]
            if not busy and is_over:
                return
            if should_stop():
                raise Stopped
            idle += self._heard(busy)

    def _has_room(self, due: int, jobs: int, idle: list[_Worker]) -> bool:
        newest = max((worker.number for worker in self._workers), default=-1)
        return newest - due < AHEAD_MAX and (bool(idle) or len(self._workers) < jobs)

    def _give(self, worker: _Worker | None, number: int, item: T) -> None:
        if worker is None:
            worker = self._hired(number, item)
            self._workers.append(worker)
        worker.number, worker.item = number, item
        try:
            worker.pipe.send(item)
        except OSError:
            raise self._died(worker) from None

    def _hired(self, number: int, item: T) -> _Worker:
        ours, theirs = self._context.Pipe()
        arguments = (theirs, self._work)
        process = self._context.Process(target=_serve, args=arguments, daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours, number, item)

    def _heard(self, busy: list[_Worker]) -> list[_Worker]:
        """Wait a moment, and return the workers that have answered."""
        ready = wait([worker.pipe for worker in busy], timeout=LOOKS_AGAIN_S)
        free = []
        for worker in busy:
            if worker.pipe in ready:
                self._found[worker.number] = self._answer(worker)
                free.append(worker)
        # A process that was killed may have left its end of the pipe to one that was forked later.
        for worker in busy:
            if worker not in free and not worker.process.is_alive() and not worker.pipe.poll():
                raise self._died(worker)
        return free

    def _answer(self, worker: _Worker) -> R:
        try:
            is_done, answer = worker.pipe.recv()
        except (EOFError, OSError):
            raise self._died(worker) from None
        if not is_done:
            raise WorkerFailedError(answer)
        found: R = answer
        return found

    def _died(self, worker: _Worker) -> WorkerDiedError:
        worker.process.join(timeout=1.0)
        return WorkerDiedError(worker.item, worker.process.exitcode)

    def end(self) -> None:
        """End every worker, busy or not."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()


def _serve(pipe: Connection, work: Callable[[Any], Any]) -> None:
    """Do one item after the other until the owner of this worker is gone."""
    # Ctrl-C reaches the whole group; the owner decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    owner = multiprocessing.parent_process()
    watched: list[Any] = [pipe] if owner is None else [pipe, owner.sentinel]
    while pipe in wait(watched):
        try:
            item = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer = (True, work(item))
        except Exception:  # noqa: BLE001  # boundary: told by the owner, of whatever class
            answer = (False, traceback.format_exc())
        try:
            pipe.send(answer)
        except OSError:
            return
