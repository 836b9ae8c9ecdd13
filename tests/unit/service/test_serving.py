"""Commands of many sagas are carried out together, those of one saga in their order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fsm_saga.coordinator.clock import SystemClock
from fsm_saga.coordinator.coordinator import Coordinator
from fsm_saga.errors import FencedError, StoreError, StoreUnavailableError
from fsm_saga.ports import Command
from fsm_saga.service import serving
from fsm_saga.service.serving import CommandServer
from fsm_saga.stores.memory import MemoryStore
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

    async def obey(self, command: Command) -> Mapping[str, Any] | None:
        self.begun.append((command.saga_id, command.kind))
        await self.gate.wait()
        self.ended.append((command.saga_id, command.kind))
        return None if command.kind == self.leaves else {"ok": True, "message": command.kind}


class Served:
    def __init__(self, store: MemoryStore, clerk: Clerk, coordinator: Coordinator) -> None:
        self.store = store
        self.clerk = clerk
        self.coordinator = coordinator
        self.server = CommandServer(coordinator, clerk.obey)

    async def post(self, saga_id: str, kind: str) -> int:
        return await self.store.post_command(Command(saga_id=saga_id, kind=kind, body={}))

    async def until_served(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while await self.store.pending_commands():  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0.001)


@asynccontextmanager
async def served() -> AsyncIterator[Served]:
    store = MemoryStore.open("memory://")
    async with asyncio.TaskGroup() as tasks:
        runner = PythonRunner(Registry([]))
        coordinator = Coordinator(store, runner, SystemClock(), tasks, active_max=10)
        them = Served(store, Clerk(), coordinator)
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
