"""The two workloads, and what becomes of them when nothing but ``decide`` runs.

W1 is three sequential steps that succeed. In W2 the third is refused, so that two undos run. The
tools do nothing: what is measured is the way between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from fsm_saga.coordinator.driver import head_of
from fsm_saga.core import events as e
from fsm_saga.core.decide import Decision, decide
from fsm_saga.core.effects import CallTool
from fsm_saga.core.saga import Saga
from fsm_saga.plan.model import Plan
from fsm_saga.ports import Append
from fsm_saga.service.preparing import Preparer
from fsm_saga.tools.python import tool
from fsm_saga.tools.registry import Registry

WORKLOADS = {"w1": "DONE", "w2": "FAILED"}
"""The workloads by name, with the state in which each of their sagas ends."""


@tool
async def make(name: str) -> dict[str, str]:
    """Make a thing."""
    return {"id": name}


@tool
async def unmake(id: str) -> None:  # the name of what ``make`` returns
    """Take a thing away."""


@tool
async def refuse(name: str) -> dict[str, str]:
    """Refuse to make a thing."""
    raise ValueError(f"{name} is refused")


TOOLS = (make, unmake, refuse)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A saga, what happens to it, and what follows from that."""

    saga: Saga
    event: e.Event
    decision: Decision


def workload_plan(workload: str) -> Plan:
    """Return the plan of W1 or W2."""
    tools = ["make", "make", "refuse" if workload == "w2" else "make"]
    return Plan.of(plan_body(workload, tools))


def plan_body(task_id: str, tools: list[str]) -> dict[str, Any]:
    """Return a sequential plan in which each step uses the output of the one before it."""
    steps = [
        {
            "step_id": number,
            "tool": name,
            "params": {"name": f"$output.step_{number - 1}.id" if number > 1 else "first"},
            "rollback": {"tool": "unmake", "params": {"id": f"$output.step_{number}.id"}},
        }
        for number, name in enumerate(tools, start=1)
    ]
    return {"task_id": task_id, "steps": steps}


def workload_preparer() -> Preparer:
    """Return what checks and compiles plans for the tools of the workloads."""
    return Preparer(Registry(TOOLS).catalogue, None)


def moments_of(plan: Plan) -> list[Moment]:
    """Return the life of a saga of this plan, from its submission to its end."""
    prepared = workload_preparer().prepare(plan)
    saga = Saga(plan.task_id, prepared.program)
    event: e.Event | None = e.Submitted(at=0.0, plan=prepared.body, tools=prepared.declared)
    moments: list[Moment] = []
    while event is not None:
        decision = decide(saga, event)
        moments.append(Moment(saga=saga, event=event, decision=decision))
        saga = decision.saga
        calls = [effect for effect in decision.effects if isinstance(effect, CallTool)]
        event = _reply(calls[0], at=float(len(moments))) if calls else None
    return moments


def _reply(call: CallTool, *, at: float) -> e.Event:
    if call.tool == "refuse":
        return e.CallRejected(
            at=at,
            step=call.step,
            direction=call.direction,
            req_id=call.req_id,
            error="ValueError: it is refused",
            jitter=0.0,
        )
    output = {"id": call.params.get("name")} if call.tool == "make" else None
    return e.CallSucceeded(
        at=at, step=call.step, direction=call.direction, req_id=call.req_id, output=output
    )


def appends_of(moments: list[Moment], saga_id: str) -> list[Append]:
    """Return the appends of that life as those of another saga, records of the same size."""
    appends: list[Append] = []
    for moment in moments:
        head = head_of(replace(moment.decision.saga, saga_id=saga_id))
        appends.append(
            Append(
                saga_id=saga_id,
                position=moment.saga.position,
                records=moment.decision.records,
                head=head,
            )
        )
    return appends
