"""Steps that a program cannot tell apart: a search that has seen one order has seen them all.

The engine carries values and tool names about without looking at them. So before anything is
compared they are taken out (``anonymous``): what is left of a call's params are its references.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any

from fsm_saga.core.program import CallSpec, Program, StepSpec
from fsm_saga.core.references import Template

STEPS_MAX = 6
"""Up to so many steps mirror images are sought among all orders, above only among twins."""

Order = tuple[int, ...]
"""Step ``order[i]`` becomes step ``i``."""

Use = tuple[str, int, tuple[str, ...]]
"""A call of a step, the step whose output it uses (-1 for an input), and the path into it."""


def anonymous(program: Program) -> Program:
    """Return the program without tool names and without values, references excepted."""
    names = {str(spec.index): spec.index for spec in program.steps}
    steps = tuple(
        dataclasses.replace(
            spec,
            action=_anonymous_call("action", spec.action, names),
            undo=None if spec.undo is None else _anonymous_call("undo", spec.undo, names),
            check=None if spec.check is None else _anonymous_call("check", spec.check, names),
        )
        for spec in program.steps
    )
    return dataclasses.replace(program, steps=steps)


def _anonymous_call(tool: str, call: CallSpec, names: dict[str, int]) -> CallSpec:
    # In the order of what they point to, so that twins' references change places with them.
    references = sorted(call.params.references, key=lambda each: (each.path, each.step))
    value = {}
    for number, each in enumerate(references):
        start = "$input" if each.kind == "input" else f"$output.step_{each.step}"
        value[str(number)] = ".".join((start, *each.path))
    return dataclasses.replace(call, tool=tool, params=Template.compile(value, names))


def mirrors(program: Program) -> tuple[list[tuple[int, ...]], list[Order]]:
    """Return the twins of a program, or, if it has other mirror images, their orders.

    Twins are steps that may change places freely: nothing but their names tells them apart.
    """
    uses = [_uses(spec) for spec in program.steps]
    alike: dict[Any, list[int]] = {}
    for spec in program.steps:
        own = spec.index
        outgoing = frozenset(
            (call, "own" if to == own else to, path) for call, to, path in uses[own]
        )
        incoming = frozenset(
            (other, call, path)
            for other, used in enumerate(uses)
            for call, to, path in used
            if to == own != other
        )
        key = (_likeness(spec), spec.needs, spec.followers, outgoing, incoming)
        alike.setdefault(key, []).append(own)
    twins = [tuple(group) for group in alike.values() if len(group) > 1]
    if len(program.steps) > STEPS_MAX:
        return twins, []
    orders = list(_orders(program, uses))
    by_twins = math.prod(math.factorial(len(group)) for group in twins)
    return (twins, []) if len(orders) + 1 == by_twins else ([], orders)


def _uses(spec: StepSpec) -> frozenset[Use]:
    calls = (("action", spec.action), ("undo", spec.undo), ("check", spec.check))
    return frozenset(
        (name, each.step, each.path)
        for name, call in calls
        if call is not None
        for each in call.params.references
    )


def _orders(program: Program, uses: list[frozenset[Use]]) -> Iterator[Order]:
    """Yield each order but the plain one that maps the program onto itself."""
    size = range(len(program.steps))
    likeness = [_likeness(spec) for spec in program.steps]
    needs = [spec.needs for spec in program.steps]
    for order in itertools.permutations(size):
        if order == tuple(size) or any(likeness[new] != likeness[order[new]] for new in size):
            continue
        place = {-1: -1, **{old: new for new, old in enumerate(order)}}
        if all(
            needs[new] == sum(1 << place[old] for old in size if needs[order[new]] >> old & 1)
            and uses[new] == {(call, place[to], path) for call, to, path in uses[order[new]]}
            for new in size
        ):
            yield order


def _likeness(spec: StepSpec) -> tuple[Any, ...]:
    """Return what two steps share that behave alike, their place in the program aside."""
    return (
        spec.kind,
        tuple(_call_likeness(call) for call in (spec.action, spec.undo, spec.check)),
        spec.undo_needs_output,
        spec.semantic is None,
        spec.is_effectful,
        spec.is_irrevocable,
        spec.approval_expires_s is None,
        spec.deadline_s is None,
        spec.exit,
        spec.output_is_used,
    )


def _call_likeness(call: CallSpec | None) -> tuple[Any, ...] | None:
    if call is None:
        return None
    # References are compared by what they point to.
    plain = None if call.params.references else repr(call.params.value)
    contract = call.contract
    return (
        call.tool,
        plain,
        # How long something takes, or is remembered, is not searched; whether it ends is.
        (call.retry.attempt_max, call.retry.doubt_attempt_max),
        dataclasses.replace(
            contract,
            check=None if contract.check is None else "check",
            retention_s=None if contract.retention_s is None else 0.0,
        ),
    )
