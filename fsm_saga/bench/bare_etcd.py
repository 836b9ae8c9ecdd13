"""What etcd gives without us: the same appends as transactions, written without an engine.

Comparisons, keys and values are those of the store's own appends. What is left out is everything
before the client: asyncio tasks of sagas, decisions, encoding. The grouped form is the best that
was found for etcd, many appends nested in one transaction and two of these on their way.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

from fsm_saga.bench.workloads import Moment, appends_of
from fsm_saga.etcd.data import Delete, Put, Txn, create_revision_is, is_absent
from fsm_saga.etcd.transport import EtcdTransport
from fsm_saga.stores.etcd_layout import Layout, interval
from fsm_saga.stores.etcd_transports import open_transport
from fsm_saga.stores.etcd_url import parse_etcd_url
from fsm_saga.stores.etcd_values import end_value, entry_values

GROUP = 64
IN_FLIGHT = 2


def bare_saga_ms(url: str, moments: list[Moment], *, sagas: int) -> float:
    """Return the median time of one saga's appends, each a transaction of its own."""
    return asyncio.run(_alone(url, moments, sagas))


def bare_appends_per_s(url: str, moments: list[Moment], *, rounds: int) -> float:
    """Return the appends per second when they are nested in shared transactions."""
    return asyncio.run(_grouped(url, moments, rounds))


def remove_store(url: str) -> None:
    """Remove everything below the URL's prefix: for a store that was made to be measured."""
    asyncio.run(_remove(url))


async def _remove(url: str) -> None:
    asked = parse_etcd_url(url)
    key, end = interval(Layout(asked.prefix).root)
    async with AsyncExitStack() as stack:
        transport = await open_transport(asked)
        stack.push_async_callback(transport.close)
        await transport.delete(Delete(key=key, range_end=end), timeout_s=60.0)


async def _alone(url: str, moments: list[Moment], sagas: int) -> float:
    bare = await _Bare.open(url)
    taken = []
    for number in range(sagas):
        writes = bare.writes(moments, f"alone-{number}")
        started = time.perf_counter()
        for write in writes:
            await bare.transport.txn(write)
        taken.append(time.perf_counter() - started)
    await bare.close()
    return statistics.median(taken) * 1e3


async def _grouped(url: str, moments: list[Moment], rounds: int) -> float:
    bare = await _Bare.open(url)
    commits = [
        Txn(compares=bare.leads, success=tuple(group))
        for generation in range(rounds * IN_FLIGHT)
        for group in zip(
            *(bare.writes(moments, f"grouped-{generation}-{n}") for n in range(GROUP)), strict=True
        )
    ]
    started = time.perf_counter()
    await asyncio.gather(*(bare.send(commits[lane::IN_FLIGHT]) for lane in range(IN_FLIGHT)))
    spent = time.perf_counter() - started
    await bare.close()
    return len(commits) * GROUP / spent


class _Bare:
    """A connection and a leader's key, under a prefix that is removed in the end."""

    def __init__(self, transport: EtcdTransport, layout: Layout, epoch: int) -> None:
        self.transport = transport
        self.leads = (create_revision_is(layout.leader(0), epoch),)
        self._layout = layout

    @classmethod
    async def open(cls, url: str) -> _Bare:
        asked = parse_etcd_url(url)
        transport, layout = await open_transport(asked), Layout(f"{asked.prefix}bare/")
        written = await transport.put(Put(key=layout.leader(0), value=b""))
        return cls(transport, layout, written.revision)

    def writes(self, moments: list[Moment], saga_id: str) -> list[Txn]:
        """Return the appends of a saga as transactions, made before the clock starts."""
        writes = []
        for append in appends_of(moments, saga_id):
            entry = self._layout.entry(saga_id, append.head.position)
            live = self._layout.live_saga(0, saga_id)
            writes.append(
                Txn(
                    compares=(*self.leads, is_absent(entry)),
                    success=(
                        Put(key=entry, value=entry_values(self._layout, append).value),
                        Put(key=live, value=end_value(live, append.head.position)),
                    ),
                )
            )
        return writes

    async def send(self, commits: Sequence[Txn]) -> None:
        """Send one after the other."""
        for commit in commits:
            await self.transport.txn(commit)

    async def close(self) -> None:
        """Remove what was written."""
        key, end = interval(self._layout.root)
        await self.transport.delete(Delete(key=key, range_end=end), timeout_s=30.0)
        await self.transport.close()
