"""What runs at full length keeps each document, and one failure stops none of the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.evidence import nightly


def test_each_document_is_kept_and_a_failure_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = "python -c 'import sys; print(1); sys.exit(3)'"
    monkeypatch.setattr(nightly, "COMMANDS", {"bad": bad, "good": "python -c 'print(2)'"})
    assert nightly.main([], root=tmp_path) == 1
    kept = tmp_path / nightly.KEPT
    assert (kept / "bad.json").read_text() == "1\n"
    assert (kept / "good.json").read_text() == "2\n"
    ended = json.loads(capsys.readouterr().out)
    assert {name: each["exit_code"] for name, each in ended.items()} == {"bad": 3, "good": 0}
    assert nightly.main(["good"], root=tmp_path) == 0


def test_a_name_that_is_none_runs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert nightly.main(["kills", "nothing"], root=tmp_path) == 2
    assert "There is no 'nothing'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
