"""What arrives late at a server: copies of first appends, when their saga was removed meanwhile.

A request can be held up on its way for any time, after whoever sent it has given up. Until the
saga is removed its journal refuses the copy; after that nothing is left of it that could. (On this
machine a transaction is over when it is answered, so the local stores have nothing to hold up.)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fsm_saga.errors import StoreUnavailableError
from fsm_saga.etcd.errors import UnknownOutcomeError
from fsm_saga.ports import ClusterStore, Store
from fsm_saga.stores.etcd_cluster import open_etcd_cluster
from fsm_saga.stores.redis_cluster import open_redis_cluster
from tests.conformance.samples import append_of, store_saga, submitted
from tests.conformance.server_backends import leading_all


class Line:
    """The way to a server: what is sent can be kept back, and sent late, or sent once more."""

    def __init__(self, send: Callable[..., Awaitable[Any]], lost: Exception) -> None:
        self.is_blocked = False
        self.sent: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self._send = send
        self._lost = lost

    async def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.sent.append((arguments, options))
        if self.is_blocked:
            raise self._lost
        return await self._send(*arguments, **options)

    async def arrive_again(self) -> int:
        """Let every write that was sent so far arrive now; return how many there were."""
        copies, self.sent = self.sent, []
        for arguments, options in copies:
            await self._send(*arguments, **options)
        return len(copies)


@pytest.fixture(params=["etcd", "redis"])
async def at(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Store, Line]]:
    """Give a store, open for writing, and the way that its appends take."""
    server = request.getfixturevalue(request.param)
    prefix = request.getfixturevalue("server_prefix")
    async with (
        _connected(request.param, server, prefix) as (cluster, line),
        leading_all(cluster) as store,
    ):
        line.sent.clear()
        yield store, line


@asynccontextmanager
async def _connected(
    kind: str, server: Any, prefix: str
) -> AsyncIterator[tuple[ClusterStore, Line]]:
    cluster: Any
    if kind == "etcd":
        cluster = await open_etcd_cluster(f"etcd://{server.address}/{prefix}", shards=1)
        transport = cluster.link.transport
        line = transport.txn = Line(transport.txn, UnknownOutcomeError("The answer was lost."))
    else:
        cluster = await open_redis_cluster(f"{server.url}?prefix={prefix}", shards=1)
        link = cluster._link
        lost = StoreUnavailableError("The answer was lost.", reason="lost")
        line = link.run_in_order = Line(link.run_in_order, lost)
    try:
        yield cluster, line
    finally:
        await cluster.close()


async def test_a_copy_of_a_first_append_changes_nothing_while_the_saga_is_there(
    at: tuple[Store, Line],
) -> None:
    store, line = at
    await store_saga(store, "trip-7", state="DONE")
    assert await line.arrive_again() == 2
    assert len(await store.load("trip-7") or ()) == 3


async def test_a_copy_of_a_first_append_does_not_begin_a_removed_saga_anew(
    at: tuple[Store, Line],
) -> None:
    store, line = at
    await store_saga(store, "trip-7", state="DONE")
    copies, line.sent = line.sent, []
    await store.remove("trip-7", position=3)
    line.sent = copies
    assert await line.arrive_again() == 2
    assert await store.load("trip-7") is None
    assert list(await store.heads()) == []
    assert list(await store.heads(only_unfinished=True)) == []


async def test_a_first_append_that_was_held_up_while_its_saga_lived_and_went_comes_too_late(
    at: tuple[Store, Line],
) -> None:
    """It was sent, given up, read back and sent anew; then all of the saga's life goes by."""
    store, line = at
    await store_saga(store, "trip-6", state="DONE")
    await store.remove("trip-6")
    line.sent.clear()
    line.is_blocked = True
    with pytest.raises(StoreUnavailableError):
        await store.append(append_of("trip-7", 0, submitted("trip-7")))
    line.is_blocked = False
    held_up, line.sent = line.sent, []
    assert await store.load("trip-7") is None
    for _ in range(2):
        await store_saga(store, "trip-7", state="DONE")
        await store.remove("trip-7", position=3)
    line.sent = held_up
    assert await line.arrive_again() == 1
    assert await store.load("trip-7") is None
    assert await store.head("trip-7") is None


async def test_new_sagas_begin_while_others_are_removed(at: tuple[Store, Line]) -> None:
    """First appends that a removal overtakes are sent anew: who appends sees nothing of it."""
    store, _line = at
    old, new = [f"old-{number}" for number in range(80)], [f"new-{number}" for number in range(160)]
    await asyncio.gather(*(store_saga(store, saga_id, state="DONE") for saga_id in old))
    removals = [store.remove(saga_id, position=3) for saga_id in old]
    begun = [store.append(append_of(saga_id, 0, submitted(saga_id))) for saga_id in new]
    async with asyncio.timeout(60.0):
        await asyncio.gather(*removals, *begun)
    assert {head.saga_id for head in await store.heads()} == set(new)


async def test_a_leader_that_knows_of_no_removal_yet_learns_of_it(
    at: tuple[Store, Line],
) -> None:
    """As after an answer to a removal that was lost."""
    store, _line = at
    for _ in range(2):
        await store_saga(store, "trip-7", state="DONE")
        _forget_removals(store)
        await store.remove("trip-7")
        _forget_removals(store)
    await store_saga(store, "trip-7")
    assert len(await store.load("trip-7") or ()) == 3


def _forget_removals(store: Any) -> None:
    if hasattr(store, "_leads"):
        store._leads[0].removals.clear()
    else:
        store._link._removals.clear()
