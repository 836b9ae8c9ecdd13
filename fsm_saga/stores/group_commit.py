"""Group commit: appends that come while one commit runs share the next.

Everything here runs on the event loop; only what may wait for the disk goes to a thread. A hop to
a thread and back costs about 0.1 ms, a third of a commit on a good disk. So as long as the disk has
been fast and there is little to write, the commit happens right here, at the end of the loop's
turn; otherwise the thread commits and the loop goes on. The statements before a commit run on the
loop in both cases: on the thread, each would have to win the interpreter's lock back from a busy
loop, up to 5 ms a time.

The writer behind it is never used twice at a time: ``_is_busy`` says that a thread has it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from fsm_saga.errors import FsmSagaError, InvariantBrokenError

INLINE_COMMIT_S_MAX = 0.001
INLINE_BYTES_MAX = 256 * 2**10
BATCH_APPENDS_MAX = 256
BATCH_BYTES_MAX = 8 * 2**20

T = TypeVar("T")

logger = logging.getLogger(__name__)


class WriterBusyError(Exception):
    """Another process is writing just now; nothing was begun. Never leaves this module's users."""


class RowRefusedError(Exception):
    """A row of the batch cannot be stored; nothing of the batch was written."""


class Row(Protocol):
    """One append, ready to be written."""

    @property
    def size(self) -> int:
        """Its bytes."""


RowT = TypeVar("RowT", bound=Row, contravariant=True)


class Writer(Protocol[RowT]):
    """What writes: see ``JournalWriter``, whose words hold here too."""

    @property
    def is_open(self) -> bool:
        """False after a fault, until ``open``."""

    @property
    def needs_checkpoint(self) -> bool:
        """True when ``checkpoint`` is due."""

    def open(self) -> None:
        """Make ready again after a fault."""

    def prepare(self, rows: Sequence[RowT], *, wait: bool) -> list[FsmSagaError | None]:
        """Begin, write the rows, and return for each why it was refused, or None."""

    def commit(self) -> None:
        """Make durable what was prepared."""

    def checkpoint(self) -> None:
        """Tidy up."""

    def abandon(self) -> None:
        """Give up what was begun; ``open`` makes ready again."""


@dataclass(slots=True)
class _Pending:
    """An append that somebody waits for."""

    row: Any
    future: asyncio.Future[None]


Outcomes = Sequence[FsmSagaError | None]


