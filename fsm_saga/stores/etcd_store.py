"""The ``Store`` port over etcd: for readers, for the leader of a shard, for the leader of all.

An append is a transaction of two comparisons: the leader's key has the create revision of this
term, and the saga's key says that the journal ends where the decision was made. Then the records
are put, and the key with the new end. It shares a commit with the appends of other sagas
(``fsm_saga.etcd.batch``). A late copy of it does nothing: its own success, like any other append,
makes its comparisons fail.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from fsm_saga.core.records import Record
from fsm_saga.errors import CommandError, CorruptRecordError, StoreError
from fsm_saga.etcd.data import (
    Delete,
    KeyValue,
    Operation,
    Put,
    Range,
    RangeResult,
    SortOrder,
    Txn,
    TxnResult,
    create_revision_is,
    is_absent,
    mod_revision_is,
    value_is,
)
from fsm_saga.ports import SAGA_COMMANDS_MAX, Append, Command, Head
from fsm_saga.stores.etcd_layout import interval, last_part
from fsm_saga.stores.etcd_link import EtcdLink
from fsm_saga.stores.etcd_values import (
    JournalEntry,
    command_in,
    command_value,
    end_in,
    end_value,
    entry_values,
    head_in,
    head_value,
)
from fsm_saga.stores.heads import damaged_head, head_from_journal
from fsm_saga.stores.refusals import (
    check_command,
    check_fits,
    closed,
    conflict,
    fenced,
    no_command,
    not_final,
    read_only,
)
from fsm_saga.stores.sharding import shard_of

PAGE = 500
GETS_MAX = 100
"""Keys that are asked for one by one in one transaction; etcd takes 128 by default."""
DELETES_MAX = 40
"""Commands that are deleted in one transaction, each with three keys."""


class EtcdStore:
    """A view of the store: what it may write depends on the terms that it was given."""

    def __init__(self, link: EtcdLink, terms: Mapping[int, int]) -> None:
        """See the store.

        Args:
            link: The connection, which others share and this does not close.
            terms: The epoch of each shard that this view leads; empty for a reader.
        """
        self._link = link
        self._layout = link.layout
        self._terms = dict(terms)
        self._is_closed = False

    @property
    def url(self) -> str:
        """The URL it was opened by, without a password."""
        return self._link.url

    @property
    def epoch(self) -> int:
        """The newest of its terms' epochs, 0 for a reader."""
        return max(self._terms.values(), default=0)

    # --- journals --------------------------------------------------------------------------------

    async def append(self, append: Append) -> None:
        """See ``Store.append``."""
        saga_id, position = append.saga_id, append.position
        shard, epoch = self._term_of(saga_id, f"An append to saga {saga_id!r}")
        check_fits(append)
        layout, head = self._layout, append.head
        leads = create_revision_is(layout.leader(shard), epoch)
        entry = entry_values(layout, append)
        for key, value in entry.parts.items():
            # A refusal here shows again below, where it is told from a conflict.
            await self._link.write(Txn(compares=(leads,), success=(Put(key=key, value=value),)))
        live, done = layout.live_saga(shard, saga_id), layout.done_saga(shard, saga_id)
        stands = (
            (is_absent(live), is_absent(done))
            if position == 0
            else (value_is(live, end_value(live, position)),)
        )
        moves: tuple[Operation, ...] = (Put(key=live, value=end_value(live, head.position)),)
        if head.is_final:
            moves = (Delete(key=live), Put(key=done, value=head_value(done, head)))
        answer = await self._link.write(
            Txn(
                compares=(leads, *stands),
                success=(Put(key=layout.entry(saga_id, head.position), value=entry.value), *moves),
                failure=(Range(key=layout.leader(shard)), Range(key=live), Range(key=done)),
            )
        )
        if not answer.succeeded:
            raise self._refused_append(answer, saga_id, epoch=epoch, position=position)

    def _refused_append(
        self, answer: TxnResult, saga_id: str, *, epoch: int, position: int
    ) -> StoreError:
        leader, live, done = (found.first for found in _ranges(answer))
        if leader is None or leader.create_revision != epoch:
            return self._fenced(epoch, leader)
        if live is not None:
            return conflict(saga_id, expected=position, found=end_in(live))
        found = None if done is None else head_in(done).position
        return conflict(saga_id, expected=position, found=found)

    async def load(self, saga_id: str) -> tuple[Record, ...] | None:
        """See ``Store.load``."""
        self._check_open()
        records: list[Record] = []
        found = await self._all(self._layout.journal(saga_id))
        for kv in found:
            entry = JournalEntry(self._layout, saga_id, kv)
            records += entry.records(len(records), await self._gets(entry.part_keys))
        return tuple(records) if found else None

    # --- heads -----------------------------------------------------------------------------------

    async def head(self, saga_id: str) -> Head | None:
        """See ``Store.head``."""
        self._check_open()
        shard = shard_of(saga_id, self._link.shards)
        live, done = await self._gets(
            (self._layout.live_saga(shard, saga_id), self._layout.done_saga(shard, saga_id))
        )
        if live is not None:
            return next(iter(await self._live_heads([live])), None)
        return None if done is None else await self._done_head(done)

    async def heads(
        self, *, only_unfinished: bool = False, limit: int | None = None
    ) -> Sequence[Head]:
        """See ``Store.heads``."""
        self._check_open()
        prefixes = [self._layout.all_live]
        if only_unfinished and self._terms:
            prefixes = [self._layout.live(shard) for shard in sorted(self._terms)]
        live = [kv for prefix in prefixes for kv in await self._all(prefix)]
        heads = {head.saga_id: head for head in await self._live_heads(live)}
        if not only_unfinished:
            # A saga that ends between the two looks is in both; the later one counts.
            for kv in await self._all(self._layout.all_done):
                if (head := await self._done_head(kv)) is not None:
                    heads[head.saga_id] = head
        newest_first = sorted(heads.values(), key=lambda head: (-head.created_at, head.saga_id))
        return newest_first if limit is None else newest_first[: max(limit, 0)]

    async def _live_heads(self, found: Sequence[KeyValue]) -> list[Head]:
        """Return the heads of unfinished sagas, which their last appends brought."""
        keys = [self._last_entry(kv) for kv in found]
        entries = await self._gets([key for key in keys if key is not None])
        at_key = {kv.key: kv for kv in entries if kv is not None}
        heads = []
        for kv, key in zip(found, keys, strict=True):
            saga_id, entry = last_part(kv.key), at_key.get(key or b"")
            head = None if entry is None else self._head_with(entry, saga_id)
            heads.append(head or await self._head_told_by_journal(saga_id))
        return [head for head in heads if head is not None]

    def _head_with(self, entry: KeyValue, saga_id: str) -> Head | None:
        """Return the head that an append brought, or None if that is damaged."""
        try:
            return JournalEntry(self._layout, saga_id, entry).head
        except CorruptRecordError:
            return None

    def _last_entry(self, live: KeyValue) -> bytes | None:
        try:
            return self._layout.entry(last_part(live.key), end_in(live))
        except CorruptRecordError:
            return None

    async def _done_head(self, found: KeyValue) -> Head | None:
        try:
            return head_in(found)
        except CorruptRecordError:
            return await self._head_told_by_journal(last_part(found.key))

    async def _head_told_by_journal(self, saga_id: str) -> Head | None:
        """Return a head for one that is damaged, or None if the saga is gone meanwhile."""
        try:
            journal = await self.load(saga_id)
            return None if journal is None else head_from_journal(saga_id, journal)
        except CorruptRecordError:
            return damaged_head(saga_id)

    async def remove(self, saga_id: str) -> None:
        """See ``Store.remove``."""
        shard, epoch = self._term_of(saga_id, f"Removing saga {saga_id!r}")
        layout = self._layout
        leader, live = layout.leader(shard), layout.live_saga(shard, saga_id)
        await self._forget_commands(saga_id)
        below = (layout.journal(saga_id), layout.parts(saga_id), layout.of_saga(saga_id))
        answer = await self._link.write_alone(
            Txn(
                compares=(create_revision_is(leader, epoch), is_absent(live)),
                success=(
                    Delete(key=layout.done_saga(shard, saga_id)),
                    *(Delete(key=key, range_end=end) for key, end in map(interval, below)),
                ),
                failure=(Range(key=leader), Range(key=live)),
            )
        )
        if not answer.succeeded:
            at_leader, at_live = (found.first for found in _ranges(answer))
            if at_live is None or at_leader is None or at_leader.create_revision != epoch:
                raise self._fenced(epoch, at_leader)
            raise not_final(saga_id, "not at its end")

    async def _forget_commands(self, saga_id: str) -> None:
        """Delete the commands of a saga that has ended, a hundred at a time."""
        shard, epoch = self._term_of(saga_id, f"Removing saga {saga_id!r}")
        layout = self._layout
        compares = (
            create_revision_is(layout.leader(shard), epoch),
            is_absent(layout.live_saga(shard, saga_id)),
        )
        marks = await self._all(layout.of_saga(saga_id), keys_only=True)
        numbers = [int(last_part(mark.key)) for mark in marks]
        for at in range(0, len(numbers), DELETES_MAX):
            deletions = [
                Delete(key=key)
                for number in numbers[at : at + DELETES_MAX]
                for key in (
                    layout.command(number),
                    layout.pending_mark(shard, number),
                    layout.of_saga_mark(saga_id, number),
                )
            ]
            await self._link.write_alone(Txn(compares=compares, success=tuple(deletions)))

    # --- commands --------------------------------------------------------------------------------

    async def post_command(self, command: Command) -> int:
        """See ``Store.post_command``."""
        self._check_open()
        check_command(command)
        shard = shard_of(command.saga_id, self._link.shards)
        number = time.time_ns() // 1_000
        while True:
            key = self._layout.command(number)
            value = command_value(key, replace(command, number=number, answer=None))
            if len(value) > self._link.value_bytes_max:
                raise CommandError(
                    f"The command {command.kind!r} for saga {command.saga_id!r} was not left in "
                    f"the store: it has {len(value):,} bytes and etcd takes "
                    f"{self._link.value_bytes_max:,} at a time. Nothing was written."
                )
            answer = await self._link.write(
                Txn(
                    compares=(is_absent(key),),
                    success=(
                        Put(key=key, value=value),
                        Put(key=self._layout.pending_mark(shard, number), value=b""),
                        Put(key=self._layout.of_saga_mark(command.saga_id, number), value=b""),
                    ),
                )
            )
            if answer.succeeded:
                return number
            number += 1  # another process was as quick

    async def pending_commands(self) -> Sequence[Command]:
        """See ``Store.pending_commands``."""
        self._check_open()
        if not self._terms:
            return await self._commands_marked(self._layout.all_pending)
        found: list[Command] = []
        for shard in sorted(self._terms):
            if self._link.may_be_pending(shard):
                seen = self._link.pending_seen(shard)
                commands = await self._commands_marked(self._layout.pending(shard))
                if not commands:
                    self._link.none_pending(shard, seen)
                found += commands
        return sorted(found, key=lambda command: command.number)

    async def answer_command(self, number: int, answer: Mapping[str, Any]) -> None:
        """See ``Store.answer_command``."""
        self._check_writes(f"Answering command {number}")
        key = self._layout.command(number)
        (found,) = await self._gets((key,))
        if found is None:
            raise no_command(number)
        command = command_in(found)
        shard, epoch = self._term_of(command.saga_id, f"Answering command {number}")
        leader = self._layout.leader(shard)
        if command.answer is not None:
            return
        value = command_value(key, replace(command, answer=answer))
        result = await self._link.write(
            Txn(
                compares=(
                    create_revision_is(leader, epoch),
                    mod_revision_is(key, found.mod_revision),
                ),
                success=(
                    Put(key=key, value=value),
                    Delete(key=self._layout.pending_mark(shard, number)),
                ),
                failure=(Range(key=leader),),
            )
        )
        if not result.succeeded:
            (at_leader,) = _ranges(result)
            if at_leader.first is None or at_leader.first.create_revision != epoch:
                raise self._fenced(epoch, at_leader.first)
            # Else it was answered meanwhile, by a copy of this very write.

    async def command_answer(self, number: int) -> Mapping[str, Any] | None:
        """See ``Store.command_answer``."""
        self._check_open()
        (found,) = await self._gets((self._layout.command(number),))
        return None if found is None else command_in(found).answer

    async def saga_commands(self, saga_id: str) -> Sequence[Command]:
        """See ``Store.saga_commands``."""
        self._check_open()
        prefix, end = interval(self._layout.of_saga(saga_id))
        latest = Range(
            key=prefix,
            range_end=end,
            limit=SAGA_COMMANDS_MAX,
            sort_order=SortOrder.DESCENDING,
            keys_only=True,
        )
        marks = (await self._link.read(latest)).kvs
        return await self._commands(sorted(int(last_part(mark.key)) for mark in marks))

    async def _commands_marked(self, prefix: bytes) -> list[Command]:
        marks = await self._all(prefix, keys_only=True)
        return await self._commands(sorted(int(last_part(mark.key)) for mark in marks))

    async def _commands(self, numbers: Sequence[int]) -> list[Command]:
        found = await self._gets([self._layout.command(number) for number in numbers])
        return [command_in(kv) for kv in found if kv is not None]

    # --- what the above is made of ---------------------------------------------------------------

    async def close(self) -> None:
        """Give nothing back: the connection is shared."""
        self._is_closed = True

    async def _all(self, prefix: bytes, *, keys_only: bool = False) -> list[KeyValue]:
        """Return every key below a prefix in order, as of one revision."""
        key, end = interval(prefix)
        found: list[KeyValue] = []
        revision = 0
        while True:
            page = await self._link.read(
                Range(key=key, range_end=end, limit=PAGE, revision=revision, keys_only=keys_only)
            )
            found += page.kvs
            if not page.has_more:
                return found
            key, revision = page.kvs[-1].key + b"\0", page.revision

    async def _gets(self, keys: Sequence[bytes]) -> list[KeyValue | None]:
        """Return what is under each of these keys, as of one moment for each hundred of them."""
        found: list[KeyValue | None] = []
        for at in range(0, len(keys), GETS_MAX):
            wanted = keys[at : at + GETS_MAX]
            if len(wanted) == 1:
                found.append((await self._link.read(Range(key=wanted[0]))).first)
                continue
            answer = await self._link.read_txn(Txn(success=tuple(Range(key=key) for key in wanted)))
            found += [result.first for result in _ranges(answer)]
        return found

    def _term_of(self, saga_id: str, what: str) -> tuple[int, int]:
        self._check_writes(what)
        shard = shard_of(saga_id, self._link.shards)
        epoch = self._terms.get(shard)
        if epoch is None:
            raise StoreError(
                f"{what} was refused: it belongs to shard {shard}, which this view of store "
                f"{self.url!r} does not lead. Nothing was written."
            )
        return shard, epoch

    def _fenced(self, epoch: int, leader: KeyValue | None) -> StoreError:
        found = None if leader is None else leader.create_revision
        return fenced(self.url, epoch=epoch, leader=found)

    def _check_open(self) -> None:
        if self._is_closed:
            raise closed(self.url)

    def _check_writes(self, what: str) -> None:
        self._check_open()
        if not self._terms:
            raise read_only(self.url, what)


def _ranges(answer: TxnResult) -> list[RangeResult]:
    return [result for result in answer.results if isinstance(result, RangeResult)]
