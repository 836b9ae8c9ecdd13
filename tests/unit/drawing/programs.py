"""Programs and sagas made by hand, so that a picture's test says all that is in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fsm_saga.core.contract import ToolContract
from fsm_saga.core.program import CallSpec, Program, RetryRule, Shape, StepSpec
from fsm_saga.core.references import Template
from fsm_saga.core.saga import Saga, StepState
from fsm_saga.core.states import PENDING, DoubtExit, SagaState, StepKind, StepStatus
from fsm_saga.machine.flatten import saga_table, step_table

RETRY = RetryRule(attempt_max=3, doubt_attempt_max=3, delay_s=1.0, delay_s_max=60.0)


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a test says of a step; ``needs`` are positions, None is the step before."""

    name: str
    tool: str = ""
    step_id: int | str | None = None
    undo: str | None = "-"
    semantic: str | None = None
    needs: Sequence[int] | None = None
    kind: StepKind = StepKind.COMPENSATABLE
    approval: bool = False
    exit: DoubtExit = DoubtExit.RESEND


def make_program(
    steps: Sequence[Step], *, goal: str | None = "Trip to Beijing", is_open: bool = False
) -> Program:
    """Return the program of these steps; an undo of "-" becomes ``cancel_<tool>``."""
    needs = [
        sum(1 << need for need in (step.needs if step.needs is not None else range(i)[-1:]))
        for i, step in enumerate(steps)
    ]
    descendants = [0] * len(steps)
    for later in range(len(steps) - 1, -1, -1):
        for earlier in range(later):
            if needs[later] >> earlier & 1:
                descendants[earlier] |= descendants[later] | 1 << later
    for _ in steps:
        for earlier in range(len(steps)):
            for later in range(len(steps)):
                if descendants[earlier] >> later & 1:
                    descendants[earlier] |= descendants[later]
    specs = tuple(
        _spec(i, step, needs=needs[i], descendants=descendants[i], all_needs=needs)
        for i, step in enumerate(steps)
    )
    read_only = sum(not spec.is_effectful for spec in specs)
    shape = Shape(len(specs), _width(needs), read_only, is_open)
    return Program(
        plan_hash="0" * 64,
        goal=goal,
        steps=specs,
        inputs={},
        deadline_s=None,
        is_open=is_open,
        shape=shape,
        table=saga_table(shape),
        step_table=step_table(),
        irrevocable=sum(1 << spec.index for spec in specs if spec.is_irrevocable),
        effectful=sum(1 << spec.index for spec in specs if spec.is_effectful),
        undo_order=tuple(reversed(range(len(specs)))),
        clock_skew_s=5.0,
    )


def _width(needs: Sequence[int]) -> int:
    levels: dict[int, int] = {}
    for i, mask in enumerate(needs):
        levels[i] = max((levels[n] + 1 for n in range(i) if mask >> n & 1), default=0)
    counts = list(levels.values())
    return max(counts.count(level) for level in counts) if counts else 0


def _spec(
    index: int, step: Step, *, needs: int, descendants: int, all_needs: Sequence[int]
) -> StepSpec:
    tool = step.tool or step.name.lower().replace(" ", "_")
    is_effectful = step.kind is not StepKind.READ_ONLY
    is_pivot = step.kind is StepKind.PIVOT
    undo = f"cancel_{tool}" if step.undo == "-" else step.undo
    if not is_effectful or is_pivot or step.semantic is not None:
        undo = None
    return StepSpec(
        index=index,
        step_id=step.step_id if step.step_id is not None else index + 1,
        name=step.name,
        kind=step.kind,
        action=_call(tool),
        undo=_call(undo) if undo is not None else None,
        undo_needs_output=False,
        semantic=step.semantic,
        needs=needs,
        followers=tuple(i for i, mask in enumerate(all_needs) if mask >> index & 1),
        descendants=descendants,
        is_effectful=is_effectful,
        is_irrevocable=is_effectful and undo is None and step.semantic is None,
        approval_expires_s=3600.0 if step.approval else None,
        deadline_s=None,
        exit=step.exit if is_effectful else DoubtExit.NO_EFFECT,
        check=None,
        undoes=None,
        output_is_used=False,
    )


def _call(tool: str) -> CallSpec:
    return CallSpec(
        tool=tool,
        params=Template.compile({}, {}),
        timeout_s=30.0,
        retry=RETRY,
        contract=ToolContract(),
    )


def make_saga(
    program: Program,
    statuses: Sequence[StepStatus | StepState],
    *,
    state: SagaState = PENDING,
    **facts: Any,
) -> Saga:
    """Return a saga whose steps stand as said; steps not mentioned are waiting."""
    steps = [s if isinstance(s, StepState) else StepState(status=s) for s in statuses]
    steps += [StepState()] * (len(program.steps) - len(steps))
    known: Mapping[str, Any] = {"saga_id": "trip-7"} | facts
    return Saga(program=program, state=state, steps=tuple(steps), **known)
