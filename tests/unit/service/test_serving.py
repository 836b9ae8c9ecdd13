"""Commands of many sagas are carried out together, those of one saga in their order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from fsm_saga.coordinator.clock import SystemClock
from fsm_saga.coordinator.coordinator import Coordinator
from fsm_saga.errors import FencedError, StoreError, StoreUnavailableError
from fsm_saga.ports import Command
from fsm_saga.service import serving
from fsm_saga.service.serving import CommandServer
from fsm_saga.stores.memory import Memory, MemoryStore
from fsm_saga.tools.registry import Registry
from fsm_saga.tools.runner import PythonRunner

PATIENCE_S = 10.0


class Clerk:
    """Carries commands out when its gate is open, and keeps what it saw."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, str]] = []
        self.ended: list[tuple[str, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.leaves = ""
        self.fails = 0
        self.recalled: list[str] = []
        self.done: Collection[str] = ()

    async def obey(self, command: Command) -> Mapping[str, Any] | None:
        self.begun.append((command.saga_id, command.kind))
        await self.gate.wait()
        if self.fails:
            self.fails -= 1
            raise StoreUnavailableError("The store failed: it was told to.")
        self.ended.append((command.saga_id, command.kind))
        return None if command.kind == self.leaves else {"ok": True, "message": command.kind}

    async def recall(self, command: Command) -> Mapping[str, Any] | None:
        self.recalled.append(command.saga_id)
        return {"ok": True, "message": "done"} if command.saga_id in self.done else None


class Served:
    def __init__(self, store: MemoryStore, clerk: Clerk, coordinator: Coordinator) -> None:
        self.store = store
        self.clerk = clerk
        self.coordinator = coordinator
        self.server = CommandServer(coordinator, clerk.obey, clerk.recall)

    async def post(self, saga_id: str, kind: str) -> int:
        return await self.store.post_command(Command(saga_id=saga_id, kind=kind, body={}))

    async def until_served(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while await MemoryStore.pending_commands(self.store):  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0.001)


@asynccontextmanager
async def served(
    kind: type[MemoryStore] = MemoryStore, *, left: Sequence[str] = (), done: Sequence[str] = ()
) -> AsyncIterator[Served]:
    store = kind.open("memory://")
    for saga_id in left:
        await store.post_command(Command(saga_id=saga_id, kind="cancel", body={}))
    async with asyncio.TaskGroup() as tasks:
        runner = PythonRunner(Registry([]))
        coordinator = Coordinator(store, runner, SystemClock(), tasks, active_max=10)
        them = Served(store, Clerk(), coordinator)
        them.clerk.done = done
        task = tasks.create_task(them.server.run())
        yield them
        task.cancel()
        coordinator.close()


async def test_commands_of_different_sagas_do_not_wait_for_each_other() -> None:
    async with served() as them:
        them.clerk.gate.clear()
        for number in range(5):
            await them.post(f"trip-{number}", "submit")
        async with asyncio.timeout(PATIENCE_S):
            while len(them.clerk.begun) < 5:  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0.001)
        assert them.clerk.ended == []
        them.clerk.gate.set()
        await them.until_served()
        assert them.server.answered == 5


async def test_commands_of_one_saga_keep_their_order_and_never_overlap() -> None:
    async with served() as them:
        them.clerk.gate.clear()
        for kind in ("submit", "approve", "cancel"):
            await them.post("trip", kind)
        await asyncio.sleep(0.01)
        assert them.clerk.begun == [("trip", "submit")]
        them.clerk.gate.set()
        await them.until_served()
        assert [kind for _saga, kind in them.clerk.ended] == ["submit", "approve", "cancel"]


async def test_there_is_a_bound_on_what_is_carried_out_together() -> None:
    async with served() as them:
        them.clerk.gate.clear()
        for number in range(serving.OBEYED_MAX + 10):
            await them.post(f"trip-{number}", "submit")
        async with asyncio.timeout(PATIENCE_S):
            while len(them.clerk.begun) < serving.OBEYED_MAX:  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.005)
        assert len(them.clerk.begun) == serving.OBEYED_MAX
        them.clerk.gate.set()
        await them.until_served()


async def test_a_command_whose_answer_was_lost_is_answered_again_and_not_carried_out_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "FAIL_PAUSE_S", 0.001)
    async with served() as them:
        answer = them.store.answer_command
        failures = iter(range(2))

        async def failing(number: int, said: Mapping[str, Any]) -> None:
            if next(failures, None) is not None:
                raise StoreUnavailableError("The store failed: it was told to.")
            await answer(number, said)

        them.store.answer_command = failing  # type: ignore[method-assign,assignment]
        number = await them.post("trip", "retry")
        await them.until_served()
        assert them.clerk.ended == [("trip", "retry")]
        assert await them.store.command_answer(number) == {"ok": True, "message": "retry"}


async def test_what_is_left_for_another_coordinator_holds_up_nothing_behind_it() -> None:
    async with served() as them:
        them.clerk.leaves = "amend"
        await them.post("trip", "amend")
        await them.post("trip", "cancel")
        async with asyncio.timeout(PATIENCE_S):
            while ("trip", "cancel") not in them.clerk.ended:  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.005)
        left = await them.store.pending_commands()
        assert [command.kind for command in left] == ["amend"]
        assert them.clerk.ended.count(("trip", "amend")) == 1


