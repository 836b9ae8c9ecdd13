"""The program: a checked plan, frozen, with every choice that the engine will need.

A program is compiled from a plan and from what the tools declared on that day. Both are in the
journal, so that the same program is compiled again wherever the saga is read. Steps are known
by their index; nothing that a planner wrote becomes a state, an event or a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from fsm_saga.core.contract import ToolContract
from fsm_saga.core.references import Template
from fsm_saga.core.states import DoubtExit, StepEvent, StepKind, StepStatus
from fsm_saga.core.table import Table


class Shape(NamedTuple):
    """What two plans must share to have the same saga machine.

    Attributes:
        step_count: N, the number of steps.
        width: The largest number of steps that can be in flight together.
        read_only_count: Steps that never count as an effect.
        is_open: Steps may still be appended, so the machine has EXECUTING(N+1).
    """

    step_count: int
    width: int
    read_only_count: int
    is_open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRule:
    """How often and how patiently a call is repeated under its one ``req_id``.

    ``attempt_max`` bounds a call that is refused, ``doubt_attempt_max`` one whose outcome is
    unknown. Waits start at ``delay_s`` and double up to ``delay_s_max``.
    """

    attempt_max: int
    doubt_attempt_max: int
    delay_s: float
    delay_s_max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSpec:
    """One tool call as compiled: which tool, with what, for how long, how often."""

    tool: str
    params: Template
    timeout_s: float
    retry: RetryRule
    contract: ToolContract


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """One step as compiled.

    Attributes:
        index: Position in the plan, from 0.
        step_id: The planner's name for it, as written (a number or a text).
        needs: Bitmask of the steps that must have succeeded first.
        followers: Indexes of the steps that need this one.
        descendants: Bitmask of all steps that come after it, at any distance.
        is_effectful: False for a read-only step, which is never undone.
        is_irrevocable: It has an effect and no way back: once done, only forward is left.
        undo: The call that undoes it, or None.
        undo_needs_output: The undo's params refer to the step's own output.
        semantic: The planner's words for a making-good that is decided late, or None.
        approval_expires_s: How long a person has to approve; None where none is asked.
        exit: How a doubtful call of this step is settled.
        undoes: For a step that takes back another saga's effect: the req_id of that effect.
        output_is_used: Some later step, or the undo, refers to its output.
    """

    index: int
    step_id: int | str
    name: str
    kind: StepKind
    action: CallSpec
    undo: CallSpec | None
    undo_needs_output: bool
    semantic: str | None
    needs: int
    followers: tuple[int, ...]
    descendants: int
    is_effectful: bool
    is_irrevocable: bool
    approval_expires_s: float | None
    deadline_s: float | None
    exit: DoubtExit
    check: CallSpec | None
    undoes: str | None
    output_is_used: bool


StepTable = Mapping[tuple[StepStatus, StepEvent], StepStatus]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Program:
    """A plan that was checked and compiled; immutable, shared by all sagas of the same plan.

    ``irrevocable`` and ``effectful`` are bitmasks over step indexes. ``undo_order`` lists the
    steps so that each comes after everything that depends on it.
    """

    plan_hash: str
    goal: str | None
    steps: tuple[StepSpec, ...]
    inputs: Mapping[str, Any]
    deadline_s: float | None
    is_open: bool
    shape: Shape
    table: Table
    step_table: StepTable
    irrevocable: int
    effectful: int
    undo_order: tuple[int, ...]
    clock_skew_s: float

    def step_named(self, step_id: int | str) -> StepSpec | None:
        """Return the step that the planner called ``step_id``, or None."""
        wanted = str(step_id)
        for step in self.steps:
            if str(step.step_id) == wanted:
                return step
        return None
