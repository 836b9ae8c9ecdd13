"""Group commit: appends that come while one batch is under way share the next.

A batch is one script, so it is one step for every reader, and one sync of the journal on a server
that syncs at each write. Appends of one saga keep their order: only one batch is under way.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from fsm_saga.errors import FsmSagaError, InvariantBrokenError, StoreUnavailableError
from fsm_saga.stores.redis_layout import AppendValue, removal_mark
from fsm_saga.stores.redis_link import RedisLink
from fsm_saga.stores.redis_losses import marked_as_lost, note_commits, went_back
from fsm_saga.stores.redis_scripts import APPEND
from fsm_saga.stores.refusals import conflict, fenced

BATCH_APPENDS_MAX = 128
BATCH_BYTES_MAX = 4 * 2**20
BEGINNINGS_TRIED = 20


@dataclass(slots=True, eq=False)
class Lead:
    """One term of a shard, as its writer knows it.

    Attributes:
        guard: What ``leaders`` must say of the shard.
        commits: How many commits were confirmed; a server that knows of fewer has lost some.
        removals: How many removals of sagas are known, by mark.
    """

    shard: int
    epoch: int
    guard: str
    commits: int = 0
    removals: dict[int, int] = field(default_factory=dict)

    def note_removals(self, mark: int, count: int) -> None:
        """Take note of how many there were; an answer that comes late takes nothing back."""
        self.removals[mark] = max(count, self.removals.get(mark, 0))


class OvertakenError(StoreUnavailableError):
    """A first append was built before a removal that came before it: it is built anew."""


@dataclass(slots=True)
class _Pending:
    lead: Lead
    value: AppendValue
    written: asyncio.Future[None]


class RedisCommits:
    """Queues the appends of all terms over one link and writes them together."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._queue: deque[_Pending] = deque()
        self._task: asyncio.Task[None] | None = None
        self._batches = itertools.count(1)

    async def append(self, lead: Lead, value: AppendValue) -> None:
        """Return when it is written.

        Its place in the queue is taken before this first waits. The queue needs no bound of its
        own: each saga waits for its append.

        Raises:
            ConflictError: The journal is elsewhere; nothing was written.
            FencedError: The term has ended; nothing was written.
            StoreError: The server has lost what it had confirmed; nothing was written.
            StoreUnavailableError: The server failed; it may or may not be written.
        """
        for tries_left in reversed(range(BEGINNINGS_TRIED)):
            written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._queue.append(_Pending(lead, value, written))
            if self._task is None:
                self._task = asyncio.create_task(self._work(), name="redis appends")
            try:
                await written
            except OvertakenError as error:
                if not tries_left:
                    raise StoreUnavailableError(error.message, **error.facts) from error
            else:
                return

    async def drain(self) -> None:
        """Return when everything that was accepted is written or refused."""
        while self._task is not None:
            await asyncio.wait((self._task,))

    async def _work(self) -> None:
        try:
            while self._queue:
                await asyncio.sleep(0)  # whoever is about to append joins
                batch = self._next_batch()
                try:
                    outcomes = await self._write(batch)
                except FsmSagaError as error:
                    outcomes = [error] * len(batch)
                except BaseException as error:  # boundary: nobody of them is left waiting
                    waiting = [*batch, *self._queue]
                    self._queue.clear()
                    _settle(waiting, [_bug(error)] * len(waiting))
                    raise
                _settle(batch, outcomes)
        finally:
            self._task = None

    def _next_batch(self) -> list[_Pending]:
        batch: list[_Pending] = []
        size = 0
        while self._queue and len(batch) < BATCH_APPENDS_MAX and size < BATCH_BYTES_MAX:
            pending = self._queue.popleft()
            size += pending.value.size
            batch.append(pending)
        return batch

    async def _write(self, batch: Sequence[_Pending]) -> Sequence[FsmSagaError | None]:
        leads = list(dict.fromkeys(pending.lead for pending in batch))
        layout = self._link.layout
        batch_number = next(self._batches)
        arguments: list[bytes | str | int] = [layout.root, batch_number, len(leads)]
        for lead in leads:
            arguments += [lead.shard, lead.guard, lead.commits]
        places = {lead: place for place, lead in enumerate(leads, start=1)}
        for pending in batch:
            value = pending.value
            final = "final" if value.is_final else ""
            arguments += [places[pending.lead], value.saga_id, value.position, final]
            arguments += [value.entry, value.head, _removals_known(pending)]
        keys = (layout.leaders, layout.commits, layout.heads, layout.all, layout.sagas, layout.lost)
        known = {lead.shard: lead.commits for lead in leads}
        answer = await self._link.run_in_order(APPEND, keys, *arguments)
        if not _is_of(answer, batch_number):
            await self._link.drop_order()
            raise self._link.unavailable(ValueError("it answers something else"))
        _, commits, results = answer
        refusals = [
            self._refusal(pending, result.decode())
            for pending, result in zip(batch, results, strict=True)
        ]
        for lead, count in zip(leads, commits, strict=True):
            lead.commits = max(lead.commits, count)
        found = {lead.shard: count for lead, count in zip(leads, commits, strict=True)}
        await note_commits(self._link, found, known=known)
        return refusals

    def _refusal(self, pending: _Pending, result: str) -> FsmSagaError | None:
        if not result:
            return None
        kind, _, fact = result.partition(" ")
        if kind == "fenced":
            return fenced_by(self._link.url, pending.lead, result)
        if kind == "back":
            confirmed = pending.lead.commits
            return went_back(self._link, pending.lead.shard, found=int(fact), confirmed=confirmed)
        if kind == "lost":
            return marked_as_lost(self._link)
        if kind == "removed":
            pending.lead.note_removals(removal_mark(pending.value.saga_id), int(fact))
            return self._overtaken(pending.value.saga_id)
        value, found = pending.value, int(fact) if fact else None
        return conflict(value.saga_id, expected=value.position, found=found)

    def _overtaken(self, saga_id: str) -> OvertakenError:
        return OvertakenError(
            f"Saga {saga_id!r} was not begun in store {self._link.url!r}: others were removed at "
            "the very moment, again and again. Nothing was written; try again.",
            path=self._link.url,
            reason="too many removals at a time",
        )


