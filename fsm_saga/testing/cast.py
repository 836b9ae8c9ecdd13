"""What a test plays: a plan that is submitted, or an agent that makes one call after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from fsm_saga.core.contract import ToolFacts
from fsm_saga.core.program import Program
from fsm_saga.errors import FsmSagaError
from fsm_saga.service.engine import Engine
from fsm_saga.service.growing import GrowingSaga
from fsm_saga.simulation.outputs import PlanOutputs, example
from fsm_saga.simulation.scene import Scene
from fsm_saga.simulation.tools import Outputs
from fsm_saga.testing.fakes import Scripts

AGENT = "agent"
"""How an engine names who cancels when the block of a growing saga raises."""

Work = Callable[[Engine], Awaitable[Any]]
AgentFunction = Callable[[GrowingSaga], Awaitable[Any]]


class Stage(Protocol):
    """What a cast may use of a run."""

    async def ask(self, work: Work) -> Any:
        """Have whoever leads do something, and again until the answer is one of the engine's."""

    async def live(self, work: Work) -> Any:
        """Have whoever leads do something for as long as it takes; None if it was killed."""


class Cast(Protocol):
    """A saga to be played, and its tools."""

    @property
    def saga_id(self) -> str:
        """What it is called."""

    @property
    def catalogue(self) -> Mapping[str, ToolFacts]:
        """What its tools declare."""

    def outputs(self, scripts: Scripts, program: Callable[[], Program | None]) -> Outputs:
        """Return what its tools return."""

    async def begin(self, stage: Stage) -> Exception | None:
        """Begin it, and return what was raised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCast:
    """A plan, which is submitted as a whole."""

    scene: Scene
    inputs: Mapping[str, Any] | None

    @property
    def saga_id(self) -> str:
        """See ``Cast``."""
        return self.scene.saga_id

    @property
    def catalogue(self) -> Mapping[str, ToolFacts]:
        """See ``Cast``."""
        return self.scene.catalogue

    def outputs(self, scripts: Scripts, program: Callable[[], Program | None]) -> Outputs:
        """See ``Cast``."""
        return _PlanOutputs(self.scene, scripts)

    async def begin(self, stage: Stage) -> Exception | None:
        """See ``Cast``."""

        async def submit(engine: Engine) -> Any:
            return await engine.submit(self.scene.sketch.plan, inputs=self.inputs)

        found = await stage.ask(submit)
        return found if isinstance(found, FsmSagaError) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCast:
    """An agent, which is begun again in the process that takes over from one that was killed."""

    saga_id: str
    function: AgentFunction
    catalogue: Mapping[str, ToolFacts] = field(default_factory=dict)

    def outputs(self, scripts: Scripts, program: Callable[[], Program | None]) -> Outputs:
        """See ``Cast``."""
        return _AgentOutputs(self.catalogue, scripts, program)

    async def begin(self, stage: Stage) -> Exception | None:
        """See ``Cast``."""
        while True:
            found = await stage.live(self._live)
            if found is not None:
                return found.raised  # type: ignore[no-any-return]  # of what _live returned
            await asyncio.sleep(0)

    async def _live(self, engine: Engine) -> _Ended:
        try:
            async with engine.saga(self.saga_id) as saga:
                await self.function(saga)
        except Exception as error:  # noqa: BLE001  # boundary: the agent is the user's
            return _Ended(error)
        return _Ended(None)


@dataclass(frozen=True, slots=True)
class _Ended:
    raised: Exception | None


class _PlanOutputs(PlanOutputs):
    """What a test says that tools return, and an example where it says nothing."""

    def __init__(self, scene: Scene, scripts: Scripts) -> None:
        super().__init__(scene.sketch.plan, scene.catalogue)
        self._plan = scene.sketch.plan
        self._scripts = scripts

    def whole(self, saga_id: str, step: int) -> Any:
        """Return what the action of a step returns."""
        if step < len(self._plan.steps):
            spec = self._plan.steps[step]
            has_output, output = self._scripts.output(spec.tool, str(spec.step_id))
            if has_output:
                return output
        return super().whole(saga_id, step)


class _AgentOutputs(Outputs):
    """The same for steps that are known only once they are there."""

    def __init__(
        self,
        catalogue: Mapping[str, ToolFacts],
        scripts: Scripts,
        program: Callable[[], Program | None],
    ) -> None:
        self._catalogue = catalogue
        self._scripts = scripts
        self._program = program

    def whole(self, saga_id: str, step: int) -> Any:
        """Return what the action of a step returns."""
        program = self._program()
        if program is None or step >= len(program.steps):
            return {}
        spec = program.steps[step]
        has_output, output = self._scripts.output(spec.action.tool, str(spec.step_id))
        if has_output:
            return output
        facts = self._catalogue.get(spec.action.tool)
        schema = None if facts is None else facts.output_schema
        return {} if schema is None else example(schema, name=f"output-{spec.step_id}")

    def poor(self, saga_id: str, step: int) -> Any:
        """Return the same: nothing refers to an agent's outputs."""
        return self.whole(saga_id, step)

    def read(self, saga_id: str, step: int) -> Any:
        """Return what a step that only reads returns."""
        return self.whole(saga_id, step)