async def test_a_look_that_began_before_an_answer_does_not_bring_the_command_back() -> None:
    async with served() as them:
        looks = them.store.pending_commands
        shown: list[Command] = []

        async def late() -> list[Command]:
            found = list(await looks())
            shown.extend(found)
            stale = list(shown) if found or len(shown) == 1 else found
            await asyncio.sleep(0.002)  # answered meanwhile
            return stale

        them.store.pending_commands = late  # type: ignore[method-assign]
        await them.post("trip", "retry")
        async with asyncio.timeout(PATIENCE_S):
            while them.server.answered < 1:  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        assert them.clerk.ended == [("trip", "retry")]


async def test_who_is_fenced_stops_and_leaves_its_commands_to_the_next_leader() -> None:
    async with served() as them:

        async def fenced(number: int, said: Mapping[str, Any]) -> None:
            raise FencedError("Another leads: it was told to.")

        them.store.answer_command = fenced  # type: ignore[method-assign,assignment]
        await them.post("trip", "cancel")
        async with asyncio.timeout(PATIENCE_S):
            while them.coordinator.failure is None:  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0.001)
        assert isinstance(them.coordinator.failure, FencedError)
        assert len(await them.store.pending_commands()) == 1


async def test_a_coordinator_that_has_stopped_refuses_no_command_because_of_that() -> None:
    async with served() as them:
        them.clerk.gate.clear()
        number = await them.post("trip", "cancel")
        async with asyncio.timeout(PATIENCE_S):
            while not them.clerk.begun:  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0.001)
        them.coordinator.stop(StoreError("The store failed for good: it was told to."))
        them.clerk.gate.set()
        await asyncio.sleep(0.01)
        assert await them.store.command_answer(number) is None
        assert [command.number for command in await them.store.pending_commands()] == [number]


async def test_answers_that_cannot_be_written_are_not_tried_without_a_pause() -> None:
    async with served() as them:
        tries = 0

        async def failing(number: int, said: Mapping[str, Any]) -> None:
            nonlocal tries
            tries += 1
            raise StoreUnavailableError("The store failed: it was told to.")

        them.store.answer_command = failing  # type: ignore[method-assign,assignment]
        await them.post("trip", "retry")
        async with asyncio.timeout(PATIENCE_S):
            while not tries:  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0.001)
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert tries == 1


class Hinted(MemoryStore):
    """A store that tells when a command comes in, and how often it was looked at."""

    looks = 0
    is_silent = False

    def __init__(self, url: str, memory: Memory, *, epoch: int) -> None:
        super().__init__(url, memory, epoch=epoch)
        self._news = asyncio.Event()

    async def pending_commands(self) -> Sequence[Command]:
        self.looks += 1
        self._news = asyncio.Event()
        return await super().pending_commands()

    async def post_command(self, command: Command) -> int:
        number = await super().post_command(command)
        if not self.is_silent:
            self._news.set()
        return number

    async def wait_command(self, timeout_s: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), timeout_s)


@pytest.fixture
def hinted(monkeypatch: pytest.MonkeyPatch) -> type[Hinted]:
    monkeypatch.setattr(serving, "HINTED_POLL_S", 60.0)
    monkeypatch.setattr(serving, "FAIL_PAUSE_S", 0.001)
    return Hinted


async def test_a_store_that_tells_of_commands_is_not_looked_at_without_need(
    hinted: type[Hinted],
) -> None:
    async with served(hinted) as them:
        assert isinstance(them.store, Hinted)
        for _ in range(30):
            await asyncio.sleep(0.01)
        assert them.store.looks == 1
        await them.post("trip", "cancel")
        await them.until_served()
        assert them.server.answered == 1


async def test_what_a_store_failed_to_tell_is_found_all_the_same(
    hinted: type[Hinted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "HINTED_POLL_S", 0.02)
    async with served(hinted) as them:
        assert isinstance(them.store, Hinted)
        them.store.is_silent = True
        await asyncio.sleep(0.01)
        await them.post("trip", "cancel")
        await them.until_served()


async def test_what_could_not_be_answered_is_tried_again_though_nothing_comes_in(
    hinted: type[Hinted],
) -> None:
    async with served(hinted) as them:
        answer = them.store.answer_command
        failures = iter(range(2))

        async def failing(number: int, said: Mapping[str, Any]) -> None:
            if next(failures, None) is not None:
                raise StoreUnavailableError("The store failed: it was told to.")
            await answer(number, said)

        them.store.answer_command = failing  # type: ignore[method-assign,assignment]
        await them.post("trip", "retry")
        await them.until_served()
        assert them.clerk.ended == [("trip", "retry")]


async def test_only_what_an_earlier_leader_may_have_begun_is_looked_for_in_the_journal() -> None:
    async with served(left=("left",)) as them:
        await them.until_served()
        await asyncio.sleep(0.01)
        for _ in range(10):  # until a look has brought nothing new
            await asyncio.sleep(0.01)
        await them.post("new", "cancel")
        await them.until_served()
        assert them.clerk.recalled == ["left"]
        assert them.clerk.ended == [("left", "cancel"), ("new", "cancel")]


async def test_what_was_carried_out_before_is_answered_and_not_carried_out_again() -> None:
    async with served(left=("left",), done=("left",)) as them:
        await them.until_served()
        assert them.clerk.ended == []
        assert them.server.answered == 1


async def test_what_the_store_failed_under_may_be_done_and_is_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "FAIL_PAUSE_S", 0.001)
    async with served() as them:
        for _ in range(5):
            await asyncio.sleep(0.01)
        them.clerk.fails = 1
        them.clerk.done = ("trip",)
        await them.post("trip", "cancel")
        await them.until_served()
        assert them.clerk.recalled == ["trip"]
        assert (them.clerk.begun, them.clerk.ended) == ([("trip", "cancel")], [])
