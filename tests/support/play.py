"""A saga played by hand: each event is given to ``decide``, nothing else moves.

After every decision the journal is folded again and has to give the very same saga (INV-6), so a
rule of the fold that disagrees with a decision shows up in whatever test meets it first.
"""

from __future__ import annotations

from typing import Any

import orjson
from msgspec import convert
from msgspec.structs import asdict, replace

from fsm_saga.coordinator.reading import read_saga
from fsm_saga.core import events as e
from fsm_saga.core.decide import decide
from fsm_saga.core.effects import CallTool, WakeAt
from fsm_saga.core.program import StepSpec
from fsm_saga.core.records import Record
from fsm_saga.core.saga import Saga, StepState
from fsm_saga.core.states import Direction
from fsm_saga.core.work import Decision
from fsm_saga.machine.compile import compile_plan, declare
from fsm_saga.plan.model import Plan
from fsm_saga.stores.codec import CODEC
from tests.support.plans import catalogue_of, plan_of, steps_of

DO, UNDO, CHECK = Direction.DO, Direction.UNDO, Direction.CHECK


class Play:
    """One saga of the plan in ``text``; steps are named as the plan names them.

    Attributes:
        saga: As it stands.
        journal: All records so far.
        calls: Every call that was ordered, in order.
        wakes: Every time at which it wants to be woken.
        last: The latest decision.
    """

    def __init__(
        self,
        text: str,
        tools: str = "",
        *,
        is_open: bool = False,
        undoes: dict[str, str] | None = None,
        saga_id: str = "s",
    ) -> None:
        self.at = 0.0
        self.journal: list[Record] = []
        self.calls: list[CallTool] = []
        self.wakes: list[float] = []
        self._tools = tools
        self._undoes = undoes
        plan = plan_of(saga_id, text)
        declared = declare(plan, catalogue_of(tools, [plan]))
        program = compile_plan(plan, declared, is_open=is_open, undoes=undoes)
        self.saga = Saga(saga_id, program)
        self.plan = plan
        self.last = self.give(
            e.Submitted(at=self.at, plan=_body(plan), tools=declared, undoes=undoes)
        )

    # --- what happens ----------------------------------------------------------------------------

    def give(self, event: e.Event) -> Decision:
        """Decide the event; hold the decision against the fold; keep what follows."""
        decision = decide(self.saga, event)
        _check_types(decision, event)
        self.journal += decision.records
        if decision.records:
            folded = read_saga(self.journal)[0]
            # Programs are compared by identity, and the fold has compiled its own.
            assert replace(folded, program=decision.saga.program) == decision.saga
        assert decision.saga.position == len(self.journal)
        self.saga = decision.saga
        self.calls += [effect for effect in decision.effects if isinstance(effect, CallTool)]
        self.wakes += [effect.at for effect in decision.effects if isinstance(effect, WakeAt)]
        self.last = decision
        return decision

    def ok(self, step_id: int | str, output: Any = None, direction: Direction = DO) -> Decision:
        if output is None and direction is DO:
            output = {"id": f"out-{step_id}"}
        return self.give(e.CallSucceeded(**self._reply(step_id, direction), output=output))

    def bad(
        self, step_id: int | str, error: str = "garbage", direction: Direction = DO
    ) -> Decision:
        return self.give(e.CallSucceededBadly(**self._reply(step_id, direction), error=error))

    def rejected(
        self,
        step_id: int | str,
        error: str = "no",
        direction: Direction = DO,
        *,
        jitter: float = 0.0,
    ) -> Decision:
        reply = self._reply(step_id, direction)
        return self.give(e.CallRejected(**reply, error=error, jitter=jitter))

    def unknown(
        self,
        step_id: int | str,
        error: str = "lost",
        direction: Direction = DO,
        *,
        jitter: float = 0.0,
    ) -> Decision:
        reply = self._reply(step_id, direction)
        return self.give(e.CallUnknown(**reply, error=error, jitter=jitter))

    def tick(self, at: float | None = None) -> Decision:
        """Let time pass: to ``at``, or to the latest time at which the saga wants to be woken."""
        self.at = self.wakes[-1] if at is None else at
        return self.give(e.TimePassed(at=self.at))

    def resume(self) -> Decision:
        """Let the coordinator crash and another one take over."""
        return self.give(e.Resumed(at=self.at))

    def cancel(self) -> Decision:
        return self.give(e.CancelAsked(at=self.at, by="ann"))

    def approve(self, step_id: int | str, *, digest: str | None = None) -> Decision:
        return self._approval(step_id, is_granted=True, digest=digest)

    def deny(self, step_id: int | str) -> Decision:
        return self._approval(step_id, is_granted=False)

    def _approval(
        self, step_id: int | str, *, is_granted: bool, digest: str | None = None
    ) -> Decision:
        index = self.spec(step_id).index
        return self.give(
            e.ApprovalAnswered(
                at=self.at, step=index, is_granted=is_granted, by="ann", digest=digest
            )
        )

    def retry(self, step_id: int | str, position: int | None = None) -> Decision:
        return self.give(e.RetryAsked(**self._answer(step_id), position=position))

    def settle(self, step_id: int | str) -> Decision:
        return self.give(e.SettledByHuman(**self._answer(step_id)))

    def supply(self, step_id: int | str, output: Any) -> Decision:
        return self.give(e.OutputSupplied(**self._answer(step_id), output=output))

    def offer(
        self, step_id: int | str, *names: str, contracts: dict[str, Any] | None = None
    ) -> Decision:
        calls = tuple({"tool": name, "params": {"for": str(step_id)}} for name in names)
        tools = {"contracts": contracts or {}}
        return self.give(e.CallsOffered(**self._answer(step_id), calls=calls, tools=tools))

    def grow(self, text: str, *, is_open: bool | None = None) -> Decision:
        """Append the steps in ``text`` to the plan."""
        plan = Plan.of({**_body(self.plan), "steps": [*_body(self.plan)["steps"], *_steps(text)]})
        declared = declare(plan, catalogue_of(self._tools, [plan]))
        is_open = self.saga.program.is_open if is_open is None else is_open
        program = compile_plan(plan, declared, is_open=is_open, undoes=self._undoes)
        self.plan = plan
        return self.give(e.PlanGrown(at=self.at, program=program, plan=_body(plan), tools=declared))

    def close(self) -> Decision:
        declared = declare(self.plan, catalogue_of(self._tools, [self.plan]))
        program = compile_plan(self.plan, declared, is_open=False, undoes=self._undoes)
        return self.give(e.PlanCloseAsked(at=self.at, program=program))

    # --- what it looks like ----------------------------------------------------------------------

    @property
    def state(self) -> str:
        return str(self.saga.state)

    @property
    def statuses(self) -> str:
        """The steps' statuses in the plan's order, as one text."""
        return " ".join(step.status for step in self.saga.steps)

    def spec(self, step_id: int | str) -> StepSpec:
        found = self.saga.program.step_named(step_id)
        assert found is not None
        return found

    def step(self, step_id: int | str) -> StepState:
        return self.saga.steps[self.spec(step_id).index]

    def call(self, step_id: int | str, direction: Direction = DO) -> CallTool:
        """Return the latest call that was ordered for the step in this direction."""
        index = self.spec(step_id).index
        found = [call for call in self.calls if (call.step, call.direction) == (index, direction)]
        assert found, f"no {direction} of step {step_id!r} was ordered"
        return found[-1]

    @property
    def ordered(self) -> list[str]:
        """The tools of the calls that the latest decision ordered."""
        return [effect.tool for effect in self.last.effects if isinstance(effect, CallTool)]

    @property
    def written(self) -> list[str]:
        """The types of the records that the latest decision wrote."""
        return [type(record).__name__ for record in self.last.records]

    def _reply(self, step_id: int | str, direction: Direction) -> dict[str, Any]:
        call = self.call(step_id, direction)
        return {
            "at": self.at,
            "step": call.step,
            "direction": direction,
            "req_id": call.req_id,
        }

    def _answer(self, step_id: int | str) -> dict[str, Any]:
        return {"at": self.at, "step": self.spec(step_id).index, "by": "ann", "note": "seen"}


def _check_types(decision: Decision, event: e.Event) -> None:
    """Whatever is written comes back from a store as it was, and says when it was decided."""
    for record in decision.records:
        assert record.at == event.at
        (read,) = CODEC.decode(CODEC.encode((record,)))
        assert read == record
    for effect in decision.effects:
        assert convert(asdict(effect), type(effect)) == effect


def _body(plan: Plan) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(plan.canonical_json())
    return body


def _steps(text: str) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = steps_of(text)["steps"]
    return steps
