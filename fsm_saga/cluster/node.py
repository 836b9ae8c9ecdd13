"""One coordinator of a cluster: it leads shards of the store, each with an engine of its own.

A node joins, looks who else is there, campaigns for the shards that are its to lead and hands over
those that are not. What keeps two nodes from harming a saga is not here: every write of an engine
compares its term's epoch inside the store. Here is only who tries, and how fast it lets go.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
from msgspec.structs import replace

from fsm_saga.cluster.assignment import assignment
from fsm_saga.cluster.setbacks import Setbacks
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
RELEASE_S = 5.0
"""How long an engine may take to stop. Then its shard is given up all the same: what it still
writes is refused, and a tool that does not let itself be cancelled keeps nobody from the shard."""
CAMPAIGNS_MAX = 16
"""Campaigns that are under way at a time."""

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
        self.is_told = False
        """True once its engine was told to stop."""
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
        self._setbacks = Setbacks()
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
        stopped = self._setbacks.stopped
        for shard, why in sorted(stopped.items()):
            found.append(f"shard {shard} stopped: {why}")
        for shard, led in sorted(self.led.items()):
            if led.engine is None and not led.is_ending and shard not in stopped:
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
        leaving = [self._release(seat, tuple(self.led))]
        if self._stopping.is_set() and not is_lost:
            # Beside it: engines do not go on, maybe beyond the lease, while the store is silent.
            leaving.append(self._tell_leaving(seat))
        await asyncio.gather(*leaving)
        try:
            await seat.leave()
        except StoreError as error:
            logger.info("the seat ends with its lease: %s", error)

    async def _tell_leaving(self, seat: Seat) -> None:
        try:
            await seat.announce(replace(self.member, is_leaving=True))
        except StoreError as error:
            logger.info("the others were not told of the leaving: %s", error)

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
        """Bring what is led in line with the roster.

        What the store refuses for one shard keeps no other from being led.

        Raises:
            StoreError: The first of what the store refused, when all the rest is done.
        """
        failed: list[StoreError] = []
        now = asyncio.get_running_loop().time()
        # First, since what this member avoids counts when the shards are shared out.
        await _kept(self._announce(seat, now), failed)
        roster = await self._roster(seat, failed)
        mine = {
            shard
            for shard, member_id in assignment(roster, shards=self._cluster.shards).items()
            if member_id == seat.member_id
        }
        self._setbacks.leave_to_others(self._setbacks.stopped.keys() - mine)
        for held in roster.leaders.values():
            if held.member_id == seat.member_id and held.shard not in mine | self.led.keys():
                # Won by a campaign whose answer was lost, for a shard that is another's by now.
                await _kept(seat.resign(Term(shard=held.shard, epoch=held.epoch)), failed)
        # Together: an engine that stops late keeps no other shard waiting.
        await asyncio.gather(
            self._release(seat, self._to_release(seat, roster, mine)),
            self._campaign_for(seat, tuple(self._to_win(seat, roster, mine, now)), failed),
        )
        self._tell_standing_by(roster, mine)
        if failed:
            raise failed[0]

    async def _roster(self, seat: Seat, failed: list[StoreError]) -> Roster:
        """Return the roster with this member in it as it is."""
        roster = await seat.roster()
        told = roster.members.get(seat.member_id)
        if told is not None and _is_same(told, self.member):
            return roster
        # Deleted or changed by somebody's hand, or an announcement was lost: as long as the others
        # do not see this member, they count on it for nothing.
        before = len(failed)
        await _kept(seat.announce(self.member), failed)
        if len(failed) > before:
            return roster
        logger.warning(
            "%s was not in the roster as it is, though its lease lives: it announced itself again",
            self.member.name,
            extra=self._fields("announced-again"),
        )
        return await seat.roster()

    def _to_win(
        self, seat: Seat, roster: Roster, mine: Collection[int], now: float
    ) -> Iterable[int]:
        """Return the shards to campaign for now."""
        for shard in sorted(mine - self.led.keys()):
            leader = roster.leaders.get(shard)
            is_free = leader is None or leader.member_id == seat.member_id
            if is_free and self._setbacks.may_try(shard, now=now):
                yield shard

    async def _campaign_for(
        self, seat: Seat, shards: Iterable[int], failed: list[StoreError]
    ) -> None:
        places = asyncio.Semaphore(CAMPAIGNS_MAX)

        async def campaign(shard: int) -> None:
            async with places:
                term = await seat.campaign(shard)
            if term is not None:
                self._begin(seat, term)

        await asyncio.gather(*(_kept(campaign(shard), failed) for shard in shards))

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

    def _to_release(self, seat: Seat, roster: Roster, mine: Collection[int]) -> tuple[int, ...]:
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
                self._setbacks.runs(term.shard)
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
            self._put_off(led, str(error), error)
        except Exception as error:
            # boundary: a bug met in one shard's engine stops that engine, and no other shard.
            logger.exception(
                "shard %d (epoch %d) was stopped by a bug",
                term.shard,
                term.epoch,
                extra=self._fields("shard-stopped", term),
            )
            self._put_off(led, "a bug, told in the log", error)
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

    def _put_off(self, led: Led, why: str, error: Exception | None = None) -> None:
        """Lead the shard again later, and let others lead it first who can.

        What an abandoned engine comes to says nothing of the shard, which may be led anew by now.
        """
        if self.led.get(led.term.shard) is not led:
            return
        now = asyncio.get_running_loop().time()
        self._setbacks.failed(led.term.shard, why, now=now, ran_s=now - led.since, error=error)

    async def _release(self, seat: Seat, shards: tuple[int, ...]) -> None:
        """Stop these shards' engines at a safe point and resign."""
        found = [led for shard in shards if (led := self.led.get(shard)) and led.task]
        for led in found:
            if led.task and not (led.is_ending or led.is_told):
                led.is_told = True
                led.task.cancel()
        waited_for = {led.task: led for led in found if led.task}
        if waited_for:
            _done_in_time, late = await asyncio.wait(waited_for, timeout=RELEASE_S)
            for task in late:
                await self._abandon(seat, waited_for[task])

    async def _abandon(self, seat: Seat, led: Led) -> None:
        """Give a shard up whose engine does not stop; no write of it can come after that."""
        said = "shard %d (epoch %d) is given up although its engine has not stopped"
        self._tell(logging.WARNING, "abandoned", led.term, said)
        try:
            await seat.resign(led.term)
        except StoreError as error:
            logger.info("shard %d is not given up yet: %s", led.term.shard, error)
        else:
            if self.led.get(led.term.shard) is led:
                del self.led[led.term.shard]

    async def _announce(self, seat: Seat, now: float) -> None:
        facts, avoids = self._facts(), self._setbacks.avoided(now=now)
        is_due = now - self._announced_at >= ANNOUNCE_S
        if avoids != self.member.avoids or (is_due and facts != self.member.facts):
            self.member = replace(self.member, facts=facts, avoids=avoids)
            self._announced_at = now
            await seat.announce(self.member)

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


def _is_same(told: Member, member: Member) -> bool:
    """Return whether a member is told as it is; the same data may be of other types once stored."""
    return msgspec.json.encode(told) == msgspec.json.encode(member)


async def _kept(work: Awaitable[None], failed: list[StoreError]) -> None:
    """Do this, and keep what the store refuses for later."""
    try:
        await work
    except StoreError as error:
        failed.append(error)


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
