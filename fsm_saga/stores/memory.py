"""``memory://``: a store that lasts as long as the process, for tests, demos and dry runs.

It keeps bytes, not objects: whatever comes back has gone through the codec, as on a disk. Stores
opened under one name (``memory://name``) share what they hold, and the newest writer fences the
older ones, so a crash and a takeover can be played inside one test.
"""

from __future__ import annotations

import asyncio
import enum
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from msgspec.structs import replace

from fsm_saga.core.records import Record
from fsm_saga.errors import (
    CorruptRecordError,
    FsmSagaError,
    StoreError,
    StoreUnavailableError,
)
from fsm_saga.ports import SAGA_COMMANDS_MAX, Append, Command, FinishedPage, Head
from fsm_saga.stores.codec import CODEC, decode_object, encode_object
from fsm_saga.stores.refusals import (
    check_command,
    check_fits,
    closed,
    conflict,
    fenced,
    grown,
    no_command,
    not_final,
    read_only,
    removed_answer,
)


class Fault(enum.Enum):
    """How an append may be made to fail; the caller cannot tell the two apart."""

    NOT_WRITTEN = "not_written"
    WRITTEN = "written"


@dataclass(slots=True)
class _Saga:
    number: int
    head: Head
    entries: list[tuple[int, bytes]]


@dataclass(slots=True)
class Memory:
    """What the stores of one name hold; tests may look into it and damage it."""

    epoch: int = 0
    sagas: dict[str, _Saga] = field(default_factory=dict)
    commands: dict[int, Command] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))


def finished_page(memories: Iterable[Memory], *, after: str, limit: int) -> FinishedPage:
    """Return what ``Store.finished`` does, of several memories together."""
    above = int(after or 0)
    sagas = [saga for memory in memories for saga in memory.sagas.values() if saga.number > above]
    sagas.sort(key=lambda saga: saga.number)
    page = sagas[:limit]
    return FinishedPage(
        heads=tuple(saga.head for saga in page if saga.head.is_final),
        after=str(page[-1].number) if len(sagas) > limit else "",
    )


_named: dict[str, Memory] = {}


def forget_memory(name: str) -> None:
    """Drop what the stores of ``memory://name`` held; those still open keep it to themselves."""
    _named.pop(name, None)


