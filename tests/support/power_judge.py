"""What was promised before a power loss, what the real store finds, and what is missing."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import pytest

from fsm_saga.core.records import Record
from fsm_saga.errors import FsmSagaError
from fsm_saga.ports import Append
from fsm_saga.stores.opening import open_store
from fsm_saga.stores.sqlite import SqliteWriteStore
from tests.conformance.samples import append_of
from tests.support.power_disk import Action, RecordingDisk, State, states_of

DATABASE = "sagas.db"
SEED = 20_260_101
TORN = 10
RESUMED_EACH = 40

RunOn = Callable[[Path], Awaitable[bool]]


async def _run_nothing(_directory: Path) -> bool:
    return False


@dataclass
class Promised:
    """What the store has been asked for and what it has acknowledged, at some moment.

    Attributes:
        asked: All records of each saga whose append was begun, in order.
        acknowledged: How many of them are durable, as the store said.
        removed: Sagas whose removal was begun; True once it was acknowledged.
        commands: Numbers of commands that were acknowledged; True once they were answered.
    """

    asked: dict[str, list[Record]] = field(default_factory=dict)
    acknowledged: Counter[str] = field(default_factory=Counter)
    removed: dict[str, bool] = field(default_factory=dict)
    commands: dict[int, bool] = field(default_factory=dict)

    def take_all(self, actions: Sequence[Action]) -> None:
        """Take notice of what is noted among some actions."""
        for action in actions:
            if action.note is not None:
                self._take(*action.note)

    def _take(self, what: str, about: Any) -> None:
        match what:
            case "asked":
                # What is asked for again, after a failure, is asked for in the same place.
                records = self.asked.setdefault(about.saga_id, [])
                records[about.position :] = about.records
            case "acknowledged":
                self.acknowledged[about.saga_id] = about.position + len(about.records)
            case "removing" | "removed":
                self.removed[about] = what == "removed"
            case "command" | "answered":
                self.commands[about] = what == "answered"
            case _:
                raise AssertionError(what)


class Watched:
    """Notes on the disk's list what the store was asked for and what it acknowledged."""

    def __init__(self, disk: RecordingDisk, patch: pytest.MonkeyPatch) -> None:
        append = SqliteWriteStore.append

        async def noted(store: SqliteWriteStore, what: Append) -> None:
            disk.note(("asked", what))
            await append(store, what)
            disk.note(("acknowledged", what))

        patch.setattr(SqliteWriteStore, "append", noted)


@dataclass(frozen=True)
class Left:
    """What the real store finds in the files that a power loss left."""

    journals: Mapping[str, tuple[Record, ...]] = field(default_factory=dict)
    pending: frozenset[int] = frozenset()
    answers: Mapping[int, bool] = field(default_factory=dict)
    wrong: str = ""


async def read_left(directory: Path, state: State, numbers: range) -> Left:
    """Open what is left, as the next process would, and go on with it."""
    for name, data in state.files.items():
        (directory / name).write_bytes(data)
    path = directory / DATABASE
    try:
        async with open_store(f"sqlite:///{path}") as store:
            heads = await store.heads()
            journals = {head.saga_id: await store.load(head.saga_id) or () for head in heads}
            for head in heads:
                assert len(journals[head.saga_id]) == head.position
            pending = frozenset(command.number for command in await store.pending_commands())
            answers = {n: await store.command_answer(n) is not None for n in numbers}
            await store.append(append_of("after", len(journals.get("after", ()))))
    except FsmSagaError as error:
        return Left(wrong=f"it was refused: {error}")
    connection = apsw.Connection(str(path))
    found = connection.pragma("integrity_check")
    connection.close()
    if found != "ok":
        return Left(wrong=f"the database is damaged: {found}")
    return Left(journals=journals, pending=pending, answers=answers)


