"""The names that programs may import, held still: removing one breaks somebody."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fsm_saga

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = [
    "CallContext",
    "CheckAnswer",
    "CommandError",
    "ConflictError",
    "CorruptRecordError",
    "DrawingError",
    "Engine",
    "EventRefusedError",
    "FencedError",
    "FsmSagaError",
    "OutcomeUnknown",
    "Plan",
    "PlanError",
    "Problem",
    "SagaExistsError",
    "SagaFailedError",
    "SagaView",
    "StepView",
    "StoreError",
    "StoreLockedError",
    "StoreUnavailableError",
    "StoreVersionError",
    "Tool",
    "ToolsError",
    "UnknownSagaError",
    "__version__",
    "tool",
]


def test_the_public_names_are_these() -> None:
    assert fsm_saga.__all__ == PUBLIC
    assert dir(fsm_saga) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_name_is_there_and_stays_the_same_object(name: str) -> None:
    assert getattr(fsm_saga, name) is getattr(fsm_saga, name)


def test_a_name_that_is_not_public_is_not_there() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'engine_room'"):
        _ = fsm_saga.engine_room


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert fsm_saga.__version__ == project["version"]


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = "import sys, fsm_saga; print([m for m in sys.modules if m.startswith('fsm_saga')])"
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert ended.stdout.strip() == "['fsm_saga']"
