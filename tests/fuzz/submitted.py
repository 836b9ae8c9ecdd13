"""The door of `Engine.submit`: task ids and inputs that go with a plan, and what is remembered.

The engine checks and compiles a plan once and shares that with its like. Here one preparer sees
everything, and each verdict of it is held against that of one which has seen nothing. A failure
of memory needs what came before it: `--again` shows the case, a run with `--first` repeats it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random
from typing import Any

from fsm_saga.errors import PlanError
from fsm_saga.plan.model import Plan
from fsm_saga.service.preparing import Prepared, Preparer
from tests.corpus.test_plan_corpus import catalogue
from tests.fuzz.mutate import field, mutated, set_field
from tests.fuzz.odd_values import built, odd_recipe
from tests.fuzz.plan_oracle import check_refusal
from tests.fuzz.plan_sources import generated, kept_sources
from tests.fuzz.tally import Tally, must
from tests.fuzz.target import Target
from tests.fuzz.tree import Pairs, Tree, places, put, tree_of, written
from tests.fuzz.words import ODD_TEXTS

ODD_SHARE = 0.2
POOL = 12

Case = tuple[str, str | None, Tree, bool]


class Submissions(Target):
    """A plan, a task id and inputs, through a preparer that remembers."""

    name = "submissions"
    about = "plans with mutated task ids and inputs, by a preparer with and without memory"
    share = 0.2

    def __init__(self) -> None:
        self._remembering = Preparer(catalogue(), None)

    def make(self, draw: Random) -> Case:
        if draw.random() < 0.5:
            sources = [each for each in kept_sources() if each.tools == "corpus"]
            tree = tree_of(sources[draw.randrange(POOL) * len(sources) // POOL].tree)
        else:
            number = draw.randrange(POOL)
            tree = tree_of(generated(Random(number), number + 1).tree)
        for _ in range(draw.randrange(3)):
            _vary(tree, draw)
        task_id = draw.choice([None, None, "other", draw.choice(ODD_TEXTS)])
        own = field(tree, "inputs")
        inputs: Tree = None
        if draw.random() < 0.5:
            inputs = tree_of(own if isinstance(own, Pairs) else Pairs([["who", "Ada"]]))
            inputs = mutated(inputs, draw, lambda: inputs)
            if draw.random() < ODD_SHARE and (found := places(inputs)):
                put(draw.choice(found), odd_recipe(draw, is_harmless=True))
        return written(tree), task_id, inputs, draw.random() < 0.1

    def check(self, case: Case, seen: Tally) -> None:
        text, task_id, tree, is_open = case
        inputs = built(tree)
        if not isinstance(inputs, Mapping | None):
            return  # the type checker's affair
        try:
            plan = Plan.read(text)
        except PlanError:
            return  # the other door's affair
        with seen.timed(len(text)):
            found = _prepared(self._remembering, plan, task_id, inputs, is_open=is_open)
        fresh = _prepared(Preparer(catalogue(), None), plan, task_id, inputs, is_open=is_open)
        _check_same(found, fresh)
        if isinstance(found, PlanError):
            check_refusal(found, seen)
            return
        seen.count("accepted")
        seen.verdict(found.program.plan_hash)
        again = Plan.of(found.body)
        must(again.content_hash() == found.program.plan_hash, "a body has its program's hash")
        must(again.task_id == found.task_id, "a body has the task's id")
        json.dumps(found.body, allow_nan=False).encode()


def _vary(tree: Tree, draw: Random) -> None:
    """Change what plans of one structure may differ in, and now and then one more thing."""
    name = draw.choice(["goal", "inputs", "task_id", "deadline_s"])
    values: dict[str, list[Any]] = {
        "goal": ["one", "two", None],
        "inputs": [
            {"who": "Ada"},
            {"who": {"name": "Ada"}},
            {"who": None},
            {},
            {"x": 1, "who": []},
        ],
        "task_id": ["a", "b"],
        "deadline_s": [10, 20.5, None],
    }
    set_field(tree, name, tree_of(draw.choice(values[name])))


def _prepared(
    preparer: Preparer, plan: Plan, task_id: str | None, inputs: Any, *, is_open: bool
) -> Prepared | PlanError:
    try:
        return preparer.prepare(plan, task_id=task_id, inputs=inputs, is_open=is_open)
    except PlanError as refusal:
        return refusal


def _check_same(found: Prepared | PlanError, fresh: Prepared | PlanError) -> None:
    rule = "memory changes no verdict"
    if isinstance(found, PlanError) or isinstance(fresh, PlanError):
        must(isinstance(found, PlanError) and isinstance(fresh, PlanError), rule, (found, fresh))
        must(_problems(found) == _problems(fresh), rule, (found, fresh))
        return
    must((found.body, found.declared) == (fresh.body, fresh.declared), rule)
    for part in ("steps", "inputs", "goal", "plan_hash", "deadline_s", "shape", "undo_order"):
        must(getattr(found.program, part) == getattr(fresh.program, part), rule, part)


def _problems(refusal: object) -> Any:
    return refusal.problems if isinstance(refusal, PlanError) else None
