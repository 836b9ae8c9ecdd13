"""Commands in etcd: left by anybody, answered by the leader of their saga's shard.

A command goes with its saga. One whose saga is not there, or whose saga nobody can read from it
any more, would stay for ever: its answer hangs on a lease of its own, and goes with that.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from fsm_saga.errors import CommandError, CorruptRecordError
from fsm_saga.etcd.data import (
    Compare,
    Delete,
    KeyValue,
    Operation,
    Put,
    Range,
    Relation,
    SortOrder,
    Txn,
    is_absent,
    mod_revision_is,
)
from fsm_saga.ports import SAGA_COMMANDS_MAX, Command
from fsm_saga.stores.damage import damaged_answer
from fsm_saga.stores.etcd_layout import interval, last_part
from fsm_saga.stores.etcd_values import answer_that_fits, command_in, command_value
from fsm_saga.stores.etcd_view import EtcdView, firsts
from fsm_saga.stores.refusals import check_command, is_text, no_command, removed_answer
from fsm_saga.stores.sharding import shard_of

logger = logging.getLogger("fsm_saga.stores")

CLEARED_MAX = 20
"""Commands that are cleared away in one transaction, each with three keys."""


class _Look(NamedTuple):
    """What is under the numbers of some commands.

    Attributes:
        sound: Those that can be read.
        damaged: The keys of those that cannot.
        gone: The numbers under which there is nothing.
    """

    sound: list[Command]
    damaged: list[KeyValue]
    gone: list[int]


class EtcdCommands:
    """The commands that a view of the store sees."""

    def __init__(self, view: EtcdView) -> None:
        self._view = view
        self._link = view.link
        self._layout = view.layout
        self._seen: dict[int, int] = {}

    async def post(self, command: Command) -> int:
        """See ``Store.post_command``."""
        self._view.check_open()
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

    async def pending(self) -> Sequence[Command]:
        """See ``Store.pending_commands``. What cannot be read is refused, if it is led here."""
        self._view.check_open()
        if not self._view.terms:
            return (await self._marked(self._layout.all_pending)).sound
        found: list[Command] = []
        for shard, epoch in sorted(self._view.terms.items()):
            # The first look is made in any case: it tells what was left over from earlier leaders.
            is_first = shard not in self._seen
            seen = self._seen[shard] = self._link.pending_seen(shard)
            if self._link.may_be_pending(shard) or is_first:
                look = await self._marked(self._layout.pending(shard))
                await self._refuse_damaged(shard, epoch, look)
                if not look.sound:
                    self._link.none_pending(shard, seen)
                found += look.sound
        return sorted(found, key=lambda command: command.number)

    async def wait(self, timeout_s: float) -> None:
        """Return when one may have come in since the last look, at the latest after that time."""
        await self._link.wait_pending(self._seen, timeout_s)

    async def _marked(self, prefix: bytes) -> _Look:
        marks = await self._view.all_below(prefix, keys_only=True)
        return await self._look(_numbers(marks))

    async def _look(self, numbers: Sequence[int]) -> _Look:
        found = await self._view.gets([self._layout.command(number) for number in numbers])
        look = _Look([], [], [])
        for number, kv in zip(numbers, found, strict=True):
            if kv is None:
                look.gone.append(number)
                continue
            try:
                look.sound.append(command_in(kv))
            except CorruptRecordError as error:
                logger.warning("a command is left out: %s", error)
                look.damaged.append(kv)
        return look

    async def _refuse_damaged(self, shard: int, epoch: int, look: _Look) -> None:
        """Answer what is never carried out, for nobody can tell what it asks."""
        leads = self._view.leads(shard, epoch)
        for kv in look.damaged:
            number = int(last_part(kv.key))
            refused = Command(saga_id="", kind="", body={}, answer=damaged_answer(number))
            value = command_value(kv.key, refused)
            await self._link.write(
                Txn(
                    compares=(leads, mod_revision_is(kv.key, kv.mod_revision)),
                    success=(
                        Put(key=kv.key, value=value, lease=await self._link.answer_lease()),
                        Delete(key=self._layout.pending_mark(shard, number)),
                    ),
                )
            )
        for number in look.gone:
            gone = is_absent(self._layout.command(number))
            mark = Delete(key=self._layout.pending_mark(shard, number))
            await self._link.write(Txn(compares=(leads, gone), success=(mark,)))

    async def answer(self, number: int, answer: Mapping[str, Any]) -> None:
        """See ``Store.answer_command``."""
        what = f"Answering command {number}"
        self._view.check_writes(what)
        key = self._layout.command(number)
        (found,) = await self._view.gets((key,))
        if found is None:
            raise no_command(number)
        command = command_in(found)
        if command.answer is not None:
            return
        saga_id = command.saga_id
        shard, epoch = self._view.term_of(saga_id, what)
        value = command_value(key, replace(command, answer=answer_that_fits(answer)))
        index, leader = self._layout.indexed(saga_id), self._layout.leader(shard)
        answered = Delete(key=self._layout.pending_mark(shard, number))
        as_it_was = (self._view.leads(shard, epoch), mod_revision_is(key, found.mod_revision))
        result = await self._link.write(
            Txn(
                compares=(*as_it_was, _is_present(index)),
                success=(answered, Put(key=key, value=value)),
                failure=(Range(key=leader), Range(key=index)),
            )
        )
        if not result.succeeded and firsts(result)[1] is None:
            # No saga will take it along.
            lease = await self._link.answer_lease()
            mark = Put(key=self._layout.of_saga_mark(saga_id, number), value=b"", lease=lease)
            result = await self._link.write(
                Txn(
                    compares=as_it_was,
                    success=(answered, Put(key=key, value=value, lease=lease), mark),
                    failure=(Range(key=leader),),
                )
            )
        if not result.succeeded:
            self._view.check_leads(epoch, firsts(result)[0])
            # Else it was answered meanwhile: by a copy of this very write, or as its saga went.

    async def answer_of(self, number: int) -> Mapping[str, Any] | None:
        """See ``Store.command_answer``."""
        self._view.check_open()
        (found,) = await self._view.gets((self._layout.command(number),))
        return None if found is None else command_in(found).answer

    async def of_saga(self, saga_id: str) -> Sequence[Command]:
        """See ``Store.saga_commands``."""
        self._view.check_open()
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
        look = await self._look(_numbers((await self._link.read(latest)).kvs))
        shown = [replace(command, saga_id=saga_id) for command in look.sound]
        for kv in look.damaged:
            number = int(last_part(kv.key))
            refusal = damaged_answer(number)
            shown.append(Command(saga_id=saga_id, kind="", body={}, number=number, answer=refusal))
        return sorted(shown, key=lambda command: command.number)

    async def clear(self, saga_id: str, compares: tuple[Compare, ...]) -> None:
        """Delete the commands of a saga that goes; those without an answer are refused.

        Args:
            saga_id: Which.
            compares: What has to hold for it, beside that none is answered meanwhile.
        """
        shard = shard_of(saga_id, self._link.shards)
        marks = await self._view.all_below(self._layout.of_saga(saga_id), keys_only=True)
        numbers = _numbers(marks)
        for at in range(0, len(numbers), CLEARED_MAX):
            some = numbers[at : at + CLEARED_MAX]
            found = await self._view.gets([self._layout.command(number) for number in some])
            writes: list[Operation] = []
            as_they_were: list[Compare] = []
            for number, kv in zip(some, found, strict=True):
                writes.append(Delete(key=self._layout.pending_mark(shard, number)))
                writes.append(Delete(key=self._layout.of_saga_mark(saga_id, number)))
                if kv is None:
                    continue
                as_they_were.append(mod_revision_is(kv.key, kv.mod_revision))
                refused = _refused(kv, saga_id)
                if refused is None:
                    writes.append(Delete(key=kv.key))
                else:
                    lease = await self._link.answer_lease()
                    value = command_value(kv.key, refused)
                    writes.append(Put(key=kv.key, value=value, lease=lease))
            # What does not hold any more shows when the saga itself is to be deleted. The writes
            # are an inner transaction, which a full etcd takes too: this makes room.
            await self._link.write_alone(
                Txn(compares=(*compares, *as_they_were), success=(Txn(success=tuple(writes)),))
            )


def _is_present(key: bytes) -> Compare:
    """Return the condition that there is such a key."""
    return replace(is_absent(key), relation=Relation.NOT_EQUAL)


def _refused(found: KeyValue, saga_id: str) -> Command | None:
    """Return a command with the answer that its saga is removed; None if it has one already."""
    try:
        command = command_in(found)
    except CorruptRecordError:
        command = Command(saga_id=saga_id, kind="", body={})
    if command.answer is not None:
        return None
    # Its body has been of use: whole ones would not fit a request together.
    return replace(command, body={}, answer=removed_answer(saga_id))


def _numbers(marks: Sequence[KeyValue]) -> list[int]:
    """Return the numbers that marks end with; a key that ends with none is no mark of ours."""
    parts = [last_part(mark.key) for mark in marks]
    return sorted(int(part) for part in parts if part.isdecimal())
