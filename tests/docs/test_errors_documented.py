"""Every error and every problem of a plan is told on one page, and nothing else is."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

from fsm_saga import errors

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")


def error_codes() -> set[str]:
    return {
        found.code
        for _name, found in inspect.getmembers(errors, inspect.isclass)
        if issubclass(found, errors.FsmSagaError)
    }


def problem_codes() -> set[str]:
    files = [*(ROOT / "fsm_saga" / "plan").glob("*.py"), ROOT / "fsm_saga/core/references.py"]
    return {
        node.value
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"[a-z]+(?:-[a-z]+)+|cycle|empty|not-utf8", node.value)
    }


def test_every_error_class_has_a_section_and_every_section_a_class() -> None:
    sections = set(re.findall(r"^## ([a-z-]+)$", PAGE, flags=re.MULTILINE))
    assert sections == error_codes()


def test_every_problem_of_a_plan_has_a_row_and_every_row_a_problem() -> None:
    rows = set(re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE, flags=re.MULTILINE))
    assert rows == problem_codes()


def test_no_two_errors_share_a_code() -> None:
    classes = [
        found
        for _name, found in inspect.getmembers(errors, inspect.isclass)
        if issubclass(found, errors.FsmSagaError)
    ]
    assert len({found.code for found in classes}) == len(classes)
