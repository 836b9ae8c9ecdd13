"""The ``Store`` port over Redis: for readers, for the leader of a shard, for the leader of all.

What a view may write depends on the terms that it was given; every write names them, and Redis
compares them in the script that writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from fsm_saga.core.records import Record
from fsm_saga.errors import (
    ConflictError,
    CorruptRecordError,
    StoreError,
    StoreUnavailableError,
    StoreVersionError,
)
from fsm_saga.ports import SAGA_COMMANDS_MAX, Append, Command, FinishedPage, Head
from fsm_saga.stores.damage import answer_with, damaged_answer
from fsm_saga.stores.heads import damaged_head
from fsm_saga.stores.redis_commits import Lead, RedisCommits, fenced_by
from fsm_saga.stores.redis_layout import (
    AppendValue,
    answer_of,
    answer_value,
    command_of,
    command_value,
    head_by_journal,
    head_of,
    journal_of,
    removal_mark,
)
from fsm_saga.stores.redis_link import RedisLink
from fsm_saga.stores.redis_scripts import (
    ANSWER,
    HEADS,
    LOAD,
    OF_SAGA,
    PENDING,
    POST,
    REMOVE,
    WAITING,
)
from fsm_saga.stores.refusals import (
    check_command,
    closed,
    grown,
    is_text,
    no_command,
    not_final,
    read_only,
    removed_answer,
)
from fsm_saga.stores.sharding import shard_of

HEADS_PER_QUESTION = 500
PENDING_MAX = 1_000
ANSWERED_COMMANDS_MAX = 1_000
REMOVALS_TRIED = 3


class RedisStore:
    """A view of the store that writes what its terms allow; without one it is a reader's."""

    def __init__(self, link: RedisLink, commits: RedisCommits, leads: Iterable[Lead] = ()) -> None:
        """See the store.

        Args:
            link: The connections, which others share and this does not close.
            commits: The queue of appends over that link.
            leads: The terms of the shards that this view writes to.
        """
        self._link = link
        self._layout = link.layout
        self._commits = commits
        self._leads = {lead.shard: lead for lead in leads}
        self._is_closed = False

    @property
    def url(self) -> str:
        """The URL it was opened by, without a password."""
        return self._link.url

    @property
    def epoch(self) -> int:
        """The newest of its terms' epochs, 0 for a reader."""
        return max((lead.epoch for lead in self._leads.values()), default=0)

    # --- journals --------------------------------------------------------------------------------

    async def append(self, append: Append) -> None:
        """See ``Store.append``."""
        self._check_writes(f"An append to saga {append.saga_id!r}")
        value = AppendValue(append)
        await self._commits.append(self._lead_of(append.saga_id), value)

    async def load(self, saga_id: str) -> tuple[Record, ...] | None:
        """See ``Store.load``."""
        entries, head = await self._saga(saga_id)
        if not entries and head is None:
            return None
        sound = head_of(saga_id, head)
        return journal_of(saga_id, entries, end=None if sound is None else sound.position)

    async def head(self, saga_id: str) -> Head | None:
        """Return the saga's head, made again from its journal if it is damaged, or None.

        Raises:
            CorruptRecordError: The journal is damaged too.
        """
        self._check_open()
        if not is_text(saga_id):
            return None
        value = await self._link.ask("HGET", self._layout.heads, saga_id)
        sound = head_of(saga_id, value)
        if sound is not None:
            return sound
        entries, value = await self._saga(saga_id)
        if not entries and value is None:
            return None
        return head_of(saga_id, value) or head_by_journal(saga_id, entries)

    async def heads(
        self, *, only_unfinished: bool = False, limit: int | None = None
    ) -> Sequence[Head]:
        """See ``Store.heads``. A leader's unfinished sagas are those of its shards."""
        self._check_open()
        if not only_unfinished:
            found = await self._heads_in(self._layout.all, limit)
        else:
            shards = self._leads or range(self._link.shards)
            found = {}
            for shard in shards:
                found |= await self._heads_in(self._layout.open(shard), limit)
        newest_first = [found[number] for number in sorted(found, reverse=True)]
        # One that came to its end between two questions is finished, whatever the set said.
        heads = [head for head in newest_first if not (only_unfinished and head.is_final)]
        return heads if limit is None else heads[: max(limit, 0)]

    async def finished(self, *, after: str = "", limit: int) -> FinishedPage:
        """See ``Store.finished``. A leader's are those of its shards."""
        self._check_open()
        keys = (self._layout.heads, self._layout.all)
        rows = await self._link.run(HEADS, keys, f"({after}" if after else "+inf", limit)
        heads: list[Head] = []
        for _number, name, value in _threes(rows):
            saga_id = name.decode(errors="replace")
            if self._leads and shard_of(saga_id, self._link.shards) not in self._leads:
                continue
            head = await self._listed(saga_id, value)
            if head is not None and head.is_final:
                heads.append(head)
        is_last = len(rows) < 3 * limit
        return FinishedPage(heads=heads, after="" if is_last else rows[-3].decode())

    async def remove(self, saga_id: str, *, position: int | None = None) -> None:
        """See ``Store.remove``."""
        self._check_writes(f"Removing saga {saga_id!r}")
        if not is_text(saga_id):
            return
        lead, layout = self._lead_of(saga_id), self._layout
        for _ in range(REMOVALS_TRIED):
            entries, value = await self._saga(saga_id)
            if not entries:
                return
            head = head_of(saga_id, value) or head_by_journal(saga_id, entries)
            if not head.is_final:
                raise not_final(saga_id, head.state)
            if position not in (None, head.position):
                raise grown(saga_id, expected=position, found=head.position)
            shard, mark = lead.shard, removal_mark(saga_id)
            of_saga, journal = layout.of_saga(saga_id), layout.journal(saga_id)
            keys = [layout.leaders, layout.heads, layout.all, layout.open(shard), journal, of_saga]
            keys += [layout.command, layout.answer, layout.pending(shard), layout.answered]
            keys.append(layout.removals(shard))
            arguments: list[bytes | str | int] = [shard, lead.guard, saga_id, entries[-1], mark]
            for number in await self._link.run(WAITING, (of_saga, layout.pending(shard))):
                arguments += [number, answer_value(int(number), removed_answer(saga_id))]
            kind, _, fact = (await self._link.run(REMOVE, keys, *arguments)).decode().partition(" ")
            if kind == "fenced":
                raise fenced_by(self.url, lead, f"{kind} {fact}")
            if kind == "removed":
                lead.note_removals(mark, int(fact))
                return
        raise ConflictError(
            f"Saga {saga_id!r} was not removed: its journal grew meanwhile, again and again. "
            "Nothing was changed; try again.",
            saga_id=saga_id,
        )

    async def _saga(self, saga_id: str) -> tuple[Sequence[bytes], bytes | None]:
        """Return the entries of a saga's journal and its head, as of one moment."""
        self._check_open()
        if not is_text(saga_id):  # no saga was ever stored under such an id
            return (), None
        keys = (self._layout.journal(saga_id), self._layout.heads)
        entries, head = await self._link.run(LOAD, keys, saga_id)
        return entries, head

    async def _heads_in(self, key: bytes, limit: int | None) -> dict[int, Head]:
        """Return the newest heads of a sorted set, by number, page by page."""
        found: dict[int, Head] = {}
        below = "+inf"
        while limit is None or len(found) < limit:
            wanted = min(HEADS_PER_QUESTION, HEADS_PER_QUESTION if limit is None else limit)
            rows = await self._link.run(HEADS, (self._layout.heads, key), below, wanted)
            for number, saga_id, value in _threes(rows):
                head = await self._listed(saga_id.decode(errors="replace"), value)
                if head is not None:
                    found[int(number)] = head
            if len(rows) < 3 * wanted:
                break
            below = f"({rows[-3].decode()}"
        return found

    async def _listed(self, saga_id: str, value: bytes) -> Head | None:
        """Return what a list shows of a saga, or None if it was removed meanwhile."""
        head = head_of(saga_id, value)
        if head is not None:
            return head
        try:
            return await self.head(saga_id)
        except (CorruptRecordError, StoreVersionError):
            return damaged_head(saga_id)

    # --- commands --------------------------------------------------------------------------------

    async def post_command(self, command: Command) -> int:
        """See ``Store.post_command``."""
        self._check_open()
        check_command(command)
        layout, saga_id = self._layout, command.saga_id
        command_value(0, command)  # whatever is wrong with it shows before a number is used up
        try:
            number = int(await self._link.ask("INCR", layout.commands))
            shard = shard_of(saga_id, self._link.shards)
            keys = (layout.command, layout.pending(shard), layout.of_saga(saga_id))
            await self._link.run(POST, keys, number, command_value(number, command))
        except StoreUnavailableError as error:
            raise StoreUnavailableError(
                f"Whether the command {command.kind!r} for saga {saga_id!r} was left in store "
                f"{self.url!r} is not known: {error.facts.get('reason')}. Look at the saga before "
                "you try again.",
                **error.facts,
            ) from error
        return number

    async def pending_commands(self) -> Sequence[Command]:
        """See ``Store.pending_commands``. A leader's are those of its shards."""
        self._check_open()
        shards = self._leads or range(self._link.shards)
        keys = [self._layout.command, *(self._layout.pending(shard) for shard in shards)]
        rows = await self._link.run(PENDING, keys, PENDING_MAX)
        found: list[Command] = []
        for number, value in zip(rows[::2], rows[1::2], strict=True):
            try:
                found.append(command_of(int(number), value))
            except CorruptRecordError:
                # A decision that cannot be read is never carried out: whoever left it is told.
                if self._leads:
                    await self.answer_command(int(number), damaged_answer(int(number)))
        return sorted(found, key=lambda command: command.number)

    async def answer_command(self, number: int, answer: Mapping[str, Any]) -> None:
        """See ``Store.answer_command``."""
        self._check_writes(f"Answering command {number}")
        layout = self._layout
        value = answer_value(number, answer)
        arguments: list[bytes | str | int] = [layout.root, number, value]
        arguments.append(number - ANSWERED_COMMANDS_MAX)
        for lead in self._leads.values():
            arguments += [lead.shard, lead.guard]
        keys = (layout.leaders, layout.command, layout.answer, layout.answered)
        result = (await self._link.run(ANSWER, keys, *arguments)).decode()
        if result.startswith("fenced"):
            raise fenced_by(self.url, next(iter(self._leads.values())), result)
        if result == "none":
            raise no_command(number)

    async def command_answer(self, number: int) -> Mapping[str, Any] | None:
        """See ``Store.command_answer``."""
        self._check_open()
        value = await self._link.ask("HGET", self._layout.answer, number)
        return None if value is None else answer_of(number, value)

    async def saga_commands(self, saga_id: str) -> Sequence[Command]:
        """See ``Store.saga_commands``."""
        self._check_open()
        if not is_text(saga_id):
            return ()
        layout = self._layout
        keys = (layout.of_saga(saga_id), layout.command, layout.answer)
        rows = await self._link.run(OF_SAGA, keys, SAGA_COMMANDS_MAX)
        newest_first = [
            _shown(saga_id, int(number), command, answer)
            for number, command, answer in _threes(rows)
        ]
        return tuple(reversed(newest_first))

    async def close(self) -> None:
        """Finish what was accepted; the connections are others' too. A second call does nothing."""
        if not self._is_closed:
            self._is_closed = True
            await self._commits.drain()

    # --- guards ----------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._is_closed:
            raise closed(self.url)

    def _check_writes(self, what: str) -> None:
        self._check_open()
        if not self._leads:
            raise read_only(self.url, what)

    def _lead_of(self, saga_id: str) -> Lead:
        shard = shard_of(saga_id, self._link.shards) if is_text(saga_id) else -1
        lead = self._leads.get(shard)
        if lead is None:
            raise StoreError(
                f"Saga {saga_id!r} was not written to store {self.url!r}: it belongs to shard "
                f"{shard}, which this coordinator does not lead. Nothing was changed."
            )
        return lead


def _threes(rows: Sequence[bytes]) -> Iterator[tuple[bytes, bytes, bytes]]:
    return zip(rows[::3], rows[1::3], rows[2::3], strict=True)


def _shown(saga_id: str, number: int, command: bytes, answer: bytes) -> Command:
    """Return a command of a list, with its answer or with what its damage comes to."""
    try:
        answered = answer_of(number, answer) if answer else None
    except CorruptRecordError as error:
        answered = answer_with(error)
    try:
        return replace(command_of(number, command), answer=answered)
    except CorruptRecordError:
        refusal = answered or damaged_answer(number)
        return Command(saga_id=saga_id, kind="", body={}, number=number, answer=refusal)
