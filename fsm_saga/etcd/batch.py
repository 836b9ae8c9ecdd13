"""Group commit: transactions of many sagas as one transaction of etcd.

One raft entry costs the same whether it holds one saga's step or a hundred, so steps that come
while others are on their way travel together: an outer transaction that compares the leader's
fence, with one inner transaction for each member, whose comparisons decide for it alone. Nothing
waits for company: an idle batcher sends at the end of the loop's turn.

Etcd counts against its space quota what the outermost transaction puts, and nothing that inner
ones do: to a store that is full they would go on writing until the disk is. So a commit that puts
anything also has a put that is never done, in the branch that is never taken.

A member keeps its meaning in company. Members that write, or look at, what another one writes do
not share a commit; and of those that write the same key the later is sent only when the earlier
has been answered, so that they take effect in the order in which they were submitted. Members that
etcd refuses are found by halving the batch; the others do not suffer by them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from fsm_saga.etcd.data import (
    Compare,
    Operation,
    Put,
    Range,
    RangeResult,
    Txn,
    TxnResult,
)
from fsm_saga.etcd.errors import (
    DuplicateKeyError,
    EtcdError,
    FenceLostError,
    InvalidRequestError,
    LeaseNotFoundError,
    NotSentError,
    TooLargeError,
    TooManyOperationsError,
    UnknownOutcomeError,
)
from fsm_saga.etcd.footprint import Company, Footprint, footprint
from fsm_saga.etcd.transport import EtcdTransport

# etcd's own limit, --max-txn-ops; an inner transaction has what the outer one leaves.
OPERATIONS_MAX: Final = 128

# How far behind the head of the queue a batch looks for members, in members of a full batch.
LOOK_AHEAD: Final = 4

# Refused because of one member: etcd has applied nothing, and halving finds which.
_ONE_MEMBERS_FAULT = (
    DuplicateKeyError,
    InvalidRequestError,
    LeaseNotFoundError,
    TooLargeError,
    TooManyOperationsError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """How much goes into one commit and how many are on their way.

    The defaults leave room below etcd's own limits of 128 operations and 1.5 MiB.
    """

    member_max: int = 64
    bytes_max: int = 2**20
    in_flight_max: int = 2


@dataclass(slots=True, eq=False)
class _Waiting:
    txn: Txn
    footprint: Footprint
    future: asyncio.Future[TxnResult]


class Batcher:
    """Made by ``open_batcher``."""

    def __init__(
        self,
        transport: EtcdTransport,
        *,
        fence: Sequence[Compare],
        limits: BatchLimits,
        timeout_s: float | None,
    ) -> None:
        self._transport = transport
        self._fence = tuple(fence)
        self._who_leads = tuple(Range(key=compare.key) for compare in fence)
        self._limits = limits
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Waiting] = deque()
        self._busy: set[bytes] = set()
        self._sending: set[_Waiting] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_scheduled = False
        self._is_closed = False
        self._broken_by: BaseException | None = None

    async def submit(self, txn: Txn, *, order_keys: Iterable[bytes] = ()) -> TxnResult:
        """Commit the transaction, in whatever company, and return its own result.

        Its place in the order is taken before this first waits. When it is cancelled before the
        transaction is sent, the transaction is never sent. The queue needs no bound of its own:
        each caller waits for what it submitted.

        Args:
            txn: Comparisons and writes of single keys; ``revision`` of its result is the commit's.
            order_keys: Transactions with a key in common take effect in the order of the calls;
                what they write counts without being named.

        Raises:
            FenceLostError: The fence does not hold; nothing was written.
            UnknownOutcomeError: No clear answer to the whole commit.
            NothingWrittenError: This transaction was refused; nothing of it was written.
            ValueError: It cannot share a commit, see ``footprint``.
            RuntimeError: The batcher is closed.
        """
        if self._is_closed:
            raise RuntimeError("The batcher is closed and takes nothing more.")
        waiting = _Waiting(txn, footprint(txn, order_keys), self._loop.create_future())
        self._queue.append(waiting)
        if not self._is_scheduled:
            self._is_scheduled = True
            # At the end of the loop's turn: whoever submits in the same turn comes along.
            self._loop.call_soon(self._pump)
        return await waiting.future

    def _pump(self) -> None:
        self._is_scheduled = False
        while len(self._tasks) < self._limits.in_flight_max:
            batch, together = self._take()
            if not batch:
                return
            self._sending.update(batch)
            self._busy |= together.writes
            task = self._loop.create_task(self._send(batch, together), name="etcd batch")
            self._tasks.add(task)
            task.add_done_callback(self._sent)

    def _take(self) -> tuple[list[_Waiting], Company]:
        """Take from the queue what can go together now, the oldest first."""
        limits = self._limits
        batch: list[_Waiting] = []
        together = Company()
        passed: list[_Waiting] = []
        passed_writes: set[bytes] = set()
        look_max = limits.member_max * LOOK_AHEAD
        while self._queue and len(batch) < limits.member_max and len(passed) < look_max:
            waiting = self._queue.popleft()
            if waiting.future.done():
                continue  # its caller gave up before it was sent
            own = waiting.footprint
            is_full = batch and (
                together.size + own.size > limits.bytes_max
                or len(batch) + 2 + max(together.operations, own.operations) > OPERATIONS_MAX
            )
            if (
                is_full
                or not own.writes.isdisjoint(self._busy)
                or not own.writes.isdisjoint(passed_writes)
                or not together.fits(own)
            ):
                passed.append(waiting)
                passed_writes |= own.writes
                continue
            batch.append(waiting)
            together.add(own)
        self._queue.extendleft(reversed(passed))
        return batch, together

    async def _send(self, batch: list[_Waiting], together: Company) -> None:
        try:
            await self._commit(batch)
        finally:
            self._sending.difference_update(batch)
            self._busy -= together.writes
            # Nobody may wait for ever, whatever stopped this.
            _fail(batch, _not_waited_for())

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken_by = self._broken_by or error
            self.abandon()
        elif self._queue and not self._is_scheduled and not self._is_closed:
            self._pump()

    async def _commit(self, batch: Sequence[_Waiting]) -> None:
        try:
            result = await self._transport.txn(self._commit_of(batch), timeout_s=self._timeout_s)
        except _ONE_MEMBERS_FAULT as error:
            if len(batch) == 1:
                _fail(batch, error)
                return
            middle = len(batch) // 2
            await self._commit(batch[:middle])
            await self._commit(batch[middle:])
        except EtcdError as error:
            _fail(batch, error)
        else:
            if self._fence:
                (result,) = (each for each in result.results if isinstance(each, TxnResult))
            if result.succeeded:
                _hand_out(batch, result)
            else:
                _fail(batch, self._fence_lost(result))

    def _commit_of(self, batch: Sequence[_Waiting]) -> Txn:
        """Return the batch as one transaction, whose outermost condition always holds."""
        members = tuple([waiting.txn for waiting in batch])
        if self._fence:
            members = (Txn(compares=self._fence, success=members, failure=self._who_leads),)
        key = next(filter(None, map(_first_put, members)), None)
        never: tuple[Operation, ...] = () if key is None else (Put(key=key, value=b""),)
        return Txn(success=members, failure=never)

    def _fence_lost(self, result: TxnResult) -> FenceLostError:
        holders = {
            compare.key: found.first.create_revision if found.first else 0
            for compare, found in zip(self._fence, result.results, strict=True)
            if isinstance(found, RangeResult)
        }
        return FenceLostError(
            f"etcd refused the commit: the fence {_words(self._fence)} does not hold, the keys' "
            f"revisions of creation are now {holders}. Nothing was written; stop at once, another "
            "one leads.",
            holders=holders,
        )

    async def drain(self) -> None:
        """Return when everything that was submitted has been answered."""
        while pending := [waiting.future for waiting in (*self._queue, *self._sending)]:
            await asyncio.wait(pending)

    def abandon(self) -> None:
        """Take nothing more, and answer whoever still waits."""
        self._is_closed = True
        _fail(
            self._queue,
            NotSentError(
                "The batcher sent nothing of this: it was closed before its turn came. Nothing was "
                "written; read what is there, then submit it to a new batcher."
            ),
        )
        self._queue.clear()
        _fail(self._sending, _not_waited_for())
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Abandon what is left, and raise what broke the batcher, if anything did."""
        self.abandon()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._broken_by is not None:
            raise self._broken_by


