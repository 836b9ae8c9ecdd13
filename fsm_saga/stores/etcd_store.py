"""The ``Store`` port over etcd: for readers, for the leader of a shard, for the leader of all.

An append is a transaction of two comparisons: the leader's key has the create revision of this
term, and the saga's key says that the journal ends where the decision was made. Then the records
are put, and the key with the new end. It shares a commit with the appends of other sagas
(``fsm_saga.etcd.batch``). A late copy of it does nothing: its own success, like any other append,
makes its comparisons fail, and so does the removal of the saga.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from fsm_saga.core.records import Record
from fsm_saga.errors import (
    ConflictError,
    CorruptRecordError,
    StoreError,
    StoreUnavailableError,
)
from fsm_saga.etcd.data import (
    Compare,
    Delete,
    KeyValue,
    Operation,
    Put,
    Range,
    SortBy,
    SortOrder,
    Txn,
    TxnResult,
    is_absent,
    mod_revision_is,
    value_is,
)
from fsm_saga.ports import Append, Command, FinishedPage, Head
from fsm_saga.stores.etcd_commands import EtcdCommands
from fsm_saga.stores.etcd_layout import interval, last_part
from fsm_saga.stores.etcd_link import EtcdLink
from fsm_saga.stores.etcd_values import JournalEntry, end_in, end_value, entry_values
from fsm_saga.stores.etcd_view import EtcdView, firsts
from fsm_saga.stores.heads import damaged_head, head_from_journal
from fsm_saga.stores.refusals import check_fits, conflict, grown, is_text, not_final
from fsm_saga.stores.sharding import shard_of

BEGINNINGS_TRIED = 20
REMOVALS_TRIED = 5


class EtcdStore:
    """A view of the store: what it may write depends on the terms that it was given."""

    def __init__(self, link: EtcdLink, terms: Mapping[int, int], *, lease: int = 0) -> None:
        """See the store.

        Args:
            link: The connection, which others share and this does not close.
            terms: The epoch of each shard that this view leads; empty for a reader.
            lease: What those terms hang on.
        """
        self._link = link
        self._layout = link.layout
        self._view = EtcdView(link, terms, lease=lease)
        self._commands = EtcdCommands(self._view)

    @property
    def url(self) -> str:
        """The URL it was opened by, without a password."""
        return self._link.url

    @property
    def epoch(self) -> int:
        """The newest of its terms' epochs, 0 for a reader."""
        return max(self._view.terms.values(), default=0)

    # --- journals --------------------------------------------------------------------------------

    async def append(self, append: Append) -> None:
        """See ``Store.append``."""
        check_fits(append)
        saga_id = append.saga_id
        shard, epoch = self._view.term_of(saga_id, f"An append to saga {saga_id!r}")
        leads = self._view.leads(shard, epoch)
        entry = entry_values(self._layout, append)
        for key, value in entry.parts.items():
            # A refusal here shows again below, where it is told from a conflict.
            await self._link.write(Txn(compares=(leads,), success=(Put(key=key, value=value),)))
        if append.position == 0:
            await self._begin(append, entry.value, shard, epoch)
            return
        txn = self._append_txn(append, entry.value, shard, epoch, is_live=True)
        answer = await self._link.write(txn)
        if not answer.succeeded and self._stands_ended(answer, append, epoch):
            # Rare: what came late is written down, or a person made it go on.
            txn = self._append_txn(append, entry.value, shard, epoch, is_live=False)
            answer = await self._link.write(txn)
        if not answer.succeeded:
            raise self._refused_append(answer, append, epoch)

    async def _begin(self, append: Append, entry: bytes, shard: int, epoch: int) -> None:
        """Write the first append of a saga.

        Nothing of a removed saga is left that could refuse a late copy of its first append. So a
        first append also names the last removal that it knows of, among the sagas that share a
        mark with it; one that a removal has overtaken is refused, and sent anew if it is not late.
        """
        saga_id, layout = append.saga_id, self._layout
        index, mark = layout.indexed(saga_id), layout.removal(shard, epoch, saga_id)
        at_its_end = append.head.is_final
        target = (layout.done_saga if at_its_end else layout.live_saga)(shard, saga_id)
        for _ in range(BEGINNINGS_TRIED):
            known = self._link.removal_seen(mark)
            answer = await self._link.write(
                Txn(
                    compares=(
                        self._view.leads(shard, epoch),
                        is_absent(index),
                        mod_revision_is(mark, known),
                    ),
                    success=(
                        Put(key=layout.entry(saga_id, append.head.position), value=entry),
                        Put(key=target, value=end_value(target, append.head.position)),
                        Put(key=index, value=b""),
                    ),
                    failure=(*self._at_stake(saga_id, shard), Range(key=mark), Range(key=index)),
                )
            )
            if answer.succeeded:
                return
            *_, at_mark, at_index = firsts(answer)
            found = 0 if at_mark is None else at_mark.mod_revision
            if at_index is not None or found == known:
                raise self._refused_append(answer, append, epoch)
            self._link.note_removal(mark, found)
        raise StoreUnavailableError(
            f"Saga {saga_id!r} was not begun in store {self.url!r}: others were removed at the "
            "very moment, again and again. Nothing was written; try again.",
            reason="too many removals at a time",
        )

    def _append_txn(
        self, append: Append, entry: bytes, shard: int, epoch: int, *, is_live: bool
    ) -> Txn:
        """Return an append to a saga whose end the key ``live`` tells, or ``done`` if not live."""
        saga_id, head = append.saga_id, append.head
        live = self._layout.live_saga(shard, saga_id)
        done = self._layout.done_saga(shard, saga_id)
        stands, target = live if is_live else done, done if head.is_final else live
        writes: list[Operation] = [
            Put(key=self._layout.entry(saga_id, head.position), value=entry),
            Put(key=target, value=end_value(target, head.position)),
        ]
        if target != stands:
            writes.append(Delete(key=stands))
        return Txn(
            compares=(
                self._view.leads(shard, epoch),
                value_is(stands, end_value(stands, append.position)),
            ),
            success=tuple(writes),
            failure=self._at_stake(saga_id, shard),
        )

    def _at_stake(self, saga_id: str, shard: int) -> tuple[Range, Range, Range]:
        """Return what tells why an append was refused: the leader, and where the journal ends."""
        layout = self._layout
        keys = layout.leader(shard), layout.live_saga(shard, saga_id)
        return Range(key=keys[0]), Range(key=keys[1]), Range(key=layout.done_saga(shard, saga_id))

    def _stands_ended(self, answer: TxnResult, append: Append, epoch: int) -> bool:
        leader, live, done = firsts(answer)
        is_led = leader is not None and leader.create_revision == epoch
        return is_led and live is None and done is not None and end_in(done) == append.position

    def _refused_append(self, answer: TxnResult, append: Append, epoch: int) -> StoreError:
        leader, live, done, *_ = firsts(answer)
        if leader is None or leader.create_revision != epoch:
            return self._view.fenced(epoch, leader)
        at = live or done
        found = None if at is None else end_in(at)
        return conflict(append.saga_id, expected=append.position, found=found)

    async def load(self, saga_id: str) -> tuple[Record, ...] | None:
        """See ``Store.load``."""
        self._view.check_open()
        if not is_text(saga_id):
            return None
        records: list[Record] = []
        found = await self._view.all_below(self._layout.journal(saga_id))
        for kv in found:
            entry = JournalEntry(self._layout, saga_id, kv)
            records += entry.records(len(records), await self._view.gets(entry.part_keys))
        return tuple(records) if found else None

    # --- heads -----------------------------------------------------------------------------------

    async def head(self, saga_id: str) -> Head | None:
        """See ``Store.head``."""
        self._view.check_open()
        return next(iter(await self._heads_of([saga_id])), None)

    async def heads(
        self, *, only_unfinished: bool = False, limit: int | None = None
    ) -> Sequence[Head]:
        """See ``Store.heads``."""
        self._view.check_open()
        if not only_unfinished:
            return await self._heads_of(await self._newest_sagas(limit))
        prefixes = [self._layout.all_live]
        if self._view.terms:
            prefixes = [self._layout.live(shard) for shard in sorted(self._view.terms)]
        found = [kv for prefix in prefixes for kv in await self._view.all_below(prefix)]
        found.sort(key=lambda kv: -kv.create_revision)
        heads = [head for head in await self._heads_at(found) if not head.is_final]
        heads.sort(key=lambda head: -head.created_at)
        return heads if limit is None else heads[: max(limit, 0)]

    async def finished(self, *, after: str = "", limit: int) -> FinishedPage:
        """See ``Store.finished``. A leader's are those of its shards."""
        self._view.check_open()
        prefixes = [self._layout.all_done]
        if self._view.terms:
            prefixes = [self._layout.done(shard) for shard in sorted(self._view.terms)]
        begin = after.encode()
        for prefix, following in zip(prefixes, [*prefixes[1:], b""], strict=True):
            first, end = interval(prefix)
            if begin < end:
                page = await self._link.read(
                    Range(key=max(begin, first), range_end=end, limit=limit)
                )
                rest = page.kvs[-1].key + b"\0" if page.has_more else following
                heads = [head for head in await self._heads_at(page.kvs) if head.is_final]
                return FinishedPage(heads=heads, after=rest.decode())
        return FinishedPage(heads=(), after="")

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
        return await self._heads_at([kv for kv in await self._view.gets(keys) if kv is not None])

    async def _heads_at(self, ends: Sequence[KeyValue]) -> list[Head]:
        """Return the heads of sagas by the keys that tell where their journals end."""
        keys = [self._last_entry(kv) for kv in ends]
        entries = await self._view.gets([key for key in keys if key is not None])
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
        self._view.check_writes(f"Removing saga {saga_id!r}")
        if not is_text(saga_id):
            return
        shard, epoch = self._view.term_of(saga_id, f"Removing saga {saga_id!r}")
        layout = self._layout
        leads, live = self._view.leads(shard, epoch), layout.live_saga(shard, saga_id)
        done = layout.done_saga(shard, saga_id)
        for number in range(REMOVALS_TRIED):
            if number == 0 and position is not None:
                # Mostly all is as it was seen, and nobody has asked anything of the saga.
                as_it_was, is_there = value_is(done, end_value(done, position)), True
            else:
                (ended,) = await self._view.gets((done,))
                is_there = ended is not None
                if position is not None and ended is not None:
                    await self._check_end(ended, position)
                await self._commands.clear(saga_id, (leads, is_absent(live)))
                as_it_was = mod_revision_is(done, 0 if ended is None else ended.mod_revision)
            removal = self._removal(saga_id, shard, epoch, as_it_was, is_there=is_there)
            answer = await self._link.write_alone(removal)
            if answer.succeeded:
                self._link.note_removal(layout.removal(shard, epoch, saga_id), answer.revision)
                return
            at_leader, at_live = firsts(answer)
            self._view.check_leads(epoch, at_leader)
            if at_live is not None:
                head = await self.head(saga_id)
                raise not_final(saga_id, "not at its end" if head is None else head.state)
        raise ConflictError(
            f"Saga {saga_id!r} was not removed: something was written to it meanwhile, again and "
            "again. Nothing was changed; try again.",
            saga_id=saga_id,
        )

    async def _check_end(self, ended: KeyValue, position: int) -> None:
        """Return if the journal of a saga that has ended is at this position."""
        saga_id = last_part(ended.key)
        try:
            found = end_in(ended)
        except CorruptRecordError:
            head = await self._head_told_by_journal(saga_id)
            found = 0 if head is None else head.position
        if found != position:
            raise grown(saga_id, expected=position, found=found)

    def _removal(
        self, saga_id: str, shard: int, epoch: int, as_it_was: Compare, *, is_there: bool
    ) -> Txn:
        """Return the removal of a saga that has ended just so, and that nobody asks anything of.

        It leaves a mark that every later first append of a saga has to know of; see ``_begin``.
        All of it stands in an inner transaction, whose puts etcd does not count against its quota:
        one that is full is to take what makes room.
        """
        layout = self._layout
        live = layout.live_saga(shard, saga_id)
        leads = self._view.leads(shard, epoch)
        asked, asked_end = interval(layout.of_saga(saga_id))
        below = (layout.journal(saga_id), layout.parts(saga_id))
        writes: list[Operation] = [
            Delete(key=layout.done_saga(shard, saga_id)),
            Delete(key=layout.indexed(saga_id)),
            *(Delete(key=key, range_end=end) for key, end in map(interval, below)),
        ]
        if is_there:
            mark = layout.removal(shard, epoch, saga_id)
            writes.append(Put(key=mark, value=b"", lease=self._view.lease))
        return Txn(
            compares=(
                leads,
                is_absent(live),
                as_it_was,
                replace(is_absent(asked), range_end=asked_end),
            ),
            success=(Txn(success=tuple(writes)),),
            failure=(Range(key=leads.key), Range(key=live)),
        )

    # --- commands --------------------------------------------------------------------------------

    async def post_command(self, command: Command) -> int:
        """See ``Store.post_command``."""
        return await self._commands.post(command)

    async def pending_commands(self) -> Sequence[Command]:
        """See ``Store.pending_commands``."""
        return await self._commands.pending()

    async def wait_command(self, timeout_s: float) -> None:
        """Return when a command may have come in since the last look, or ``timeout_s`` later."""
        await self._commands.wait(timeout_s)

    async def answer_command(self, number: int, answer: Mapping[str, Any]) -> None:
        """See ``Store.answer_command``."""
        await self._commands.answer(number, answer)

    async def command_answer(self, number: int) -> Mapping[str, Any] | None:
        """See ``Store.command_answer``."""
        return await self._commands.answer_of(number)

    async def saga_commands(self, saga_id: str) -> Sequence[Command]:
        """See ``Store.saga_commands``."""
        return await self._commands.of_saga(saga_id)

    async def close(self) -> None:
        """Give nothing back: the connection is shared."""
        self._view.close()
