"""A request that another process carries out: patience, doubt, and who takes over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from fsm_saga.cli import elsewhere
from fsm_saga.cli.elsewhere import Request, StoppedText, driven_or_followed
from fsm_saga.cli.failures import StoreFailedError
from fsm_saga.cluster.hosting import Host
from fsm_saga.core.records import Record
from fsm_saga.core.saga import Saga
from fsm_saga.errors import StoreLockedError, StoreUnavailableError
from fsm_saga.plan.model import Plan
from fsm_saga.ports import ClusterStore, Head, Member, Store
from fsm_saga.service.submitting import submission
from fsm_saga.service.view import SagaView
from fsm_saga.stores.memory_cluster import MemoryCluster
from fsm_saga.tools.python import tool
from fsm_saga.tools.registry import Registry
from fsm_saga.tools.runner import PythonRunner

PATIENCE_S = 20.0


@tool(read_only=True)
async def look() -> int:
    return 1


STEP = {"step_id": 1, "name": "look", "tool": "look", "params": {}}
PLAN = Plan.of({"task_id": "trip", "steps": [STEP]})


class Shown:
    """What was shown of the saga."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def show(self, saga: Saga, records: Sequence[Record]) -> None:
        del saga
        self.records += records


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> MemoryCluster:
    """The one cluster that every URL means."""
    made = MemoryCluster(shards=2, url="memory://shared")

    @asynccontextmanager
    async def open_it(_url: str, **_options: object) -> AsyncIterator[ClusterStore]:
        yield made

    monkeypatch.setattr(elsewhere, "open_cluster", open_it)
    for name in ("LOOK_S", "ROSTER_LOOK_S", "TAKE_OVER_S", "HINT_S", "MAKING_S"):
        monkeypatch.setattr(elsewhere, name, 0.001)
    return made


async def ask() -> Request:
    return Request(
        store="etcd://me:geheim@127.0.0.1/x",
        command=submission(PLAN),
        plan_hash=PLAN.content_hash(),
        specs=(),
    )


@asynccontextmanager
async def served(cluster: MemoryCluster) -> AsyncIterator[None]:
    member = Member(member_id="a", name="a", started_at=0.0)
    host = Host(cluster, PythonRunner(Registry([look])), member)
    task = asyncio.create_task(host.node.run())
    yield
    host.node.stop()
    await task


async def followed(shown: Shown) -> SagaView:
    async with asyncio.timeout(PATIENCE_S):
        return await driven_or_followed(None, ask, shown, stopped=StoppedText(""))


async def test_what_another_runs_is_shown_from_its_first_record(cluster: MemoryCluster) -> None:
    shown = Shown()
    async with served(cluster):
        view = await followed(shown)

    assert str(view.saga.state) == "DONE"
    assert len(shown.records) == view.saga.position


async def test_a_store_that_fails_for_a_while_is_asked_again(
    cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = Shown()
    failing = FailingReader(cluster.reader, failures=5)
    cluster_of(cluster, failing, monkeypatch)
    async with served(cluster):
        assert str((await followed(shown)).saga.state) == "DONE"
    assert failing.failures == 0


async def test_a_store_that_fails_for_long_is_told_with_what_was_asked(
    cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = FailingReader(cluster.reader, failures=0)
    cluster_of(cluster, failing, monkeypatch)
    running = asyncio.create_task(followed(Shown()))
    async with asyncio.timeout(PATIENCE_S):
        while not await cluster.reader.pending_commands():  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.001)
    monkeypatch.setattr(elsewhere, "GIVE_UP_S", 0.01)
    failing.failures = 10_000
    with pytest.raises(StoreFailedError, match="fsm-saga watch trip") as caught:
        await running
    assert caught.value.code == "store-unavailable"


async def test_who_cannot_take_over_says_so_and_gives_up(
    cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(elsewhere, "GIVE_UP_S", 0.01)
    with pytest.raises(StoreFailedError, match="left to whoever leads") as caught:
        await followed(Shown())

    assert "geheim" not in caught.value.message
    assert "fsm-saga cluster" in capsys.readouterr().err


async def test_who_can_takes_over_once_nobody_leads(cluster: MemoryCluster) -> None:
    tries = 0

    async def drive() -> SagaView:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise StoreLockedError("another leads")
        async with served(cluster):
            return await followed(Shown())

    stopped = StoppedText("here")
    async with asyncio.timeout(PATIENCE_S):
        view = await driven_or_followed(drive, ask, Shown(), stopped=stopped)

    assert str(view.saga.state) == "DONE"
    assert tries == 2
    assert stopped() == "here"


async def test_nobody_takes_over_while_members_are_there(cluster: MemoryCluster) -> None:
    async def drive() -> SagaView:
        raise StoreLockedError("another leads")

    member = Member(member_id="idle", name="idle", started_at=0.0)
    await cluster.join(member, ttl_s=5.0)
    stopped = StoppedText("here")
    task = asyncio.create_task(driven_or_followed(drive, ask, Shown(), stopped=stopped))
    await asyncio.sleep(0.01)
    assert not task.done()
    assert "goes on there" in stopped()
    task.cancel()
    await asyncio.wait((task,))


class FailingReader:
    """A reader whose answers about commands and heads fail as often as it is told to."""

    def __init__(self, reader: Store, *, failures: int) -> None:
        self.failures = failures
        self._reader = reader
        self.post_command = reader.post_command
        self.load = reader.load
        self.heads = reader.heads

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailableError("The store failed: it was told to.")

    async def command_answer(self, number: int) -> object:
        self._fail()
        return await self._reader.command_answer(number)

    async def head(self, saga_id: str) -> Head | None:
        self._fail()
        return await self._reader.head(saga_id)


def cluster_of(
    cluster: MemoryCluster, reader: FailingReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Have the requests, but not the members, read through ``reader``."""

    class Seen:
        def __init__(self) -> None:
            self.reader = reader
            self.url = cluster.url
            self.shards = cluster.shards
            self.roster = cluster.roster

    @asynccontextmanager
    async def open_it(_url: str, **_options: object) -> AsyncIterator[Seen]:
        yield Seen()

    monkeypatch.setattr(elsewhere, "open_cluster", open_it)
