"""The README is short, its picture is there, its links lead somewhere, its example runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_readme_has_at_most_200_lines() -> None:
    assert len(README.splitlines()) <= 200


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", README))
def test_every_link_leads_to_a_file_of_the_project(link: str) -> None:
    assert (ROOT / link).exists(), f"{link} is not there"


def test_the_example_prints_what_the_readme_says(tmp_path: Path) -> None:
    example = tmp_path / "example.py"
    example.write_text(PYTHON[0], encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, str(example)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stdout == "cancelled order-1\nFAILED compensated\n", ended.stderr


def test_the_two_commands_of_the_set_up_are_targets_of_make() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {"demo", "test"} <= targets
    assert set(re.findall(r"^    make ([a-z]+)$", README, flags=re.MULTILINE)) == {
        "demo",
        "test",
    }
