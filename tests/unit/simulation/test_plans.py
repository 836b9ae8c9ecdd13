"""Random plans: the same for a number, and never looked for without an end."""

from __future__ import annotations

import pytest

from fsm_saga.plan.lint import lint
from fsm_saga.simulation import plans
from fsm_saga.simulation.plans import CATALOGUE, sketch_of


def test_a_number_is_always_the_same_plan_and_the_rules_accept_it() -> None:
    for number in range(20):
        found = sketch_of(number)
        sketch_of.cache_clear()
        assert sketch_of(number) == found
        assert not lint(found.plan, CATALOGUE)


def test_drawing_a_plan_comes_to_an_end_though_the_rules_refuse_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plans, "lint", lambda plan, catalogue: ["refused"])
    sketch_of.cache_clear()
    with pytest.raises(RuntimeError, match="were all refused"):
        sketch_of(1)
