"""Mutated input at every door, and proof that the fuzzer would see what it looks for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fsm_saga.errors import PlanError, Problem
from fsm_saga.plan.model import Plan
from tests.corpus.test_plan_corpus import catalogue
from tests.fuzz import run
from tests.fuzz.__main__ import main
from tests.fuzz.mutate import MUTATORS
from tests.fuzz.plan_oracle import check_refusal
from tests.fuzz.plan_rules import faults
from tests.fuzz.plan_sources import SHAPES, generated, kept_sources, some_source
from tests.fuzz.plans import PlanTexts
from tests.fuzz.run import check_case, failure_of, run_cases, watch_time
from tests.fuzz.shrink import shrunk, smaller_values
from tests.fuzz.tally import BrokenPromiseError, Tally, must
from tests.fuzz.target import Target, case_of
from tests.fuzz.targets import TARGETS
from tests.fuzz.tree import tree_of, value_of, written

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = 30_000

# --- the sample ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_thirty_thousand_mutated_plans_are_refused_with_reasons_or_sound() -> None:
    found = run_cases(PlanTexts, seed=1, numbers=range(SAMPLE), workers=os.cpu_count() or 1)
    told = found.as_json()
    assert told["failures"] == []
    assert found.cases == SAMPLE
    counts = found.tally.counts
    assert counts["accepted"] > SAMPLE / 10, "a run in which everything is refused proves little"
    assert counts["drawn"] > SAMPLE / 200
    assert sum(code.startswith("code ") for code in counts) > 50, "most kinds of problem come up"


@pytest.mark.parametrize("name", sorted(TARGETS))
@pytest.mark.timeout(60)
def test_every_door_holds_against_some_mutated_input(name: str) -> None:
    target, seen = TARGETS[name](), Tally()
    watch_time()
    count = 40 if name == "words" else 150
    try:
        for number in range(count):
            error = check_case(target, case_of(target, 2, number), seen)
            assert error is None, failure_of(target, 2, number, error).again
    finally:
        target.close()
    assert seen.counts


@pytest.mark.slow
def test_what_becomes_of_a_case_does_not_depend_on_the_seed_of_hashes() -> None:
    digests = set()
    words = ["--target", "plans", "--cases", "600", "--workers", "1", "--json"]
    for seed in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz", *words],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        )
        digests.add(json.loads(done.stdout)["targets"]["plans"]["digest"])
    assert len(digests) == 1


# --- cases ---------------------------------------------------------------------------------------


def test_a_case_is_its_seed_and_number() -> None:
    target = PlanTexts()
    assert case_of(target, 1, 7) == case_of(target, 1, 7)
    assert case_of(target, 1, 7) != case_of(target, 1, 8)
    assert case_of(target, 1, 7) != case_of(target, 2, 7)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [1, 7, 200])
def test_what_is_mutated_is_sound_before(shape: str, count: int) -> None:
    draw = Random(f"{shape}{count}")
    source = generated(draw, count)
    plan = Plan.read(written(source.tree))
    assert len(plan.steps) == count
    assert list(faults(value_of(source.tree), catalogue(), None)) == []


def test_every_mutator_changes_something() -> None:
    trees = [source.tree for source in kept_sources()[:40]]
    for mutate in MUTATORS:
        changed = 0
        for number, tree in enumerate(trees):
            mine = tree_of(tree)
            mutate(mine, Random(number))
            changed += mine != tree
        assert changed > len(trees) / 4, mutate.__name__


def test_a_tree_is_written_as_json_that_reads_as_its_value() -> None:
    for number in range(50):
        draw = Random(number)
        tree = some_source(draw).tree
        assert json.loads(written(tree, draw)) == value_of(tree)


# --- would it be seen? ---------------------------------------------------------------------------


class Planted(Target):
    """A door with holes: it raises at b'x', breaks its promise at b'y', and dies at case 9."""

    name = "planted"
    about = "for the tests of the fuzzer"

    def make(self, draw: Random) -> bytes:
        return b'{"a": [1, 2], "b": "' + draw.choice([b"x", b"y", b"z"]) * 3 + b'"}'

    def check(self, case: bytes, seen: Tally) -> None:
        seen.count("seen")
        must(b"y" not in case, "no y comes out")
        if b"x" in case:
            raise KeyError(case)


class Dying(Planted):
    """Ends the process when its ninth case comes."""

    name = "dying"

    def make(self, draw: Random) -> Any:
        return draw.randrange(9)

    def check(self, case: Any, seen: Tally) -> None:
        if case == 8:
            os._exit(7)


@pytest.mark.slow
def test_a_planted_exception_and_a_planted_lie_are_found_and_made_small() -> None:
    found = run_cases(Planted, seed=1, numbers=range(40), workers=2).as_json()
    assert found["cases"] == 40
    assert {failure["what"] for failure in found["failures"]} == {
        "KeyError at test_fuzz.py:check",
        "no y comes out",
    }
    assert {failure["smallest"] for failure in found["failures"]} == {"b'x'", "b'y'"}
    assert found["failures"][0]["again"].startswith("python -m tests.fuzz --again planted:1:")


@pytest.mark.slow
def test_a_case_that_ends_its_process_is_named_and_the_rest_is_looked_at() -> None:
    numbers = range(20)
    deadly = [number for number in numbers if case_of(Dying(), 1, number) == 8]
    assert deadly
    found = run_cases(Dying, seed=1, numbers=numbers, workers=1)
    assert [failure.number for failure in found.failures] == deadly
    assert found.as_json()["failures"][0]["what"] == "ends the process (7)"


def test_a_case_that_takes_too_long_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(Planted):
        def check(self, case: bytes, seen: Tally) -> None:
            while True:
                seen.count("turns")

    monkeypatch.setattr(run, "CASE_S_MAX", 0.05)
    watch_time()
    assert isinstance(check_case(Endless(), b"", Tally()), run.TakesTooLongError)


def test_one_line_shows_a_case_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--again", "plans:1:3"]) == 0
    shown = capsys.readouterr().out
    assert repr(case_of(PlanTexts(), 1, 3)) in shown


def test_a_case_is_made_as_small_as_its_failure_allows() -> None:
    text = json.dumps({"steps": [{"a": 1}, {"b": {"c": ["needle", 2]}}]}).encode()
    assert shrunk(text, lambda case: b"needle" in case, smaller_values) == b"needle"
    tree = tree_of({"steps": [{"a": 1}, {"b": ["needle", 2]}]})
    small = shrunk(tree, lambda case: "needle" in repr(case), smaller_values)
    assert len(repr(small)) < len(repr(tree))


def refusal(**fields: str) -> PlanError:
    whole = {"code": "cycle", "pointer": "/steps/0", "message": "Bad.", "hint": "Mend it."}
    return PlanError([Problem(**{**whole, **fields})])


@pytest.mark.parametrize(
    ("refused", "rule"),
    [
        (PlanError([]), "a refusal has a problem"),
        (refusal(code="circle"), "a code is documented"),
        (refusal(pointer="steps"), "a pointer is one"),
        (refusal(pointer="/a~2"), "a pointer is escaped"),
        (refusal(pointer="/\x1b"), "a pointer can be printed"),
        (refusal(message="\x1b[2J."), "a sentence can be printed"),
        (refusal(hint=""), "a sentence ends"),
        (refusal(message="x" * 30_000 + "."), "a problem is short"),
    ],
)
def test_a_refusal_that_does_not_help_is_seen(refused: PlanError, rule: str) -> None:
    check_refusal(refusal(), Tally())
    with pytest.raises(BrokenPromiseError) as found:
        check_refusal(refused, Tally())
    assert found.value.rule == rule


def plan(*steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"task_id": "t", "steps": list(steps), **fields}


def step(step_id: Any, tool: str = "search_flights", **fields: Any) -> dict[str, Any]:
    return {"step_id": step_id, "tool": tool, "params": {}, **fields}


@pytest.mark.parametrize(
    ("unsound", "said"),
    [
        (plan(), "0 steps"),
        (plan(step(1), step("1")), "not unique"),
        (plan(step(1), req_id="x"), "req_id"),
        (plan(step(1, name="a\x1b")), "control character"),
        (plan(step(1), task_id="a/b"), "task_id"),
        (plan(step(1, "missing")), "unknown"),
        (plan(step(1, depends_on=[2])), "names no step"),
        (plan(step(1, depends_on=[2]), step(2, depends_on=[1])), "circle"),
        (plan(step(1, params={"x": "$output.step_2.x"}), step(2)), "circle"),
        (plan(step(1, params={"x": "$output.step_9.x"})), "reference to 'step_9'"),
        (plan(step(1, params={"x": "$output"})), "malformed"),
        (plan(step(1, params={"x": "$input.who"})), "input 'who'"),
        (plan(step(1, "send_email"), step(2, "charge")), "no return"),
        (plan(step(1, "send_email"), step(2, "post")), "may fail after"),
    ],
)
def test_an_unsound_plan_is_seen_by_the_second_opinion(unsound: Any, said: str) -> None:
    assert any(said in fault for fault in faults(unsound, catalogue(), None))


def test_a_tool_that_this_caller_may_not_use_is_seen_by_the_second_opinion() -> None:
    assert not list(faults(plan(step(1)), catalogue(), None))
    assert list(faults(plan(step(1)), catalogue(), frozenset({"post"})))


@pytest.mark.slow
def test_a_run_in_parts_adds_up_to_the_whole_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for first, cases in ((0, 30), (30, 20), (0, 50)):
        words = ["--target", "records", "--workers", "1", "--json", "--seed", "3"]
        assert main([*words, "--first", str(first), "--cases", str(cases)]) == 0
        files.append(tmp_path / f"{first}-{cases}.json")
        files[-1].write_text(capsys.readouterr().out)
    assert main(["--sum", str(files[0]), str(files[1])]) == 0
    (added,) = json.loads(capsys.readouterr().out)["targets"].values()
    (whole,) = json.loads(files[2].read_text())["targets"].values()
    for part in ("cases", "counts", "digest"):
        assert added[part] == whole[part]
