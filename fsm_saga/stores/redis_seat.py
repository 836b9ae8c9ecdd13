"""A coordinator's seat: its lease in Redis, and the shards that it leads by it.

The lease is a key that goes by itself; renewing it is this process's sign of life. It says when
another may try to lead, and never who may write: each write compares the term's guard. So a lease
that ended too early or too late, after a pause or a jump of the server's clock, harms no journal.
"""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from fsm_saga.errors import StoreError, StoreUnavailableError
from fsm_saga.ports import Leader, Member, Roster, Store, Term
from fsm_saga.stores.redis_commits import Lead, RedisCommits
from fsm_saga.stores.redis_link import RedisLink, wait_s
from fsm_saga.stores.redis_losses import mark_loss, marked_as_lost, note_commits, went_back
from fsm_saga.stores.redis_scripts import CAMPAIGN, JOIN, LEAVE, RENEW, RESIGN, ROSTER
from fsm_saga.stores.redis_store import RedisStore

RENEWALS_PER_TTL = 5
SAFETY = 0.95
"""The part of a lease that its holder counts on: clocks do not run equally fast."""
ROSTER_LOOK_S = 0.2


class RedisSeat:
    """The ``Seat`` port over Redis.

    Args:
        link: The connections; closing them is for their owner.
        commits: The queue of appends over that link.
        member: Who sits here.
        ttl_s: How long the lease lasts without a sign of life.
    """

    def __init__(
        self, link: RedisLink, commits: RedisCommits, member: Member, *, ttl_s: float
    ) -> None:
        self._link = link
        self._layout = link.layout
        self._commits = commits
        self._member = member
        self._ttl_s = ttl_s
        self._leads: dict[int, Lead] = {}
        self._lost = asyncio.Event()
        self._left = False
        self._until = 0.0
        self._renewing: asyncio.Task[None] | None = None
        self._seen: object = None

    @property
    def member_id(self) -> str:
        """Whose seat it is."""
        return self._member.member_id

    async def join(self) -> None:
        """Take the seat and begin to renew its lease. Terms of a seat before it are over.

        Raises:
            StoreError: The store that was opened is gone, or the server failed.
        """
        sent_at = _now()
        layout = self._layout
        keys = (layout.member(self.member_id), layout.members, layout.leaders, layout.epoch)
        told, store_id = msgspec.json.encode(self._member), self._link.store_id
        arguments = (self.member_id, told, self._ttl_ms, store_id)
        joined = await self._link.run(JOIN, (*keys, layout.meta, layout.lost), *arguments)
        if joined < 0:
            raise marked_as_lost(self._link)
        if not joined:
            raise StoreError(
                f"Store {self._link.url!r} was not joined: it is not the one that was opened. The "
                "server has lost it, or another was made in its place. Stop all coordinators and "
                "bring the newest copy back."
            )
        self._until = sent_at + SAFETY * self._ttl_s
        self._renewing = asyncio.create_task(self._keep(), name="redis lease")

    async def announce(self, member: Member) -> None:
        """See ``Seat.announce``."""
        self._member = member
        if not await self._renew():
            self._lost.set()
            raise self._gone("Its record")

    async def roster(self) -> Roster:
        """See ``Seat.roster``."""
        roster, self._seen = await look_at_roster(self._link)
        return roster

    async def wait_change(self, timeout_s: float) -> None:
        """See ``Seat.wait_change``: the roster is looked at several times a second.

        To be told of changes would be cheaper. But each look also tells whether the server still
        knows what it knew at the last one.
        """
        ends_at = _now() + timeout_s
        while (left_s := ends_at - _now()) > 0 and not await wait_s(
            self._lost, min(ROSTER_LOOK_S, left_s)
        ):
            with contextlib.suppress(StoreUnavailableError):  # whoever looks next is told
                _, seen = await look_at_roster(self._link)
                if seen != self._seen:
                    self._seen = seen
                    return

    async def campaign(self, shard: int) -> Term | None:
        """See ``Seat.campaign``."""
        layout = self._layout
        keys = (layout.leaders, layout.commits, layout.epoch, layout.members, layout.lost)
        known = self._link.commits_seen.get(shard, 0)
        answer = await self._link.run(CAMPAIGN, keys, layout.root, self.member_id, shard, known)
        if answer[0] == b"lost":
            raise marked_as_lost(self._link)
        if answer[0] == b"back":
            error = went_back(self._link, shard, found=answer[1], confirmed=known)
            await mark_loss(self._link, error)
            raise error
        if answer[0] == b"gone":
            raise self._gone("A leadership")
        if answer[0] == b"held":
            return None
        _, epoch, commits = answer
        await note_commits(self._link, {shard: commits}, known={})
        lead = self._leads.get(shard)
        if lead is None or lead.epoch != epoch:
            self._leads[shard] = Lead(shard, epoch, self._guard(epoch), commits)
        return Term(shard=shard, epoch=epoch)

    def store(self, *terms: Term) -> Store:
        """See ``Seat.store``."""
        return RedisStore(self._link, self._commits, [self._lead_of(term) for term in terms])

    async def resign(self, term: Term) -> None:
        """See ``Seat.resign``."""
        keys = (self._layout.leaders, self._layout.epoch)
        await self._link.run(RESIGN, keys, term.shard, self._guard(term.epoch))

    async def wait_lost(self) -> None:
        """See ``Seat.wait_lost``."""
        await self._lost.wait()

    async def leave(self) -> None:
        """See ``Seat.leave``."""
        if self._left:
            return
        self._left = True
        self._lost.set()
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait((self._renewing,))
        layout = self._layout
        keys = (layout.member(self.member_id), layout.members, layout.leaders, layout.epoch)
        await self._link.run(LEAVE, keys, self.member_id)

    # --- the lease -------------------------------------------------------------------------------

    @property
    def _ttl_ms(self) -> int:
        return max(1, round(self._ttl_s * 1000))

    async def _keep(self) -> None:
        """Renew the lease until it is lost, by the server's word or by our own clock."""
        every_s = self._ttl_s / RENEWALS_PER_TTL
        try:
            while not await wait_s(self._lost, min(every_s, self._left_s())):
                try:
                    async with asyncio.timeout(min(2 * every_s, self._left_s())):
                        is_alive = await self._renew()
                except (StoreError, TimeoutError):
                    is_alive = self._left_s() > 0
                if not is_alive:
                    return
        finally:
            self._lost.set()  # whatever ended this: a lease that nobody renews is as good as lost

    async def _renew(self) -> bool:
        """Return False if the lease has ended."""
        sent_at = _now()
        told = msgspec.json.encode(self._member)
        keys = (self._layout.member(self.member_id),)
        if not await self._link.run(RENEW, keys, told, self._ttl_ms):
            return False
        self._until = max(self._until, sent_at + SAFETY * self._ttl_s)
        return True

    def _left_s(self) -> float:
        return max(0.0, self._until - _now())

    def _guard(self, epoch: int) -> str:
        return f"{epoch} {self.member_id}"

    def _lead_of(self, term: Term) -> Lead:
        lead = self._leads.get(term.shard)
        if lead is None or lead.epoch != term.epoch:
            return Lead(term.shard, term.epoch, self._guard(term.epoch))
        return lead

    def _gone(self, what: str) -> StoreUnavailableError:
        self._lost.set()
        return StoreUnavailableError(
            f"{what} was not written: the lease of member {self.member_id!r} has ended. Join "
            "again.",
            reason="the lease has ended",
        )


async def look_at_roster(link: RedisLink) -> tuple[Roster, object]:
    """Return who is there and who leads, and what to compare the next look with."""
    layout = link.layout
    known = dict(link.commits_seen)
    keys = (layout.members, layout.leaders, layout.commits)
    *seen, commits = await link.run(ROSTER, keys, layout.root)
    counts = zip(map(int, commits[::2]), map(int, commits[1::2]), strict=True)
    await note_commits(link, dict(counts), known=known)
    ids, told, leaders = seen
    members = {
        member_id.decode(): member
        for member_id, said in zip(ids, told, strict=True)
        if (member := _member_in(said)) is not None
    }
    found: dict[int, Leader] = {}
    for shard, leader in zip(leaders[::2], leaders[1::2], strict=True):
        epoch, _, member_id = leader.decode().partition(" ")
        if member_id in members:
            found[int(shard)] = Leader(shard=int(shard), epoch=int(epoch), member_id=member_id)
    return Roster(members=members, leaders=found), seen


def _member_in(told: bytes) -> Member | None:
    try:
        return msgspec.json.decode(told, type=Member)
    except msgspec.MsgspecError:
        return None


def _now() -> float:
    return asyncio.get_running_loop().time()
