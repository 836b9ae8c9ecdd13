"""Steps that a program cannot tell apart: a search that has seen one order has seen them all."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

from fsm_saga.core.program import CallSpec, Program, StepSpec

STEPS_MAX = 6
"""Up to so many steps mirror images are sought among all orders, above only among twins."""

Order = tuple[int, ...]
"""Step ``order[i]`` becomes step ``i``."""


def mirrors(program: Program) -> tuple[list[tuple[int, ...]], list[Order]]:
    """Return the twins of a program, or, if it has other mirror images, their orders.

    Twins are steps that may change places freely: nothing but their names tells them apart.
    """
    alike: dict[Any, list[int]] = {}
    for spec in program.steps:
        likeness = _likeness(program, spec)
        if likeness is not None:
            alike.setdefault((likeness, spec.needs, spec.followers), []).append(spec.index)
    twins = [tuple(group) for group in alike.values() if len(group) > 1]
    if len(program.steps) > STEPS_MAX:
        return twins, []
    orders = list(_orders(program))
    by_twins = math.prod(math.factorial(len(group)) for group in twins)
    return (twins, []) if len(orders) + 1 == by_twins else ([], orders)


def _orders(program: Program) -> Iterator[Order]:
    """Yield each order but the plain one that maps the program onto itself."""
    size = range(len(program.steps))
    likeness = [_likeness(program, spec) for spec in program.steps]
    needs = [spec.needs for spec in program.steps]
    for order in itertools.permutations(size):
        moved = [index for index in size if order[index] != index]
        if not moved or any(likeness[index] is None for index in moved):
            continue
        if any(likeness[index] != likeness[order[index]] for index in moved):
            continue
        place = {old: new for new, old in enumerate(order)}
        if all(
            needs[index] == sum(1 << place[old] for old in size if needs[order[index]] >> old & 1)
            for index in size
        ):
            yield order


def _likeness(program: Program, spec: StepSpec) -> tuple[Any, ...] | None:
    """Return what two steps share that behave alike, or None if a step is like no other."""
    if any(spec.index in step.action.params.steps for step in program.steps):
        return None
    calls = [call for call in (spec.action, spec.undo, spec.check) if call is not None]
    if any(call.params.steps - {spec.index} for call in calls):
        return None
    return (
        spec.kind,
        tuple(_call_likeness(call) for call in (spec.action, spec.undo, spec.check)),
        spec.semantic is None,
        spec.is_effectful,
        spec.is_irrevocable,
        spec.approval_expires_s is None,
        spec.deadline_s,
        spec.exit,
        spec.output_is_used,
    )


def _call_likeness(call: CallSpec | None) -> tuple[Any, ...] | None:
    if call is None:
        return None
    # Where a call refers to its own step's output, only the path into it counts.
    own = tuple(reference.path for reference in call.params.references if reference.step >= 0)
    plain = None if own else repr(call.params.value)
    return (call.tool, plain, own, call.params.inputs, call.retry, call.contract)
