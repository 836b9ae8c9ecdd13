"""Histories of what several clients did to one store, and the model that they are held against.

The model of a saga is a list of names, one for each record, to which an append adds its own at
the position that it names, or nothing. A conflict names the position that it found. What a reader
sees, journal or head, is the whole list at one moment.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from fsm_saga.core.records import ActionStarted
from fsm_saga.errors import ConflictError, FencedError, StoreUnavailableError
from fsm_saga.ports import Append, Store
from tests.conformance.samples import head_of, started
from tests.support.linearizable import NEVER, Model, Operation

Names = tuple[str, ...]


class Appended(NamedTuple):
    """An append that was acknowledged, or of unknown outcome."""

    position: int
    names: Names


class Refused(NamedTuple):
    """An append that was refused; ``found`` is where the journal was, None if there was none."""

    position: int
    found: int | None


class Loaded(NamedTuple):
    """A journal that was loaded; None if there was none."""

    names: Names | None


class Shown(NamedTuple):
    """A head that was read, alone or in a list: position and last name, None if it was missing."""

    position: int | None
    last: str | None


def _next(names: Names, what: Hashable) -> Names | None:
    match what:
        case Appended(position, added):
            return names + added if position == len(names) else None
        case Refused(position, found):
            fits = position != len(names) and found == (len(names) or None)
        case Loaded(seen):
            fits = seen == (names or None)
        case Shown(position, last):
            fits = (position, last) == ((len(names), names[-1]) if names else (None, None))
        case _:
            raise TypeError(what)
    return names if fits else None


JOURNAL: Model[Names] = Model((), _next)


@dataclass(slots=True)
class History:
    """What was done so far, by all clients; time is the count of what happened."""

    operations: list[Operation] = field(default_factory=list)
    ticks: itertools.count[int] = field(default_factory=itertools.count)

    def add(
        self, client: str, key: str, what: Hashable, *, since: int, is_known: bool = True
    ) -> None:
        """Note an operation that was called at ``since`` and ends now."""
        now = next(self.ticks) if is_known else NEVER
        self.operations.append(Operation(key, what, since, now, client))


class Client:
    """Appends, loads and looks at random, and notes what it saw.

    Args:
        name: Goes into each record, so that each append is known.
        store: What it works on.
        history: Where it notes.
        sagas: The sagas, shared with the other clients.
        seed: Decides what it does.
    """

    def __init__(
        self, name: str, store: Store, history: History, *, sagas: Sequence[str], seed: str
    ) -> None:
        self.is_fenced = False
        self._name = name
        self._store = store
        self._history = history
        self._sagas = sagas
        self._chance = random.Random(seed)
        self._numbers = itertools.count()
        self._believed = dict.fromkeys(sagas, 0)

    async def work(self, operations: int, *, may_append: bool = True) -> None:
        """Do so many operations, one after the other; stop when fenced."""
        for _ in range(operations):
            if self.is_fenced:
                return
            saga_id = self._chance.choice(self._sagas)
            dice = self._chance.random()
            if may_append and dice < 0.5:
                await self._append(saga_id)
            elif dice < 0.75:
                await self._load(saga_id)
            elif dice < 0.9:
                await self._head(saga_id)
            else:
                await self._heads()
            await asyncio.sleep(0)

    async def _append(self, saga_id: str) -> None:
        position = self._believed[saga_id]
        count = self._chance.randint(1, 3)
        names = tuple(f"{self._name}.{next(self._numbers)}" for _ in range(count))
        is_lost = self._chance.random() < 0.1  # nobody waits for the reply
        since = next(self._history.ticks)
        doing = asyncio.ensure_future(self._store.append(_append_of(saga_id, position, names)))
        try:
            if is_lost:
                await asyncio.sleep(0)
                doing.cancel()
            await doing
        except (StoreUnavailableError, asyncio.CancelledError):
            what = Appended(position, names)
            self._history.add(self._name, saga_id, what, since=since, is_known=False)
        except FencedError:
            # Nothing of it may ever be seen: it is no operation.
            self.is_fenced = True
        except ConflictError as error:
            found = error.facts["found"]
            self._history.add(self._name, saga_id, Refused(position, found), since=since)
            self._believed[saga_id] = found or 0
        else:
            self._history.add(self._name, saga_id, Appended(position, names), since=since)
            self._believed[saga_id] = position + count

    async def _load(self, saga_id: str) -> None:
        since = next(self._history.ticks)
        journal = await self._store.load(saga_id)
        names = None if journal is None else tuple(map(_name_of, journal))
        self._history.add(self._name, saga_id, Loaded(names), since=since)
        self._believed[saga_id] = len(names or ())

    async def _head(self, saga_id: str) -> None:
        since = next(self._history.ticks)
        head = await self._store.head(saga_id)
        shown = Shown(None, None) if head is None else Shown(head.position, head.goal)
        self._history.add(self._name, saga_id, shown, since=since)

    async def _heads(self) -> None:
        """Look at the list, which shows each saga as it was at some moment meanwhile."""
        since = next(self._history.ticks)
        heads = {head.saga_id: head for head in await self._store.heads()}
        for saga_id in self._sagas:
            head = heads.get(saga_id)
            shown = Shown(None, None) if head is None else Shown(head.position, head.goal)
            self._history.add(self._name, saga_id, shown, since=since)


def _append_of(saga_id: str, position: int, names: Names) -> Append:
    """Return an append of records that bear the names; the head's goal is the last of them."""
    records = tuple(started(position + n, name=name) for n, name in enumerate(names))
    head = head_of(saga_id, position + len(names), goal=names[-1])
    return Append(saga_id=saga_id, position=position, records=records, head=head)


def _name_of(record: object) -> str:
    assert isinstance(record, ActionStarted)
    return str(record.params["name"])
