from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fsm_saga.cli.app import main
from fsm_saga.simulation import ends
from fsm_saga.simulation.ends import Ending, play
from fsm_saga.simulation.world import Violation

PLAN = {
    "task_id": "trip",
    "steps": [
        {
            "step_id": 1,
            "tool": "book_flight",
            "params": {},
            "rollback": {"tool": "cancel_flight", "params": {"order": "$output.step_1.order"}},
        },
        {
            "step_id": 2,
            "tool": "book_hotel",
            "params": {"from": "$output.step_1.seats.0"},
            "rollback": {"tool": "cancel_hotel", "params": {}},
        },
    ],
}


@pytest.fixture
def plan(tmp_path: Path) -> str:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(PLAN))
    return str(path)


def simulated(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    code = main(["simulate", *words, "--assume-tools", "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_ends_are_counted_and_the_worst_is_told(
    plan: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = simulated(capsys, plan, "--seeds", "60")

    assert code == 0
    assert found["is_sound"]
    assert found["violations"] == []
    assert sum(found["ends"].values()) == found["seeds"] == 60
    assert {"DONE committed", "FAILED compensated"} <= found["ends"].keys()
    assert found["worst"]["end"] in found["ends"]
    assert found["most_attempts"]["attempts"] >= 2
    assert all(asked["choices"] and asked["runs"] for asked in found["asked"])


def test_the_line_of_the_worst_run_runs_it_again(
    plan: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _code, found = simulated(capsys, plan, "--seeds", "40")
    seed = found["worst"]["seed"]
    assert found["worst"]["again"] == f"fsm-saga simulate {plan} --assume-tools --seed {seed}"

    _code, again = simulated(capsys, plan, "--seed", str(seed))

    assert again["run"] == found["worst"]


def test_one_seed_is_told_as_a_story(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", plan, "--assume-tools", "--seed", "3"]) == 0

    printed = capsys.readouterr().out
    assert "trip.0" in printed
    assert "End: " in printed
    assert "--seed 3" in printed


def test_the_text_says_what_the_json_says(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    _code, found = simulated(capsys, plan, "--seeds", "30")
    assert main(["simulate", plan, "--assume-tools", "--seeds", "30"]) == 0
    printed = capsys.readouterr().out

    for end, count in found["ends"].items():
        assert f"{count:6}  {end}" in printed
    assert f"Worst: {found['worst']['end']}" in printed
    for fault in found["worst"]["faults"]:
        assert fault in printed


def test_the_worst_run_is_drawn(
    plan: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "worst.svg"
    code = main(["simulate", plan, "--assume-tools", "--seeds", "10", "--picture", str(target)])

    assert code == 0
    assert "<svg" in target.read_text(encoding="utf-8")
    assert f"Drawn: {target}" in capsys.readouterr().out


def test_a_broken_rule_is_exit_1_and_names_the_seed(
    plan: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(scene: Any, seed: int, *, only: frozenset[str] | None = None) -> Ending:
        found = play(scene, seed, only=only)
        if seed != 4:
            return found
        values = {name: getattr(found, name) for name in Ending.__dataclass_fields__}
        values["violations"] = (Violation(code="X1", message="planted", at=0.0),)
        return Ending(**values)

    monkeypatch.setattr(ends, "play", broken)

    assert main(["simulate", plan, "--assume-tools", "--seeds", "6"]) == 1
    printed = capsys.readouterr().out
    assert "A rule was broken in 1 runs" in printed
    assert "seed 4: X1 at 0.000 s: planted" in printed
    assert "(seed 4)" in printed


def test_a_plan_that_is_refused_is_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plan.json"
    path.write_text('{"task_id": "x", "steps": []}')

    assert main(["simulate", str(path), "--assume-tools"]) == 2
    assert capsys.readouterr().out == ""


def test_without_tools_the_way_to_give_them_is_said(
    plan: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", plan]) == 2
    assert "--assume-tools" in capsys.readouterr().err
