"""One coordinator of a cluster: it leads shards of the store, each with an engine of its own.

A node joins, looks who else is there, campaigns for the shards that are its to lead and hands over
those that are not. What keeps two nodes from harming a saga is not here: every write of an engine
compares its term's epoch inside the store. Here is only who tries, and how fast it lets go.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from msgspec.structs import replace

from fsm_saga.cluster.assignment import assignment
from fsm_saga.errors import FsmSagaError, StoreError
from fsm_saga.ports import ClusterStore, Member, Roster, Seat, Store, Term
from fsm_saga.service.engine import Engine
from fsm_saga.stores.opening import LEASE_TTL_S

logger = logging.getLogger("fsm_saga.cluster")

LOOK_S = 1.0
"""The longest time between two looks at the roster; a change is mostly hinted at."""
ANNOUNCE_S = 5.0
REJOIN_S = 0.5
TELL_AGAIN_S = 60.0
"""Between two lines of the log that say the same of a store that refuses."""
RETRY_S = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Waits before a shard is led again whose engine has stopped, time after time."""
STEADY_S = 30.0
"""An engine that has run so long did not stop for what its forerunner stopped for."""

EngineOver = Callable[[Store], AbstractAsyncContextManager[Engine]]
Attach = Callable[[Term, Engine], None]


class Led:
    """A shard that this node leads, or is about to."""

    def __init__(self, term: Term) -> None:
        """Begin without an engine; it is there once the shard's sagas are taken up."""
        self.term = term
        self.since = asyncio.get_running_loop().time()
        self.engine: Engine | None = None
        self.is_ending = False
        """True once its engine has been left: the term is being given up."""
        self.task: asyncio.Task[None] | None = None


