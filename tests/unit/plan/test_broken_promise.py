"""A plan may not lean on a tool whose certificate refutes what it declares."""

from __future__ import annotations

from fsm_saga.core.contract import Standing, ToolFacts
from fsm_saga.plan.lint import lint
from fsm_saga.plan.model import Plan

PLAN = Plan.of(
    {"task_id": "t", "steps": [{"step_id": 1, "tool": "pay", "rollback": {"tool": "refund"}}]}
)


def codes(**known: object) -> list[tuple[str, str]]:
    pay = ToolFacts(name="pay", **known)  # type: ignore[arg-type]  # each a field of it
    found = lint(PLAN, {"pay": pay, "refund": ToolFacts(name="refund")})
    return [(problem.code, problem.pointer) for problem in found]


def test_a_tool_that_was_found_to_break_its_word_is_refused_where_it_is_named() -> None:
    assert codes(standing=Standing.REFUTED, refuted=("dedupe",)) == [
        ("broken-promise", "/steps/0/tool")
    ]


def test_every_other_standing_is_accepted() -> None:
    for standing in set(Standing) - {Standing.REFUTED}:
        assert codes(standing=standing) == []
