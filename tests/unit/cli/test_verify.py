from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from fsm_saga.cli.planning import AssumedTools, program_of_file
from fsm_saga.cli.verify import report_verification
from fsm_saga.core.decide import decide
from fsm_saga.core.events import Submitted
from fsm_saga.core.saga import Saga
from fsm_saga.machine.search import PathStep
from fsm_saga.machine.verify import Verification, Violation, verify_program
from fsm_saga.plan.model import Plan
from tests.unit.cli.desk import Desk


def test_a_plan_whose_properties_hold_is_proven(desk: Desk) -> None:
    plan = desk.plan("a", "b")
    text = desk.type("verify", plan, "--tools", desk.tools)
    as_json = desk.type("verify", plan, "--tools", desk.tools, "--json")

    assert (text.code, as_json.code) == (0, 0)
    assert text.out.startswith("Proven: ")
    assert as_json.json["is_proven"] is True
    assert as_json.json["violations"] == []
    assert list(desk.folder.glob("*.db")) == []


def test_without_tools_a_plan_is_refused_unless_they_are_assumed(desk: Desk) -> None:
    refused = desk.type("verify", desk.plan("a"), "--json")
    assumed = desk.type("verify", desk.plan("a"), "--assume-tools", "--json")

    assert (refused.code, assumed.code) == (2, 0)
    assert {p["code"] for p in refused.json["problems"]} == {"unknown-tool"}


def test_a_refused_plan_is_told_how_to_be_verified_without_its_tools(desk: Desk) -> None:
    assert "--assume-tools" in desk.type("verify", desk.plan("a")).err


def test_a_plan_that_is_too_large_for_the_limit_is_only_sampled(desk: Desk) -> None:
    typed = ("verify", desk.plan("a", "b"), "--assume-tools", "--limit", "5")
    ended, strict = desk.type(*typed), desk.type(*typed, "--strict")

    assert (ended.code, strict.code) == (0, 3)
    assert "only sampled: raise --limit" in ended.err
    assert ended.out.startswith("Sampled, not proven: ")
    told = desk.type(*typed, "--json").json
    assert (told["verdict"], told["is_exhaustive"]) == ("sampled", False)
    assert 0 < told["configurations"] <= 5 < told["configurations"] + told["unvisited"]
    assert told["walks"] > 0
    assert told["walk_depth"] > told["depth"]


def broken(desk: Desk) -> tuple[Saga, Verification]:
    """Return a verification that found a property broken, as a faulty engine would bring about."""
    program = program_of_file(desk.plan("a", "b"), [], is_assumed=True)
    plan = Plan.read(Path(desk.plan("a", "b")).read_bytes())
    body = json.loads(plan.canonical_json())
    saga = decide(Saga("trip", program), Submitted(at=0.0, plan=body, tools={})).saga
    violation = Violation(
        code="C2",
        title="FAILED means that no effect is left",
        message="step 1 is still there\x1b[31m",
        count=2,
        path=tuple(PathStep(f"event {number}", saga) for number in range(3)),
    )
    result = verify_program(program, configuration_max=5)
    return saga, dataclasses.replace(result, violations=(violation,))


def test_a_broken_property_is_shown_with_the_way_to_it_and_drawn(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    saga, result = broken(desk)
    code = report_verification(saga.program, result, picture="way.txt", as_json=False)
    printed = capsys.readouterr()

    assert code == 1
    assert "C2: FAILED means that no effect is left" in printed.out
    assert "step 1 is still there" in printed.out
    assert "\x1b" not in printed.out
    drawn = (desk.folder / "way.txt").read_text(encoding="utf-8")
    for number in range(3):
        assert f"{number + 1}. event {number}" in drawn
    assert "EXECUTING(1)" in drawn


def test_a_broken_property_is_in_the_json(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    saga, result = broken(desk)
    code = report_verification(saga.program, result, picture="way.svg", as_json=True)

    assert code == 1
    assert json.loads(capsys.readouterr().out)["violations"][0]["code"] == "C2"
    assert (desk.folder / "way.svg").read_bytes().startswith(b"<?xml")


def test_where_all_properties_hold_the_plan_is_drawn(desk: Desk) -> None:
    words = ("verify", desk.plan("a"), "--tools", desk.tools, "--picture", "plan.txt")
    ended = desk.type(*words)

    assert ended.code == 0
    assert "Drawn: plan.txt" in ended.out
    assert "take a" in (desk.folder / "plan.txt").read_text(encoding="utf-8")


def test_assumed_tools_are_there_when_asked_for_and_not_otherwise() -> None:
    assumed = AssumedTools()

    assert "anything" in assumed
    assert (list(assumed), len(assumed)) == ([], 0)