class Node:
    """A member of a cluster. ``run`` it; ``stop`` makes it hand over and return.

    Attributes:
        member: What it tells the others of itself.
        led: The shards that it leads now, by number.
        attach: Called with each engine as soon as it runs, for metrics and traces.
    """

    def __init__(
        self,
        cluster: ClusterStore,
        engine_over: EngineOver,
        member: Member,
        *,
        ttl_s: float = LEASE_TTL_S,
    ) -> None:
        """Wire the parts.

        Args:
            cluster: The store, open.
            engine_over: Gives a running engine over a shard's store that has taken up the shard's
                sagas.
            member: What the others may know of this node; its id is that of this process's start.
            ttl_s: How long the others wait for a sign of life before they take over.
        """
        self.member = member
        self.led: dict[int, Led] = {}
        self.attach: Attach | None = None
        self._cluster = cluster
        self._engine_over = engine_over
        self._ttl_s = ttl_s
        self._stopping = asyncio.Event()
        self._seat: Seat | None = None
        self._failures: dict[int, int] = {}
        self._not_before: dict[int, float] = {}
        self._stopped: dict[int, str] = {}
        self._is_standing_by = False
        self._trouble = ""
        self._told_at: dict[str, float] = {}
        self._announced_at = 0.0

    @property
    def seat(self) -> Seat | None:
        """Its seat while it is a member, for figures about the lease."""
        return self._seat

    @property
    def has_seat(self) -> bool:
        """True while it is a member whose lease lives, as far as it knows."""
        return self._seat is not None

    @property
    def obstacles(self) -> tuple[str, ...]:
        """Why it does not do all that it is to do, in words; empty when it is ready.

        A member that leads nothing, because others do, is ready.
        """
        found = []
        if self._stopping.is_set():
            found.append("it is handing over")
        elif self._seat is None:
            found.append("it is no member of the cluster")
        if self._trouble:
            found.append(self._trouble)
        for shard, why in sorted(self._stopped.items()):
            found.append(f"shard {shard} stopped: {why}")
        for shard, led in sorted(self.led.items()):
            if led.engine is None and not led.is_ending and shard not in self._stopped:
                found.append(f"shard {shard}: its sagas are being taken up")
        return tuple(found)

    def stop(self) -> None:
        """Make ``run`` hand everything over and return."""
        self._stopping.set()

    async def run(self) -> None:
        """Lead what is this node's to lead until ``stop`` is called.

        A store that fails, or a lease that ends, stops the engines and no more: the node joins
        anew as soon as it can.
        """
        while not self._stopping.is_set():
            try:
                seat = await self._join()
            except StoreError as error:
                self._tell_trouble("not-joined", "the cluster cannot be joined yet", error)
                await self._pause(REJOIN_S)
                continue
            if seat is None:
                return
            try:
                await self._sit(seat)
            except StoreError as error:
                logger.warning("member %r begins anew: %s", self.member.name, error)
                await self._pause(REJOIN_S)

    async def _join(self) -> Seat | None:
        """Return a seat, or None if the node is to stop before the store has given it one.

        Raises:
            StoreError: The store failed.
        """
        joining = asyncio.ensure_future(self._cluster.join(self.member, ttl_s=self._ttl_s))
        try:
            await _first_of(_done(joining), self._stopping.wait())
            return joining.result() if joining.done() else None
        finally:
            joining.cancel()
            await asyncio.gather(joining, return_exceptions=True)

    def _tell_trouble(self, event: str, said: str, error: StoreError) -> None:
        """Log what the store refuses; the same again is told once in a while, not at each try."""
        self._trouble = f"{said}: {error.message}"
        now = asyncio.get_running_loop().time()
        if now - self._told_at.get(event, -TELL_AGAIN_S) >= TELL_AGAIN_S:
            self._told_at[event] = now
            logger.warning("%s: %s", said, error, extra=self._fields(event))

    def _tell_all_is_well(self) -> None:
        if self._trouble:
            logger.info("the store answers again", extra=self._fields("store-answers"))
        self._trouble = ""
        self._told_at.clear()

    async def _sit(self, seat: Seat) -> None:
        """Be a member until the lease ends, the store fails or the node is to stop."""
        self._seat = seat
        self._announced_at = asyncio.get_running_loop().time()
        logger.info(
            "%s has joined %s", self.member.name, self._cluster.url, extra=self._fields("joined")
        )
        lost = asyncio.ensure_future(seat.wait_lost())
        try:
            while not (self._stopping.is_set() or lost.done()):
                # What is asked of the store must not outlast the lease unnoticed.
                await _first_of(self._try_to_look(seat), _done(lost), self._stopping.wait())
                await _first_of(seat.wait_change(LOOK_S), _done(lost), self._stopping.wait())
            if lost.done():
                logger.warning(
                    "%s has lost its lease and steps down",
                    self.member.name,
                    extra=self._fields("lease-lost"),
                )
        finally:
            self._seat = None
            lost.cancel()
            await self._give_up(seat, is_lost=lost.done() and not lost.cancelled())

    async def _give_up(self, seat: Seat, *, is_lost: bool) -> None:
        try:
            if self._stopping.is_set() and not is_lost:
                await seat.announce(replace(self.member, is_leaving=True))
        except StoreError as error:
            logger.info("the others were not told of the leaving: %s", error)
        await self._release(tuple(self.led))
        try:
            await seat.leave()
        except StoreError as error:
            logger.info("the seat ends with its lease: %s", error)

    async def _try_to_look(self, seat: Seat) -> None:
        """Look; a store that fails for a moment is no reason to stop what runs: the lease is."""
        try:
            await self._look(seat)
        except StoreError as error:
            self._tell_trouble("store-fails", "the roster cannot be seen or changed now", error)
            await asyncio.sleep(REJOIN_S)
        else:
            self._tell_all_is_well()

    async def _look(self, seat: Seat) -> None:
        """Bring what is led in line with the roster."""
        roster = await seat.roster()
        mine = {
            shard
            for shard, member_id in assignment(roster, shards=self._cluster.shards).items()
            if member_id == seat.member_id
        }
        for shard in self._stopped.keys() - mine:
            del self._stopped[shard]
        await self._release(self._to_release(seat, roster, mine))
        for held in roster.leaders.values():
            if held.member_id == seat.member_id and held.shard not in mine | self.led.keys():
                # Won by a campaign whose answer was lost, for a shard that is another's by now.
                await seat.resign(Term(shard=held.shard, epoch=held.epoch))
        now = asyncio.get_running_loop().time()
        for shard in sorted(mine - self.led.keys()):
            leader = roster.leaders.get(shard)
            is_free = leader is None or leader.member_id == seat.member_id
            if is_free and now >= self._not_before.get(shard, 0.0):
                term = await seat.campaign(shard)
                if term is not None:
                    self._begin(seat, term)
        self._tell_standing_by(roster, mine)
        await self._announce(seat, now)

    def _tell_standing_by(self, roster: Roster, mine: set[int]) -> None:
        was, self._is_standing_by = self._is_standing_by, not mine and bool(roster.leaders)
        if self._is_standing_by and not was:
            ids = sorted({leader.member_id for leader in roster.leaders.values()})
            names = [roster.members[i].name if i in roster.members else i for i in ids]
            logger.info(
                "%s stands by: %s %s",
                self.member.name,
                ", ".join(names),
                "leads" if len(names) == 1 else "lead",
                extra=self._fields("stands-by"),
            )

    def _to_release(self, seat: Seat, roster: Roster, mine: set[int]) -> tuple[int, ...]:
        """Return what is another's to lead, or led by another already."""
        return tuple(
            shard
            for shard, led in self.led.items()
            if shard not in mine or _is_lost(roster, seat, led.term)
        )

    def _begin(self, seat: Seat, term: Term) -> None:
        led = self.led[term.shard] = Led(term)
        led.task = asyncio.create_task(self._lead(seat, led), name=f"shard {term.shard}")

    async def _lead(self, seat: Seat, led: Led) -> None:
        term = led.term
        self._tell(logging.INFO, "leads", term, "leads shard %d (epoch %d)")
        try:
            async with self._engine_over(seat.store(term)) as engine:
                led.engine = engine
                self._stopped.pop(term.shard, None)
                if self.attach is not None:
                    self.attach(term, engine)
                await engine.coordinator.new_waiter()
        except FsmSagaError as error:
            logger.warning(
                "shard %d (epoch %d) stopped: %s",
                term.shard,
                term.epoch,
                error,
                extra=self._fields("shard-stopped", term),
            )
            self._put_off(led, str(error))
        except Exception:
            # boundary: a bug met in one shard's engine stops that engine, and no other shard.
            logger.exception(
                "shard %d (epoch %d) was stopped by a bug",
                term.shard,
                term.epoch,
                extra=self._fields("shard-stopped", term),
            )
            self._put_off(led, "a bug, told in the log")
        finally:
            led.engine, led.is_ending = None, True
            try:
                await seat.resign(term)
            except StoreError as error:
                logger.info("shard %d is given up with the lease: %s", term.shard, error)
            finally:
                # Not before: a campaign meanwhile would win the very term that is being given up.
                if self.led.get(term.shard) is led:
                    del self.led[term.shard]
            self._tell(logging.INFO, "leads-no-more", term, "leads shard %d no more (epoch %d)")

    def _tell(self, level: int, event: str, term: Term, said: str) -> None:
        logger.log(level, said, term.shard, term.epoch, extra=self._fields(event, term))

    def _fields(self, event: str, term: Term | None = None) -> dict[str, Any]:
        """Return what a structured log says beside the sentence."""
        fields: dict[str, Any] = {"event": event, "member": self.member.name}
        if term is not None:
            fields |= {"shard": term.shard, "epoch": term.epoch}
        return fields

    def _put_off(self, led: Led, why: str) -> None:
        """Lead the shard again later, and the later the oftener it stopped soon after."""
        shard, now = led.term.shard, asyncio.get_running_loop().time()
        self._stopped[shard] = why
        count = 0 if now - led.since > STEADY_S else self._failures.get(shard, 0)
        self._failures[shard] = count + 1
        self._not_before[shard] = now + RETRY_S[min(count, len(RETRY_S) - 1)]

    async def _release(self, shards: tuple[int, ...]) -> None:
        """Stop these shards' engines at a safe point and resign."""
        found = [led for shard in shards if (led := self.led.get(shard))]
        tasks = [led.task for led in found if led.task]
        for led in found:
            if led.task and not led.is_ending:
                led.task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _announce(self, seat: Seat, now: float) -> None:
        facts = self._facts()
        if facts == self.member.facts or now - self._announced_at < ANNOUNCE_S:
            return
        self.member = replace(self.member, facts=facts)
        await seat.announce(self.member)
        self._announced_at = now

    def _facts(self) -> Mapping[str, Any]:
        engines = [led.engine for led in self.led.values() if led.engine is not None]
        return {
            "sagas_under_way": sum(engine.coordinator.active_count for engine in engines),
            "sagas_left_alone": sum(len(engine.skipped) for engine in engines),
            "shards_led": len(self.led),
        }

    async def _pause(self, seconds: float) -> None:
        await _first_of(asyncio.sleep(seconds), self._stopping.wait())


def _is_lost(roster: Roster, seat: Seat, term: Term) -> bool:
    leader = roster.leaders.get(term.shard)
    return leader is None or (leader.member_id, leader.epoch) != (seat.member_id, term.epoch)


async def _done(future: asyncio.Future[Any]) -> None:
    await asyncio.wait((future,))


async def _first_of(*works: Coroutine[Any, Any, Any] | Awaitable[Any]) -> None:
    """Return when the first of these is done, with its exception if it has one; stop the others."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done() and not task.cancelled():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
