"""The door for plans: mutated plans as text, as Python values, and calls that are decided late."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from fsm_saga.errors import PlanError
from fsm_saga.plan.lint import check_calls
from fsm_saga.plan.model import Plan
from fsm_saga.service.answers import calls_text, text_of_object
from fsm_saga.service.growing import grown_plan
from tests.corpus.test_plan_corpus import catalogue
from tests.fuzz.garble import garbled
from tests.fuzz.mutate import field, mutated
from tests.fuzz.odd_values import built, odd_recipe
from tests.fuzz.plan_oracle import check_plan_text, check_refusal
from tests.fuzz.plan_sources import some_source, tools_named
from tests.fuzz.tally import Tally, must
from tests.fuzz.target import Target
from tests.fuzz.tree import Pairs, Tree, places, put, tree_of, written

GARBLED_SHARE = 0.25
DRAWN_SHARE = 0.1
RESTRICTED_SHARE = 0.1

PlanCase = tuple[bytes, str, tuple[str, ...], bool]


def text_of(tree: Tree, draw: Random) -> bytes:
    """Return the tree as a text, in one case of four with its bytes garbled."""
    text = written(tree, draw).encode("utf-8", "surrogatepass")
    return garbled(text, draw) if draw.random() < GARBLED_SHARE else text


class PlanTexts(Target):
    """Plans as a planner sends them."""

    name = "plans"
    about = "mutated plans, read, checked, compiled, stored and drawn"

    def make(self, draw: Random) -> PlanCase:
        source = some_source(draw)
        tree = mutated(source.tree, draw, lambda: some_source(draw).tree)
        allowed: tuple[str, ...] = ()
        if draw.random() < RESTRICTED_SHARE:
            names = sorted(catalogue())
            allowed = tuple(draw.sample(names, draw.randint(1, len(names))))
        return text_of(tree, draw), source.tools, allowed, draw.random() < DRAWN_SHARE

    def check(self, case: PlanCase, seen: Tally) -> None:
        text, tools, allowed, is_drawn = case
        may_use = frozenset(allowed) or None
        check_plan_text(text, tools_named(tools), may_use, seen, is_drawn=is_drawn)

    def size(self, case: PlanCase) -> int:
        return len(case[0])

    def smaller(self, case: PlanCase) -> Any:
        text, *rest = case
        return ((less, *rest) for (less,) in super().smaller((text,)))


class PlanMappings(Target):
    """Plans as a program builds them: Python values of any type, not only JSON."""

    name = "mappings"
    about = "plans as Python mappings, with values that JSON does not have"
    share = 0.1

    def make(self, draw: Random) -> Tree:
        tree = mutated(some_source(draw).tree, draw, lambda: some_source(draw).tree)
        for place in draw.sample(found := places(tree), min(len(found), draw.randrange(3))):
            put(place, odd_recipe(draw, is_harmless=True))
        return tree

    def check(self, case: Tree, seen: Tally) -> None:
        value = built(case)
        try:
            with seen.timed(0):
                plan = Plan.of(value)
        except PlanError as refusal:
            check_refusal(refusal, seen)
            return
        seen.count("accepted")
        seen.verdict(plan.content_hash())
        again = Plan.read(plan.canonical_json())
        must(again.content_hash() == plan.content_hash(), "a mapping is the plan that it reads as")


class LateCalls(Target):
    """What `resolve --calls` and `amend` take: calls and steps that are decided late."""

    name = "calls"
    about = "mutated files of `resolve --calls` and `amend`"
    share = 0.1

    def make(self, draw: Random) -> tuple[bytes, bool]:
        is_amend = draw.random() < 0.4
        source = some_source(draw)
        if is_amend:
            tree = mutated(source.tree, draw, lambda: some_source(draw).tree)
            steps: Tree = field(tree, "steps")
            return text_of(draw.choice([steps, tree, Pairs([["steps", steps]])]), draw), True
        calls = [
            Pairs([["tool", draw.choice(sorted(catalogue()))], ["params", tree_of(params)]])
            for params in draw.choices(_PARAMS, k=draw.randint(1, 3))
        ]
        tree = mutated(Pairs([["calls", calls]]), draw, lambda: source.tree)
        return text_of(draw.choice([tree, field(tree, "calls")]), draw), False

    def check(self, case: tuple[bytes, bool], seen: Tally) -> None:
        text, is_amend = case
        try:
            with seen.timed(len(text)):
                if is_amend:
                    grown = grown_plan(_base(), text_of_object(text, "steps"))
                    must(grown.steps[:3] == _base().steps, "an amended plan keeps its steps")
                    must(len(grown.steps) > 3, "an amended plan has more steps")
                else:
                    check_calls(calls_text(text), _base(), catalogue())
        except PlanError as refusal:
            check_refusal(refusal, seen)
            return
        seen.count("accepted")
        seen.verdict("accepted")


_PARAMS: tuple[dict[str, Any], ...] = (
    {},
    {"city": "x"},
    {"booking_id": "$output.step_2.booking_id"},
    {"x": ["$output.step_1.flights.0.id", {"y": "$input.who"}]},
    {"to": "a", "text": "sorry"},
)


def _base() -> Plan:
    return Plan.read(_BASE)


_BASE = json.dumps(
    {
        "task_id": "t",
        "inputs": {"who": "Ada"},
        "steps": [
            {"step_id": 1, "tool": "search_flights", "params": {"city": "x"}},
            {"step_id": 2, "tool": "book_flight", "params": {"flight": "x", "date": "y"}},
            {"step_id": "c", "tool": "anything", "rollback": {"semantic": "say sorry"}},
        ],
    }
)
