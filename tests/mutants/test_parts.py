"""The parts name what is there: a pattern that matches nothing would mutate nothing, and pass."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tests.mutants.__main__ import settings_text
from tests.mutants.parts import PARTS
from tests.mutants.reading import STRICT

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", PARTS)
def test_a_part_names_files_and_tests_that_are_there(name: str) -> None:
    part = PARTS[name]
    for pattern in part.mutated:
        assert list(ROOT.glob(pattern)), pattern
    for test in (*part.tests, *part.left_out):
        file, _, function = test.partition("::")
        assert (ROOT / file).exists(), file
        function = function.partition("[")[0]
        assert not function or f"def {function}(" in (ROOT / file).read_text("utf-8"), test


def test_no_file_is_in_two_parts_and_every_strict_module_is_in_one() -> None:
    files = [
        str(file.relative_to(ROOT))
        for part in PARTS.values()
        for pattern in part.mutated
        for file in ROOT.glob(pattern)
    ]
    assert len(files) == len(set(files))
    assert {f"{name.replace('.', '/')}.py" for name in STRICT} <= set(files)


@pytest.mark.parametrize("name", PARTS)
def test_the_settings_of_a_part_are_said_beside_those_of_all(name: str) -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    before = tomllib.loads(text)["tool"]["mutmut"]
    after = tomllib.loads(settings_text(text, PARTS[name]))["tool"]["mutmut"]
    assert after["only_mutate"] == list(PARTS[name].mutated)
    assert after["pytest_add_cli_args_test_selection"] == list(PARTS[name].tests)
    for test in PARTS[name].left_out:
        assert test in after["pytest_add_cli_args"], json.dumps(after)
    assert set(before["pytest_add_cli_args"]) <= set(after["pytest_add_cli_args"])
