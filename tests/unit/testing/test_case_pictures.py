"""Where the picture of a test's last run goes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fsm_saga.errors import DrawingError
from fsm_saga.testing import SagaTest

PLAN = {"task_id": "t", "steps": [{"step_id": 1, "tool": "look", "kind": "read_only"}]}


def test_a_picture_takes_the_place_of_no_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "run.txt"
    os.mkfifo(pipe)
    saga = SagaTest(tmp_path).plan(PLAN)
    saga.run()
    with pytest.raises(DrawingError, match="it is a device or a pipe, and no file"):
        saga.picture(pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
