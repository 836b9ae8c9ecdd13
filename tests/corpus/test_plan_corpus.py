"""Bad plans, each with the exact codes and pointers that it is refused with.

Most cases are readable text in `plans/*.txt`: a title, the plan as a planner would send it, and
one line `--> code pointer` for each problem, or `--> ok`. Cases whose bytes are odd, or whose size
is the point, are the table below. Every case is read with `read_plan`, the way the service does it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fsm_saga.core.contract import ToolContract, ToolFacts
from fsm_saga.core.limits import LIMITS
from fsm_saga.errors import PlanError
from fsm_saga.plan.lint import read_plan
from fsm_saga.plan.model import Plan

ROOT = Path(__file__).resolve().parents[2]
PLANS = Path(__file__).resolve().parent / "plans"

Expected = tuple[tuple[str, str], ...]
OK: Expected = ()


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    text: str | bytes
    expected: Expected
    allowed: frozenset[str] | None = None


@cache
def catalogue() -> dict[str, ToolFacts]:
    """Return the tools that the plans of the corpus speak of."""
    declared = json.loads((PLANS / "catalogue.json").read_text(encoding="utf-8"))
    return {name: facts(name, entry) for name, entry in declared.items()}


def facts(name: str, entry: dict[str, Any]) -> ToolFacts:
    params = entry.get("params", {})
    schema = {
        "type": "object",
        "properties": {**params, **entry.get("optional", {})},
        "required": list(params),
        "additionalProperties": False,
    }
    return ToolFacts(
        name=name,
        params_schema=schema if params else {},
        output_schema=entry.get("output"),
        contract=ToolContract(**entry.get("contract", {})),
        undo=entry.get("undo"),
    )


def cases_in(path: Path) -> Iterator[Case]:
    """Yield the cases of one file of the corpus."""
    for part in path.read_text(encoding="utf-8").split("\n=== ")[1:]:
        title, rest = part.split("\n", 1)
        body, *expected = re.split(r"^--> ", rest.rstrip("\n"), flags=re.MULTILINE)
        allowed = re.search(r"\[allowed ([\w ]+)\]", title)
        yield Case(
            name=title.split()[0],
            text=body.removesuffix("\n"),
            expected=tuple(parse_expected(line) for line in expected if line.strip() != "ok"),
            allowed=frozenset(allowed[1].split()) if allowed else None,
        )


def parse_expected(line: str) -> tuple[str, str]:
    code, _, pointer = line.strip().partition(" ")
    return code, pointer


def refused(code: str, pointer: str = "") -> Expected:
    return ((code, pointer),)


SEARCH = {"step_id": 1, "tool": "search_flights", "params": {"city": "x"}}


def plan_text(**fields: Any) -> str:
    return json.dumps({"task_id": "t", "steps": [SEARCH]} | fields, ensure_ascii=False)


def searches(count: int) -> list[dict[str, Any]]:
    return [SEARCH | {"step_id": number} for number in range(count)]


def nested(levels: int) -> str:
    """Return a plan with this many levels of objects and lists, the plan itself included."""
    lists = levels - 4  # the plan, its steps, the step, its params
    value = "[" * lists + "]" * lists
    step = f'{{"step_id": 1, "tool": "anything", "params": {{"x": {value}}}}}'
    return f'{{"task_id": "t", "steps": [{step}]}}'


ODD = (
    Case("A-empty", b"", refused("empty")),
    Case("A-empty-spaces", b" \r\n\t ", refused("empty")),
    Case("A-bom", b"\xef\xbb\xbf" + plan_text().encode(), OK),
    Case("A-bom-str", "\ufeff" + plan_text(), OK),
    Case("A-bom-twice", "\ufeff\ufeff" + plan_text(), refused("not-json")),
    Case("A-utf16-bom", plan_text().encode("utf-16"), refused("not-utf8")),
    Case("A-utf16-le", plan_text().encode("utf-16-le"), refused("not-utf8")),
    Case("A-utf16-be", plan_text().encode("utf-16-be"), refused("not-utf8")),
    Case("A-utf32", plan_text().encode("utf-32-le"), refused("not-utf8")),
    Case("A-latin1", plan_text(goal="é").encode("latin-1"), refused("not-utf8")),
    Case("A-utf8-overlong", b'{"task_id": "\xc0\xaf"}', refused("not-utf8")),
    Case("A-utf8-surrogate", b'{"task_id": "\xed\xa0\x80"}', refused("not-utf8")),
    Case("A-utf8-cut-off", '{"goal": "é'.encode()[:-1], refused("not-utf8")),
    Case("A-gzip", b"\x1f\x8b\x08\x00" + bytes(20), refused("not-utf8")),
    Case("A-nul", plan_text()[:-1] + "\0}", refused("not-json")),
    Case("A-nul-inside", '{"task_id": "a\0b", "steps": []}', refused("not-json")),
    Case("A-no-break-space", plan_text().replace(" ", "\u00a0"), refused("not-json")),
    Case("A-surrogate-raw", plan_text(goal="a\ud800"), refused("lone-surrogate", "/goal")),
    Case("A-surrogate-outside", plan_text() + "\ud800", refused("trailing-data")),
    Case(
        "A-int-4300",
        plan_text(inputs={"x": 0}).replace('"x": 0', '"x": ' + "9" * 5000),
        refused("number-too-large", "/inputs/x"),
    ),
    Case(
        "A-float-long",
        plan_text(inputs={"x": 0}).replace('"x": 0', '"x": 0.' + "1" * 5000),
        OK,
    ),
    Case("A-float-tiny", plan_text(inputs={"x": 0}).replace('"x": 0', '"x": 1e-9999'), OK),
    Case("A-depth-limit", nested(LIMITS.depth_max), OK),
    Case("A-depth-over", nested(LIMITS.depth_max + 1), refused("too-deep")),
    Case("A-depth-bomb", "[" * 500_000, refused("too-deep")),
    Case("A-depth-bomb-closed", "[" * 400_000 + "]" * 400_000, refused("too-deep")),
    Case("A-depth-bomb-objects", '{"a":' * 100_000, refused("too-deep")),
    Case("A-depth-in-text", plan_text(goal="[" * 200), OK),
    Case("A-depth-in-comment", "// " + "[" * 200 + "\n" + plan_text(), OK),
    Case("A-depth-behind-comment", '/* " */' + "[" * 200 + '/* " */', refused("too-deep")),
    Case(
        "A-text-1mib",
        plan_text(inputs={"x": "a" * 1_048_576}),
        refused("too-large"),
    ),
    Case(
        "A-text-limit",
        plan_text(inputs={"x": "a" * LIMITS.string_max}),
        OK,
    ),
    Case(
        "A-text-over",
        plan_text(inputs={"x": "a" * (LIMITS.string_max + 1)}),
        refused("text-too-long", "/inputs/x"),
    ),
    Case("A-size-limit", plan_text() + " " * (LIMITS.plan_bytes_max - len(plan_text())), OK),
    Case(
        "A-size-over",
        plan_text() + " " * (LIMITS.plan_bytes_max + 1 - len(plan_text())),
        refused("too-large"),
    ),
    Case("A-size-over-bytes", plan_text(goal="é" * 600_000), refused("too-large")),
    Case(
        "A-values-over",
        plan_text(inputs={"x": [0] * LIMITS.value_max}),
        refused("too-many-values"),
    ),
    Case("A-values-many", plan_text(inputs={"x": [0] * (LIMITS.value_max - 20)}), OK),
    Case("A-commas-in-text", plan_text(inputs={"x": "," * 60_000}), OK),
    Case("A-quotes-open", '"' + '\\"' * 400_000, refused("not-json")),
    Case("A-comments-open", "/*" * 400_000, refused("comment-not-closed")),
    Case("A-slashes", "/" * 800_000, refused("not-json")),
    Case("A-fences", "x\n" + "```\n" * 200_000, refused("several-fences")),
    Case("B-steps-limit", plan_text(steps=searches(LIMITS.step_max)), OK),
    Case(
        "B-steps-over",
        plan_text(steps=searches(LIMITS.step_max + 1)),
        refused("too-many-steps", "/steps"),
    ),
    Case("B-task-129", plan_text(task_id="a" * 129), refused("bad-length", "/task_id")),
    Case("B-task-128", plan_text(task_id="a" * 128), OK),
    Case("B-goal-4001", plan_text(goal="a" * 4001), refused("bad-length", "/goal")),
    Case(
        "C-cycle-200",
        plan_text(steps=[SEARCH | {"step_id": 0, "depends_on": [199]}, *searches(200)[1:]]),
        refused("cycle", "/steps/0/depends_on/0"),
    ),
    Case(
        "D-reference-long",
        plan_text(steps=[SEARCH | {"params": {"city": "$input.x" + ".a" * 600}}]),
        refused("malformed-reference", "/steps/0/params/city"),
    ),
)

READABLE = tuple(case for path in sorted(PLANS.glob("*.txt")) for case in cases_in(path))
CASES = (*READABLE, *ODD)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_plan_is_refused_with_exactly_these_codes_and_pointers(case: Case) -> None:
    found: Expected = ()
    try:
        read_plan(case.text, catalogue(), allowed=case.allowed)
    except PlanError as error:
        found = tuple((problem.code, problem.pointer) for problem in error.problems)
        for problem in error.problems:
            assert problem.message.isprintable(), "a terminal may be written to"
            assert problem.message.endswith((".", "?"))
            assert problem.hint.endswith((".", "?"))
            assert len(problem.message) + len(problem.hint) < 1500
    assert sorted(found) == sorted(case.expected)


@pytest.mark.parametrize(
    "case", [case for case in CASES if not case.expected], ids=lambda case: case.name
)
def test_an_accepted_plan_is_the_same_plan_after_its_canonical_text(case: Case) -> None:
    plan = Plan.read(case.text)
    again = Plan.read(plan.canonical_json())
    assert again == plan
    assert again.content_hash() == plan.content_hash()
    read_plan(plan.canonical_json(), catalogue(), allowed=case.allowed)


def test_the_hash_of_a_plan_is_the_same_in_every_process() -> None:
    # P1: no order of a set and no seed of a text's hash may leak into it.
    accepted = [case.text for case in READABLE if not case.expected]
    code = (
        "import json, sys; from fsm_saga.plan.model import Plan;"
        "print([Plan.read(text).content_hash() for text in json.load(sys.stdin)])"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps(accepted),
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("0", "1", "2")
    }
    assert found == {str([Plan.read(text).content_hash() for text in accepted])}


def test_the_corpus_is_large_and_each_case_has_a_name_of_its_own() -> None:
    names = [case.name for case in CASES]
    assert len(names) >= 200
    assert len(set(names)) == len(names)
