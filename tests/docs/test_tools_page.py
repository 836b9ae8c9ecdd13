"""What docs/tools.md says of checks, promises and names is what the code has."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from fsm_saga.core.contract import Standing, ToolContract
from fsm_saga.tools import fence
from fsm_saga.tools.certify import Verdict, checks

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tools.md").read_text(encoding="utf-8")


def test_every_check_has_its_row() -> None:
    groups = [group for name, group in vars(checks).items() if name.endswith("_CHECKS")]
    names = {listed.name for group in groups for listed in group}
    table = PAGE.partition("| check | promise |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| ([a-z, -]+) \| [`(]", table, flags=re.MULTILINE)

    assert {name for row in rows for name in row.split(", ")} == names


def test_every_promise_is_told() -> None:
    for promise in ToolContract.__annotations__:
        assert f"`{promise}`" in PAGE


def test_every_verdict_and_standing_is_told() -> None:
    for word in (*Verdict, *set(Standing) - {Standing.REFUTED, Standing.OUTDATED}):
        assert f"*{word}*" in PAGE


def test_every_name_of_the_fence_is_told() -> None:
    for name in set(fence.__all__) - {"FencedCall"}:
        assert name in PAGE
    for name in ("is_first", "answer", "action_answer", "db"):
        assert name in {field.name for field in dataclasses.fields(fence.FencedCall)}
        assert f"call.{name}" in PAGE
