"""The engine: what programs and the command line talk to."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

from fsm_saga.coordinator.clock import SystemClock
from fsm_saga.coordinator.coordinator import Coordinator
from fsm_saga.coordinator.driver import SagaDriver
from fsm_saga.coordinator.reading import read_saga
from fsm_saga.core import events as e
from fsm_saga.core.decide import Decision
from fsm_saga.core.limits import LIMITS
from fsm_saga.core.saga import Saga
from fsm_saga.errors import (
    CommandError,
)
from fsm_saga.machine.compile import compile_plan
from fsm_saga.plan.model import Plan
from fsm_saga.ports import Clock, Head, Store, ToolRunner
from fsm_saga.service.answers import Answer
from fsm_saga.service.desk import Desk, plan_grown, remark_on
from fsm_saga.service.growing import GrowingSaga
from fsm_saga.service.preparing import Preparer
from fsm_saga.service.submitting import Submitter
from fsm_saga.service.undoing import UndoPlan
from fsm_saga.service.view import SagaView, view_of
from fsm_saga.stores.opening import open_store
from fsm_saga.tools.certificates import Certificates
from fsm_saga.tools.loading import load_tools
from fsm_saga.tools.python import Tool
from fsm_saga.tools.registry import Registry
from fsm_saga.tools.runner import PythonRunner

ACTIVE_MAX = 100_000

ToolSource = Tool[..., Any] | ModuleType | str


class Engine:
    """Runs sagas on one store with one set of tools. Open it with ``Engine.open``."""

    def __init__(
        self,
        store: Store,
        runner: ToolRunner,
        clock: Clock,
        coordinator: Coordinator,
        *,
        allowed: Collection[str] | None,
        preparer: Preparer | None = None,
    ) -> None:
        """Wire the parts; ``Engine.open`` does it for you."""
        self.store = store
        self.runner = runner
        self.clock = clock
        self.coordinator = coordinator
        self._preparer = preparer or Preparer(runner.catalogue, allowed)
        self._submitter = Submitter(coordinator, self._preparer)
        self.desk = Desk(coordinator, self._preparer, self._submitter, allowed=allowed)

    @property
    def skipped(self) -> Mapping[str, str]:
        """Why unfinished sagas are left alone, by saga: what ``resume`` and later trouble left."""
        return self.coordinator.recovery.left_alone

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        store: str = "sqlite:///fsm-saga.db",
        *,
        tools: Sequence[ToolSource] = (),
        allow: Collection[str] | None = None,
        certificates: str | os.PathLike[str] | Certificates | None = None,
        recover: bool = True,
        active_max: int = ACTIVE_MAX,
        output_bytes_max: int = LIMITS.output_bytes_max,
        clock: Clock | None = None,
    ) -> AsyncIterator[Engine]:
        """Open a store as its writer and run sagas on it until the block is left.

        Leaving the block stops what is still under way at a safe point: it is in the store,
        and the next ``open`` or ``fsm-saga resume`` goes on with it. Wait for what you want
        finished.

        Args:
            store: URL of the store.
            tools: Functions made by ``@tool``, modules, or module names and ``.py`` paths.
            allow: Names of the tools that plans may use; None allows all that are given.
            certificates: What `fsm-saga certify` found, or its folder: a plan that leans on a
                promise which was found broken is refused.
            recover: Take up every unfinished saga whose tools are given.
            active_max: How many sagas may be under way before submissions are refused.
            output_bytes_max: Bytes of JSON that a tool may return.
            clock: The source of time and chance.

        Raises:
            ToolsError: If the tools cannot be used.
            StoreError: If the store cannot be opened for writing.
        """
        if certificates is not None and not isinstance(certificates, Certificates):
            certificates = Certificates.read(certificates)
        registry = Registry(_loaded(tools), allow=allow, certificates=certificates)
        runner = PythonRunner(registry, output_bytes_max=output_bytes_max)
        async with (
            open_store(store, mode="write") as opened,
            cls.over(
                opened, runner, allow=allow, recover=recover, active_max=active_max, clock=clock
            ) as engine,
        ):
            yield engine

    @classmethod
    @asynccontextmanager
    async def over(
        cls,
        store: Store,
        runner: ToolRunner,
        *,
        allow: Collection[str] | None = None,
        recover: bool = True,
        active_max: int = ACTIVE_MAX,
        clock: Clock | None = None,
        preparer: Preparer | None = None,
    ) -> AsyncIterator[Engine]:
        """Run sagas on a store that is open for writing, until the block is left.

        The store stays open. What the arguments mean is said at ``open``; ``preparer`` may be
        shared by engines that have the same tools and allow the same of them.
        """
        clock = clock or SystemClock()
        async with _running(store, runner, clock, allow, active_max, preparer) as engine:
            if recover:
                await engine.resume()
            yield engine

    async def submit(
        self,
        plan: Plan,
        *,
        task_id: str | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> str:
        """Make a plan a saga, durable and started, and return its id, the plan's task_id.

        Submitting the same plan again is the same saga: nothing happens twice.

        Args:
            plan: The plan.
            task_id: Used instead of the plan's own.
            inputs: Used over the plan's own, name by name.

        Raises:
            PlanError: If the plan is refused; nothing was started.
            SagaExistsError: If the task_id belongs to a saga of another plan.
        """
        prepared = self._preparer.prepare(plan, task_id=task_id, inputs=inputs)
        await self._submitter.submit(prepared)
        return prepared.task_id

    async def wait(self, saga_id: str) -> SagaView:
        """Return the saga once it rests: ended, or waiting for a person.

        Raises:
            UnknownSagaError: If there is no such saga.
            StoreError: If the store failed for good.
        """
        return view_of(await self.coordinator.wait_for_rest(saga_id))

    async def run(
        self,
        plan: Plan,
        *,
        task_id: str | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> SagaView:
        """Submit a plan and return its saga once it rests. See ``submit`` and ``wait``."""
        return await self.wait(await self.submit(plan, task_id=task_id, inputs=inputs))

    async def get(self, saga_id: str) -> SagaView:
        """Return a saga as it is now.

        Raises:
            UnknownSagaError: If there is no such saga.
        """
        driver = self.coordinator.driver(saga_id)
        if driver is not None and driver.saga.position:
            return view_of(driver.saga)
        return view_of(await self.desk.stored(saga_id))

    async def list(self, *, only_unfinished: bool = False) -> Sequence[Head]:
        """Return the heads of the sagas, newest first."""
        return await self.store.heads(only_unfinished=only_unfinished)

    async def resume(self) -> Sequence[str]:
        """Take up every unfinished saga whose tools are at hand, and return their ids.

        Sagas whose calls the process may have died of are taken up last, one after the other;
        that goes on after the return, and ``wait`` waits for it.

        What is left alone is in ``skipped``, with the reason: a corrupt journal or a missing
        tool stops its own saga and no other. One that the store did not answer for is there
        until it is taken up, which is tried again and again.

        Raises:
            StoreError: If the store failed for good.
        """
        return await self.coordinator.recovery.run()

    async def cancel(self, saga_id: str, *, by: str = "", note: str = "") -> SagaView:
        """Stop a saga and undo what it did.

        Raises:
            EventRefusedError: If it has ended or the point of no return is passed.
        """
        return await self.answer(saga_id, Answer(kind="cancel", by=by, note=note))

    async def approve(
        self, saga_id: str, step_id: int | str, *, by: str, note: str = "", digest: str = ""
    ) -> SagaView:
        """Let a waiting step run, once, with the parameters that were shown.

        Raises:
            EventRefusedError: If it does not wait, the digest is of other parameters, or the
                time to approve is over.
        """
        return await self.answer(
            saga_id, Answer(kind="approve", step_id=step_id, by=by, note=note, digest=digest)
        )

    async def reject(
        self, saga_id: str, step_id: int | str, *, by: str, note: str = ""
    ) -> SagaView:
        """Deny a waiting step; the saga turns round.

        Raises:
            EventRefusedError: If the step does not wait for approval.
        """
        return await self.answer(saga_id, Answer(kind="reject", step_id=step_id, by=by, note=note))

    async def resolve(
        self,
        saga_id: str,
        step_id: int | str,
        *,
        by: str,
        note: str,
        retry: bool = False,
        settled: bool = False,
        output: Any = None,  # a JSON value
        calls: Any = None,  # a JSON value, checked like a plan
        position: int | None = None,
    ) -> SagaView:
        """Answer for a step that a saga in NEEDS_HUMAN rests on, in exactly one way.

        Args:
            saga_id: The saga.
            step_id: The step, as its plan names it.
            by: Who decides.
            note: Why, for the journal.
            retry: Try the open call again.
            settled: You vouch that the step needs no more doing or undoing.
            output: You vouch that the effect exists, and this is what the tool returned.
            calls: The calls that make good for the step, as ``[{"tool": ..., "params": ...}]``.
            position: The saga's position when you looked; refused if it has moved since.

        Raises:
            EventRefusedError: If the saga does not ask or the step does not accept this.
            PlanError: If the calls are refused; nothing was started.
        """
        given = [retry, settled, output is not None, calls is not None]
        if sum(given) != 1:
            raise CommandError(
                "An answer says exactly one of retry, settled, output and calls. "
                "Nothing was changed."
            )
        kind = ("retry", "settled", "output", "calls")[given.index(True)]
        value = output if output is not None else calls
        return await self.answer(
            saga_id,
            Answer(kind=kind, step_id=step_id, by=by, note=note, value=value, position=position),
        )

    async def amend(self, saga_id: str, steps: Any) -> SagaView:  # checked here
        """Append steps to a running saga; what has started does not change.

        Args:
            saga_id: The saga.
            steps: A list of steps, or an object with ``steps``, in the plan's form. A step
                without ``depends_on`` comes after the last one.

        Raises:
            PlanError: If the grown plan is refused; nothing was changed.
            EventRefusedError: If the saga no longer goes forward.
        """
        return await self.answer(saga_id, Answer(kind="amend", value=steps))

    async def answer(self, saga_id: str, answer: Answer) -> SagaView:
        """Carry out what a person or a planner decided about a saga. See ``Desk.answer``."""
        decision = await self.desk.answer(saga_id, answer)
        return SagaView(decision.saga, note=remark_on(decision))

    async def undo(
        self, saga_id: str, *, is_partial: bool = False, is_dry_run: bool = False
    ) -> tuple[UndoPlan, SagaView | None]:
        """Take back a saga that is DONE, as a new saga named ``<id>.undo``.

        Args:
            saga_id: The finished saga.
            is_partial: Undo what can be undone even if something cannot.
            is_dry_run: Only say what would be undone.

        Returns:
            What can and what cannot be undone, and the new saga at rest; None on a dry run.

        Raises:
            CommandError: If the saga is not DONE, or something in it cannot be undone.
        """
        found = await self._submitter.undo_plan(saga_id)
        if is_dry_run:
            return found, None
        return found, await self.wait(
            await self._submitter.submit_undo(found, is_partial=is_partial)
        )

    def saga(self, saga_id: str) -> GrowingSaga:
        """Return an open saga for an agent that decides as it goes; use it in ``async with``.

        Steps are appended by ``call``. Leaving the block closes the plan and the saga is DONE;
        an exception inside it undoes what was done, in reverse, and is then raised. A block that
        caught the failure of a call is left with that ``SagaFailedError`` all the same.
        """
        return GrowingSaga(saga_id, self)

    async def submit_open(self, plan: Plan) -> Saga:
        """Make an open saga of a plan that will grow, started if it has a step."""
        return await self._submitter.submit_open(plan)

    async def grow(self, saga_id: str, plan: Plan, *, base: Plan) -> Decision:
        """Give an open saga a plan that was grown from its plan, ``base``.

        Raises:
            PlanError: If the grown plan is refused; nothing was changed.
            EventRefusedError: If the saga no longer goes forward, or its plan is not ``base``.
        """
        driver = await self._driver(saga_id)
        prepared = self._preparer.prepare(plan, is_open=driver.saga.program.is_open)
        return await driver.command(plan_grown(prepared, base=base, at=self.clock.now()))

    async def close_plan(self, saga_id: str) -> Saga:
        """Say that an open saga gets no more steps."""
        driver = await self._driver(saga_id)
        reader = read_saga(await self.store.load(saga_id) or ())[1]
        program = compile_plan(await self.desk.plan_of(saga_id), reader.declared, is_open=False)
        event = e.PlanCloseAsked(at=self.clock.now(), program=program)
        return (await driver.command(event)).saga

    async def _driver(self, saga_id: str) -> SagaDriver:
        driver = self.coordinator.driver(saga_id) or await self.coordinator.take_up(saga_id)
        if driver is None:
            raise CommandError(f"Saga {saga_id!r} has ended. Nothing was changed.")
        return driver


def _loaded(tools: Sequence[ToolSource]) -> list[Tool[..., Any] | ModuleType]:
    loaded: list[Tool[..., Any] | ModuleType] = []
    for source in tools:
        if isinstance(source, str):
            loaded += load_tools(source)
        else:
            loaded.append(source)
    return loaded


class _LeavingError(Exception):
    """The engine's block was left; stops its tasks."""


@asynccontextmanager
async def _running(
    store: Store,
    runner: ToolRunner,
    clock: Clock,
    allowed: Collection[str] | None,
    active_max: int,
    preparer: Preparer | None,
) -> AsyncIterator[Engine]:
    """Run a coordinator in a task group; stop its tasks when the block is left.

    What the block raises is raised as it is, not wrapped in the group's exception.
    """
    raised: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as tasks:
            coordinator = Coordinator(store, runner, clock, tasks, active_max=active_max)
            engine = Engine(store, runner, clock, coordinator, allowed=allowed, preparer=preparer)
            coordinator.spawn(engine.desk.serve(), name="commands")
            try:
                yield engine
            except BaseException as error:  # noqa: BLE001  # boundary: raised again below, as it is
                raised = error
            coordinator.close()
            raise _LeavingError  # noqa: TRY301  # the way to stop a task group
    except* _LeavingError:
        pass
    if raised is not None:
        raise raised
