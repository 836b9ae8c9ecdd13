"""What a view of the store in etcd may do, and how it looks things up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fsm_saga.errors import FencedError, StoreError
from fsm_saga.etcd.data import (
    Compare,
    KeyValue,
    Range,
    RangeResult,
    Txn,
    TxnResult,
    create_revision_is,
)
from fsm_saga.stores.etcd_layout import interval
from fsm_saga.stores.etcd_link import EtcdLink
from fsm_saga.stores.refusals import closed, fenced, read_only
from fsm_saga.stores.sharding import shard_of

PAGE = 500
GETS_MAX = 100
"""Keys that are asked for one by one in one transaction; etcd takes 128 by default."""


class EtcdView:
    """The connection as seen by the leader of some shards, or by a reader.

    Attributes:
        link: The connection, which others share and this does not close.
        layout: The store's keys.
        terms: The epoch of each shard that is led; empty for a reader.
        lease: What the terms hang on; 0 for a reader.
    """

    def __init__(self, link: EtcdLink, terms: Mapping[int, int], *, lease: int = 0) -> None:
        self.link = link
        self.layout = link.layout
        self.terms = dict(terms)
        self.lease = lease
        self._is_closed = False

    def close(self) -> None:
        """Refuse everything from now on."""
        self._is_closed = True

    def check_open(self) -> None:
        """Return unless this was closed."""
        if self._is_closed:
            raise closed(self.link.url)

    def check_writes(self, what: str) -> None:
        """Return unless this was closed or is a reader's."""
        self.check_open()
        if not self.terms:
            raise read_only(self.link.url, what)

    def term_of(self, saga_id: str, what: str) -> tuple[int, int]:
        """Return a saga's shard and the epoch in which it is led here.

        Raises:
            StoreError: It is not led here.
        """
        self.check_writes(what)
        shard = shard_of(saga_id, self.link.shards)
        epoch = self.terms.get(shard)
        if epoch is None:
            raise StoreError(
                f"{what} was refused: it belongs to shard {shard}, which this view of store "
                f"{self.link.url!r} does not lead. Nothing was written."
            )
        return shard, epoch

    def leads(self, shard: int, epoch: int) -> Compare:
        """Return the condition that every write names."""
        return create_revision_is(self.layout.leader(shard), epoch)

    def check_leads(self, epoch: int, leader: KeyValue | None) -> None:
        """Return if the shard whose leader's key was found is led in this epoch.

        Raises:
            FencedError: It is not.
        """
        if leader is None or leader.create_revision != epoch:
            raise self.fenced(epoch, leader)

    def fenced(self, epoch: int, leader: KeyValue | None) -> FencedError:
        """Return the error for a write in an epoch that is not the leader's."""
        found = None if leader is None else leader.create_revision
        return fenced(self.link.url, epoch=epoch, leader=found)

    async def all_below(self, prefix: bytes, *, keys_only: bool = False) -> list[KeyValue]:
        """Return every key below a prefix in order, as of one revision."""
        key, end = interval(prefix)
        found: list[KeyValue] = []
        revision = 0
        while True:
            page = await self.link.read(
                Range(key=key, range_end=end, limit=PAGE, revision=revision, keys_only=keys_only)
            )
            found += page.kvs
            if not page.has_more:
                return found
            key, revision = page.kvs[-1].key + b"\0", page.revision

    async def gets(self, keys: Sequence[bytes]) -> list[KeyValue | None]:
        """Return what is under each of these keys, as of one moment for each hundred of them."""
        found: list[KeyValue | None] = []
        for at in range(0, len(keys), GETS_MAX):
            wanted = keys[at : at + GETS_MAX]
            if len(wanted) == 1:
                found.append((await self.link.read(Range(key=wanted[0]))).first)
                continue
            answer = await self.link.read_txn(Txn(success=tuple(Range(key=key) for key in wanted)))
            found += firsts(answer)
        return found


def firsts(answer: TxnResult) -> list[KeyValue | None]:
    """Return the first key of each range that a transaction has read."""
    return [result.first for result in answer.results if isinstance(result, RangeResult)]
