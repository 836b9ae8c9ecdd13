"""Tests of the functions that take a text to a checked plan; the rules are in the corpus."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest

from fsm_saga.core.limits import Limits
from fsm_saga.errors import PlanError
from fsm_saga.plan.graph import build_graph
from fsm_saga.plan.lint import Call, check_calls, check_plan, checked, lint, read_plan
from fsm_saga.plan.model import Plan
from tests.unit.plan.builders import TEXT, TOOLS, chain, closed, plan, step, tool, tools


def refusals(error: PlanError) -> list[tuple[str, str]]:
    return [(problem.code, problem.pointer) for problem in error.problems]


def text_of(*steps: dict[str, Any], **fields: Any) -> str:
    return json.dumps({"task_id": "t", "steps": steps, **fields})


def test_what_the_checks_find_out_of_a_sound_plan_is_kept() -> None:
    made = plan(step(1, params={"x": "$input.who"}), inputs={"who": "Ada"})
    found = checked(made, TOOLS)
    assert found.graph == build_graph(made)
    assert [(use.step, use.text) for use in found.input_uses] == [(0, "$input.who")]


def test_a_sound_plan_has_no_problems_and_a_graph() -> None:
    made = plan(*chain(3))
    assert lint(made, TOOLS) == ()
    assert check_plan(made, TOOLS) == build_graph(made)
    assert read_plan(made.canonical_json(), TOOLS) == (made, build_graph(made))


def test_an_unsound_plan_is_refused_with_what_lint_finds() -> None:
    made = plan(step(1, "teleport"), step(2, "do", params={}))
    with pytest.raises(PlanError) as refused:
        check_plan(made, TOOLS)
    assert refused.value.problems == lint(made, TOOLS)
    assert refusals(refused.value) == [
        ("unknown-tool", "/steps/0/tool"),
        ("missing-param", "/steps/1/params/x"),
    ]


def test_only_a_plan_that_will_grow_may_have_no_steps() -> None:
    empty = plan()
    assert [problem.code for problem in lint(empty, TOOLS)] == ["no-steps"]
    assert lint(empty, TOOLS, is_open=True) == ()
    assert check_plan(empty, TOOLS, is_open=True).width == 0


def test_a_plan_made_in_python_is_held_to_the_number_of_steps() -> None:
    small = Limits(step_max=2)
    assert [problem.code for problem in lint(plan(*chain(3)), TOOLS, limits=small)] == [
        "too-many-steps"
    ]
    with pytest.raises(PlanError, match="too-many-steps"):
        check_plan(plan(*chain(3)), TOOLS, limits=small)


def test_who_may_use_which_tool_is_said_by_the_caller() -> None:
    made = plan(*chain(1))
    assert lint(made, TOOLS, allowed={"read"}) == ()
    assert [problem.code for problem in lint(made, TOOLS, allowed=())] == ["tool-not-allowed"]


def test_problems_of_one_step_stop_at_the_limit() -> None:
    made = plan(*chain(10, tool="teleport"))
    problems = lint(made, TOOLS, limits=Limits(problem_max=3))
    assert [problem.code for problem in problems] == [*["unknown-tool"] * 3]


def test_rules_speak_of_a_plan_whose_harmless_options_are_bad() -> None:
    text = text_of(step(1, "any", name="", surprise=1), step(2, "any", depends_on=[3]))
    with pytest.raises(PlanError) as refused:
        read_plan(text, TOOLS)
    assert refusals(refused.value) == [
        ("bad-length", "/steps/0/name"),
        ("unknown-field", "/steps/0/surprise"),
        ("unknown-dependency", "/steps/1/depends_on/0"),
    ]


def test_where_the_shape_is_unsound_rules_speak_of_single_steps_only() -> None:
    # The order is not judged: it may be what the bad field meant to say.
    text = text_of(
        step(1, "any"), step(2, "any", depends_on="1"), step(3, "teleport"), step(4, "any")
    )
    with pytest.raises(PlanError) as refused:
        read_plan(text, TOOLS)
    assert refusals(refused.value) == [
        ("wrong-type", "/steps/1/depends_on"),
        ("unknown-tool", "/steps/2/tool"),
    ]


def test_what_is_said_of_a_replaced_value_is_not_told() -> None:
    # The lone surrogate was replaced by U+FFFD, which is no member of the enumeration either.
    catalogue = tools(tool("paint", params=closed(colour={"enum": ["red"]})))
    text = text_of(step(1, "paint", params={"colour": "\ud800"}))
    with pytest.raises(PlanError) as refused:
        read_plan(text, catalogue)
    assert refusals(refused.value) == [("lone-surrogate", "/steps/0/params/colour")]


def test_a_step_with_an_unknown_field_is_still_held_to_the_rules() -> None:
    text = json.dumps({"steps": [{"step_id": 1, "tool": "teleport", "inputs": {}}]})
    with pytest.raises(PlanError) as refused:
        read_plan(text, TOOLS)
    assert {code for code, _ in refusals(refused.value)} >= {"unknown-field", "unknown-tool"}


def test_duplicate_keys_and_rules_are_told_together() -> None:
    text = text_of(step(1, "teleport")).replace('"task_id": "t"', '"task_id": "t", "task_id": "u"')
    with pytest.raises(PlanError) as refused:
        read_plan(text, TOOLS)
    assert refusals(refused.value) == [
        ("duplicate-key", "/task_id"),
        ("unknown-tool", "/steps/0/tool"),
    ]


# --- calls that are decided late ------------------------------------------------------------------

SAGA = plan(step(1, "do", params={"x": "a"}), step(2, "any"), inputs={"who": {"name": "Ada"}})


def calls_text(*calls: dict[str, Any]) -> str:
    return json.dumps({"calls": calls})


def test_late_calls_are_read_like_a_plan() -> None:
    text = (
        "```json\n"
        '{"calls": [ // make good\n'
        '{"tool": "undo", "params": {"id": "$output.step_1.id"}},'
        '{"tool": "send", "params": {"text": "$input.who.name"}}, {"tool": "any"}]}\n```'
    )
    assert check_calls(text, SAGA, TOOLS) == (
        Call(tool="undo", params={"id": "$output.step_1.id"}),
        Call(tool="send", params={"text": "$input.who.name"}),
        Call(tool="any", params={}),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [("empty", "")]),
        ("[]", [("not-an-object", "")]),
        ("{}", [("missing-field", "/calls")]),
        (calls_text(), [("no-calls", "/calls")]),
        ('{"calls": [{"tool": "any", "tool": "send"}]}', [("duplicate-key", "/calls/0/tool")]),
        (calls_text({"tool": "any", "req_id": "r"}), [("engine-owned-field", "/calls/0/req_id")]),
        (calls_text({"tool": "any", "step_id": 1}), [("unknown-field", "/calls/0/step_id")]),
        (calls_text({"tool": "teleport"}), [("unknown-tool", "/calls/0/tool")]),
        (calls_text({"tool": "undo"}), [("missing-param", "/calls/0/params/id")]),
        (
            calls_text({"tool": "any", "params": {"a": "$output.step_9"}}),
            [("unknown-step-reference", "/calls/0/params/a")],
        ),
        (
            calls_text({"tool": "any", "params": {"a": ["x $output.step_1"]}}),
            [("embedded-reference", "/calls/0/params/a/0")],
        ),
        (
            calls_text({"tool": "any", "params": {"a": "$output.step_1.nope"}}),
            [("unknown-path", "/calls/0/params/a")],
        ),
        (
            calls_text({"tool": "any", "params": {"a": "$input.nope"}}),
            [("unknown-input", "/calls/0/params/a")],
        ),
        (
            calls_text({"tool": "undo", "params": {"id": "$env.X"}}),
            [("unknown-namespace", "/calls/0/params/id")],
        ),
    ],
)
def test_late_calls_are_refused_like_a_plan(text: str, expected: list[tuple[str, str]]) -> None:
    with pytest.raises(PlanError) as refused:
        check_calls(text, SAGA, TOOLS)
    found = refusals(refused.value)
    assert [each for each in found if each[0] != "missing-param" or each in expected] == expected


def test_late_calls_are_bounded_in_number_tools_and_outputs() -> None:
    many = calls_text(*[{"tool": "any"}] * 21)
    with pytest.raises(PlanError, match="too-many-calls"):
        check_calls(many, SAGA, TOOLS)
    with pytest.raises(PlanError, match="tool-not-allowed"):
        check_calls(calls_text({"tool": "any"}), SAGA, TOOLS, allowed={"undo"})
    used = calls_text({"tool": "undo", "params": {"id": "$output.step_1.id"}})
    assert check_calls(used, SAGA, TOOLS, available={0})
    with pytest.raises(PlanError, match="output-not-recorded"):
        check_calls(used, SAGA, TOOLS, available={1})


# --- how long it takes ----------------------------------------------------------------------------


def long_plan(count: int) -> str:
    """Return a plan of 3 parameters a step, one of them a reference."""
    steps = []
    for number in range(1, count + 1):
        ref = f"$output.step_{number - 1}.ref" if number > 1 else "first"
        undo = {"tool": "cancel", "params": {"id": f"$output.step_{number}.id"}}
        params = {"flight": "CA1234", "date": "2026-02-01", "ref": ref}
        steps.append(step(number, "book", name=f"Book {number}", params=params, rollback=undo))
    return text_of(*steps)


def test_two_hundred_steps_are_checked_in_a_moment() -> None:
    catalogue = tools(
        tool(
            "book",
            params=closed(flight=TEXT, date=TEXT, ref=TEXT),
            output=closed(id=TEXT, ref=TEXT),
        ),
        tool("cancel", params=closed(id=TEXT)),
    )
    text = long_plan(200)
    best_s = min(elapsed_s(text, catalogue) for _ in range(5))
    # It takes 12 ms on the machine it was written on; the bound catches a rule gone quadratic.
    assert best_s < 0.25


def elapsed_s(text: str, catalogue: Any) -> float:
    start = time.perf_counter()
    check_plan(Plan.read(text), catalogue)
    return time.perf_counter() - start


HOSTILE = {
    "unknown fields": '{"task_id":"t","steps":[],'
    + ",".join(f'"a{n}":1' for n in range(45_000))
    + "}",
    "empty steps": '{"task_id":"t","steps":[' + ",".join("{}" for _ in range(45_000)) + "]}",
    "bad references": text_of(step(1, "any", params={"a": ["$a"] * 45_000})),
    "references": text_of(step(1, "any", params={"a": ["$input.x"] * 45_000}), inputs={"x": 1}),
    "near references": text_of(
        step(1, "any", params={"a": [f"$input.y{n}" for n in range(20_000)]}),
        inputs={f"x{n}": 1 for n in range(20_000)},
    ),
    "mismatches": text_of(step(1, "list", params={"a": [1] * 45_000})),
    "references of other types": text_of(
        step(1, "list", params={"a": [["$input.x"]] * 20_000}), inputs={"x": 1}
    ),
    "all depend on all": text_of(*(step(n, depends_on=list(range(n))) for n in range(200))),
    "all wait for all": text_of(
        *(step(n, depends_on=[m for m in range(200) if m != n]) for n in range(200))
    ),
    "unknown tools": text_of(*chain(200, tool="b" * 128)),
    "many ways to be stranded": text_of(*chain(200, tool="any", depends_on=[])),
    "marks": text_of(step("e" + "\u0301" * 60_000)),
    "dots": text_of(step(1, "any", params={"a": "$output" + "." * 60_000})),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_plan_is_refused_before_it_costs_much(name: str) -> None:
    # P9: the slowest takes 0.2 s; what is quadratic in the attacker's number takes minutes.
    listed = {"type": "object", "properties": {"a": {"items": TEXT}}}
    catalogue = TOOLS | tools(tool("list", params=listed))
    catalogue |= tools(*(tool(f"some_tool_{number}") for number in range(1000)))
    start = time.perf_counter()
    with contextlib.suppress(PlanError):
        read_plan(HOSTILE[name], catalogue)
    assert time.perf_counter() - start < 5.0


def test_a_text_is_read_within_the_limits_that_are_asked_for() -> None:
    text, calls = text_of(step(1, "any", params={"a": "x" * 80})), '{"calls": []}' + " " * 80
    for limits in (Limits(plan_bytes_max=90), Limits(value_max=3), Limits(depth_max=2)):
        with pytest.raises(PlanError, match=r"too-large|too-many-values|too-deep"):
            read_plan(text, TOOLS, limits=limits)
    assert read_plan(text, TOOLS)
    with pytest.raises(PlanError, match="too-large"):
        check_calls(calls, plan(*chain(1)), TOOLS, limits=Limits(plan_bytes_max=90))
    with pytest.raises(PlanError, match="no-calls"):
        check_calls(calls, plan(*chain(1)), TOOLS)


def test_each_door_of_the_checks_passes_on_what_it_is_told() -> None:
    empty, made = plan(), plan(step(1, "any"))
    for check in (check_plan, checked):
        with pytest.raises(PlanError, match="no-steps"):
            check(empty, TOOLS)
        with pytest.raises(PlanError, match="tool-not-allowed"):
            check(made, TOOLS, allowed={"read"})
        assert check(empty, TOOLS, is_open=True)
        assert check(made, TOOLS, allowed={"any"})


def test_calls_are_held_to_their_number_and_told_as_many_problems_as_are_asked_for() -> None:
    made = plan(*chain(1))
    calls = json.dumps({"calls": [{"tool": "any", "params": {}}] * 3})
    assert len(check_calls(calls, made, TOOLS, limits=Limits(call_max=3))) == 3
    with pytest.raises(PlanError, match="too-many-calls"):
        check_calls(calls, made, TOOLS, limits=Limits(call_max=2))
    unknown = json.dumps({"calls": [], **{f"f{number}": 1 for number in range(150)}})
    for count in (100, 200):
        with pytest.raises(PlanError) as refused:
            check_calls(unknown, made, TOOLS, limits=Limits(problem_max=count))
        assert len(refused.value.problems) == min(count + 1, 150)


def test_a_plan_with_too_many_steps_is_told_how_many() -> None:
    (problem,) = lint(plan(*chain(3)), TOOLS, limits=Limits(step_max=2))
    assert problem.message == "The plan has 3 steps; 2 are allowed."
