"""Imports go downward only, and the core imports next to nothing.

import-linter reads the layers from pyproject.toml; ruff bans impure modules from the core by name.
Here both are run, and the core is held to a list of what it *may* import.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "fsm_saga"

# Passive modules: same arguments, same answer, nothing read from the machine. Of others than Python
# itself there is one, which gives the core its data types.
CORE_MAY_IMPORT = frozenset(
    {
        "__future__",
        "bisect",
        "collections",
        "copy",
        "dataclasses",
        "enum",
        "functools",
        "hashlib",
        "heapq",
        "itertools",
        "json",
        "math",
        "msgspec",
        "operator",
        "re",
        "string",
        "types",
        "typing",
        "unicodedata",
        "fsm_saga.core",
        "fsm_saga.errors",
    }
)
CORE_MAY_NOT_CALL = frozenset(
    {"__import__", "compile", "eval", "exec", "id", "input", "open", "print"}
)


def imported_modules(source: str) -> list[str]:
    """Return the dotted name of each imported module, wherever the import stands."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append("." * node.level + (node.module or ""))
    return names


def impurities(source: str) -> list[str]:
    """Return what a file of the core imports or calls and must not."""
    found = [
        f"imports {name}"
        for name in imported_modules(source)
        if not any(name == may or name.startswith(f"{may}.") for may in CORE_MAY_IMPORT)
    ]
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    found += [
        f"calls {call.id}()"
        for call in calls
        if isinstance(call, ast.Name) and call.id in CORE_MAY_NOT_CALL
    ]
    return found


def test_every_import_goes_to_a_lower_layer() -> None:
    run = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 kept, 0 broken" in run.stdout


def test_the_core_imports_only_passive_modules_and_itself() -> None:
    files = sorted((PACKAGE / "core").rglob("*.py"))
    assert files, "the core is gone"
    found = [
        f"{path.relative_to(ROOT)} {impurity}"
        for path in files
        for impurity in impurities(path.read_text(encoding="utf-8"))
    ]
    assert not found, "the core decides over plain data and nothing else:\n" + "\n".join(found)


def test_no_part_of_the_package_imports_its_public_face() -> None:
    # `from fsm_saga import x` inside the package would be an import upward that no layer shows.
    found = [
        str(path.relative_to(ROOT))
        for path in sorted(PACKAGE.rglob("*.py"))
        if "fsm_saga" in imported_modules(path.read_text(encoding="utf-8"))
    ]
    assert not found, f"name the module that defines what you need: {found}"


@pytest.mark.parametrize(
    ("line", "impurity"),
    [
        ("import time", "imports time"),
        ("from os import path", "imports os"),
        ("import networkx.algorithms", "imports networkx.algorithms"),
        ("from fsm_saga.machine.flatten import rows", "imports fsm_saga.machine.flatten"),
        ("from fsm_saga import Engine", "imports fsm_saga"),
        ("from . import table", "imports ."),
        ("import collectionsx", "imports collectionsx"),
        ("open('journal')", "calls open()"),
    ],
)
def test_an_impure_line_in_the_core_is_found(line: str, impurity: str) -> None:
    assert impurities(line) == [impurity]
    assert impurities(f"def f():\n    {line}") == [impurity]


@pytest.mark.parametrize(
    "module", ["asyncio", "threading", "time", "random", "uuid", "logging", "os", "socket"]
)
def test_ruff_bans_impure_modules_in_the_core_and_nowhere_else(module: str) -> None:
    assert "TID251" in ruff_codes("fsm_saga/core/planted.py", module)
    assert "TID251" not in ruff_codes("fsm_saga/stores/planted.py", module)


def ruff_codes(filename: str, module: str) -> str:
    """Return ruff's findings for a file of this name that imports the module."""
    options = ["--no-cache", "--output-format=concise", "--stdin-filename", filename]
    return subprocess.run(
        [sys.executable, "-m", "ruff", "check", *options, "-"],
        cwd=ROOT,
        input=f"import {module}\n",
        capture_output=True,
        text=True,
        check=False,
    ).stdout
