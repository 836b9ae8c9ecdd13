"""Random plans, and the tools that they call, whose contracts are the cases of the truth table."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from fsm_saga.core.contract import ToolContract, ToolFacts
from fsm_saga.plan.graph import build_graph
from fsm_saga.plan.lint import lint
from fsm_saga.plan.model import Plan

PLAN_COUNT = 4_000
"""How many different plans there are; each process makes those it meets once."""

TRIES_MAX = 500
"""Drawings for one plan until the rules accept one, which is mostly the first."""

RETENTION_S = 18.0
AMENDS = "amends"

_CONTRACTS: Mapping[str, ToolContract] = {
    "keeps": ToolContract(),
    "fences": ToolContract(fenced_compensation=True),
    "checks": ToolContract(check="look"),
    "checks_hard": ToolContract(check="look", check_fences=True),
    "expires": ToolContract(deadline=True),
    "forgets": ToolContract(retention_s=RETENTION_S),
    "forgets_fenced": ToolContract(retention_s=RETENTION_S, fenced_compensation=True),
    "wavers": ToolContract(sticky_failures=False),
    "wavers_fenced": ToolContract(sticky_failures=False, fenced_compensation=True),
    "bare": ToolContract(dedupe=False, sticky_failures=False),
    "reads": ToolContract(read_only=True),
    "look": ToolContract(read_only=True),
    "undo": ToolContract(),
    "undo_wavers": ToolContract(sticky_failures=False),
    "undo_forgets": ToolContract(retention_s=RETENTION_S),
    AMENDS: ToolContract(),
}
_ACTIONS: tuple[str, ...] = (
    "keeps",
    "fences",
    "checks",
    "checks_hard",
    "expires",
    "forgets",
    "forgets_fenced",
    "wavers",
    "wavers_fenced",
    "bare",
)
_WEIGHTS = (4, 5, 2, 2, 2, 1, 2, 2, 2, 1)
TIMED = frozenset({"expires", "forgets", "forgets_fenced", "undo_forgets"})
"""Tools whose promises hang on the clocks being roughly right."""

CATALOGUE: Mapping[str, ToolFacts] = {
    name: ToolFacts(name=name, params_schema={"type": "object"}, contract=contract)
    for name, contract in _CONTRACTS.items()
}


class Sketch(NamedTuple):
    """A plan that the rules accept, and what an oracle may know of it without the compiler.

    Attributes:
        needs: For each step, the steps that must have succeeded first.
        ancestors: The same at any distance.
        is_timed: It calls tools whose promises hang on the clocks.
    """

    plan: Plan
    needs: tuple[frozenset[int], ...]
    ancestors: tuple[frozenset[int], ...]
    is_timed: bool


@lru_cache(maxsize=PLAN_COUNT)
def sketch_of(number: int) -> Sketch:
    """Return the plan of this number, always the same.

    Raises:
        RuntimeError: If the rules refuse all that is drawn for it.
    """
    chance = random.Random(f"plan {number}")  # noqa: S311  # a seeded run, no secret
    for _try in range(TRIES_MAX):
        plan = Plan.of(_plan(chance, number))
        if not lint(plan, CATALOGUE):
            return sketch(plan)
    raise RuntimeError(f"plan {number}: {TRIES_MAX} drawings were all refused by the rules")


def sketch(plan: Plan) -> Sketch:
    """Return what an oracle may know of a plan."""
    needs = tuple(frozenset(each) for each in build_graph(plan).needs)
    tools = {step.tool for step in plan.steps}
    tools |= {getattr(step.rollback, "tool", "") for step in plan.steps}
    return Sketch(plan, needs, _closure(needs), not tools.isdisjoint(TIMED))


def _closure(needs: tuple[frozenset[int], ...]) -> tuple[frozenset[int], ...]:
    found: dict[int, frozenset[int]] = {}

    def ancestors(index: int) -> frozenset[int]:
        if index not in found:
            found[index] = needs[index].union(*(ancestors(need) for need in needs[index]))
        return found[index]

    return tuple(ancestors(index) for index in range(len(needs)))


def more_steps(number: int, count: int) -> list[dict[str, Any]]:
    """Return steps that a plan of ``count`` steps may be amended by; the rules may refuse them."""
    chance = random.Random(f"more {number}")  # noqa: S311  # as above
    return [_step(chance, count, count + 1, pivot=None)]


def _plan(chance: random.Random, number: int) -> dict[str, Any]:
    count = chance.choices((1, 2, 3, 4, 5, 6), (12, 26, 28, 16, 10, 8))[0]
    pivot = chance.randrange(count) if chance.random() < 0.3 else None
    is_chain = chance.random() < 0.45
    steps = []
    for index in range(count):
        step = _step(chance, index, count, pivot)
        if not is_chain:
            most = min(index, 2)
            needs = chance.sample(range(index), chance.randint(0, most))
            refers = {int(text[13:-3]) for text in _references(step) if text[13:-3] != str(index)}
            step["depends_on"] = sorted({*needs, *refers})
        steps.append(step)
    body: dict[str, Any] = {"task_id": f"plan-{number}", "steps": steps}
    if chance.random() < 0.15:
        body["deadline_s"] = round(chance.uniform(1.0, 25.0), 1)
    return body


def _references(step: Mapping[str, Any]) -> list[str]:
    rollback = step.get("rollback") or {}
    values = [*step["params"].values(), *(rollback.get("params") or {}).values()]
    return [value for value in values if isinstance(value, str)]


def _step(chance: random.Random, index: int, count: int, pivot: int | None) -> dict[str, Any]:
    step: dict[str, Any] = {
        "step_id": index,
        "tool": chance.choices(_ACTIONS, _WEIGHTS)[0],
        "params": {"n": chance.randrange(1000)},
        "timeout_s": round(chance.uniform(0.4, 2.0), 2),
    }
    if index and chance.random() < 0.5:
        step["params"]["from"] = f"$output.step_{index - 1}.id"
    if chance.random() < 0.6:
        attempts = chance.randint(1, 3)
        step["retry"] = {"attempts": attempts, "delay_s": round(chance.uniform(0.05, 0.8), 2)}
    if chance.random() < 0.1:
        step["approval"] = {"expires_s": round(chance.uniform(1.0, 20.0), 1)}
    if chance.random() < 0.1 and step["tool"] != "expires":
        step["deadline_s"] = round(chance.uniform(1.0, 6.0), 1)
    if index == pivot:
        step["kind"] = "pivot"
    elif pivot is not None and index > pivot:
        step["kind"] = "retriable"
    elif chance.random() < 0.08:
        step |= {"tool": "reads"}
    else:
        _give_rollback(chance, step, index, count)
    return step


def _give_rollback(chance: random.Random, step: dict[str, Any], index: int, count: int) -> None:
    if index == count - 1 and chance.random() < 0.15:
        return
    if chance.random() < 0.07:
        step["rollback"] = {"semantic": "something was sent, and a word of regret makes it good"}
        return
    params: dict[str, Any] = {"n": chance.randrange(1000)}
    if chance.random() < 0.35:
        params["what"] = f"$output.step_{index}.id"
    step["rollback"] = {
        "tool": chance.choices(("undo", "undo_wavers", "undo_forgets"), (6, 3, 1))[0],
        "params": params,
        "timeout_s": round(chance.uniform(0.4, 2.0), 2),
    }
    if chance.random() < 0.4:
        attempts = chance.randint(1, 4)
        delay_s = round(chance.uniform(0.05, 0.6), 2)
        step["rollback"]["retry"] = {"attempts": attempts, "delay_s": delay_s}
