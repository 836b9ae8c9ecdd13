"""The ``ClusterStore`` port over etcd: opening, seats, and who leads."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from contextlib import suppress

import msgspec

from fsm_saga.errors import CorruptRecordError
from fsm_saga.etcd.batch import Batcher, open_batcher
from fsm_saga.etcd.clock import lease_time_s
from fsm_saga.etcd.data import KeyValue, Put, Range, RangeResult, Txn, WatchRequest
from fsm_saga.etcd.election import Election, Leadership
from fsm_saga.etcd.errors import EtcdError
from fsm_saga.etcd.session import Session, open_session
from fsm_saga.etcd.watch import Watch
from fsm_saga.ports import Leader, Member, Roster, Store, Term
from fsm_saga.stores.etcd_checks import check_one_store, check_servers, read_meta
from fsm_saga.stores.etcd_layout import Layout, interval, last_part, sealed, shard_in
from fsm_saga.stores.etcd_link import EtcdLink
from fsm_saga.stores.etcd_quota import check_quotas
from fsm_saga.stores.etcd_store import EtcdStore
from fsm_saga.stores.etcd_transports import open_transport
from fsm_saga.stores.etcd_url import parse_etcd_url
from fsm_saga.stores.etcd_values import object_in, object_value
from fsm_saga.stores.held import Held

logger = logging.getLogger("fsm_saga.stores")

MARGIN_S = 0.5
"""How long before etcd a seat takes its lease for ended; clocks may drift by so much in one."""
WATCH_AGAIN_S = 0.5
ANNOUNCE_TRIES = 3


async def open_etcd_cluster(
    url: str, *, shards: int | None = None, may_create: bool = True
) -> EtcdCluster:
    """Open the store in etcd, which is made if need be.

    Args:
        url: ``etcd://host:port[,host:port]/prefix``; see ``etcd_url``.
        shards: The number of shards to make it with; None takes what is there, else the default.
        may_create: False to refuse a store that is not there.

    Raises:
        StoreError: It cannot be opened; subclasses say more.
    """
    asked = parse_etcd_url(url)
    transport = await open_transport(asked)
    try:
        statuses = await check_servers(transport, asked.shown, needs_space=may_create)
        if may_create:
            await check_quotas(asked, statuses)
        layout = Layout(asked.prefix)
        meta = await read_meta(transport, layout, asked.shown, shards=shards, may_create=may_create)
        if len(asked.endpoints) > 1:
            await check_one_store(transport, layout, asked.shown, meta)
        batcher, held = await Held.open(open_batcher(transport), name="group commit")
    except BaseException:  # boundary: whatever it was, the connection is given back
        await transport.close()
        raise
    link = EtcdLink(
        asked.shown, transport, batcher, layout, shards=meta.shards, made_with=meta.value
    )
    return EtcdCluster(link, held)


class EtcdCluster:
    """The store in etcd that coordinators share."""

    def __init__(self, link: EtcdLink, held: Held[Batcher]) -> None:
        """Take over an open connection."""
        self.link = link
        self._held = held
        self._seats: list[EtcdSeat] = []

    @property
    def url(self) -> str:
        """The URL it was opened by, without a password."""
        return self.link.url

    @property
    def shards(self) -> int:
        """The number of shards."""
        return self.link.shards

    @property
    def reader(self) -> Store:
        """The store as readers see it."""
        return EtcdStore(self.link, {})

    async def join(self, member: Member, *, ttl_s: float) -> EtcdSeat:
        """See ``ClusterStore.join``."""
        try:
            session, held = await Held.open(
                open_session(self.link.transport, ttl_s=math.ceil(ttl_s), margin_s=MARGIN_S),
                name="lease",
            )
        except EtcdError as error:
            raise self.link.failed("asking for a lease", error) from error
        seat = EtcdSeat(self.link, session, held, member.member_id)
        try:
            await seat.announce(member)
        except BaseException:  # boundary: whatever it was, nobody sits there
            await seat.leave()
            raise
        self._seats.append(seat)
        return seat

    async def roster(self) -> Roster:
        """Return who is there and who leads."""
        return await read_roster(self.link)

    async def close(self) -> None:
        """Leave every seat and release the store."""
        for seat in self._seats:
            await seat.leave()
        await self.link.close()
        await self._held.close()
        await self.link.transport.close()


class EtcdSeat:
    """A coordinator's membership: a lease of etcd with the keys that hang on it."""

    def __init__(
        self, link: EtcdLink, session: Session, held: Held[Session], member_id: str
    ) -> None:
        self._link = link
        self._session = session
        self._held = held
        self._member_id = member_id
        self._changed = asyncio.Event()
        self._watching = asyncio.create_task(self._watch(), name="watch for members")

    @property
    def member_id(self) -> str:
        """Whose seat it is."""
        return self._member_id

    @property
    def lease_left_s(self) -> float:
        """How long the lease may still be relied on without a renewal."""
        return max(self._session.expires_at - lease_time_s(), 0.0)

    async def announce(self, member: Member) -> None:
        """See ``Seat.announce``."""
        key = self._link.layout.member(self._member_id)
        value = sealed(key, msgspec.json.encode(member))
        done = await self._link.write(
            Txn(
                compares=(self._link.is_same_store,),
                success=(Put(key=key, value=value, lease=self._session.lease_id),),
            )
        )
        if not done.succeeded:
            raise self._link.is_gone()

    async def roster(self) -> Roster:
        """See ``Seat.roster``."""
        return await read_roster(self._link)

    async def wait_change(self, timeout_s: float) -> None:
        """See ``Seat.wait_change``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        self._changed.clear()

    async def campaign(self, shard: int) -> Term | None:
        """See ``Seat.campaign``."""
        key = self._link.layout.leader(shard)
        election = Election(
            self._link.transport,
            self._session,
            key=key,
            value=object_value(key, {"member_id": self._member_id, "since": time.time()}),
            conditions=(self._link.is_same_store,),
        )
        try:
            found = await election.try_once()
        except EtcdError as error:
            raise self._link.failed("campaigning", error) from error
        if found is None:
            raise self._link.is_gone()
        return Term(shard=shard, epoch=found.fence) if isinstance(found, Leadership) else None

    def store(self, *terms: Term) -> Store:
        """See ``Seat.store``."""
        led = {term.shard: term.epoch for term in terms}
        return EtcdStore(self._link, led, lease=self._session.lease_id)

    async def resign(self, term: Term) -> None:
        """See ``Seat.resign``."""
        key = self._link.layout.leader(term.shard)
        election = Election(self._link.transport, self._session, key=key)
        try:
            await election.resign(Leadership(key=key, fence=term.epoch))
        except EtcdError as error:
            raise self._link.failed("resigning", error) from error

    async def wait_lost(self) -> None:
        """See ``Seat.wait_lost``."""
        await self._session.wait_lost()

    async def leave(self) -> None:
        """See ``Seat.leave``."""
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        await self._held.close()

    async def _watch(self) -> None:
        """Take note of every change of members and leaders: a hint, however it may fail."""
        # Leaders and members, and nothing of what else hangs on a lease.
        layout = self._link.layout
        key, end = layout.leaders, interval(layout.members)[1]
        while True:
            try:
                async with Watch(
                    self._link.transport, WatchRequest(key=key, range_end=end)
                ) as watch:
                    await watch.start()
                    self._changed.set()
                    async for _answer in watch:
                        self._changed.set()
            except EtcdError as error:
                logger.info("the watch for members begins anew: %s", error)
            self._changed.set()
            await asyncio.sleep(WATCH_AGAIN_S)


async def read_roster(link: EtcdLink) -> Roster:
    """Return who is there and who leads, as of one moment."""
    members, leaders = link.layout.members, link.layout.leaders
    answer = await link.read_txn(
        Txn(
            success=tuple(
                Range(key=key, range_end=end) for key, end in map(interval, (members, leaders))
            )
        )
    )
    of_members, of_leaders = (r for r in answer.results if isinstance(r, RangeResult))
    found = {}
    for kv in of_members.kvs:
        member_id = last_part(kv.key)
        try:
            said = object_in(kv, what=f"Member {member_id!r}")
            found[member_id] = msgspec.convert(
                {**said, "member_id": member_id}, Member, str_keys=True
            )
        except (CorruptRecordError, msgspec.ValidationError) as error:
            # It may be of a newer version; whether it lives is all that the others need to know.
            logger.warning("member %r cannot be read: %s", member_id, error)
            found[member_id] = Member(
                member_id=member_id, name=member_id, started_at=0.0, is_ready=False
            )
    return Roster(
        members=found,
        leaders={
            shard_in(kv.key): Leader(
                shard=shard_in(kv.key),
                epoch=kv.create_revision,
                member_id=_leader_in(kv),
            )
            for kv in of_leaders.kvs
        },
    )


def _leader_in(found: KeyValue) -> str:
    """Return who leads; nobody's id if that cannot be read.

    Then the leader itself takes the shard for lost, gives the key up and campaigns anew. The
    epoch, which is what counts, is not in the value.
    """
    try:
        said = object_in(found, what="The name of a leader")
    except CorruptRecordError as error:
        logger.warning("who leads shard %d cannot be read: %s", shard_in(found.key), error)
        return ""
    return str(said.get("member_id", ""))