def _removals_known(pending: _Pending) -> str:
    """Return what a first append names: the removals that it knows of; else nothing."""
    if pending.value.position:
        return ""
    mark = removal_mark(pending.value.saga_id)
    return f"{mark}:{pending.lead.removals.get(mark, 0)}"


def fenced_by(url: str, lead: Lead, result: str) -> FsmSagaError:
    """Return the error for a script's ``fenced <epoch> <member>``."""
    said = result.removeprefix("fenced").split()
    leader = int(said[0]) if said and said[0].isdecimal() else None
    return fenced(url, epoch=lead.epoch, leader=leader)


def _is_of(answer: object, batch_number: int) -> bool:
    """Return whether an answer is that of this batch, and not one that was left on the line."""
    return isinstance(answer, list) and len(answer) == 3 and answer[0] == b"%d" % batch_number


def _settle(batch: Sequence[_Pending], outcomes: Sequence[FsmSagaError | None]) -> None:
    for pending, outcome in zip(batch, outcomes, strict=True):
        if pending.written.done():
            continue
        if outcome is None:
            pending.written.set_result(None)
        else:
            # An instance for each: raising one twice would mix up their tracebacks.
            error = type(outcome)(outcome.message, **outcome.facts)
            error.__cause__ = outcome.__cause__
            pending.written.set_exception(error)


def _bug(cause: BaseException) -> InvariantBrokenError:
    error = InvariantBrokenError(
        "A store broke off in the middle of an append. What was being written may or may not be "
        "there; this is a bug of fsm_saga."
    )
    error.__cause__ = cause
    return error