class GroupCommit:
    """Queues appends and other jobs for one writer and commits them together."""

    def __init__(self, writer: Writer[Any], executor: Executor) -> None:
        self._writer = writer
        self._executor = executor
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Pending] = deque()
        self._jobs: deque[Callable[[], None]] = deque()
        self._is_scheduled = False
        self._is_busy = False
        self._is_jobs_turn = True
        self._commit_s = 0.0
        self._drained: asyncio.Future[None] | None = None

    async def append(self, row: Row) -> None:
        """Return when the row is durable.

        Its place in the queue is taken before this first waits, so appends are applied in the
        order of the calls. The queue needs no bound of its own: each saga waits for its append.

        Raises:
            FsmSagaError: As the writer says.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        self._queue.append(_Pending(row, future))
        if not self._is_scheduled and not self._is_busy:
            self._is_scheduled = True
            self._loop.call_soon(self._flush)
        await future

    async def run(self, job: Callable[[], T]) -> T:
        """Return what ``job`` returns; it has the writer to itself, on the thread."""
        future: asyncio.Future[T] = self._loop.create_future()

        def run_and_tell() -> None:
            self._in_thread(lambda: self._opened(job), lambda done: _pass_on(done, future))

        self._jobs.append(run_and_tell)
        self._schedule()
        return await future

    async def run_quick(self, job: Callable[[], T]) -> T:
        """Return what ``job`` returns; it runs right here if the writer is free."""
        if self._is_busy or self._jobs or not self._writer.is_open:
            return await self.run(job)
        return job()

    async def drain(self) -> None:
        """Return when everything that was accepted is done."""
        while self._is_busy or self._queue or self._jobs:
            if self._drained is None:
                self._drained = self._loop.create_future()
            self._schedule()
            # Shielded: others may wait for it too, and it is answered whoever gives up.
            await asyncio.shield(self._drained)

    # --- on the loop -----------------------------------------------------------------------------

    def _schedule(self) -> None:
        if not self._is_scheduled and not self._is_busy:
            self._is_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Start what comes next: a job or the appends that wait, in turn if there are both."""
        self._is_scheduled = False
        if self._is_busy:
            return
        is_job_next = bool(self._jobs) and (self._is_jobs_turn or not self._queue)
        self._is_jobs_turn = not is_job_next
        if is_job_next:
            self._jobs.popleft()()
        elif self._queue:
            self._write(self._next_batch())
        if not self._is_busy:
            self._go_on()

    def _go_on(self) -> None:
        if self._writer.is_open and self._writer.needs_checkpoint:
            # Before anything that waits: under a load that never pauses it would not come at all.
            self._in_thread(self._writer.checkpoint, _log_failure)
        elif self._queue or self._jobs:
            self._schedule()
        elif self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    def _next_batch(self) -> list[_Pending]:
        queue, size = self._queue, 0
        batch: list[_Pending] = []
        while queue and len(batch) < BATCH_APPENDS_MAX and size < BATCH_BYTES_MAX:
            pending = queue.popleft()
            size += pending.row.size
            batch.append(pending)
        return batch

    def _write(self, batch: list[_Pending]) -> None:
        rows = [pending.row for pending in batch]
        if not self._writer.is_open:
            self._write_in_thread(batch, rows)
            return
        outcomes: list[FsmSagaError | None] = [None] * len(rows)
        try:
            outcomes = self._writer.prepare(rows, wait=False)
            if self._commits_slowly(rows):
                self._commit_in_thread(batch, outcomes)
                return
            self._commit()
        except (WriterBusyError, RowRefusedError):
            self._write_in_thread(batch, rows)
            return
        except FsmSagaError as error:
            outcomes = [outcome or error for outcome in outcomes]
        except BaseException as error:  # boundary: raised again, once nobody is left waiting
            self._writer.abandon()  # whatever it had begun
            _settle(batch, [_bug(error)] * len(batch))
            raise
        _settle(batch, outcomes)

    def _commits_slowly(self, rows: list[Any]) -> bool:
        size = sum([row.size for row in rows])
        return self._commit_s > INLINE_COMMIT_S_MAX or size > INLINE_BYTES_MAX

    def _commit(self) -> None:
        started = time.perf_counter()
        self._writer.commit()
        # Mostly the recent past: after one slow commit the thread takes over for about ten.
        self._commit_s += (time.perf_counter() - started - self._commit_s) / 4

    def _commit_in_thread(self, batch: list[_Pending], outcomes: Outcomes) -> None:
        self._in_thread(self._commit, lambda done: _settle(batch, _outcomes(done, outcomes)))

    def _write_in_thread(self, batch: list[_Pending], rows: list[Any]) -> None:
        def write() -> Outcomes:
            try:
                return self._opened(lambda: self._write_now(rows))
            except RowRefusedError:
                return [self._write_alone(row) for row in rows]

        def tell(done: asyncio.Future[Outcomes]) -> None:
            _settle(batch, _outcomes(done, [None] * len(batch)))

        self._in_thread(write, tell)

    # --- the thread ------------------------------------------------------------------------------

    def _in_thread(self, job: Callable[[], T], tell: Callable[[asyncio.Future[T]], None]) -> None:
        """Run ``job`` on the thread, which has the writer until ``tell`` was told on the loop."""

        def finished(done: asyncio.Future[T]) -> None:
            self._is_busy = False
            tell(done)
            self._go_on()

        self._is_busy = True
        self._loop.run_in_executor(self._executor, job).add_done_callback(finished)

    def _opened(self, job: Callable[[], T]) -> T:
        if not self._writer.is_open:
            self._writer.open()
        return job()

    def _write_now(self, rows: list[Any]) -> Outcomes:
        outcomes = self._writer.prepare(rows, wait=True)
        self._commit()
        return outcomes

    def _write_alone(self, row: Any) -> FsmSagaError | None:
        """Write one row of a batch that had a bad one in it; return what became of it."""
        try:
            return self._opened(lambda: self._write_now([row]))[0]
        except RowRefusedError as error:
            return InvariantBrokenError(
                f"An append cannot be stored: {error}. Nothing of it was written; such a value has "
                "to be refused where it comes in, so this is a bug of fsm_saga."
            )
        except FsmSagaError as error:
            return error


def _settle(batch: list[_Pending], outcomes: Outcomes) -> None:
    """Tell everybody who still waits what became of the append."""
    for pending, outcome in zip(batch, outcomes, strict=True):
        if pending.future.done():
            continue
        if outcome is None:
            pending.future.set_result(None)
        else:
            # An instance for each: raising one twice would mix up their tracebacks.
            error = type(outcome)(outcome.message, **outcome.facts)
            error.__cause__ = outcome.__cause__
            pending.future.set_exception(error)


def _outcomes(done: asyncio.Future[Any], outcomes: Outcomes) -> Outcomes:
    """Return the outcomes if the thread's work succeeded, else its error for the rest."""
    error = done.exception()
    if error is None:
        return done.result() or outcomes
    failure = error if isinstance(error, FsmSagaError) else _bug(error)
    return [outcome or failure for outcome in outcomes]


def _log_failure(done: asyncio.Future[None]) -> None:
    """Log why tidying up failed: nothing was lost, and the next append opens the writer again."""
    error = done.exception()
    if error is not None:
        logger.warning("checkpoint failed", exc_info=error)


def _pass_on(done: asyncio.Future[T], waiting: asyncio.Future[T]) -> None:
    if waiting.done():
        return
    error = done.exception()
    if error is None:
        waiting.set_result(done.result())
    else:
        waiting.set_exception(error)


def _bug(cause: BaseException | None = None) -> InvariantBrokenError:
    error = InvariantBrokenError(
        "A store broke off in the middle of an append. What was being written may or may not be "
        "there; this is a bug of fsm_saga."
    )
    error.__cause__ = cause
    return error
