"""Whether what the list of bad input names exists: cases of the corpus, and tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from tests.corpus.kinds import KINDS
from tests.corpus.test_plan_corpus import CASES

ROOT = Path(__file__).resolve().parents[2]


def missing_holders() -> Iterator[str]:
    """Yield each kind with a holder that does not exist, or with none and no reason."""
    for kind in KINDS:
        if not kind.holders and not kind.waits:
            yield f"{kind.number} has neither a holder nor a reason"
        for holder in kind.holders:
            if not exists(holder):
                yield f"{kind.number}: {holder}"


def exists(holder: str) -> bool:
    """Return whether a case or a test of this name is there."""
    file, separator, test = holder.partition("::")
    if not separator:
        return any(fnmatchcase(case.name, holder) for case in CASES)
    return test in tests_in(file)


@cache
def tests_in(file: str) -> frozenset[str]:
    """Return the names of the tests in a file; of a file that is not there, none."""
    path = ROOT / file
    if not path.exists():
        return frozenset()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, functions))