class MemoryStore:
    """The ``Store`` port over a ``Memory``.

    Attributes:
        fault: Asked at each append; what it returns happens to it. None: nothing fails.
    """

    def __init__(self, url: str, memory: Memory, *, epoch: int) -> None:
        self.fault: Callable[[Append], Fault | None] | None = None
        self.memory = memory
        self._url = url
        self._epoch = epoch
        self._is_closed = False

    @classmethod
    def open(
        cls, url: str, name: str = "", *, mode: Literal["write", "read"] = "write"
    ) -> MemoryStore:
        """Return a store over the memory of this name, or over one of its own if it has none.

        Raises:
            StoreError: It is to be read and nobody has made it.
        """
        if mode == "read":
            if name not in _named:
                raise StoreError(
                    f"Store {url!r} was not opened for reading: no store of this process has that "
                    "name. What is in memory is seen by its own process only."
                )
            return cls(url, _named[name], epoch=0)
        memory = _named.setdefault(name, Memory()) if name else Memory()
        memory.epoch += 1
        return cls(url, memory, epoch=memory.epoch)

    @property
    def url(self) -> str:
        """The URL it was opened by."""
        return self._url

    @property
    def epoch(self) -> int:
        """This writer's fencing number, 0 for a reader."""
        return self._epoch

    async def append(self, append: Append) -> None:
        """See ``Store.append``."""
        self._check_writes(f"An append to saga {append.saga_id!r}")
        check_fits(append)
        body = CODEC.encode(append.records)
        fault = self.fault and self.fault(append)
        refusal = None if fault is Fault.NOT_WRITTEN else self._write(append, body)
        await asyncio.sleep(0)  # as on a disk: others run before the caller goes on
        if fault is not None:
            raise StoreUnavailableError(
                f"Store {self._url!r} failed while committing: it was told to. What was being "
                "written may or may not be there: read back first.",
                reason="it was told to",
            )
        if refusal is not None:
            raise refusal

    def _write(self, append: Append, body: bytes) -> FsmSagaError | None:
        memory, saga_id = self.memory, append.saga_id
        if memory.epoch != self._epoch:
            return fenced(self._url, epoch=self._epoch, leader=memory.epoch)
        saga = memory.sagas.get(saga_id)
        found = None if saga is None else saga.head.position
        if (found or 0) != append.position or (append.position == 0) != (saga is None):
            return conflict(saga_id, expected=append.position, found=found)
        if saga is None:
            saga = memory.sagas[saga_id] = _Saga(next(memory.numbers), append.head, [])
        saga.head = append.head
        saga.entries.append((append.position, body))
        return None

    async def load(self, saga_id: str) -> tuple[Record, ...] | None:
        """See ``Store.load``."""
        self._check_open()
        saga = self.memory.sagas.get(saga_id)
        if saga is None:
            return None
        records: list[Record] = []
        for position, body in saga.entries:
            if position != len(records):
                raise CorruptRecordError(
                    f"The journal of saga {saga_id!r} is damaged at position {len(records)}: the "
                    f"next entry is at {position}. Only this saga is affected.",
                    saga_id=saga_id,
                    position=len(records),
                )
            records += CODEC.decode(body, saga_id=saga_id, position=position)
        return tuple(records)

    async def head(self, saga_id: str) -> Head | None:
        """See ``Store.head``."""
        self._check_open()
        saga = self.memory.sagas.get(saga_id)
        return None if saga is None else saga.head

    async def heads(
        self, *, only_unfinished: bool = False, limit: int | None = None
    ) -> Sequence[Head]:
        """See ``Store.heads``."""
        self._check_open()
        newest_first = sorted(self.memory.sagas.values(), key=lambda saga: -saga.number)
        heads = [saga.head for saga in newest_first if not (only_unfinished and saga.head.is_final)]
        return heads if limit is None else heads[: max(limit, 0)]

    async def finished(self, *, after: str = "", limit: int) -> FinishedPage:
        """See ``Store.finished``."""
        self._check_open()
        return finished_page([self.memory], after=after, limit=limit)

    async def remove(self, saga_id: str, *, position: int | None = None) -> None:
        """See ``Store.remove``."""
        self._check_writes(f"Removing saga {saga_id!r}")
        self._check_leads()
        saga = self.memory.sagas.get(saga_id)
        if saga is None:
            return
        if not saga.head.is_final:
            raise not_final(saga_id, saga.head.state)
        if position not in (None, saga.head.position):
            raise grown(saga_id, expected=position, found=saga.head.position)
        del self.memory.sagas[saga_id]
        commands = self.memory.commands
        for command in [command for command in commands.values() if command.saga_id == saga_id]:
            if command.answer is None:
                commands[command.number] = replace(command, answer=removed_answer(saga_id))
            else:
                del commands[command.number]

    async def post_command(self, command: Command) -> int:
        """See ``Store.post_command``."""
        self._check_open()
        check_command(command)
        body = decode_object(encode_object(command.body), what="A command")
        number = next(self.memory.numbers)
        self.memory.commands[number] = replace(command, number=number, body=body, answer=None)
        return number

    async def pending_commands(self) -> Sequence[Command]:
        """See ``Store.pending_commands``."""
        self._check_open()
        return tuple(c for c in self.memory.commands.values() if c.answer is None)

    async def answer_command(self, number: int, answer: Mapping[str, Any]) -> None:
        """See ``Store.answer_command``."""
        self._check_writes(f"Answering command {number}")
        self._check_leads()
        kept = decode_object(encode_object(answer), what="An answer")
        command = self.memory.commands.get(number)
        if command is None:
            raise no_command(number)
        if command.answer is None:
            self.memory.commands[number] = replace(command, answer=kept)

    async def command_answer(self, number: int) -> Mapping[str, Any] | None:
        """See ``Store.command_answer``."""
        self._check_open()
        command = self.memory.commands.get(number)
        return None if command is None else command.answer

    async def saga_commands(self, saga_id: str) -> Sequence[Command]:
        """See ``Store.saga_commands``."""
        self._check_open()
        found = [c for c in self.memory.commands.values() if c.saga_id == saga_id]
        return tuple(found[-SAGA_COMMANDS_MAX:])

    async def close(self) -> None:
        """Release the store; what a named one holds stays until ``forget_memory``."""
        self._is_closed = True

    def _check_open(self) -> None:
        if self._is_closed:
            raise closed(self._url)

    def _check_writes(self, what: str) -> None:
        self._check_open()
        if not self._epoch:
            raise read_only(self._url, what)

    def _check_leads(self) -> None:
        if self.memory.epoch != self._epoch:
            raise fenced(self._url, epoch=self._epoch, leader=self.memory.epoch)
