from __future__ import annotations

import io
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from fsm_saga.cli import simulate as command_module
from fsm_saga.cli.app import main
from fsm_saga.simulation import sweep
from fsm_saga.simulation.ends import Played, play
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
    def broken(scene: Any, seed: int, *, only: frozenset[str] | None = None) -> Played:
        found = play(scene, seed, only=only)
        if seed != 4:
            return found
        values = {name: getattr(found, name) for name in Played.__dataclass_fields__}
        values["violations"] = (Violation(code="X1", message="planted", at=0.0),)
        return Played(**values)

    monkeypatch.setattr(sweep, "play", broken)

    assert main(["simulate", plan, "--assume-tools", "--seeds", "6"]) == 1
    printed = capsys.readouterr().out
    assert "A rule was broken in 1 run:" in printed
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


def test_the_number_of_jobs_makes_no_difference(
    plan: str, capsys: pytest.CaptureFixture[str]
) -> None:
    one = simulated(capsys, plan, "--seeds", "80", "--jobs", "1")
    three = simulated(capsys, plan, "--seeds", "80", "--jobs", "3")

    assert one == three
    assert one[1]["is_whole"]


def test_each_end_has_a_seed_that_comes_to_it(
    plan: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _code, found = simulated(capsys, plan, "--seeds", "40")

    assert found["end_seeds"].keys() == found["ends"].keys()
    for end, seed in found["end_seeds"].items():
        _code, again = simulated(capsys, plan, "--seed", str(seed))
        assert again["run"]["end"] == end


@pytest.mark.parametrize("name", ["worst.bmp", "worst", "no-such-folder/worst.svg", "."])
def test_a_picture_that_cannot_be_written_is_refused_before_anything_is_run(
    plan: str,
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweep, "play", None)
    code = main(["simulate", plan, "--assume-tools", "--picture", str(tmp_path / name)])

    assert code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "[drawing-failed]" in told.err


@pytest.mark.parametrize(
    "words", [["--seeds", "0"], ["--seeds", "-1"], ["--jobs", "0"], ["--first", "-1"]]
)
def test_numbers_that_make_no_sense_are_refused(
    plan: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", plan, "--assume-tools", *words]) == 2
    assert words[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [(signal.SIGINT, 130, ["--jobs", "1"]), (signal.SIGTERM, 143, ["--jobs", "2"])],
)
def test_an_interruption_prints_what_was_found(
    plan: str,
    number: int,
    code: int,
    words: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    added = sweep.Sweep.add

    def add(found: sweep.Sweep, ending: Any) -> None:
        added(found, ending)
        if found.seeds == 9:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(sweep.Sweep, "add", add)
    again = signal.getsignal(number)
    arguments = ["simulate", plan, "--assume-tools", "--json", "--seeds", str(10**15)]

    assert main([*arguments, *words]) == code
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert not found["is_whole"]
    assert sum(found["ends"].values()) == found["seeds"] >= 9
    assert f"Interrupted: this is what {found['seeds']} runs of {10**15} came to." in told.err
    assert signal.getsignal(number) is again


def test_a_worker_that_is_killed_is_told_with_its_seeds(
    plan: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def deadly(scene: Any, seed: int, *, only: frozenset[str] | None = None) -> Played:
        if seed == 50:
            os.kill(os.getpid(), signal.SIGKILL)
        return play(scene, seed, only=only)

    monkeypatch.setattr(sweep, "play", deadly)
    # A worker that is forked has the patch; what other tests have started does no harm here.
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    code = main(["simulate", plan, "--assume-tools", "--jobs", "2"])

    assert code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "was killed by signal 9 during the seeds 30 to 59" in told.err
    assert "--first 30 --seeds 30 --jobs 1" in told.err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_on_a_terminal_and_is_taken_away(
    plan: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_module, "SHOWN_AFTER_S", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    arguments = ["simulate", plan, "--assume-tools", "--seeds", "20"]
    assert main(arguments) == 0
    quiet = capsys.readouterr()
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)

    assert main(arguments) == 0
    assert quiet.err == ""
    assert capsys.readouterr().out == quiet.out
    written = terminal.getvalue()
    assert "1 of 20 runs, about " in written
    assert written.endswith("\r\x1b[K")
    assert "\n" not in written
