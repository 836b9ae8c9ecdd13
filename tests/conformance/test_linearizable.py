"""What several clients see of one store at the same time is what could have happened in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from fsm_saga.core.records import Record
from fsm_saga.errors import ConflictError
from fsm_saga.ports import Append, Head, Store
from fsm_saga.stores.memory import MemoryStore
from tests.conformance.backends import Backend
from tests.conformance.histories import JOURNAL, Appended, Client, History, Loaded
from tests.support.linearizable import find_impossible

SAGAS = ("trip-0", "trip-1", "trip-2")
OPERATIONS = 40
SEEDS = range(3)


def clients_of(
    store: Store, history: History, *, names: str, seed: int, sagas: Sequence[str] = SAGAS
) -> list[Client]:
    return [
        Client(name, store, history, sagas=sagas, seed=f"{seed}.{name}") for name in names.split()
    ]


def counted(history: History, kind: type[Any]) -> int:
    return sum(isinstance(operation.what, kind) for operation in history.operations)


@pytest.mark.parametrize("seed", SEEDS)
async def test_several_clients_of_one_writer_and_its_readers_see_one_order(
    backend: Backend, seed: int
) -> None:
    history = History()
    async with backend.writer() as writer, backend.reader() as one, backend.reader() as other:
        writing = clients_of(writer, history, names="a b c d", seed=seed)
        reading = [
            *clients_of(one, history, names="r", seed=seed),
            *clients_of(other, history, names="s", seed=seed),
        ]
        await asyncio.gather(
            *(client.work(OPERATIONS) for client in writing),
            *(client.work(OPERATIONS, may_append=False) for client in reading),
        )
    assert counted(history, Appended) > OPERATIONS / 2
    assert counted(history, Loaded) > OPERATIONS / 2
    impossible = find_impossible(history.operations, JOURNAL)
    assert impossible is None, str(impossible)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_writer_that_is_replaced_in_the_middle_leaves_one_order(
    backend: Backend, seed: int
) -> None:
    history = History()
    async with backend.writer() as old, backend.reader() as reader:
        first = clients_of(old, history, names="a b", seed=seed)
        looking = clients_of(reader, history, names="r", seed=seed)[0]
        await asyncio.gather(*(client.work(OPERATIONS // 2) for client in first))
        at_work = [asyncio.ensure_future(client.work(10 * OPERATIONS)) for client in first]
        at_work.append(asyncio.ensure_future(looking.work(OPERATIONS, may_append=False)))
        async with backend.usurper() as new:
            second = clients_of(new, history, names="c d", seed=seed)
            await asyncio.gather(*(client.work(OPERATIONS) for client in second), *at_work)
    assert all(client.is_fenced for client in first)
    impossible = find_impossible(history.operations, JOURNAL)
    assert impossible is None, str(impossible)


# --- stores that lie, to see that they are found out ---------------------------------------------


class StaleReads(MemoryStore):
    """Shows now and then what it had shown before."""

    shown: tuple[Record, ...] | None = None

    async def load(self, saga_id: str) -> tuple[Record, ...] | None:
        self.shown, stale = await super().load(saga_id), self.shown
        return stale or self.shown


class LostAppends(MemoryStore):
    """Acknowledges some appends that it does not keep."""

    calls = 0

    async def append(self, append: Append) -> None:
        self.calls += 1
        if self.calls % 7:
            await super().append(append)


class AppendsAnywhere(MemoryStore):
    """Takes an append wherever the journal is, as if nobody had come first."""

    async def append(self, append: Append) -> None:
        try:
            await super().append(append)
        except ConflictError:
            return


class RefusesAndKeeps(MemoryStore):
    """Says that there was a conflict, of some appends that it has kept."""

    calls = 0

    async def append(self, append: Append) -> None:
        await super().append(append)
        self.calls += 1
        if self.calls % 7 == 0:
            raise ConflictError("no", saga_id=append.saga_id, expected=append.position, found=9)


class LateHeads(MemoryStore):
    """Lists heads as they were the last time."""

    before: Sequence[Head] = ()

    async def heads(
        self, *, only_unfinished: bool = False, limit: int | None = None
    ) -> Sequence[Head]:
        heads = await super().heads(only_unfinished=only_unfinished, limit=limit)
        self.before, shown = heads, self.before
        return shown


LIARS: list[Callable[..., MemoryStore]] = [
    StaleReads,
    LostAppends,
    AppendsAnywhere,
    RefusesAndKeeps,
    LateHeads,
]


@pytest.mark.parametrize("liar", LIARS)
async def test_a_store_that_lies_is_found_out(liar: type[MemoryStore]) -> None:
    history = History()
    store = liar.open("memory://")
    writing = clients_of(store, history, names="a b c d", seed=1, sagas=SAGAS[:1])
    await asyncio.gather(*(client.work(OPERATIONS) for client in writing))
    assert find_impossible(history.operations, JOURNAL) is not None
