"""A desk for each test, in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.desk import Desk


@pytest.fixture
def desk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Desk:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    return Desk(tmp_path, capsys)