def _first_put(operation: Operation) -> bytes | None:
    """Return a key that an operation may put, or None if it puts none."""
    if isinstance(operation, Put):
        return operation.key
    if isinstance(operation, Txn):
        below = (*operation.success, *operation.failure)
        return next(filter(None, map(_first_put, below)), None)
    return None


def _not_waited_for() -> UnknownOutcomeError:
    return UnknownOutcomeError(
        "etcd was not waited for: the batcher was closed meanwhile. What was submitted may have "
        "been applied, or may still be; read back."
    )


def _hand_out(batch: Sequence[_Waiting], result: TxnResult) -> None:
    for waiting, own in zip(batch, result.results, strict=True):
        if isinstance(own, TxnResult) and not waiting.future.done():
            waiting.future.set_result(own)


def _fail(batch: Iterable[_Waiting], error: EtcdError) -> None:
    for waiting in batch:
        if not waiting.future.done():
            # Each caller gets an error of its own: tracebacks are added to it.
            waiting.future.set_exception(type(error)(error.message, **error.facts))


def _words(fence: Sequence[Compare]) -> str:
    return ", ".join(f"{each.key!r} {each.target.name} {each.operand!r}" for each in fence)


@asynccontextmanager
async def open_batcher(
    transport: EtcdTransport,
    *,
    fence: Sequence[Compare] = (),
    limits: BatchLimits = BatchLimits(),  # frozen
    timeout_s: float | None = None,
) -> AsyncIterator[Batcher]:
    """Open a batcher; the end of the context answers everything that was submitted.

    Args:
        transport: The cluster.
        fence: What every commit compares first, for example ``(leadership.guard(),)``.
        limits: How much goes into one commit.
        timeout_s: How long one commit may take; as the transport says when None.
    """
    # Not a task group: what the body raises is to come out as it is.
    batcher = Batcher(transport, fence=fence, limits=limits, timeout_s=timeout_s)
    try:
        yield batcher
        await batcher.drain()
    finally:
        await batcher.close()
