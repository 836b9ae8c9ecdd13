from __future__ import annotations

from collections.abc import Collection

import pytest

from fsm_saga.core.limits import Limits
from fsm_saga.errors import Problem
from fsm_saga.plan.calls import CallRules
from fsm_saga.plan.problems import Problems
from tests.unit.plan.builders import TOOLS, closed, plan, step, tool, tools


def rules(
    allowed: Collection[str] | None = None, limits: Limits | None = None
) -> tuple[CallRules, Problems]:
    problems = Problems(limits or Limits())
    return CallRules(TOOLS, allowed, problems), problems


def only(problems: Problems) -> Problem:
    (problem,) = problems
    return problem


def test_a_known_and_allowed_tool_gives_its_facts() -> None:
    check, problems = rules(["do"])
    assert check.tool_at("do", ("x",)) is TOOLS["do"]
    assert not problems


def test_an_unknown_tool_gets_the_near_names_among_those_allowed() -> None:
    check, problems = rules(["read", "send"])
    assert check.tool_at("sent", ("x",)) is None
    assert only(problems).hint == "Did you mean 'send'?"


@pytest.mark.parametrize(
    ("allowed", "hint"),
    [
        (["read"], "The tools are 'read'."),
        ([], "There are no tools."),
        (None, "The tools are 'any', 'do', 'read', 'send', 'undo'."),
    ],
)
def test_an_unknown_tool_like_no_other_gets_a_list(allowed: list[str] | None, hint: str) -> None:
    check, problems = rules(allowed)
    check.tool_at("teleport", ("x",))
    assert only(problems).hint == hint


def test_a_known_tool_that_is_not_allowed_is_told_and_still_checked() -> None:
    check, problems = rules([])
    assert check.tool_at("do", ("x",)) is TOOLS["do"]
    assert only(problems).code == "tool-not-allowed"
    assert only(problems).hint == "The allowed tools are none."


def test_the_undo_that_a_tool_declares_has_to_be_allowed_only_if_it_would_be_used() -> None:
    check, problems = rules(["do", "any"])
    written = {"tool": "any", "params": {}}
    for fields in ({"rollback": written}, {"kind": "pivot"}):
        made = plan(step(1, "do", params={"x": "a"}, **fields)).steps[0]
        check.promises_at(made, TOOLS["do"], ("x",))
    assert not problems
    check.promises_at(plan(step(1, "do", params={"x": "a"})).steps[0], TOOLS["do"], ("x",))
    assert only(problems).code == "tool-not-allowed"


def test_the_tool_to_be_asked_has_to_exist() -> None:
    asked = tool("pay", check="pay_status")
    problems = Problems()
    check = CallRules(tools(asked), None, problems)
    check.promises_at(plan(step(1, "pay")).steps[0], asked, ("x",))
    assert only(problems).code == "unknown-check-tool"


def test_mismatches_are_told_up_to_the_limit() -> None:
    check, problems = rules(limits=Limits(problem_max=2))
    check.params_at(None, {"a": 1}, (), ("p",))
    assert not problems
    many = tool("many", params=closed())
    check.params_at(many, {"a": 1, "b": 2, "c": 3, "d": 4}, (), ("p",))
    assert [problem.pointer for problem in problems] == ["/p/a", "/p/b"]


@pytest.mark.parametrize(
    ("allowed", "codes"), [(None, []), (["do", "undo"], []), (["do"], ["tool-not-allowed"])]
)
def test_a_declared_undo_has_to_be_allowed_as_well(
    allowed: list[str] | None, codes: list[str]
) -> None:
    check, problems = rules(allowed)
    made = plan(step(1, "do", params={"x": "a"})).steps[0]
    check.promises_at(made, TOOLS["do"], ("steps", 0))
    assert [problem.code for problem in problems] == codes
