"""The ``Store`` port over etcd: for readers, for the leader of a shard, for the leader of all.

An append is a transaction of two comparisons: the leader's key has the create revision of this
term, and the saga's key says that the journal ends where the decision was made. Then the records
are put, and the key with the new end. It shares a commit with the appends of other sagas
(``fsm_saga.etcd.batch``). A late copy of it does nothing: its own success, like any other append,
makes its comparisons fail.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from fsm_saga.core.records import Record
from fsm_saga.errors import CommandError, CorruptRecordError, StoreError
from fsm_saga.etcd.data import (
    Compare,
    Delete,
    KeyValue,
    Operation,
    Put,
    Range,
    RangeResult,
    SortBy,
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
    answer_that_fits,
    command_in,
    command_value,
    end_in,
    end_value,
    entry_values,
)
from fsm_saga.stores.heads import damaged_head, head_from_journal
from fsm_saga.stores.refusals import (
    check_command,
    check_fits,
    closed,
    conflict,
    fenced,
    grown,
    is_text,
    no_command,
    not_final,
    read_only,
)
from fsm_saga.stores.sharding import shard_of

logger = logging.getLogger("fsm_saga.stores")

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
        check_fits(append)
        saga_id = append.saga_id
        shard, epoch = self._term_of(saga_id, f"An append to saga {saga_id!r}")
        leads = create_revision_is(self._layout.leader(shard), epoch)
        entry = entry_values(self._layout, append)
        for key, value in entry.parts.items():
            # A refusal here shows again below, where it is told from a conflict.
            await self._link.write(Txn(compares=(leads,), success=(Put(key=key, value=value),)))
        live = self._layout.live_saga(shard, saga_id)
        done = self._layout.done_saga(shard, saga_id)
        answer = await self._link.write(
            self._append_txn(append, entry.value, leads, live, done, is_live=True)
        )
        if not answer.succeeded and self._stands_ended(answer, append, epoch):
            # Rare: what came late is written down, or a person made it go on.
            answer = await self._link.write(
                self._append_txn(append, entry.value, leads, live, done, is_live=False)
            )
        if not answer.succeeded:
            raise self._refused_append(answer, append, epoch)

    def _append_txn(
        self,
        append: Append,
        entry: bytes,
        leads: Compare,
        live: bytes,
        done: bytes,
        *,
        is_live: bool,
    ) -> Txn:
        """Return an append to a saga whose end the key ``live`` tells, or ``done`` if not live."""
        saga_id, head = append.saga_id, append.head
        stands, target = live if is_live else done, done if head.is_final else live
        writes: list[Operation] = [
            Put(key=self._layout.entry(saga_id, head.position), value=entry),
            Put(key=target, value=end_value(target, head.position)),
        ]
        if append.position == 0:
            index = self._layout.indexed(saga_id)
            at_end = is_absent(index)
            writes.append(Put(key=index, value=b""))
        else:
            at_end = value_is(stands, end_value(stands, append.position))
            if target != stands:
                writes.append(Delete(key=stands))
        return Txn(
            compares=(leads, at_end),
            success=tuple(writes),
            failure=(Range(key=leads.key), Range(key=live), Range(key=done)),
        )

    def _stands_ended(self, answer: TxnResult, append: Append, epoch: int) -> bool:
        leader, live, done = (found.first for found in _ranges(answer))
        is_led = leader is not None and leader.create_revision == epoch
        return (
            is_led
            and append.position > 0
            and live is None
            and done is not None
            and end_in(done) == append.position
        )

    def _refused_append(self, answer: TxnResult, append: Append, epoch: int) -> StoreError:
        leader, live, done = (found.first for found in _ranges(answer))
        if leader is None or leader.create_revision != epoch:
            return self._fenced(epoch, leader)
        at = live or done
        found = None if at is None else end_in(at)
        return conflict(append.saga_id, expected=append.position, found=found)

    async def load(self, saga_id: str) -> tuple[Record, ...] | None:
        """See ``Store.load``."""
        self._check_open()
        if not is_text(saga_id):
            return None
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
        return next(iter(await self._heads_of([saga_id])), None)

    async def heads(
        self, *, only_unfinished: bool = False, limit: int | None = None
    ) -> Sequence[Head]:
        """See ``Store.heads``."""
        self._check_open()
        if not only_unfinished:
            return await self._heads_of(await self._newest_sagas(limit))
        prefixes = [self._layout.all_live]
        if self._terms:
            prefixes = [self._layout.live(shard) for shard in sorted(self._terms)]
        found = [kv for prefix in prefixes for kv in await self._all(prefix)]
        found.sort(key=lambda kv: -kv.create_revision)
        heads = [head for head in await self._heads_at(found) if not head.is_final]
        heads.sort(key=lambda head: -head.created_at)
        return heads if limit is None else heads[: max(limit, 0)]

    async def _newest_sagas(self, limit: int | None) -> list[str]:
        if limit is not None and limit <= 0:
            return []
        key, end = interval(self._layout.index)
        newest = Range(
            key=key,
            range_end=end,
            limit=limit or 0,
            sort_order=SortOrder.DESCENDING,
            sort_by=SortBy.CREATE_REVISION,
            keys_only=True,
        )
        return [last_part(kv.key) for kv in (await self._link.read(newest)).kvs]

    async def _heads_of(self, saga_ids: Sequence[str]) -> list[Head]:
        layout, shards = self._layout, self._link.shards
        keys = []
        for saga_id in filter(is_text, saga_ids):
            shard = shard_of(saga_id, shards)
            keys += [layout.live_saga(shard, saga_id), layout.done_saga(shard, saga_id)]
        return await self._heads_at([kv for kv in await self._gets(keys) if kv is not None])

    async def _heads_at(self, ends: Sequence[KeyValue]) -> list[Head]:
        """Return the heads of sagas by the keys that tell where their journals end."""
        keys = [self._last_entry(kv) for kv in ends]
        entries = await self._gets([key for key in keys if key is not None])
        at_key = {kv.key: kv for kv in entries if kv is not None}
        heads = []
        for kv, key in zip(ends, keys, strict=True):
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

    def _last_entry(self, end: KeyValue) -> bytes | None:
        try:
            return self._layout.entry(last_part(end.key), end_in(end))
        except CorruptRecordError:
            return None

    async def _head_told_by_journal(self, saga_id: str) -> Head | None:
        """Return a head for one that is damaged, or None if the saga is gone meanwhile."""
        try:
            journal = await self.load(saga_id)
            return None if journal is None else head_from_journal(saga_id, journal)
        except CorruptRecordError:
            return damaged_head(saga_id)

    async def remove(self, saga_id: str, *, position: int | None = None) -> None:
        """See ``Store.remove``."""
        self._check_writes(f"Removing saga {saga_id!r}")
        if not is_text(saga_id):
            return
        shard, epoch = self._term_of(saga_id, f"Removing saga {saga_id!r}")
        layout = self._layout
        leader, live = layout.leader(shard), layout.live_saga(shard, saga_id)
        done = layout.done_saga(shard, saga_id)
        (ended,) = await self._gets((done,))
        if ended is not None and position not in (None, end_in(ended)):
            raise grown(saga_id, expected=position, found=end_in(ended))
        as_it_was = mod_revision_is(done, 0 if ended is None else ended.mod_revision)
        await self._forget_commands(saga_id)
        below = (layout.journal(saga_id), layout.parts(saga_id), layout.of_saga(saga_id))
        answer = await self._link.write_alone(
            Txn(
                compares=(create_revision_is(leader, epoch), is_absent(live), as_it_was),
                success=(
                    Delete(key=done),
                    Delete(key=layout.indexed(saga_id)),
                    *(Delete(key=key, range_end=end) for key, end in map(interval, below)),
                ),
                failure=(Range(key=leader), Range(key=live)),
            )
        )
        if not answer.succeeded:
            at_leader, at_live = (found.first for found in _ranges(answer))
            if at_leader is None or at_leader.create_revision != epoch:
                raise self._fenced(epoch, at_leader)
            if at_live is None:
                found = await self.head(saga_id)
                raise grown(
                    saga_id,
                    expected=position or (0 if ended is None else end_in(ended)),
                    found=0 if found is None else found.position,
                )
            head = await self.head(saga_id)
            raise not_final(saga_id, "not at its end" if head is None else head.state)

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
                self._link.notice(shard)
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
        value = command_value(key, replace(command, answer=answer_that_fits(answer)))
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
        if not is_text(saga_id):
            return ()
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
        commands = []
        for kv in found:
            try:
                if kv is not None:
                    commands.append(command_in(kv))
            except CorruptRecordError as error:
                logger.warning("a command is left out: %s", error)
        return commands

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
