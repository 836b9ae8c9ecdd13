"""A file or function that outgrew its reader is split before it is merged."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "fsm_saga"

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70


def long_functions(source: str) -> list[str]:
    """Return `name (line n): m lines` for each function above the limit, decorators included."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        lines = (node.end_lineno or node.lineno) - first + 1
        if lines > FUNCTION_LINES_MAX:
            found.append(f"{node.name} (line {node.lineno}): {lines} lines")
    return found


def package_files() -> list[Path]:
    """Return every Python file of the package."""
    files = sorted(PACKAGE.rglob("*.py"))
    assert files, f"no Python file below {PACKAGE}: this test looks in the wrong place"
    return files


def test_no_file_of_the_package_is_above_500_lines() -> None:
    counts = {path: path.read_text(encoding="utf-8").count("\n") for path in package_files()}
    long = [
        f"{path.relative_to(ROOT)}: {lines} lines"
        for path, lines in counts.items()
        if lines > FILE_LINES_MAX
    ]
    assert not long, "split these, each half with a name of its own:\n" + "\n".join(long)


def test_no_function_of_the_package_is_above_70_lines() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {function}"
        for path in package_files()
        for function in long_functions(path.read_text(encoding="utf-8"))
    ]
    assert not long, "split these by what they do:\n" + "\n".join(long)


def test_a_function_one_line_too_long_is_found_and_one_at_the_limit_is_not() -> None:
    body = "    x = 1\n"
    at_limit = "async def f():\n" + body * (FUNCTION_LINES_MAX - 1)
    assert long_functions(at_limit) == []
    assert long_functions(at_limit + body) == ["f (line 1): 71 lines"]
    assert long_functions("@decorator\n" + at_limit) == ["f (line 2): 71 lines"]
