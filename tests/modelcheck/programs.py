"""Programs for the model check: every shape of order, every mix of kinds and promises."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fsm_saga.core.contract import ToolContract
from fsm_saga.core.program import CallSpec, Program, RetryRule, Shape, StepSpec
from fsm_saga.core.references import Template
from fsm_saga.core.states import DoubtExit, StepKind
from fsm_saga.machine.compile import choose_exit
from fsm_saga.machine.flatten import saga_table, step_table
from fsm_saga.plan.graph import graph_of

ONCE = RetryRule(attempt_max=1, doubt_attempt_max=2, delay_s=1.0, delay_s_max=1.0)
TWICE = RetryRule(attempt_max=2, doubt_attempt_max=2, delay_s=1.0, delay_s_max=1.0)
NEVER = RetryRule(attempt_max=1, doubt_attempt_max=1, delay_s=1.0, delay_s_max=1.0)
PLAIN = ToolContract()
READING = ToolContract(read_only=True)

Needs = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a test says of a step; everything else is as the compiler would have it."""

    kind: StepKind = StepKind.COMPENSATABLE
    contract: ToolContract = PLAIN
    undo_contract: ToolContract = PLAIN
    has_undo: bool = True
    undo_needs_output: bool = False
    semantic: str | None = None
    approval: bool = False
    deadline_s: float | None = None
    retry: RetryRule = ONCE
    undo_retry: RetryRule = TWICE
    params: Mapping[str, Any] = field(default_factory=dict)
    output_is_used: bool = False


COMPENSATABLE = Step()
READ_ONLY = Step(kind=StepKind.READ_ONLY, contract=READING, has_undo=False)
PIVOT = Step(kind=StepKind.PIVOT, has_undo=False)
RETRIABLE = Step(kind=StepKind.RETRIABLE, has_undo=False, retry=TWICE)
SEMANTIC = Step(has_undo=False, semantic="the mail was read; apologise")
FENCED = Step(contract=ToolContract(fenced_compensation=True))
CHECKED = Step(contract=ToolContract(check="look"))
FENCING_CHECK = Step(contract=ToolContract(check="look", check_fences=True))
TIMED = Step(contract=ToolContract(deadline=True), deadline_s=60.0)
APPROVED = Step(approval=True)


def make_program(
    steps: Sequence[Step],
    needs: Needs | None = None,
    *,
    deadline_s: float | None = None,
    is_open: bool = False,
) -> Program:
    """Return the program of these steps; without ``needs`` each follows the one before."""
    if needs is None:
        needs = tuple((index - 1,) if index else () for index in range(len(steps)))
    graph = graph_of(needs)
    specs = tuple(_spec(index, step, needs, graph.descendants) for index, step in enumerate(steps))
    read_only = sum(not spec.is_effectful for spec in specs)
    shape = Shape(len(specs), graph.width, read_only, is_open)
    return Program(
        plan_hash="0" * 64,
        goal=None,
        steps=specs,
        inputs={},
        deadline_s=deadline_s,
        is_open=is_open,
        shape=shape,
        table=saga_table(shape),
        step_table=step_table(),
        irrevocable=sum(1 << spec.index for spec in specs if spec.is_irrevocable),
        effectful=sum(1 << spec.index for spec in specs if spec.is_effectful),
        undo_order=tuple(reversed(graph.order)),
        clock_skew_s=5.0,
    )


def _spec(index: int, step: Step, needs: Needs, descendants: tuple[int, ...]) -> StepSpec:
    names = {str(number): number for number in range(len(needs))}
    is_effectful = step.kind is not StepKind.READ_ONLY
    undo = None
    if step.has_undo:
        params = {"id": f"$output.step_{index}.id"} if step.undo_needs_output else {}
        undo = CallSpec(
            tool="undo",
            params=Template.compile(params, names),
            timeout_s=30.0,
            retry=step.undo_retry,
            contract=step.undo_contract,
        )
    check = None
    if step.contract.check is not None:
        check = CallSpec(
            tool=step.contract.check,
            params=Template.compile({}, {}),
            timeout_s=30.0,
            retry=TWICE,
            contract=READING,
        )
    exit_ = choose_exit(
        step.contract,
        is_effectful=is_effectful,
        can_undo_blind=undo is not None and not step.undo_needs_output,
    )
    return StepSpec(
        index=index,
        step_id=index,
        name="do",
        kind=step.kind,
        action=CallSpec(
            tool="do",
            params=Template.compile(dict(step.params), names),
            timeout_s=30.0,
            retry=step.retry,
            contract=step.contract,
        ),
        undo=undo,
        undo_needs_output=step.undo_needs_output,
        semantic=step.semantic,
        needs=sum(1 << need for need in needs[index]),
        followers=tuple(later for later, each in enumerate(needs) if index in each),
        descendants=descendants[index],
        is_effectful=is_effectful,
        is_irrevocable=is_effectful and undo is None and step.semantic is None,
        approval_expires_s=3600.0 if step.approval else None,
        deadline_s=step.deadline_s,
        exit=exit_ if is_effectful else DoubtExit.NO_EFFECT,
        check=check,
        undoes=None,
        output_is_used=step.output_is_used,
    )


def dag_shapes(size: int) -> Iterator[Needs]:
    """Yield one order of each kind of directed graph without circles on so many steps."""
    pairs = [(a, b) for b in range(size) for a in range(b)]
    seen: set[Needs] = set()
    for chosen in itertools.product((False, True), repeat=len(pairs)):
        edges = [pair for pair, is_there in zip(pairs, chosen, strict=True) if is_there]
        likeness = min(
            tuple(
                tuple(sorted(order[a] for a, b in edges if order[b] == step))
                for step in range(size)
            )
            for order in itertools.permutations(range(size))
        )
        if likeness not in seen:
            seen.add(likeness)
            yield tuple(tuple(a for a, b in edges if b == step) for step in range(size))
