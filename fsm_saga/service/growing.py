"""A saga that grows: an agent calls tools one by one and decides as it goes.

Each call becomes a step of an open plan. The plan is checked again whenever it grows, so an
agent is held to the same rules as a planner: nothing that can fail after a point of no return.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import orjson
from pydantic import TypeAdapter

from fsm_saga.core.saga import Saga, StepState
from fsm_saga.core.states import Phase, StepStatus
from fsm_saga.errors import (
    CommandError,
    EventRefusedError,
    PlanError,
    Problem,
    SagaFailedError,
    UnknownSagaError,
)
from fsm_saga.plan.model import Plan
from fsm_saga.plan.read import read_json, read_value
from fsm_saga.service.answers import text_of_object
from fsm_saga.tools.python import Tool
from fsm_saga.tools.wording import error_line

if TYPE_CHECKING:
    from fsm_saga.service.engine import Engine


_NO_STEPS = Problem(
    code="no-steps",
    pointer="/steps",
    message="There are no steps to append.",
    hint="Write at least one step.",
)


def grown_plan(plan: Plan, steps: object) -> Plan:
    """Return the plan with further steps behind its own.

    Args:
        plan: The plan as it is.
        steps: A list of steps or an object with ``steps``; a text is read like a plan's.

    Raises:
        PlanError: If there are no steps, or the grown plan is no sound plan.
    """
    if isinstance(steps, str | bytes):
        reading = read_json(text_of_object(steps, "steps"))
    else:
        reading = read_value({"steps": steps} if isinstance(steps, list | tuple) else steps)
    if reading.problems:
        raise PlanError(reading.problems)
    value = reading.value
    if isinstance(value, Mapping):
        value = value.get("steps", value)
    added = value if isinstance(value, list | tuple) else [value]
    if not added:
        raise PlanError([_NO_STEPS])
    body = orjson.loads(plan.canonical_json())
    return Plan.of({**body, "steps": [*body["steps"], *added]})


class GrowingSaga:
    """An open saga in the hands of an agent; made by ``Engine.saga``.

    Entering it again under the id of an unfinished saga goes on where that one stopped: a call
    with the same tool and parameters as the recorded one returns what was recorded.
    """

    def __init__(self, saga_id: str, engine: Engine) -> None:
        """Use ``Engine.saga``."""
        self.saga_id = saga_id
        self._engine = engine
        self._plan: Plan | None = None
        self._recorded = 0
        self._next = 0
        self._finished: list[int] = []
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Take the saga up if the store has it; else it begins with the first call."""
        try:
            view = await self._engine.get(self.saga_id)
        except UnknownSagaError:
            return self
        if not view.saga.program.is_open:
            raise CommandError(
                f"Saga {self.saga_id!r} is {view.state} and its plan is closed, so it does not "
                "grow. Nothing was changed; use another id."
            )
        await self._engine.coordinator.take_up(self.saga_id)
        self._plan = await self._engine.desk.plan_of(self.saga_id)
        self._recorded = len(self._plan.steps)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the plan, or undo what was done if the block raised."""
        if self._plan is None:
            return
        if error is None:
            await self._leave()
            return
        try:
            await self._engine.cancel(self.saga_id, by="agent", note=error_line(error))
        except EventRefusedError as refused:
            # It has turned round by itself, or the point of no return is passed.
            error.add_note(str(refused))
            with contextlib.suppress(CommandError):
                await self._engine.close_plan(self.saga_id)
        view = await self._engine.wait(self.saga_id)
        error.add_note(f"Saga {self.saga_id!r} is {view.state}, outcome {view.outcome}.")

    async def _leave(self) -> None:
        """Close the plan and return once the saga is DONE.

        Raises:
            SagaFailedError: If a call failed, whether the block took notice of that or not.
        """
        refusal = None
        try:
            await self._engine.close_plan(self.saga_id)
        except CommandError as refused:
            # It has turned round by itself, or has even ended.
            refusal = refused
        view = await self._engine.wait(self.saga_id)
        if view.phase in (Phase.FAILED, Phase.NEEDS_HUMAN):
            raise self._failed(view.saga) from refusal
        if refusal is not None and not view.is_done:
            raise refusal

    async def call(
        self,
        tool: Tool[..., Any] | Callable[..., Awaitable[Any]] | str,
        /,
        **params: Any,  # the tool's own parameters
    ) -> Any:  # what the tool returns
        """Make a tool call as the saga's next step and return what the tool returned.

        It starts when every call that has returned so far is done; calls that are made
        together run together.

        Raises:
            PlanError: If the tool, its parameters or its place in the plan are refused.
            SagaFailedError: If the call failed for good; what was done is undone by then, or
                a person is asked.
        """
        known = tool if isinstance(tool, Tool) else None
        name = known.name if known is not None else _name_of(tool)
        plain = TypeAdapter(Any).dump_python(params, mode="json")
        async with self._turn:
            index = self._next
            if index < self._recorded:
                self._check_same(index, name, plain)
            else:
                await self._append(name, plain)
            self._next += 1
        step = await self._settled(index)
        self._finished.append(index)
        return known.load_output(step.output) if known is not None else step.output

    def _check_same(self, index: int, name: str, params: object) -> None:
        step = self._plan.steps[index] if self._plan is not None else None
        if step is None or step.tool != name or step.params != params:
            raise CommandError(
                f"Saga {self.saga_id!r} recorded another call at step {index + 1}"
                f"{'' if step is None else f' ({step.tool})'}: an agent that goes on with a "
                "saga makes the same calls up to where it stopped. Nothing was called."
            )

    async def _append(self, name: str, params: object) -> None:
        body: dict[str, Any] = {"task_id": self.saga_id, "steps": []}
        if self._plan is not None:
            body = orjson.loads(self._plan.canonical_json())
        step = {
            "step_id": len(body["steps"]) + 1,
            "tool": name,
            "params": params,
            "depends_on": [index + 1 for index in sorted(self._finished)],
        }
        plan = Plan.of({**body, "steps": [*body["steps"], step]})
        if self._plan is None:
            await self._engine.submit_open(plan)
        else:
            await self._engine.grow(self.saga_id, plan, base=self._plan)
        self._plan = plan

    async def _settled(self, index: int) -> StepState:
        """Return the step once it has succeeded."""
        saga = await self._engine.coordinator.wait_until(
            self.saga_id,
            lambda saga: (
                (
                    saga.steps[index].status is StepStatus.SUCCEEDED
                    and not saga.steps[index].has_bad_output
                )
                or saga.state.phase in (Phase.FAILED, Phase.NEEDS_HUMAN, Phase.DONE)
            ),
        )
        step = saga.steps[index]
        if saga.state.phase in (Phase.FAILED, Phase.NEEDS_HUMAN):
            raise self._failed(saga)
        return step

    def _failed(self, saga: Saga) -> SagaFailedError:
        return SagaFailedError(
            f"Saga {self.saga_id!r} could not go on ({saga.cause}) and is {saga.state}, "
            f"outcome {saga.outcome}.",
            saga_id=self.saga_id,
            state=str(saga.state),
            outcome=None if saga.outcome is None else str(saga.outcome),
        )


def _name_of(tool: object) -> str:
    if isinstance(tool, str):
        return tool
    raise CommandError(
        f"{tool!r} is no tool: decorate it with @tool, or give the name of one. Nothing was called."
    )
