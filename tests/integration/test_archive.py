"""Finished sagas on their way from a store to the archive, cut short at every place."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fsm_saga import Engine, Plan, tool
from fsm_saga.core.records import Record, ReplyIgnored
from fsm_saga.core.states import Direction
from fsm_saga.errors import (
    CommandError,
    CorruptRecordError,
    StoreUnavailableError,
    StoreVersionError,
)
from fsm_saga.ports import Append, Head, Store, Term
from fsm_saga.service.archive import Archive, Finished, file_name, line_of
from fsm_saga.service.archiving import Archivist, archive_finished
from fsm_saga.stores.sharding import shard_of

NOW = 4e9
WAIT_S = 20.0


@tool(undo="give_back")
def take(what: str) -> dict[str, str]:
    """Take something."""
    if what == "nothing":
        raise LookupError("there is nothing to take")
    return {"id": f"the {what}"}


@tool
def give_back(id: str) -> None:
    """Give it back."""


def plan_of(name: str, *things: str) -> Plan:
    steps = [
        {"step_id": number, "tool": "take", "params": {"what": thing}}
        for number, thing in enumerate(things, start=1)
    ]
    return Plan.of({"task_id": name, "goal": "你好\nworld", "steps": steps})


@asynccontextmanager
async def open_engine(*names: str) -> AsyncIterator[Engine]:
    """Give an engine in whose store these sagas have ended."""
    async with Engine.open("memory://", tools=[take, give_back]) as engine:
        for name in names:
            await engine.run(plan_of(name, "cup", "nothing" if "failed" in name else "pot"))
        yield engine


async def finished(store: Store, saga_id: str) -> Finished:
    head, records = await store.head(saga_id), await store.load(saga_id)
    assert head is not None
    assert records is not None
    return Finished(head=head, records=records)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("sagas-*.jsonl"))


def names_in(folder: Path) -> list[str]:
    lines = [line for path in files(folder) for line in path.read_bytes().splitlines()]
    return [json.loads(line)["entry"]["saga_id"] for line in lines]


class Wrapped:
    """A store, one of whose methods does something else."""

    def __init__(self, store: Store, **methods: Any) -> None:
        self._store = store
        self._methods = methods

    def __getattr__(self, name: str) -> Any:
        return self._methods.get(name) or getattr(self._store, name)


async def test_what_ended_long_ago_is_in_the_archive_and_no_longer_in_the_store(
    tmp_path: Path,
) -> None:
    async with open_engine("done", "failed", "young") as engine:
        journals = {name: await engine.store.load(name) for name in ("done", "failed")}
        old, young = await engine.store.head("done"), await engine.store.head("young")
        assert old is not None
        assert young is not None
        done = await archive_finished(
            engine.store, tmp_path / "new" / "old", older_than_s=10.0, now=old.updated_at + 9.9
        )
        assert done.heads == ()
        done = await archive_finished(
            engine.store, tmp_path, older_than_s=10.0, limit=2, now=young.updated_at + 11
        )
        left = [head.saga_id for head in await engine.store.heads()]

    assert [head.saga_id for head in done.heads] == ["done", "failed"]
    assert left == ["young"]
    archive = Archive(tmp_path)
    assert {name: archive.find(name) for name in journals} == journals
    assert sorted(names_in(tmp_path)) == ["done", "failed"]
    assert [path.stat().st_mode & 0o777 for path in files(tmp_path)] == [0o600]


async def test_a_saga_under_way_stays(tmp_path: Path) -> None:
    plan = Plan.of(
        {
            "task_id": "waits",
            "steps": [{"step_id": 1, "tool": "take", "params": {"what": "x"}, "approval": True}],
        }
    )
    async with open_engine() as engine:
        await engine.run(plan)
        done = await archive_finished(engine.store, tmp_path, older_than_s=0, now=NOW)
        assert (done.heads, done.left) == ((), {})
        assert await engine.store.head("waits") is not None


async def test_killed_between_the_write_and_the_removal_a_saga_is_written_once(
    tmp_path: Path,
) -> None:
    async def fails(_saga_id: str, **_expected: Any) -> None:
        raise StoreUnavailableError("the process ended here", reason="it was told to")

    async with open_engine("a", "b") as engine:
        store: Any = Wrapped(engine.store, remove=fails)
        with pytest.raises(StoreUnavailableError):
            await archive_finished(store, tmp_path, older_than_s=0, now=NOW)
        assert sorted(names_in(tmp_path)) == ["a", "b"]
        assert len(await engine.store.heads()) == 2
        await archive_finished(engine.store, tmp_path, older_than_s=0, now=NOW)
        assert await engine.store.heads() == []

    assert sorted(names_in(tmp_path)) == ["a", "b"]


async def test_a_line_cut_at_any_byte_is_cut_off_and_written_anew(tmp_path: Path) -> None:
    async with open_engine("first", "second") as engine:
        first, second = [await finished(engine.store, name) for name in ("first", "second")]
    second = replace(second, head=replace(second.head, updated_at=first.head.updated_at))
    Archive(tmp_path).keep([first, second])
    (path,) = files(tmp_path)
    whole, begin = path.read_bytes(), len(line_of(first))
    # Every byte of the frame, and some of what it holds.
    cuts = {*range(begin, begin + 60), *range(begin + 60, len(whole), 97), len(whole) - 1}

    for at in sorted(cuts):
        path.write_bytes(whole[:at])
        assert Archive(tmp_path).keep([first, second]) == 1
        assert path.read_bytes() == whole
    path.write_bytes(whole + b"\0" * 4096)
    assert Archive(tmp_path).keep([first, second]) == 0
    assert path.read_bytes() == whole


async def test_nothing_is_removed_when_the_archive_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_engine("a", "b") as engine:
        archive = Archive(tmp_path)
        archive.keep([await finished(engine.store, "a")])
        (path,) = files(tmp_path)
        before = path.read_bytes()

        def full(_fd: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(OSError, match="No space"):
                await archive_finished(engine.store, archive, older_than_s=0, now=NOW)
        assert path.read_bytes() == before, "what a failed sync left passes for written"
        assert len(await engine.store.heads()) == 2
        await archive_finished(engine.store, archive, older_than_s=0, now=NOW)
        assert await engine.store.heads() == []

    assert sorted(names_in(tmp_path)) == ["a", "b"]


async def test_two_that_write_to_one_folder_know_of_each_other(tmp_path: Path) -> None:
    async with open_engine("a", "b", "c") as engine:
        a, b, c = [await finished(engine.store, name) for name in "abc"]
    one, other = Archive(tmp_path), Archive(tmp_path)

    assert (one.keep([a]), other.keep([a, b]), one.keep([a, b, c]), other.keep([c])) == (1, 1, 1, 0)
    assert sorted(names_in(tmp_path)) == ["a", "b", "c"]


async def test_a_file_that_was_taken_away_is_noticed_whatever_came_in_its_place(
    tmp_path: Path,
) -> None:
    async with open_engine("a", "b", "long-name") as engine:
        a, b, other = [await finished(engine.store, name) for name in ("a", "b", "long-name")]
    archive = Archive(tmp_path)
    archive.keep([a, b])
    (path,) = files(tmp_path)
    path.unlink()
    assert archive.keep([a]) == 1
    path.unlink()
    Archive(tmp_path).keep([other, b])
    assert archive.keep([a]) == 1, "another file of the same name, and longer"
    path.write_bytes(b"")
    assert archive.keep([a, b, other]) == 3

    assert sorted(names_in(tmp_path)) == ["a", "b", "long-name"]


async def test_an_id_that_was_free_again_is_archived_again(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    async with open_engine("twin") as engine:
        await archive_finished(engine.store, archive, older_than_s=0, now=NOW)
        await engine.run(plan_of("twin", "nothing"))
        second = await engine.store.load("twin")
        await archive_finished(engine.store, archive, older_than_s=0, now=NOW)

    assert names_in(tmp_path) == ["twin", "twin"]
    assert archive.find("twin") == second


async def test_what_comes_between_the_write_and_the_removal_is_archived_too(
    tmp_path: Path,
) -> None:
    """A late reply is written down after the end: it must not go with what it came after."""
    archive = Archive(tmp_path)
    async with open_engine("late", "other") as engine:
        before = await finished(engine.store, "late")
        reply = ReplyIgnored(
            at=NOW, step=0, direction=Direction.DO, outcome="success", detail="came late"
        )
        position = before.head.position
        head = replace(before.head, position=position + 1)
        late = Append(saga_id="late", position=position, records=(reply,), head=head)
        removals: list[str] = []

        async def remove(saga_id: str, **expected: Any) -> None:
            removals.append(saga_id)
            if removals == ["late"]:
                await engine.store.append(late)
            await engine.store.remove(saga_id, **expected)

        store: Any = Wrapped(engine.store, remove=remove)
        done = await archive_finished(store, archive, older_than_s=0, now=NOW)
        assert [head.saga_id for head in done.heads] == ["other"]
        assert "was not removed" in done.left["late"]
        assert archive.find("late") == before.records
        done = await archive_finished(engine.store, archive, older_than_s=0, now=NOW)
        assert [head.saga_id for head in done.heads] == ["late"]
        assert await engine.store.heads() == []

    assert archive.find("late") == (*before.records, reply)
    assert Archive(tmp_path).find("late") == (*before.records, reply)


async def test_a_damaged_line_is_told_and_does_not_count_as_written(tmp_path: Path) -> None:
    async with open_engine("a", "b") as engine:
        a, b = [await finished(engine.store, name) for name in "ab"]
    Archive(tmp_path).keep([a, b])
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"the cup", b"the cap", 1))
    archive = Archive(tmp_path)

    assert archive.find("b") == b.records
    with pytest.raises(CorruptRecordError, match="fails its checksum"):
        archive.find("a")
    assert archive.keep([a, b]) == 1
    with pytest.raises(CommandError, match="no saga 'nobody'"):
        archive.find("nobody")


async def test_an_entry_of_a_later_version_is_not_guessed_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_engine("a") as engine:
        a = await finished(engine.store, "a")
    with monkeypatch.context() as patch:
        patch.setattr("fsm_saga.service.archive.VERSION", 2)
        Archive(tmp_path).keep([a])

    with pytest.raises(StoreVersionError, match="version 2"):
        Archive(tmp_path).find("a")


async def test_a_saga_that_cannot_be_read_or_is_told_in_two_ways_stays(tmp_path: Path) -> None:
    async with open_engine("a", "b", "c") as engine:

        async def load(saga_id: str) -> tuple[Record, ...] | None:
            if saga_id == "a":
                raise CorruptRecordError("it is damaged", saga_id="a", position=0)
            records = await engine.store.load(saga_id)
            return records[:-1] if saga_id == "b" and records else records

        store: Any = Wrapped(engine.store, load=load)
        done = await archive_finished(store, tmp_path, older_than_s=0, now=NOW)
        left = {head.saga_id for head in await engine.store.heads()}

    assert [head.saga_id for head in done.heads] == ["c"]
    assert set(done.left) == left == {"a", "b"}
    assert "its head says DONE" in done.left["b"]


async def test_a_clock_that_said_nonsense_costs_no_saga(tmp_path: Path) -> None:
    async with open_engine("a") as engine:
        a = await finished(engine.store, "a")
    odd = replace(a, head=replace(a.head, updated_at=-1e18))
    Archive(tmp_path).keep([odd])

    assert [path.name for path in files(tmp_path)] == ["sagas-undated.jsonl"]
    assert Archive(tmp_path).find("a") == a.records


async def test_a_folder_that_cannot_be_made_is_refused_before_anything(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(CommandError, match="cannot be archived"):
        Archive(tmp_path / "file" / "folder").prepare()


def test_days_begin_at_midnight_utc() -> None:
    assert file_name(0.0) == "sagas-1970-01-01.jsonl"
    assert file_name(float("inf")) == "sagas-undated.jsonl"


# While a coordinator serves.


async def until_gone(store: Store, *saga_ids: str) -> list[Head]:
    async with asyncio.timeout(WAIT_S):
        while True:
            heads = list(await store.heads())
            if not {head.saga_id for head in heads} & set(saga_ids):
                return heads
            await asyncio.sleep(0.01)


async def test_a_leader_archives_what_ends_on_its_shard_once_it_is_old_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fsm_saga.service.archiving.LOOK_AGAIN_S", 0.05)
    archive = Archive(tmp_path)
    names = [f"trip-{number}" for number in range(8)]
    mine = [name for name in names if shard_of(name, 2) == 1]
    async with open_engine(*names[:4]) as engine:
        archivist = Archivist(archive, older_than_s=0.2, shards=2, first_s=0.0)
        archivist.attach(Term(shard=1, epoch=1), engine)
        for name in names[4:]:
            await engine.run(plan_of(name, "cup"))
        left = await until_gone(engine.store, *mine)

    assert {head.saga_id for head in left} == set(names) - set(mine)
    assert sorted(names_in(tmp_path)) == sorted(mine)


class Hands:
    """A clock that goes on only while somebody sleeps."""

    def __init__(self, at: float) -> None:
        self.at = at

    def now(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds


async def test_a_leader_remembers_the_oldest_of_those_that_are_too_young(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WAITING_MAX", 2), ("PAGE", 3), ("BATCH", 2)):
        monkeypatch.setattr(f"fsm_saga.service.archiving.{name}", value)
    names = [f"trip-{number}" for number in range(11)]
    term = Term(shard=0, epoch=1)
    async with open_engine(*names) as engine:
        archivist = Archivist(Archive(tmp_path), older_than_s=100.0, shards=1)
        ended = sorted((head.updated_at, head.saga_id) for head in await engine.store.heads())
        clock: Any = Hands(ended[-1][0])
        waiting = await archivist._look(term, engine.store, clock)
        assert (waiting.is_all, list(waiting.ended)) == (False, ended[:2])
        assert len(await engine.store.heads()) == 11

        await archivist._drain(term, engine.store, clock, waiting)
        assert clock.at >= ended[1][0] + 100.0
        assert {head.saga_id for head in await engine.store.heads()} == set(names[2:])

        clock.at = ended[-1][0] + 100.0
        waiting = await archivist._look(term, engine.store, clock)
        assert (waiting.is_all, list(waiting.ended)) == (True, [])
        assert await engine.store.heads() == []

    assert sorted(names_in(tmp_path)) == sorted(names)


async def test_a_leader_whose_archive_is_full_says_so_and_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fsm_saga.service.archiving.RETRY_S", 0.02)
    archive = Archive(tmp_path / "full")
    (tmp_path / "full").write_text("a file is in the way")
    async with open_engine("a") as engine:
        archivist = Archivist(archive, older_than_s=0.01, shards=1, first_s=0.0)
        archivist.attach(Term(shard=0, epoch=1), engine)
        for _ in range(int(WAIT_S * 100)):
            if "cannot be archived now" in caplog.text:
                break
            await asyncio.sleep(0.01)
        assert "cannot be archived now" in caplog.text
        assert await engine.store.head("a") is not None
        (tmp_path / "full").unlink()
        await until_gone(engine.store, "a")

    assert names_in(tmp_path / "full") == ["a"]
