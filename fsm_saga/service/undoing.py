"""The way back of a saga that is DONE: a plan of its undo calls, in reverse, as a new saga."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fsm_saga.core.backward import UNDO_RETRY
from fsm_saga.core.forward import finds_memory
from fsm_saga.core.program import Program, StepSpec
from fsm_saga.core.saga import Saga, StepState
from fsm_saga.core.states import Phase
from fsm_saga.errors import CommandError
from fsm_saga.plan.fields import TASK_ID_CHARS_MAX
from fsm_saga.plan.model import Plan

# As patient as an undo on the way back is.
_RETRY = {
    "attempts": UNDO_RETRY.attempt_max,
    "delay_s": UNDO_RETRY.delay_s,
    "delay_s_max": UNDO_RETRY.delay_s_max,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoStep:
    """One effect of a finished saga. ``obstacle`` says why it cannot be undone, or is empty."""

    index: int
    step_id: int | str
    name: str
    tool: str | None
    params: Mapping[str, Any]
    req_id: str
    obstacle: str

    def as_json(self) -> dict[str, Any]:
        """Return what ``undo --dry-run --json`` prints of it."""
        return {
            "step_id": self.step_id,
            "name": self.name,
            "tool": self.tool,
            "params": self.params,
            "undoes": self.req_id,
            "can_be_undone": not self.obstacle,
            "obstacle": self.obstacle,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoPlan:
    """What can be undone of a finished saga, latest effects first."""

    saga_id: str
    steps: tuple[UndoStep, ...]
    followers: Mapping[int, tuple[int, ...]]

    @property
    def possible(self) -> tuple[UndoStep, ...]:
        """The steps whose undo is known and not too late."""
        return tuple(step for step in self.steps if not step.obstacle)

    def check_possible(self, *, is_partial: bool) -> None:
        """Return if the undo may start.

        Raises:
            CommandError: If nothing can be undone, or not everything and that is not wanted.
        """
        stuck = [step for step in self.steps if step.obstacle]
        if stuck and not is_partial:
            named = "; ".join(f"step {str(s.step_id)!r}: {s.obstacle}" for s in stuck)
            raise CommandError(
                f"Saga {self.saga_id!r} cannot be undone as a whole: {named}. Nothing was "
                "changed; ask for a partial undo to take back the rest."
            )
        if not self.possible:
            raise CommandError(
                f"Saga {self.saga_id!r} left nothing that could be undone. Nothing was changed."
            )

    def plan(self, task_id: str) -> Plan:
        """Return the plan of the undo saga; its steps have the ids of those they undo.

        The params are inputs of the plan, so that no text in them is taken for a reference.
        """
        steps = []
        inputs: dict[str, Any] = {}
        wanted = {step.index for step in self.possible}
        names = {step.index: step.step_id for step in self.steps}
        for step in self.possible:
            params = {}
            for number, (name, value) in enumerate(step.params.items()):
                key = f"undo_{step.index}_{number}"
                inputs[key] = value
                params[name] = f"$input.{key}"
            after = [names[i] for i in self.followers[step.index] if i in wanted]
            steps.append(
                {
                    "step_id": step.step_id,
                    "name": f"undo {step.name}",
                    "tool": step.tool,
                    "params": params,
                    "depends_on": after,
                    "kind": "retriable",
                    "retry": _RETRY,
                }
            )
        return Plan.of(
            {
                "task_id": task_id,
                "goal": f"Take back {self.saga_id}.",
                "inputs": inputs,
                "steps": steps,
            }
        )

    @property
    def undoes(self) -> dict[str, str]:
        """The req_id that each step of ``plan`` undoes, by its index there."""
        return {str(at): step.req_id for at, step in enumerate(self.possible)}


def undo_id(saga_id: str, *, number: int = 1) -> str:
    """Return the task_id of the ``number``th saga that takes this one back, always the same.

    A name that is too long for it is cut, and a digest of the whole keeps it apart from others.
    """
    ending = ".undo" if number == 1 else f".undo{number}"
    if len(saga_id) + len(ending) <= TASK_ID_CHARS_MAX:
        return saga_id + ending
    ending = f"-{hashlib.sha256(saga_id.encode()).hexdigest()[:16]}{ending}"
    return saga_id[: TASK_ID_CHARS_MAX - len(ending)] + ending


def undo_plan(saga: Saga, *, now: float) -> UndoPlan:
    """Return what of a finished saga can be undone.

    Raises:
        CommandError: If the saga is not DONE.
    """
    if saga.state.phase is not Phase.DONE:
        hint = {
            Phase.FAILED: "it has left nothing to undo",
            Phase.NEEDS_HUMAN: "answer what it asks first",
        }.get(saga.state.phase, "cancel it instead")
        raise CommandError(
            f"Saga {saga.saga_id!r} is {saga.state}, and only a saga that is DONE is undone: "
            f"{hint}. Nothing was changed."
        )
    found = []
    for index in saga.program.undo_order:
        spec, step = saga.program.steps[index], saga.steps[index]
        if spec.is_effectful:
            found.append(
                UndoStep(
                    index=index,
                    step_id=spec.step_id,
                    name=spec.name,
                    tool=None if spec.undo is None else spec.undo.tool,
                    params=step.undo_params or {},
                    req_id=step.req_id or "",
                    obstacle=_obstacle(saga.program, spec, step, now),
                )
            )
    effectful = {step.index for step in found}
    followers = {
        index: tuple(
            other for other in effectful if saga.program.steps[index].descendants >> other & 1
        )
        for index in effectful
    }
    return UndoPlan(saga_id=saga.saga_id, steps=tuple(found), followers=followers)


def _obstacle(program: Program, spec: StepSpec, step: StepState, now: float) -> str:
    if spec.undoes is not None:
        return "it is itself an undo"
    if spec.semantic is not None:
        return "making good for it has to be decided by a person"
    if spec.undo is None:
        return "it has no rollback"
    if step.undo_params is None:
        return step.undo_error or "the rollback's parameters are not known"
    contract = spec.action.contract
    if not finds_memory(program, spec.undo, contract, step.started_at, now):
        return "the tool no longer remembers the call"
    return ""
