"""A failed seed prints how to run it again, shrinks to few faults, and can be looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsm_saga.simulation.command import main
from fsm_saga.simulation.run import run_seed
from fsm_saga.simulation.shrink import rerun_line, shrink
from tests.simulation.zoo.all_bugs import bug_named

BUG = "time-out taken for a failure"


def test_the_line_runs_it_again() -> None:
    assert rerun_line(7) == "python -m fsm_saga.simulation --seed 7"
    assert rerun_line(7, only=("a@b", "c@d")).endswith("--seed 7 --only 'a@b,c@d'")


def test_a_failure_shrinks_to_few_faults_and_fails_alike() -> None:
    with bug_named(BUG).planted():
        verdict = next(v for v in map(run_seed, range(30)) if v.violations and len(v.faults) > 6)
        shrunk = shrink(verdict)
        assert shrunk.code in shrunk.verdict.codes
        assert len(shrunk.faults) <= 4 < len(verdict.faults)
        for fault in shrunk.faults:
            rest = frozenset(shrunk.faults) - {fault}
            assert shrunk.code not in run_seed(verdict.seed, only=rest).codes


def test_a_run_that_broke_nothing_does_not_shrink() -> None:
    with pytest.raises(ValueError, match="broke no rule"):
        shrink(run_seed(0, only=frozenset()))


def test_the_command_tells_shrinks_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "run.svg"
    with bug_named(BUG).planted():
        seed = next(seed for seed in range(30) if run_seed(seed).violations)
        assert main(["--seed", str(seed), "--shrink", "--picture", str(picture)]) == 1
    said = capsys.readouterr().out
    assert "are enough, found in" in said
    assert f"--seed {seed} --only" in said
    assert picture.read_text(encoding="utf-8").startswith(("<svg", "<?xml"))


def test_a_sound_seed_is_told_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "0", "--only", "", "--quiet"]) == 0
    assert "Everything held." in capsys.readouterr().out
