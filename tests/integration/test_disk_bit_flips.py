"""One bit of the store's files is wrong: a journal is refused or right, never anything else.

A head is right, shown as damaged, or missing in a list with the page that should lead to it: what
it says is never wrong. In the log, SQLite takes a wrong bit for the end: what is left is an earlier
moment of the whole store, never a mixture.

``python -m tests.evidence.counted disk`` says what became of how many flips.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fsm_saga.core.records import Record
from fsm_saga.errors import CorruptRecordError, FsmSagaError, StoreError
from fsm_saga.service.engine import Engine
from fsm_saga.stores.heads import DAMAGED
from fsm_saga.stores.opening import open_store
from fsm_saga.stores.sqlite import SqliteWriteStore
from fsm_saga.tools.python import tool
from tests.conformance.samples import append_of, command_of, started, submitted
from tests.support.counting import Count
from tests.support.kill_grid import open_fast_directory
from tests.support.plans import plan_of
from tests.support.power_disk import RecordingDisk, states_of

DATABASE = "sagas.db"
LOG = f"{DATABASE}-wal"
JOURNAL = f"{DATABASE}-journal"
SAGAS = [f"trip-{number}" for number in range(6)]
APPENDS = 6
SEED = 20_260_101
DATABASE_FLIPS, LOG_FLIPS, JOURNAL_FLIPS = 2_000, 1_000, 400
# No checksum of a row protects the way to it: so many flips in a thousand may hide one in a list.
HIDDEN_MAX = 1

Journals = Mapping[str, tuple[Record, ...]]


@pytest.fixture
def base() -> Iterator[Path]:
    with open_fast_directory() as directory:
        yield directory


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


async def fill(store: SqliteWriteStore) -> None:
    for saga_id in SAGAS:
        await store.append(append_of(saga_id, 0, submitted(saga_id), state="PENDING"))
    for position in range(1, APPENDS):
        for saga_id in SAGAS:
            records = started(position, pad="x" * 60)
            await store.append(append_of(saga_id, position, records, state="PENDING"))
    await store.post_command(command_of(SAGAS[0]))


def files_in(place: Path) -> dict[str, bytes]:
    names = (DATABASE, LOG, JOURNAL)
    return {name: (place / name).read_bytes() for name in names if (place / name).exists()}


async def made(place: Path, *, is_closed: bool) -> dict[str, bytes]:
    """Return the files of a store, with everything in the database, or in the log."""
    store = await SqliteWriteStore.open(f"sqlite:///{place}/{DATABASE}", f"{place}/{DATABASE}")
    await fill(store)
    if is_closed:
        await store.close()
        return files_in(place)
    files = files_in(place)
    await store.close()
    return files


@dataclass
class Found:
    """What a store says of itself; a refusal is the error in the place of an answer."""

    opening: FsmSagaError | None = None
    heads: list[tuple[object, ...]] | FsmSagaError = field(default_factory=list)
    journals: dict[str, tuple[Record, ...] | FsmSagaError] = field(default_factory=dict)


async def found_in(place: Path) -> Found:
    """Open a store for writing and ask it everything."""
    found = Found()
    try:
        async with open_store(f"sqlite:///{place}/{DATABASE}") as store:
            try:
                heads = await store.heads()
                found.heads = [(h.saga_id, h.state, h.position, h.is_final) for h in heads]
            except StoreError as error:
                found.heads = error
            for saga_id in SAGAS:
                try:
                    found.journals[saga_id] = await store.load(saga_id) or ()
                except StoreError as error:
                    found.journals[saga_id] = error
    except StoreError as error:
        found.opening = error
    return found


def flips(data: bytes, count: int, seed: str) -> Iterator[bytes]:
    """Yield the data with one bit flipped, at so many places."""
    chance = random.Random(f"{SEED} {seed}")
    for _ in range(count):
        damaged = bytearray(data)
        damaged[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        yield bytes(damaged)


class Lab:
    """Puts damaged files into a directory, again and again."""

    def __init__(self, place: Path, files: Mapping[str, bytes]) -> None:
        self._place, self._files = place, files

    def flipped(self, name: str, count: int) -> Iterator[Found]:
        """Yield what a store says after each flip in one of its files."""
        for data in flips(self._files[name], count, name):
            yield self.found({**self._files, name: data})

    def found(self, files: Mapping[str, bytes]) -> Found:
        """Return what a store of these files says."""
        for file in self._place.iterdir():
            file.unlink()
        for name, data in files.items():
            (self._place / name).write_bytes(data)
        return asyncio.run(found_in(self._place))


def check_says_why(error: FsmSagaError) -> None:
    """A refusal names the saga or the store, and what to do."""
    said = str(error)
    assert "trip-" in said or DATABASE in said, said
    assert error.code in said


def count_flips(count: Count, file: str, flips: int, seen: Counter[str]) -> None:
    """Tell what became of each flip; a journal that is read wrongly has failed the test before."""
    count("flips", flips)
    count(f"flips: {file}", flips)
    count("flips: a journal was read that was never written", 0)
    for what, times in (+seen).items():
        count(f"flips: {file}: {what}", times)


def test_a_flipped_bit_in_the_database_is_refused_or_makes_no_difference(
    base: Path, record_property: Count
) -> None:
    files = asyncio.run(made(base, is_closed=True))
    assert set(files) == {DATABASE}
    lab = Lab(base, files)
    right = lab.found(files)
    assert isinstance(right.heads, list)
    seen: Counter[str] = Counter()
    for found in lab.flipped(DATABASE, DATABASE_FLIPS):
        if found.opening is not None:
            check_says_why(found.opening)
            seen["the store was refused"] += 1
            continue
        refused = 0
        for saga_id, journal in found.journals.items():
            if isinstance(journal, FsmSagaError):
                check_says_why(journal)
                refused += 1
            else:
                assert journal in ((), right.journals[saga_id]), saga_id
                # Nobody finds it under its name any more: then its head does not bear the name.
                refused += not journal
        seen["a saga was refused, the others went on" if 0 < refused < 6 else ""] += 1
        seen["all sagas were refused"] += refused == 6
        seen["no difference"] += not refused and found.heads == right.heads
        if isinstance(found.heads, FsmSagaError):
            check_says_why(found.heads)
            seen["the list of heads was refused"] += 1
            continue
        for head in found.heads:
            assert head in right.heads or head[1] == DAMAGED, head
        seen["a head was shown as damaged"] += DAMAGED in {head[1] for head in found.heads}
        seen["a head was missing in the list"] += len(found.heads) < len(SAGAS)
    del seen[""]
    count_flips(record_property, "database", DATABASE_FLIPS, seen)
    assert seen["a saga was refused, the others went on"] > 100
    assert seen["all sagas were refused"] < DATABASE_FLIPS // 50
    assert seen["a head was missing in the list"] <= HIDDEN_MAX * DATABASE_FLIPS / 1_000


def test_a_flipped_bit_in_the_log_leaves_an_earlier_moment_or_makes_no_difference(
    base: Path, record_property: Count
) -> None:
    files = asyncio.run(made(base, is_closed=False))
    lab = Lab(base, files)
    right = lab.found(files).journals
    seen: Counter[str] = Counter()
    for found in lab.flipped(LOG, LOG_FLIPS):
        assert found.opening is None
        assert not isinstance(found.heads, FsmSagaError)
        lengths = {}
        for saga_id, journal in found.journals.items():
            assert not isinstance(journal, FsmSagaError)
            whole = right[saga_id]
            assert not isinstance(whole, FsmSagaError)
            assert journal == whole[: len(journal)]
            lengths[saga_id] = len(journal)
        # One moment of the whole store: appends went round the sagas in turn.
        assert sorted(lengths.values(), reverse=True) == list(lengths.values())
        assert max(lengths.values()) - min(lengths.values()) <= 1
        assert {head[0]: head[2] for head in found.heads} == {k: n for k, n in lengths.items() if n}
        seen[
            "an earlier moment" if lengths != dict.fromkeys(SAGAS, APPENDS) else "no difference"
        ] += 1
    count_flips(record_property, "log", LOG_FLIPS, seen)
    assert seen["an earlier moment"] > LOG_FLIPS // 2


def test_a_flipped_bit_in_the_journal_of_the_first_moment_makes_a_store_or_is_refused(
    base: Path, record_property: Count
) -> None:
    """A store is made in one transaction, with a rollback journal; the power goes in its middle."""
    disk = RecordingDisk()
    try:
        asyncio.run(made(base, is_closed=True))
    finally:
        disk.unregister()
    hot = [
        state.files
        for state in states_of(disk.actions, torn=0, seed=SEED)
        if state.how == "kept" and state.files.get(JOURNAL) and state.files.get(DATABASE)
    ]
    assert hot, "no moment was found at which the journal matters"
    seen: Counter[str] = Counter()
    for files in hot:
        for found in Lab(base, files).flipped(JOURNAL, JOURNAL_FLIPS // len(hot)):
            if found.opening is not None:
                check_says_why(found.opening)
                seen["the store was refused"] += 1
                continue
            answers = [found.heads, *found.journals.values()]
            refused = [answer for answer in answers if isinstance(answer, FsmSagaError)]
            for error in refused:
                check_says_why(error)
            assert not any(answer for answer in answers if answer not in refused)
            seen["what is there was refused" if refused else "the store was made"] += 1
    count_flips(record_property, "rollback journal", seen.total(), seen)
    assert seen["the store was made"] > JOURNAL_FLIPS // 4


def test_a_store_whose_writers_number_is_lost_is_refused(base: Path) -> None:
    """Found by a flip in the key of the row: the number is none, and none has no next."""
    files = asyncio.run(made(base, is_closed=True))
    data = files[DATABASE]
    at = data.index(b"epoch")
    damaged = data[:at] + b"epocj" + data[at + 5 :]
    found = Lab(base, files).found({DATABASE: damaged})
    assert isinstance(found.opening, CorruptRecordError)
    assert "number of its last writer" in str(found.opening)


@tool
def book() -> None:
    """Never called: everybody waits for an approval."""


def test_a_saga_whose_head_bears_a_wrong_name_goes_on_under_its_own(base: Path) -> None:
    """The index still has the right one, and so has the journal."""
    url = f"sqlite:///{base}/{DATABASE}"

    async def submit() -> None:
        async with Engine.open(url, tools=[book]) as engine:
            for saga_id in SAGAS[:3]:
                await engine.run(plan_of(saga_id, "1 book ; kind=pivot approval=yes"))

    async def resume() -> tuple[list[str], dict[str, str]]:
        async with Engine.open(url, tools=[book]) as engine:
            return sorted(await engine.resume()), dict(engine.skipped)

    asyncio.run(submit())
    data = (base / DATABASE).read_bytes()
    assert data.count(b"trip-1EXECUTING") == 1
    (base / DATABASE).write_bytes(data.replace(b"trip-1EXECUTING", b"trip-9EXECUTING"))
    taken, skipped = asyncio.run(resume())
    assert taken == SAGAS[:3]
    assert not skipped
