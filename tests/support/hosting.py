"""An engine over a memory store and a scripted world, which can be killed at any instant."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from fsm_saga.coordinator.coordinator import Coordinator
from fsm_saga.core.contract import ToolFacts
from fsm_saga.core.effects import CallTool
from fsm_saga.ports import Append
from fsm_saga.service.engine import Engine
from fsm_saga.stores.memory import MemoryStore, forget_memory
from tests.support.virtual_time import VirtualClock
from tests.support.world import ScriptedRunner, World

T = TypeVar("T")


class CrashedError(Exception):
    """The engine was killed while the command was under way."""


class TrappedStore(MemoryStore):
    """A memory store that tells ``trap`` before and after each append."""

    trap: Callable[[str], Awaitable[None]]

    async def append(self, append: Append) -> None:
        """See ``Store.append``."""
        await self.trap("before")
        await super().append(append)
        await self.trap("after")


class Host:
    """One store and one world, and the engine that runs over them until it is killed.

    A trap is ``(when, what, nth)``, for example ``("after", "append", 3)``: the process stops for
    good right there, and everybody who waits for it learns that it crashed. A call of a tool that
    is ``deadly`` stops it each time.
    """

    def __init__(self, catalogue: Mapping[str, ToolFacts], *, name: str) -> None:
        self.clock = VirtualClock()
        self.world = World()
        self.runner = ScriptedRunner(catalogue, self.world, self.clock)
        self.runner.trap = self._at_call
        self.traps: list[tuple[str, str, int]] = []
        self.deadly: set[str] = set()
        self._url = f"memory://{name}"
        self._name = name
        self._passes: dict[tuple[str, str], int] = {}
        self._crashed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._engine: Engine | None = None
        forget_memory(name)

    @property
    def is_running(self) -> bool:
        """False before the first start and after each crash."""
        return self._engine is not None

    @property
    def engine(self) -> Engine:
        """The engine that runs now."""
        assert self._engine is not None, "the engine was killed: resume it"
        return self._engine

    @property
    def store(self) -> TrappedStore:
        """Its store."""
        store = self.engine.store
        assert isinstance(store, TrappedStore)
        return store

    def set_trap(self, when: str, what: str, nth: int) -> None:
        """Stop at the nth such place from now on."""
        self._passes.clear()
        self.traps.append((when, what, nth))

    async def start(self) -> None:
        """Start an engine as a new process would: another epoch, nothing in memory."""
        assert self._engine is None, "there is an engine already"
        self._crashed.clear()
        self._passes.clear()
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(started))
        await started

    async def _run(self, started: asyncio.Future[None]) -> None:
        store = TrappedStore.open(self._url, self._name)
        assert isinstance(store, TrappedStore)
        store.trap = self._at_append
        async with asyncio.TaskGroup() as tasks:
            coordinator = Coordinator(store, self.runner, self.clock, tasks, active_max=1000)
            self._engine = Engine(store, self.runner, self.clock, coordinator, allowed=None)
            started.set_result(None)
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                coordinator.close()

    async def kill(self) -> None:
        """Stop the engine at once; what its tools are doing goes on without it."""
        task, self._task, self._engine = self._task, None, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def do(self, command: Coroutine[Any, Any, T]) -> T:
        """Return what the command returns.

        Raises:
            CrashedError: If a trap killed the engine first.
        """
        doing = asyncio.ensure_future(command)
        crashing = asyncio.ensure_future(self._crashed.wait())
        await asyncio.wait((doing, crashing), return_when=asyncio.FIRST_COMPLETED)
        crashing.cancel()
        if self._crashed.is_set():
            doing.cancel()
            await self.kill()
            await asyncio.gather(doing, return_exceptions=True)
            raise CrashedError
        return await doing

    async def _at_append(self, when: str) -> None:
        await self._pass(when, "append")

    async def _at_call(self, call: CallTool, when: str) -> None:
        if call.tool in self.deadly:
            self._crashed.set()
        await self._pass(when, "call")

    async def _pass(self, when: str, what: str) -> None:
        key = (when, what)
        self._passes[key] = self._passes.get(key, 0) + 1
        if self.traps and self.traps[0] == (when, what, self._passes[key]):
            self.traps.pop(0)
            self._crashed.set()
        if self._crashed.is_set():
            # A process that was killed does nothing more, not even fail.
            await asyncio.get_running_loop().create_future()