def losses(left: Left, promised: Promised) -> Iterator[str]:
    """Yield what was promised and is not there, or is there and was never asked for."""
    if left.wrong:
        yield left.wrong
        return
    for saga_id, asked in promised.asked.items():
        found = left.journals.get(saga_id, ())
        if saga_id in promised.removed:
            if promised.removed[saga_id] and found:
                yield f"{saga_id} is there, and was removed"
            if not found:
                continue
        if len(found) < promised.acknowledged[saga_id]:
            yield f"{saga_id}: {promised.acknowledged[saga_id]} acknowledged, {len(found)} left"
        if list(found) != asked[: len(found)]:
            yield f"{saga_id} has records that were not asked for"
    strange = set(left.journals) - set(promised.asked) - {"after"}
    if strange:
        yield f"nobody made {strange}"
    for number, is_answered in promised.commands.items():
        if is_answered and not left.answers[number]:
            yield f"the answer to command {number} is lost"
        if number not in left.pending and not left.answers[number]:
            yield f"command {number} is lost"


@dataclass
class Judged:
    """What came of all states."""

    states: Counter[str] = field(default_factory=Counter)
    images: int = 0
    lossy: int = 0
    resumed: int = 0
    first: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {how}" for how, count in sorted(self.states.items()))
        return (
            f"{self.states.total()} crash states ({kinds}), {self.images} different; "
            f"{self.lossy} of them lost something; {self.resumed} were run to their ends"
        )


def judge(
    disk: RecordingDisk,
    base: Path,
    *,
    torn: int = TORN,
    believes_syncs: bool = True,
    run_on: RunOn = _run_nothing,
) -> Judged:
    """Return what is lost in any state that a power loss may leave.

    Args:
        disk: What happened.
        base: Where to put files.
        torn: How many random choices of sectors to take at each place.
        believes_syncs: False plays a disk whose syncs do nothing.
        run_on: Run the sagas of some of the states to their ends; True if there were any.
    """
    judge = Judge(disk, base / "left", run_on)
    return asyncio.run(judge.judge(torn, believes_syncs=believes_syncs))


class Judge:
    """Opens what is left, each different set of files once."""

    def __init__(self, disk: RecordingDisk, place: Path, run_on: RunOn = _run_nothing) -> None:
        self._actions = disk.actions
        self._run_on = run_on
        self._place = place
        self._known: dict[bytes, Left] = {}
        notes = [action.note for action in disk.actions if action.note is not None]
        self._numbers = range(1, 1 + sum(what == "command" for what, _ in notes))
        self.judged = Judged()

    async def judge(self, torn: int, *, believes_syncs: bool) -> Judged:
        """Return what is lost in any state."""
        promised, noted = Promised(), 0
        states = states_of(self._actions, torn=torn, seed=SEED, believes_syncs=believes_syncs)
        for state in states:
            promised.take_all(self._actions[noted : state.after])
            noted = state.after
            await self.look(state, promised, can_resume=believes_syncs)
        return self.judged

    async def judge_twice(self, step: int) -> Judged:
        """Return what is lost when the power goes again while the next process recovers."""
        promised, noted = Promised(), 0
        for number, state in enumerate(states_of(self._actions, torn=1, seed=SEED)):
            promised.take_all(self._actions[noted : state.after])
            noted = state.after
            if number % step:
                continue
            recovery = RecordingDisk()
            try:
                await self._left_by(state)
            finally:
                recovery.unregister()
            again = states_of(recovery.actions, torn=2, seed=number, start=state.files)
            for second in again:
                await self.look(second, promised, can_resume=False)
        return self.judged

    async def look(self, state: State, promised: Promised, *, can_resume: bool) -> None:
        """Judge one state."""
        judged, known = self.judged, self._known
        judged.states[state.how] += 1
        left = known.get(state.digest)
        if left is None:
            is_resumed = can_resume and len(known) % RESUMED_EACH == 0
            left = known[state.digest] = await self._left_by(state, is_resumed=is_resumed)
        wrong = list(losses(left, promised))
        if wrong:
            judged.lossy += 1
            judged.first.append(f"after {state.after} actions, {state.how}: {wrong[0]}")
        judged.images = len(known)

    async def _left_by(self, state: State, *, is_resumed: bool = False) -> Left:
        self._place.mkdir()
        try:
            left = await read_left(self._place, state, self._numbers)
            if is_resumed and not left.wrong:
                self.judged.resumed += await self._run_on(self._place)
        finally:
            shutil.rmtree(self._place)
        return left
