"""The store's far end: what is durable, who leads, and the comparison inside each write.

Nothing here fails or is slow: that is played between a coordinator and this (``store.py``). What is
in ``journals`` is durable; what a coordinator was told is durable is counted beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec.structs import replace

from fsm_saga.core.records import Record
from fsm_saga.errors import FsmSagaError
from fsm_saga.ports import Append, Command, Head
from fsm_saga.simulation.loop import Process, VirtualLoop
from fsm_saga.stores.codec import CODEC, decode_object, encode_object
from fsm_saga.stores.refusals import check_fits, conflict, fenced, no_command

URL = "simulated://store"
LEASE_TTL_S = 4.0


class Journal:
    """The durable image of one saga.

    Attributes:
        entries: Position and bytes of each append, in order.
        length: The number of records.
        acknowledged: How many of them some coordinator was told of.
        is_corrupt: Its bytes were damaged; whoever reads it must notice.
    """

    __slots__ = ("acknowledged", "entries", "head", "is_corrupt", "length", "number")

    def __init__(self, number: int, head: Head) -> None:
        self.number = number
        self.head = head
        self.entries: list[tuple[int, bytes]] = []
        self.length = 0
        self.acknowledged = 0
        self.is_corrupt = False


class Lease:
    """The key that makes its holder the leader, and the time that is left of it.

    A holder that lives, is not paused and reaches the store renews it; that is not played message
    by message. ``is_known`` says that the holder has heard that it leads: before, nobody renews.
    """

    __slots__ = ("epoch", "expires_at", "holder", "is_known")

    def __init__(self, epoch: int, holder: Process, expires_at: float) -> None:
        self.epoch = epoch
        self.holder = holder
        self.is_known = False
        self.expires_at: float | None = expires_at


class StorageWatcher(Protocol):
    """Who is told what the store accepts and refuses."""

    def accepted(self, epoch: int, leader: int | None, append: Append, body: bytes) -> None:
        """A write was accepted from the writer of ``epoch`` while ``leader`` led."""

    def refused(self, epoch: int, append: Append, error: FsmSagaError) -> None:
        """A write was refused."""

    def elected(self, epoch: int) -> None:
        """A new leader has this epoch."""


class Storage:
    """One store for all coordinators.

    Attributes:
        lease: The present leader's, or None.
        epoch: The highest that was given.
    """

    def __init__(self, loop: VirtualLoop, watcher: StorageWatcher) -> None:
        self.journals: dict[str, Journal] = {}
        self.commands: dict[int, Command] = {}
        self.lease: Lease | None = None
        self.epoch = 0
        self.is_closed_until = 0.0
        self.on_command: list[asyncio.Future[None]] = []
        self.on_vacancy: list[asyncio.Future[None]] = []
        self._loop = loop
        self._watcher = watcher
        self._number = 0

    # Journals.

    def append(self, epoch: int, append: Append) -> FsmSagaError | None:
        """Write, or return why not. Everything is compared here, in the transaction."""
        check_fits(append)
        journal = self.journals.get(append.saga_id)
        refusal = refusal_of(self, epoch, append, journal)
        if refusal is not None:
            self._watcher.refused(epoch, append, refusal)
            return refusal
        body = CODEC.encode(append.records)
        if journal is None:
            self._number += 1
            journal = self.journals[append.saga_id] = Journal(self._number, append.head)
        journal.entries.append((append.position, body))
        journal.length += len(append.records)
        journal.head = append.head
        self._watcher.accepted(epoch, self.leader_of(append.saga_id), append, body)
        return None

    def load(self, saga_id: str) -> tuple[Record, ...] | None:
        """Return the journal as its bytes say."""
        journal = self.journals.get(saga_id)
        if journal is None:
            return None
        records: list[Record] = []
        for position, body in journal.entries:
            records += CODEC.decode(body, saga_id=saga_id, position=position)
        return tuple(records)

    def heads(self, *, only_unfinished: bool, limit: int | None) -> Sequence[Head]:
        """Return the heads, newest first."""
        newest_first = sorted(self.journals.values(), key=lambda journal: -journal.number)
        heads = [j.head for j in newest_first if not (only_unfinished and j.head.is_final)]
        return heads if limit is None else heads[: max(limit, 0)]

    def damage(self, saga_id: str, share: float) -> None:
        """Flip a byte of the saga's journal."""
        journal = self.journals[saga_id]
        index = int(share * len(journal.entries))
        position, body = journal.entries[index]
        at = int(share * 7919) % len(body)
        journal.entries[index] = (position, body[:at] + b"\x00" + body[at + 1 :])
        journal.is_corrupt = True

    # Commands.

    def post(self, command: Command) -> int:
        """Keep a command and wake those who wait for one."""
        self._number += 1
        body = decode_object(encode_object(command.body), what="A command")
        kept = replace(command, number=self._number, body=body, answer=None)
        self.commands[self._number] = kept
        _wake(self.on_command)
        return self._number

    def pending(self) -> Sequence[Command]:
        """Return the commands without an answer."""
        return tuple(c for c in self.commands.values() if c.answer is None)

    def answer(self, epoch: int, number: int, answer: Mapping[str, Any]) -> FsmSagaError | None:
        """Record an answer, or return why not."""
        command = self.commands.get(number)
        if self.leader_of("" if command is None else command.saga_id) != epoch:
            return fenced(URL, epoch=epoch, leader=self.epoch)
        if command is None:
            return no_command(number)
        if command.answer is None:
            self.commands[number] = replace(command, answer=answer)
        return None

    # Leadership.

    def leader_of(self, saga_id: str) -> int | None:
        """Return the epoch of whoever may write this saga now, or None."""
        return None if self.lease is None else self.lease.epoch

    def is_led_in(self, epoch: int) -> bool:
        """Return whether whoever got this epoch leads now."""
        return self.lease is not None and self.lease.epoch == epoch

    def take_lease(self, holder: Process) -> int | None:
        """Make the process the leader if nobody is, and return its epoch.

        The lease comes with the key in one transaction: a holder that never hears of it does not
        keep others out for longer than the lease lasts (L6).
        """
        if self.lease is not None:
            return None
        self.epoch += 1
        self._watcher.elected(self.epoch)
        self.lease = Lease(self.epoch, holder, self._loop.time() + LEASE_TTL_S)
        self._loop.call_world(LEASE_TTL_S, self._expire, self.epoch)
        return self.epoch

    def holder_hears(self, epoch: int) -> None:
        """The holder knows that it leads and renews from now on."""
        lease = self.lease
        if lease is not None and lease.epoch == epoch:
            lease.is_known, lease.expires_at = True, None

    def holder_stops(self, holder: Process, *, left: float) -> None:
        """The holder was killed, paused or cut off when that share of its lease was left."""
        lease = self.lease
        if lease is not None and lease.holder is holder and lease.expires_at is None:
            delay_s = LEASE_TTL_S * left
            lease.expires_at = self._loop.time() + delay_s
            self._loop.call_world(delay_s, self._expire, lease.epoch)

    def holder_stops_renewing(self, epoch: int) -> None:
        """The holder gave up its term and could not say so."""
        lease = self.lease
        if lease is not None and lease.epoch == epoch:
            lease.is_known = False
            if lease.expires_at is None:
                lease.expires_at = self._loop.time() + LEASE_TTL_S
                self._loop.call_world(LEASE_TTL_S, self._expire, epoch)

    def holder_is_back(self, holder: Process) -> None:
        """The holder renews again, if its lease has lasted."""
        lease = self.lease
        if lease is not None and lease.holder is holder and lease.is_known:
            lease.expires_at = None

    def end_lease(self, epoch: int) -> None:
        """Remove the key: its holder resigned, or the store lost it."""
        if self.lease is not None and self.lease.epoch == epoch:
            self.lease = None
            _wake(self.on_vacancy)

    def _expire(self, epoch: int) -> None:
        lease = self.lease
        is_due = lease is not None and lease.epoch == epoch and lease.expires_at is not None
        if lease is not None and is_due and self._loop.time() >= (lease.expires_at or 0.0) - 1e-9:
            self.end_lease(epoch)


def leads(storage: Storage, epoch: int) -> bool:
    """Return whether the writer of ``epoch`` is the leader now: the key is there and is its."""
    return storage.is_led_in(epoch)


def stands_at(append: Append, journal: Journal | None) -> bool:
    """Return whether the journal is where the append expects it."""
    return (0 if journal is None else journal.length) == append.position


def refusal_of(
    storage: Storage, epoch: int, append: Append, journal: Journal | None
) -> FsmSagaError | None:
    """Return why a write is refused: a writer that does not lead, a journal that has moved."""
    if storage.leader_of(append.saga_id) != epoch:
        return fenced(URL, epoch=epoch, leader=storage.epoch)
    if not stands_at(append, journal):
        found = None if journal is None else journal.length
        return conflict(append.saga_id, expected=append.position, found=found)
    return None


def _wake(waiting: list[asyncio.Future[None]]) -> None:
    for future in waiting:
        if not future.done():
            future.set_result(None)
    waiting.clear()
