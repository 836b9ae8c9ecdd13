"""Coordinators and readers that work on one store while it is in trouble, and note what they saw.

Two coordinators compete for the only shard; whoever leads it appends to sagas, ends and removes
them and answers commands, by several clients at a time. Readers look, and leave commands. Every
operation goes into a history: of its saga, of the shard's terms, or of its command.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from msgspec.structs import replace

from fsm_saga.core.records import ActionStarted, Record, SagaSubmitted
from fsm_saga.errors import ConflictError, FencedError, StoreError, StoreUnavailableError
from fsm_saga.ports import Append, ClusterStore, Command, Head, Member, Seat, Store, Term
from tests.conformance import lives
from tests.conformance.histories import History, Loaded, Names, Refused, Shown
from tests.conformance.samples import STARTED_AT, head_of, started, submitted
from tests.support.linearizable import Impossible, find_impossible

SAGAS = tuple(f"trip-{number}" for number in range(4))
ASKED = tuple(f"asked-{number}" for number in range(3))
"""What commands are about; nobody begins or removes these."""
SHARD = "shard 0"
CLIENTS_PER_TERM = 4
PACE_S = 0.01
TTL_S = 5.0
AGAIN_S = 0.1
SETTLED_S_MAX = 10.0

T = TypeVar("T")
Wrap = Callable[[Store], Any]


@dataclass(slots=True)
class Log:
    """What all have seen: three histories of one time, and counts.

    Attributes:
        posted: The number of each command that was acknowledged, by its id.
        names_at: The name of the record that was written with each time.
        numbers: All numbers under which a command was seen.
        is_settling: No more commands are left.
        is_over: All come to an end.
    """

    counts: Counter[str] = field(default_factory=Counter)
    sagas: History = field(default_factory=History)
    terms: History = field(init=False)
    commands: History = field(init=False)
    posted: dict[str, int] = field(default_factory=dict)
    names_at: dict[float, str] = field(default_factory=dict)
    numbers: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    is_settling: bool = False
    is_over: bool = False

    def __post_init__(self) -> None:
        self.terms = History(ticks=self.sagas.ticks)
        self.commands = History(ticks=self.sagas.ticks)

    def now(self) -> int:
        """Return a moment after all that was noted."""
        return next(self.sagas.ticks)

    def impossible(self) -> dict[str, Impossible]:
        """Return what could not have happened in any order, by kind of history."""
        found = {
            "sagas": find_impossible(self.sagas.operations, lives.LIVES),
            "terms": find_impossible(self.terms.operations, lives.TERMS),
            "commands": find_impossible(self.commands.operations, lives.COMMANDS),
        }
        return {kind: reason for kind, reason in found.items() if reason is not None}


class Looker:
    """Reads sagas, and notes what it saw; a read without an answer says nothing."""

    def __init__(self, name: str, store: Store, log: Log) -> None:
        self.name = name
        self.store = store
        self.log = log
        self.chance = random.Random(name)
        self.believed: dict[str, Names] = dict.fromkeys(SAGAS, ())

    async def look(self, saga_id: str) -> None:
        """Do one of the three reads."""
        dice = self.chance.random()
        try:
            if dice < 0.6:
                await self.load(saga_id)
            elif dice < 0.8:
                await self._head(saga_id)
            else:
                await self._heads()
        except StoreUnavailableError:
            self.log.counts["reads without an answer"] += 1
        else:
            self.log.counts["reads"] += 1

    async def load(self, saga_id: str) -> None:
        """Read a journal."""
        since = self.log.now()
        journal = await self.store.load(saga_id)
        names = None if journal is None else tuple(map(_name_of, journal))
        self.log.sagas.add(self.name, saga_id, Loaded(names), since=since)
        self.believed[saga_id] = names or ()

    async def _head(self, saga_id: str) -> None:
        since = self.log.now()
        head = await self.store.head(saga_id)
        self.log.sagas.add(self.name, saga_id, self._shown(head), since=since)

    async def _heads(self) -> None:
        since = self.log.now()
        heads = {head.saga_id: head for head in await self.store.heads()}
        for saga_id in SAGAS:
            self.log.sagas.add(self.name, saga_id, self._shown(heads.get(saga_id)), since=since)

    def _shown(self, head: Head | None) -> Shown:
        if head is None:
            return Shown(None, None)
        # A head that a store makes from the journal has this from it as well.
        return Shown(head.position, self.log.names_at.get(head.updated_at, "?"))


class Writer(Looker):
    """Writes sagas in one term, until it is fenced."""

    def __init__(self, name: str, store: Store, log: Log, epoch: int) -> None:
        super().__init__(name, store, log)
        self._epoch = epoch
        self._numbers = itertools.count()

    async def work(self) -> None:
        """Do one operation after the other."""
        with suppress(FencedError):
            while not self.log.is_over:
                saga_id = self.chance.choice(SAGAS)
                if self.chance.random() < 0.4:
                    await self.look(saga_id)
                elif self._has_ended(saga_id):
                    await self._remove(saga_id)
                else:
                    await self._append(saga_id)
                await asyncio.sleep(PACE_S)
            return
        # Nothing of what was refused so may ever be seen: it is no operation.
        self.log.counts["fenced"] += 1

    def _has_ended(self, saga_id: str) -> bool:
        return lives.Life(self.believed[saga_id]).is_final

    async def _append(self, saga_id: str) -> None:
        before, since = self.believed[saga_id], self.log.now()
        end = lives.END if len(before) > 3 and self.chance.random() < 0.2 else ""
        names = (f"{self.name}.{next(self._numbers)}{end}",)
        what = lives.Added(len(before), names, self._epoch)
        at = STARTED_AT + since
        self.log.names_at[at] = names[0]
        try:
            await self.store.append(_append_of(saga_id, len(before), names[0], at))
        except StoreUnavailableError:
            self.log.sagas.add(self.name, saga_id, what, since=since, is_known=False)
            self.log.counts["appends unknown"] += 1
        except ConflictError as error:
            refused = Refused(len(before), error.facts["found"])
            self.log.sagas.add(self.name, saga_id, refused, since=since)
            self.log.counts["appends refused"] += 1
            with suppress(StoreUnavailableError):
                await self.load(saga_id)
        else:
            self.log.sagas.add(self.name, saga_id, what, since=since)
            self.log.terms.add(self.name, SHARD, lives.Wrote(self._epoch), since=since)
            self.log.counts["appends"] += 1
            self.believed[saga_id] = before + names

    async def _remove(self, saga_id: str) -> None:
        position, since = len(self.believed[saga_id]), self.log.now()
        self.believed[saga_id] = ()
        try:
            await self.store.remove(saga_id, position=position)
        except StoreUnavailableError:
            doubt = lives.MayBeRemoved(position, self._epoch)
            self.log.sagas.add(self.name, saga_id, doubt, since=since, is_known=False)
            self.log.counts["removals unknown"] += 1
        except ConflictError as error:
            if error.facts.keys() & {"state", "found"}:  # else it was given up, and tells nothing
                self.log.sagas.add(self.name, saga_id, lives.NotRemoved(position), since=since)
        else:
            done = lives.Removed(position, self._epoch)
            self.log.sagas.add(self.name, saga_id, done, since=since)
            self.log.counts["removals"] += 1

    async def answer(self) -> None:
        """Answer what waits, now and then twice, until fenced."""
        with suppress(FencedError):
            while not self.log.is_over:
                await self.answer_pending()
                await asyncio.sleep(2 * PACE_S)

    async def answer_pending(self) -> None:
        """Answer what waits now, as far as the store lets us."""
        since = self.log.now()
        try:
            found = await self.store.pending_commands()
        except StoreUnavailableError:
            return
        for command in found:
            key = command.body["id"]
            self.log.numbers[key].add(command.number)
            self.log.commands.add(self.name, key, lives.Listed(True), since=since)
        for command in found:
            for _ in range(self.chance.choice((1, 1, 2))):
                await self._answer_one(command)

    async def _answer_one(self, command: Command) -> None:
        key, said = command.body["id"], f"{self.name}.{next(self._numbers)}"
        since = self.log.now()
        try:
            await self.store.answer_command(command.number, {"ok": True, "message": said})
        except StoreUnavailableError:
            doubt = lives.MayBeAnswered(said)
            self.log.commands.add(self.name, key, doubt, since=since, is_known=False)
            self.log.counts["answers unknown"] += 1
        else:
            self.log.commands.add(self.name, key, lives.Answered(said), since=since)
            self.log.counts["answers"] += 1


class Reader(Looker):
    """Reads, leaves commands, and looks what became of them."""

    def __init__(self, name: str, store: Store, log: Log) -> None:
        super().__init__(name, store, log)
        self._numbers = itertools.count()
        self._waiting: list[str] = []

    async def work(self) -> None:
        """Do one operation after the other."""
        while not self.log.is_over:
            dice = self.chance.random()
            if dice < 0.6:
                await self.look(self.chance.choice(SAGAS))
            else:
                with suppress(StoreUnavailableError):
                    if dice < 0.75 and not self.log.is_settling:
                        await self._post()
                    else:
                        await self.follow()
            await asyncio.sleep(PACE_S)

    async def _post(self) -> None:
        key, since = f"{self.name}.{next(self._numbers)}", self.log.now()
        command = Command(saga_id=self.chance.choice(ASKED), kind="cancel", body={"id": key})
        try:
            number = await self.store.post_command(command)
        except StoreUnavailableError:
            self.log.commands.add(self.name, key, lives.Posted(), since=since, is_known=False)
            self.log.counts["commands unknown"] += 1
            return
        self.log.commands.add(self.name, key, lives.Posted(), since=since)
        self.log.counts["commands"] += 1
        self.log.posted[key] = number
        self.log.numbers[key].add(number)
        self._waiting.append(key)

    async def follow(self) -> None:
        """Look which of its commands wait, and what became of one of them."""
        if not self.log.posted:
            return
        waiting, since = self._waiting[-5:], self.log.now()
        listed = {command.body["id"] for command in await self.store.pending_commands()}
        for key in waiting:
            what = lives.Listed(key in listed)
            self.log.commands.add(self.name, key, what, since=since)
        await self.ask(self.chance.choice(list(self.log.posted)))

    async def ask(self, key: str) -> bool:
        """Look for the answer to a command; return whether there is one."""
        since = self.log.now()
        answer = await self.store.command_answer(self.log.posted[key])
        said = None if answer is None else str(answer["message"])
        self.log.commands.add(self.name, key, lives.Told(said), since=since)
        return answer is not None


class Coordinator:
    """Tries to lead the shard, and lets clients work as long as it does.

    Args:
        name: Whose records and answers these are.
        cluster: Its connection.
        log: Where all is noted.
        wrap: What clients work on instead of the store: a liar, to see that it is found out.
    """

    def __init__(self, name: str, cluster: ClusterStore, log: Log, wrap: Wrap) -> None:
        self._name = name
        self._cluster = cluster
        self._log = log
        self._wrap = wrap
        self._seat: Seat | None = None
        self._lost: asyncio.Task[None] | None = None
        self._last_epoch = 0

    async def work(self) -> None:
        """Lead again and again."""
        try:
            while not self._log.is_over:
                term = await self._won()
                if term is not None:
                    await self._lead(term)
                await asyncio.sleep(AGAIN_S)
        finally:
            if self._lost is not None:
                self._lost.cancel()

    async def _won(self) -> Term | None:
        since = self._log.now()
        while not self._log.is_over:
            with suppress(StoreError):
                seat = await self._seated()
                term = await seat.campaign(0)
                if term is not None:
                    self._note_won(term, since)
                    return term
            await asyncio.sleep(AGAIN_S)
        return None

    def _note_won(self, term: Term, since: int) -> None:
        if term.epoch != self._last_epoch:
            self._log.terms.add(self._name, SHARD, lives.Won(term.epoch), since=since)
            self._log.counts["terms"] += 1
            self._last_epoch = term.epoch

    async def _seated(self) -> Seat:
        if self._seat is None or self._lost is None or self._lost.done():
            name = f"{self._name}{self._log.now()}"
            member = Member(member_id=name, name=name, started_at=0.0)
            self._seat = await self._cluster.join(member, ttl_s=TTL_S)
            self._lost = asyncio.create_task(self._seat.wait_lost())
        return self._seat

    async def _lead(self, term: Term) -> None:
        assert self._seat is not None
        store: Store = self._wrap(self._seat.store(term))
        writers = [
            Writer(f"{self._name}{term.epoch}.{n}", store, self._log, term.epoch)
            for n in range(CLIENTS_PER_TERM)
        ]
        await asyncio.gather(*(writer.work() for writer in writers), writers[0].answer())


async def settle(reader: Reader) -> None:
    """After all troubles: wait until every command that was acknowledged has its answer.

    Raises:
        TimeoutError: One has none: it is lost.
    """
    log = reader.log
    log.is_settling = True
    for key in list(log.posted):
        async with asyncio.timeout(SETTLED_S_MAX):
            # The answer is in a server, which tells nobody.
            while not await _until_answered(functools.partial(reader.ask, key)):  # noqa: ASYNC110
                await asyncio.sleep(AGAIN_S)


async def read_all(reader: Reader) -> None:
    """Read every saga for the last time."""
    for saga_id in SAGAS:
        await _until_answered(functools.partial(reader.load, saga_id))


async def _until_answered(ask: Callable[[], Awaitable[T]]) -> T:
    async with asyncio.timeout(SETTLED_S_MAX):
        while True:
            with suppress(StoreUnavailableError):
                return await ask()
            await asyncio.sleep(AGAIN_S)


def _append_of(saga_id: str, position: int, name: str, at: float) -> Append:
    """Return an append of one record that bears the name, and a head that the time is told by."""
    record: Record = started(position, name=name)
    if not position:
        record = submitted(saga_id, {"goal": name, "steps": []})
    record = replace(record, at=at)
    state = "DONE" if name.endswith(lives.END) else "EXECUTING(1)"
    head = replace(head_of(saga_id, position + 1, state=state), updated_at=at)
    return Append(saga_id=saga_id, position=position, records=(record,), head=head)


def _name_of(record: object) -> str:
    if isinstance(record, SagaSubmitted):
        return str(record.plan["goal"])
    assert isinstance(record, ActionStarted)
    return str(record.params["name"])
