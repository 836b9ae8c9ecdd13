"""What a planner is told of each bad plan: ``python -m tests.unit.plan.telling`` writes it down.

A planner mends its plan by these sentences, and a person reads them; so a change of one is looked
at. The plans are those of the corpus, and a few more that reach a sentence of their own.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fsm_saga.core.contract import ToolFacts
from fsm_saga.errors import PlanError
from fsm_saga.plan.lint import check_calls, read_plan
from fsm_saga.plan.model import Plan
from tests.corpus.test_plan_corpus import CASES, SEARCH, Case, catalogue, plan_text, searches

RECORDED = Path(__file__).with_name("telling.txt")
# Long plans make long sentences: their ends are cut by rules that have tests of their own.
LENGTH_MAX = 400


TOOLS = {
    "bare": ToolFacts(name="bare", params_schema={"type": "object", "additionalProperties": False}),
    "listing": ToolFacts(
        name="listing",
        output_schema={
            "type": "array",
            "prefixItems": [{"type": "object", "properties": {"a": {"type": "integer"}}}],
            "items": False,
        },
    ),
    "first": ToolFacts(name="first"),
    "second": ToolFacts(name="second", undo="third"),
    "third": ToolFacts(name="third"),
    "self": ToolFacts(name="self", undo="self"),
    "left": ToolFacts(name="left", undo="right"),
    "right": ToolFacts(name="right", undo="left"),
    "owner": ToolFacts(name="owner", undo="owned"),
    "owned": ToolFacts(name="owned", undo="third"),
    "pairs": ToolFacts(
        name="pairs", output_schema={"type": "array", "items": {"type": ["string", "null"]}}
    ),
}
USE: dict[str, Any] = {"step_id": 2, "tool": "bare", "params": {}, "depends_on": [1]}


def _uses(tool: str, path: str) -> str:
    first = {"step_id": 1, "tool": tool, "params": {}}
    second = {"step_id": 2, "tool": "anything", "params": {"x": f"$output.step_1.{path}"}}
    return plan_text(steps=[first, second])


def _step(tool: str, **more: Any) -> dict[str, Any]:
    return {"step_id": 1, "tool": tool, "params": {}, **more}


def _undone_by(tool: str, undo: str) -> str:
    return plan_text(steps=[_step(tool, rollback={"tool": undo, "params": {}})])


def _ring(size: int) -> str:
    steps = searches(size)
    steps[0] = steps[0] | {"depends_on": [size - 1]}
    return plan_text(steps=steps)


MORE = (
    Case(
        "X-no-params-at-all", plan_text(steps=[USE | {"depends_on": None, "params": {"a": 1}}]), ()
    ),
    Case("X-list-by-name", _uses("listing", "first"), ()),
    Case("X-list-deeper", _uses("listing", "0.a.b"), ()),
    Case("X-list-inside", _uses("pairs", "7.b"), ()),
    Case("X-list-inside-by-name", _uses("pairs", "b"), ()),
    Case("X-ring-11", _ring(11), ()),
    Case("X-ring-12", _ring(12), ()),
    Case("X-ring-13", _ring(13), ()),
    Case(
        "X-input-deep",
        plan_text(
            inputs={"x": {"rooms": [{"id": 1}]}},
            steps=[SEARCH | {"params": {"city": "$input.x.rooms.0.name"}}],
        ),
        (),
    ),
    Case(
        "X-input-index",
        plan_text(
            inputs={"x": [1, 2]},
            steps=[SEARCH | {"params": {"city": f"$input.x.{at}"}} for at in ("2",)],
        ),
        (),
    ),
    Case(
        "X-input-list-by-name",
        plan_text(inputs={"x": [1]}, steps=[SEARCH | {"params": {"city": "$input.x.first"}}]),
        (),
    ),
    *(
        Case(f"X-slip-{number}", text, ())
        for number, text in enumerate(
            (
                "{'task_id': 1}",
                "{\u2018task_id\u2019: 1}",
                "{\u201ctask_id\u201d: 1}",
                "{\u201dtask_id\u201d: 1}",
                '{"task_id": True}',
                '{"task_id": False}',
                '{"task_id": None}',
                '{"task_id": undefined}',
                'The plan is {"task_id": "t"}',
                "{task_id: 1}",
                "{_task_id: 1}",
                '{"task_id": 1 # one\n}',
                '{"task_id": 1,,}',
                '{"task_id": [1,]}',
                '{"task_id": "a',
                '{"task_id": "a\nb"}',
                '{"task_id": ',
                '{"task_id": 1} {}',
                '["a" "b"]',
                '{"inputs": {"x": ' + "1" * 24 + '}, "task_id": "t", "steps": []}',
                '{"inputs": {"x": ' + "1" * 25 + '}, "task_id": "t", "steps": []}',
            )
        )
    ),
    *(
        Case(f"X-kind-{kind}", plan_text(steps=[SEARCH | {"kind": kind}]), ())
        for kind in ("readonly", "READ-ONLY", "pivott", "retryable", "compensate", "zzz", 7)
    ),
    Case("X-many-brackets", plan_text(goal="a\ud800", inputs={"x": [[]] * 200}), ()),
    Case(
        "X-inputs-and-rules",
        plan_text(inputs={"a.b": 1, "c": 2}, steps=[SEARCH | {"params": {"city": "$input.d"}}]),
        (),
    ),
    Case(
        "X-retriable-listed-first",
        plan_text(
            steps=[
                _step("anything", kind="retriable", depends_on=[2]),
                _step("anything", kind="pivot") | {"step_id": 2, "depends_on": []},
            ]
        ),
        (),
    ),
    Case("X-dates", plan_text(steps=[SEARCH | {"retry": {"attempts": 1.5}}]), ()),
    Case("X-undo-that-leads-on", _undone_by("first", "second"), ()),
    Case("X-undo-by-itself", _undone_by("self", "self"), ()),
    Case("X-undo-by-its-pair", _undone_by("left", "right"), ()),
    Case("X-undo-by-its-own", _undone_by("owner", "owned"), ()),
    Case("X-read-with-undo", plan_text(steps=[_step("owner", kind="read_only")]), ()),
    Case(
        "X-read-with-rollback",
        plan_text(
            steps=[_step("anything", kind="read_only", rollback={"tool": "bare", "params": {}})]
        ),
        (),
    ),
    Case("X-read-plain", plan_text(steps=[_step("bare", kind="read_only")]), ()),
    Case(
        "X-ring-listed-late",
        plan_text(
            steps=[
                SEARCH | {"step_id": 0},
                SEARCH | {"step_id": 1, "depends_on": []},
                SEARCH | {"step_id": 2, "params": {"city": "$output.step_3.city"}},
                SEARCH | {"step_id": 3, "params": {"city": "$output.step_2.city"}},
            ]
        ),
        (),
    ),
    Case("X-step-id", plan_text(steps=[SEARCH | {"step_id": "$a"}]), ()),
)


LATE = {
    "Y-nothing": '{"calls": []}',
    "Y-too-many": json.dumps({"calls": [{"tool": "out", "params": {}}] * 60}),
    "Y-no-calls": "{}",
    "Y-unknown-field": '{"calls": [], "call": 1}',
    "Y-unknown-tool": '{"calls": [{"tool": "teleport", "params": {}}]}',
    "Y-params": '{"calls": [{"tool": "bare", "params": {"a": 1}}]}',
    "Y-references": json.dumps(
        {
            "calls": [
                {
                    "tool": "anything",
                    "params": {
                        "a": "$input.no",
                        "b": "$output.step_9",
                        "c": ["$output.step_1.first", "$output.step_2.x"],
                        "d": "$input.x.rooms.first",
                        "e": "$what.ever",
                        "f": "$output.step_one.0.zzz",
                    },
                }
            ]
        }
    ),
}


def late_told(text: str) -> str:
    """Return all that is said of calls that are to make good in a saga."""
    plan = Plan.of(
        {
            "task_id": "t",
            "inputs": {"x": {"rooms": [1]}},
            "steps": [
                {"step_id": 1, "tool": "listing", "params": {}},
                {"step_id": "2", "tool": "anything", "params": {}},
                {"step_id": "one", "tool": "listing", "params": {}},
            ],
        }
    )
    try:
        check_calls(text, plan, {**catalogue(), **TOOLS}, available={0, 2})
    except PlanError as error:
        return _text(error)
    return "ok"


def told(case: Case) -> str:
    """Return all that is said of one plan."""
    try:
        read_plan(case.text, {**catalogue(), **TOOLS}, allowed=case.allowed)
    except PlanError as error:
        return _text(error)
    return "ok"


def _text(error: PlanError) -> str:
    lines = [
        f"{problem.code} {problem.pointer}\n  {problem.message}\n  {problem.hint}"
        for problem in error.problems
    ]
    return "\n".join(line[:LENGTH_MAX].encode("ascii", "replace").decode() for line in lines)


def groups() -> Iterator[tuple[str, list[Case]]]:
    """Yield the cases by the first words of their names."""
    cases = sorted((*CASES, *MORE), key=lambda case: case.name)
    for key, found in itertools.groupby(cases, lambda case: "-".join(case.name.split("-")[:2])):
        yield key, list(found)


def recorded() -> dict[str, str]:
    """Return what was written down, by the name of the plan."""
    parts = RECORDED.read_text("utf-8").split("\n=== ")[1:]
    return {name: text.rstrip("\n") for name, _, text in (part.partition("\n") for part in parts)}


def main() -> int:
    """Write down what is said now."""
    text = "".join(f"\n=== {case.name}\n{told(case)}\n" for _, found in groups() for case in found)
    text += "".join(f"\n=== {name}\n{late_told(calls)}\n" for name, calls in LATE.items())
    RECORDED.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
