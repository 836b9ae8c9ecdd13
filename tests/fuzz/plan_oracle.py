"""What must hold for whatever is sent in as a plan: a refusal that helps, or a sound program."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from fsm_saga.coordinator.reading import read_saga
from fsm_saga.core.contract import ToolFacts
from fsm_saga.core.limits import LIMITS
from fsm_saga.core.program import Program
from fsm_saga.core.records import SagaSubmitted
from fsm_saga.errors import PlanError
from fsm_saga.machine.compile import compile_plan, declare
from fsm_saga.plan.lint import read_plan
from fsm_saga.plan.model import Plan
from fsm_saga.stores.codec import CODEC
from tests.fuzz.drawings import check_drawings
from tests.fuzz.plan_rules import faults
from tests.fuzz.tally import BrokenPromiseError, Tally, must

ERRORS_PAGE = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
DRAWN_STEP_MAX = 40

Tools = Mapping[str, ToolFacts]


def check_plan_text(
    text: bytes, tools: Tools, allowed: frozenset[str] | None, seen: Tally, *, is_drawn: bool
) -> None:
    """Return if the text is dealt with as promised.

    Raises:
        BrokenPromiseError: If it is not; any other exception is one that came out of the product.
    """
    made: tuple[Plan, Program] | None = None
    try:
        with seen.timed(len(text)):
            plan, _graph = read_plan(text, tools, allowed=allowed)
            made = plan, compile_plan(plan, declare(plan, tools))
    except PlanError as refusal:
        check_refusal(refusal, seen)
        _check_pointers(refusal, text)
        return
    plan, program = made
    seen.count("accepted")
    seen.verdict(f"accepted {plan.content_hash()}")
    check_accepted(plan, program, tools, allowed)
    if is_drawn and len(plan.steps) <= DRAWN_STEP_MAX:
        check_drawings(program)
        seen.count("drawn")


# --- refused -------------------------------------------------------------------------------------


@cache
def documented_codes() -> frozenset[str]:
    """Return the codes of problems that docs/errors.md tells of."""
    page = ERRORS_PAGE.read_text(encoding="utf-8")
    return frozenset(re.findall(r"^\| `([a-z0-9-]+)` \|", page, flags=re.MULTILINE))


def check_refusal(refusal: PlanError, seen: Tally) -> None:
    """Return if a refusal says what is wrong, where, why and what to do, fit for a terminal."""
    problems = refusal.problems
    must(problems, "a refusal has a problem")
    must(len(problems) <= LIMITS.problem_max + 1, "a refusal is bounded", len(problems))
    seen.count("refused")
    for problem in problems:
        seen.count(f"code {problem.code}")
        must(problem.code in documented_codes(), "a code is documented", problem.code)
        must(re.fullmatch(r"(?:/.*)?", problem.pointer), "a pointer is one", problem.pointer)
        must(not re.search(r"~(?![01])", problem.pointer), "a pointer is escaped", problem.pointer)
        must(problem.pointer.isprintable(), "a pointer can be printed", repr(problem.pointer))
        for said in (problem.message, problem.hint):
            must(said.isprintable(), "a sentence can be printed", repr(said))
            must(said.endswith((".", "?")), "a sentence ends", repr(said))
        size = len(problem.message) + len(problem.hint) + len(problem.pointer)
        must(size < 20_000, "a problem is short", size)
    seen.at_most("problems", len(problems))
    seen.verdict(";".join(f"{problem.code}@{problem.pointer}" for problem in problems))
    must(str(refusal).endswith("[plan-refused]"), "the error ends with its code")
    must(str(refusal).encode(), "the error can be written")
    again = pickle.loads(pickle.dumps(refusal))  # noqa: S301  # our own, just made
    must(again.problems == problems, "the error survives a process border")
    must(json.dumps([problem.as_json() for problem in problems]), "the problems are JSON")


def _check_pointers(refusal: PlanError, text: bytes) -> None:
    """Return if each pointer leads to something in the text, or to where something is missing."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return
    for problem in refusal.problems:
        if "\ufffd" in problem.pointer or "..." in problem.pointer:
            continue  # of this place the pointer shows what can be printed
        segments = [_unescaped(each) for each in problem.pointer.split("/")[1:]]
        if problem.code == "missing-param" and not _leads_somewhere(value, segments):
            segments = segments[:-1]  # not even `params` is there
        if segments and not _leads_somewhere(value, segments):
            raise BrokenPromiseError(
                "a pointer leads somewhere", f"{problem.code} {problem.pointer}"
            )


def _unescaped(segment: str) -> str:
    return segment.replace("~1", "/").replace("~0", "~")


def _leads_somewhere(value: Any, segments: list[str]) -> bool:
    *way, last = segments
    for segment in way:
        if isinstance(value, dict) and segment in value:
            value = value[segment]
        elif isinstance(value, list) and segment.isdecimal() and int(segment) < len(value):
            value = value[int(segment)]
        else:
            return False
    if isinstance(value, list):
        return last.isdecimal() and int(last) <= len(value)
    return isinstance(value, dict)


# --- accepted ------------------------------------------------------------------------------------


def check_accepted(
    plan: Plan, program: Program, tools: Tools, allowed: frozenset[str] | None
) -> None:
    """Return if an accepted plan is sound, stays itself, and is found again in a journal."""
    canonical = plan.canonical_json()
    again = Plan.read(canonical)
    must(again.canonical_json() == canonical, "a plan has one canonical text")
    must(again.content_hash() == plan.content_hash(), "a plan has one hash")
    body = orjson.loads(canonical)
    found = next(faults(body, tools, allowed), None)
    must(found is None, "an accepted plan is sound", found)
    must(len(program.steps) == len(plan.steps), "a program has the plan's steps")
    must(program.plan_hash == plan.content_hash(), "a program carries the plan's hash")

    submitted = SagaSubmitted(
        at=0.0,
        saga_id=plan.task_id,
        plan_hash=plan.content_hash(),
        plan=body,
        tools=declare(plan, tools),
        run_key="k",
    )
    records = CODEC.decode(CODEC.encode((submitted,)))
    must(records == (submitted,), "a plan comes back from a store")
    saga, _reader = read_saga(records)
    must(saga.program.steps == program.steps, "a journal compiles to the same program")
