"""Finished sagas leave the store for the archive, so that a store does not grow for ever.

A saga is removed only after its journal is durable in the archive. Killed between the two, it is
in both, and the next time it is not written again but only removed.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

from msgspec import Struct

from fsm_saga.coordinator.coordinator import Coordinator
from fsm_saga.errors import (
    ConflictError,
    CorruptRecordError,
    FencedError,
    StoreError,
    StoreVersionError,
)
from fsm_saga.ports import Clock, Head, Store, Term
from fsm_saga.service.archive import Archive, Finished
from fsm_saga.service.engine import Engine
from fsm_saga.stores.heads import head_from_journal
from fsm_saga.stores.sharding import shard_of

logger = logging.getLogger("fsm_saga.service")

BATCH = 50
"""Sagas that are made durable by one sync."""
PAGE = 200
"""Sagas of which the store is asked at a time."""
WAITING_MAX = 25_000
"""Finished sagas of a shard that are remembered because they are not old enough yet."""
FIRST_S = 10.0
"""After a shard is taken over its sagas come first."""
LOOK_S = 30.0
"""The longest sleep: a clock may be set meanwhile."""
RETRY_S = 30.0
LOOK_AGAIN_S = 1.0
"""The shortest time between two looks at all that is finished."""
BREATH_S = 0.05
"""Between two batches or pages, for the sagas that are under way."""


class Archived(Struct, frozen=True, kw_only=True):
    """What became of finished sagas.

    Attributes:
        heads: Those that are in the archive now and no longer in the store.
        left: Why others were left in the store, by saga.
    """

    heads: Sequence[Head]
    left: dict[str, str]


async def archive_finished(
    store: Store,
    directory: str | os.PathLike[str] | Archive,
    *,
    older_than_s: float,
    limit: int | None = None,
    now: float,
    is_mine: Callable[[str], bool] = lambda _saga_id: True,
) -> Archived:
    """Move sagas that ended long ago from the store to the archive, the oldest first.

    A saga whose journal cannot be read, or does not end where its head says, stays where it is.

    Args:
        store: Open for writing.
        directory: The archive.
        older_than_s: Seconds since they ended.
        limit: How many at most.
        now: The time in seconds since 1970.
        is_mine: Whether the store may remove a saga: a leader's may those of its shards.

    Raises:
        StoreError: The store failed. What is not in the store is in the archive.
        OSError: The archive cannot be written to; nothing was removed that is not in it.
    """
    archive = directory if isinstance(directory, Archive) else Archive(directory)
    old: list[tuple[float, str]] = []
    async for heads in _pages(store):
        old += [
            (head.updated_at, head.saga_id)
            for head in heads
            if head.updated_at <= now - older_than_s and is_mine(head.saga_id)
        ]
    old.sort()
    moved: list[Head] = []
    left: dict[str, str] = {}
    chosen = [saga_id for _ended_at, saga_id in old[:limit]]
    for at in range(0, len(chosen), BATCH):
        done = await _move(store, archive, chosen[at : at + BATCH])
        moved += done.heads
        left |= done.left
    return Archived(heads=tuple(moved), left=left)


async def _pages(store: Store) -> AsyncIterator[Sequence[Head]]:
    """Give all that is finished in a store, some at a time."""
    after = ""
    while True:
        page = await store.finished(after=after, limit=PAGE)
        yield page.heads
        after = page.after
        if not after:
            return


async def _move(store: Store, archive: Archive, saga_ids: Sequence[str]) -> Archived:
    finished: list[Finished] = []
    left: dict[str, str] = {}
    looks = [_finished(store, saga_id) for saga_id in saga_ids]
    for saga_id, found in zip(
        saga_ids, await asyncio.gather(*looks, return_exceptions=True), strict=True
    ):
        if isinstance(found, CorruptRecordError | StoreVersionError):
            left[saga_id] = found.message
        elif isinstance(found, BaseException):
            raise found
        elif found is not None:
            finished.append(found)
    # Shielded by its thread: a cancellation leaves lines in the archive and sagas in the store.
    await asyncio.to_thread(archive.keep, finished)
    removals = [store.remove(each.head.saga_id, position=each.head.position) for each in finished]
    moved: list[Head] = []
    results = await asyncio.gather(*removals, return_exceptions=True)
    for each, result in zip(finished, results, strict=True):
        if isinstance(result, ConflictError):
            # What came late is not in the archive: the next time it goes there with the rest.
            left[each.head.saga_id] = result.message
        elif isinstance(result, BaseException):
            raise result
        else:
            moved.append(each.head)
    return Archived(heads=tuple(moved), left=left)


async def _finished(store: Store, saga_id: str) -> Finished | None:
    """Return a saga as it goes into the archive; None if it is gone, or did not end after all.

    Raises:
        CorruptRecordError: Its journal cannot be read, or its head says something else.
        StoreVersionError: A newer version has written it.
    """
    head = await store.head(saga_id)
    records = None if head is None else await store.load(saga_id)
    if head is None or records is None or not head.is_final:
        return None
    told = head_from_journal(saga_id, records)
    if not told.is_final or head.position != len(records):
        raise CorruptRecordError(
            f"Saga {saga_id!r} was not archived: its head says {head.state} after "
            f"{head.position} records, and its journal has {len(records)} and says {told.state}. "
            "Nothing was changed; `fsm-saga doctor` tells more.",
            saga_id=saga_id,
        )
    return Finished(head=head, records=records)


class _Waiting(Struct, frozen=True, kw_only=True):
    """What one look at the finished sagas of a shard has left for later.

    Attributes:
        looked_at: When the look began.
        is_all: Whether nothing else waits.
        ended: When they ended and which they are, the oldest first.
    """

    looked_at: float
    is_all: bool
    ended: Sequence[tuple[float, str]]


class Archivist:
    """Archives, as long as a coordinator serves, what ended long ago on the shards it leads.

    A look goes through what is finished on a shard page by page, archives what is old enough, and
    remembers the oldest of the rest, which follow when their time comes. What is not remembered
    ended later. So the next look is needed only after ``older_than_s``, or when there was more
    than is remembered; and what this takes of memory does not depend on how much is finished.
    """

    def __init__(
        self, archive: Archive, *, older_than_s: float, shards: int, first_s: float = FIRST_S
    ) -> None:
        """Wait for ``attach``.

        Args:
            archive: Where to.
            older_than_s: How long a saga stays in the store after its end.
            shards: How many shards the store has.
            first_s: How long after a shard was taken over its first look is.
        """
        self._archive = archive
        self._older_than_s = older_than_s
        self._shards = shards
        self._first_s = first_s
        self._turn = asyncio.Lock()

    def attach(self, term: Term, engine: Engine) -> None:
        """Archive from now on what ended on this shard, until its engine is left.

        It has the form that ``Node.attach`` asks for.
        """
        work = self._run(term, engine.coordinator, engine.clock)
        engine.coordinator.spawn(work, name=f"archive of shard {term.shard}")

    async def _run(self, term: Term, coordinator: Coordinator, clock: Clock) -> None:
        await clock.sleep(self._first_s)
        while True:
            try:
                waiting = await self._look(term, coordinator.store, clock)
                await self._drain(term, coordinator.store, clock, waiting)
            except FencedError as error:
                coordinator.stop(error)
                return
            except (StoreError, OSError) as error:
                logger.warning(
                    "finished sagas of shard %d cannot be archived now: %s", term.shard, error
                )
                await clock.sleep(RETRY_S)
                continue
            again_s = self._older_than_s if waiting.is_all else 0.0
            await self._sleep_until(waiting.looked_at + max(again_s, LOOK_AGAIN_S), clock)

    async def _look(self, term: Term, store: Store, clock: Clock) -> _Waiting:
        """Archive what is old enough on a shard, and return what follows."""
        looked_at = clock.now()
        # The youngest is on top: it is what is forgotten when there are too many.
        youngest_first: list[tuple[float, str]] = []
        is_all = True
        async for heads in self._pages(store, clock):
            until = clock.now() - self._older_than_s
            due: list[str] = []
            for head in heads:
                if shard_of(head.saga_id, self._shards) != term.shard:
                    continue
                if head.updated_at <= until:
                    due.append(head.saga_id)
                    continue
                heapq.heappush(youngest_first, (-head.updated_at, head.saga_id))
                if len(youngest_first) > WAITING_MAX:
                    heapq.heappop(youngest_first)
                    is_all = False
            for at in range(0, len(due), BATCH):
                await self._archive_some(term, store, clock, due[at : at + BATCH])
        ended = sorted((-ended_at, saga_id) for ended_at, saga_id in youngest_first)
        return _Waiting(looked_at=looked_at, is_all=is_all, ended=ended)

    async def _drain(self, term: Term, store: Store, clock: Clock, waiting: _Waiting) -> None:
        """Archive what a look has left, each saga when it is old enough."""
        rest = deque(waiting.ended)
        while rest:
            await self._sleep_until(rest[0][0] + self._older_than_s, clock)
            until = clock.now() - self._older_than_s
            due: list[str] = []
            while rest and rest[0][0] <= until and len(due) < BATCH:
                due.append(rest.popleft()[1])
            if due:
                await self._archive_some(term, store, clock, due)

    async def _pages(self, store: Store, clock: Clock) -> AsyncIterator[Sequence[Head]]:
        """Give all that is finished, and the store time for the sagas that are under way.

        The shards take turns: at a start all of them begin to look at one time.
        """
        after: str | None = ""
        while after is not None:
            async with self._turn:
                page = await store.finished(after=after, limit=PAGE)
                await clock.sleep(BREATH_S)
            yield page.heads
            after = page.after or None

    async def _archive_some(
        self, term: Term, store: Store, clock: Clock, saga_ids: Sequence[str]
    ) -> None:
        async with self._turn:
            done = await _move(store, self._archive, saga_ids)
            await clock.sleep(BREATH_S)
        for saga_id, why in done.left.items():
            logger.warning("saga %r stays in the store: %s", saga_id, why)
        if done.heads:
            logger.info("%d finished sagas of shard %d archived", len(done.heads), term.shard)

    async def _sleep_until(self, at: float, clock: Clock) -> None:
        while (left_s := at - clock.now()) > 0:
            await clock.sleep(min(left_s, LOOK_S))
