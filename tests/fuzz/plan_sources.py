"""Sound plans to mutate: those of the corpus, of the examples, and generated ones of any size."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from fsm_saga.core.contract import ToolFacts
from fsm_saga.core.limits import LIMITS
from fsm_saga.plan.assumed import AssumedTools
from tests.corpus.test_plan_corpus import READABLE, catalogue
from tests.fuzz.tree import Tree, tree_of

ROOT = Path(__file__).resolve().parents[2]

GENERATED_SHARE = 0.35
LARGE_SHARE = 0.004
SHAPES = ("chain", "wide", "layers", "any", "star")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A sound plan, and the tools that it is sound with."""

    tree: Tree
    tools: str


def tools_named(name: str) -> Mapping[str, ToolFacts]:
    """Return a catalogue: ``corpus`` is small and strict, ``assumed`` has every tool."""
    return catalogue() if name == "corpus" else AssumedTools()


@cache
def kept_sources() -> tuple[Source, ...]:
    """Return the sound plans of the corpus and of the examples."""
    found = []
    for case in READABLE:
        if case.expected or case.allowed:
            continue
        try:
            tree = tree_of(json.loads(case.text))
        except ValueError:
            continue  # sound, but not JSON alone: comments or a code fence
        found.append(Source(tree=tree, tools="corpus"))
    for path in sorted(ROOT.glob("examples/*/plan.json")):
        tree = tree_of(json.loads(path.read_text(encoding="utf-8")))
        found.append(Source(tree=tree, tools="assumed"))
    return tuple(found)


def some_source(draw: Random) -> Source:
    """Return a sound plan: mostly small, now and then at the limit of the steps."""
    chance = draw.random()
    if chance < LARGE_SHARE:
        count = draw.choice([30, 60, 61, LIMITS.step_max - 1, LIMITS.step_max])
        return generated(draw, count)
    if chance < GENERATED_SHARE:
        return generated(draw, 1 + min(int(draw.expovariate(0.35)), 11))
    return draw.choice(kept_sources())


def generated(draw: Random, count: int) -> Source:
    """Return a sound plan with so many steps, in one of a few shapes."""
    shape = draw.choice(SHAPES)
    has_text_ids = draw.random() < 0.3
    steps: list[dict[str, Any]] = []
    for number in range(count):
        step_id = f"s{number}" if has_text_ids else number + 1
        needs = _needs(shape, number, draw)
        ids = [steps[need]["step_id"] for need in needs]
        step = {"step_id": step_id, **_call(draw, step_id, ids)}
        if shape != "chain":
            step["depends_on"] = ids
        steps.append(step)
    plan = {"task_id": f"t-{draw.randrange(1000)}", "inputs": {"who": "Ada"}, "steps": steps}
    return Source(tree=tree_of(plan), tools="corpus")


def _needs(shape: str, number: int, draw: Random) -> list[int]:
    if number == 0 or shape == "wide":
        return []
    if shape == "chain":
        return [number - 1]
    if shape == "star":
        return [0]
    if shape == "layers":
        layer = number - number % 3
        return list(range(max(0, layer - 3), layer))
    return sorted(draw.sample(range(number), min(number, draw.randrange(4))))


def _call(draw: Random, step_id: int | str, ids: list[Any]) -> dict[str, Any]:
    """Return the tool, the params and the rollback of one step."""
    text = f"$output.step_{draw.choice(ids)}" if ids and draw.random() < 0.5 else "x"
    own = f"$output.step_{step_id}"
    calls: tuple[dict[str, Any], ...] = (
        {"tool": "search_flights", "params": {"city": "$input.who"}},
        {"tool": "book_flight", "params": {"flight": "x", "date": "y"}},
        {
            "tool": "book_hotel",
            "params": {"city": "x", "nights": draw.randint(1, 9)},
            "rollback": {"tool": "cancel_hotel", "params": {"id": f"{own}.id"}},
        },
        {
            "tool": "charge",
            "params": {"amount": 5, "currency": "EUR"},
            "rollback": {"tool": "refund", "params": {"charge_id": f"{own}.id"}},
        },
        {"tool": "post", "params": {"text": "x"}},
        {
            "tool": "anything",
            "params": {"x": text, "y": [1.5, None, {"z": text}]},
            "rollback": {"tool": "anything", "params": {"x": text}},
        },
        {"tool": "anything", "rollback": {"semantic": "say sorry"}},
    )
    return draw.choice(calls)
