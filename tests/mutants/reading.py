"""What mutmut left behind, read: every mutant, what it changed, and how it ended.

mutmut keeps, beside each source file that it mutated, a file of exit codes by the mutant's name.
The number in a name shifts with every edit, so a survivor is known here by its function and the
lines that differ.
"""

from __future__ import annotations

import ast
import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SURVIVORS = Path(__file__).with_name("survivors.toml")

# Here nothing may survive but what is listed: who may go on, under which id a tool is called, what
# a tool's error means, and what of it is shown.
STRICT = (
    "fsm_saga.core.guards",
    "fsm_saga.core.ids",
    "fsm_saga.tools.classify",
    "fsm_saga.tools.redact",
    "fsm_saga.tools.wording",
)

# pytest's exit codes, and mutmut's own: 33 is a mutant that no test reaches, 24 and 36 a time-out,
# negative a signal; all but the first two count as found.
_SURVIVED = frozenset({0, 33})
_SEPARATOR = "ǁ"  # how mutmut joins a class and its method


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a mutant changed, as a survivor is listed.

    Attributes:
        function: Module and name, such as ``fsm_saga.core.draft.Draft.freeze``.
        was: The lines that are gone, without indentation.
        becomes: The lines in their place.
    """

    function: str
    was: str
    becomes: str

    @property
    def module(self) -> str:
        """The module of the function: all up to its first name that is no package's or module's."""
        return ".".join(self.function.split(".")[:3])


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One mutant, and mutmut's exit code for it; None if it was not run."""

    name: str
    exit_code: int | None
    change: Change

    @property
    def has_survived(self) -> bool:
        """True if every test passed, or none reached it."""
        return self.exit_code in _SURVIVED


def read_mutants(folder: Path) -> Iterator[Mutant]:
    """Yield each mutant of a ``mutants`` folder in the order of files."""
    for meta in sorted(folder.rglob("*.py.meta")):
        codes: Mapping[str, int | None] = json.loads(meta.read_bytes())["exit_code_by_key"]
        if not codes:
            continue
        functions = _functions(meta.with_suffix("").read_text("utf-8"))
        for name, code in codes.items():
            yield Mutant(name=name, exit_code=code, change=_change(name, functions))


def forget_survivors(folder: Path) -> None:
    """Let mutmut run again what survived: it keeps results, and the tests may have changed."""
    for meta in folder.rglob("*.py.meta"):
        document = json.loads(meta.read_bytes())
        codes = document["exit_code_by_key"]
        document["exit_code_by_key"] = {
            name: None if code in _SURVIVED else code for name, code in codes.items()
        }
        meta.write_text(json.dumps(document), "utf-8")


def read_survivors(path: Path = SURVIVORS) -> dict[Change, str]:
    """Return the listed survivors, each with the reason why it may live.

    Raises:
        ValueError: If one is listed twice or has no reason.
    """
    listed: dict[Change, str] = {}
    for row in tomllib.loads(path.read_text("utf-8"))["survivor"]:
        change = Change(function=row["function"], was=row["was"], becomes=row["becomes"])
        if change in listed or not row["reason"]:
            raise ValueError(f"{change} is listed twice, or without a reason")
        listed[change] = row["reason"]
    return listed


def _functions(source: str) -> dict[str, list[str]]:
    """Return the lines of each function of a mutated file by the name that mutmut gave it."""
    lines = source.splitlines()
    return {
        node.name: lines[node.lineno - 1 : node.end_lineno]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def _change(name: str, functions: Mapping[str, list[str]]) -> Change:
    module, _, mangled = name.rpartition(".")
    stem, _, _number = mangled.rpartition("__mutmut_")
    before, after = functions[f"{stem}__mutmut_orig"][1:], functions[mangled][1:]
    removed, added = [], []
    for line in difflib.ndiff(before, after):
        if line.startswith("- "):
            removed.append(line[2:].strip())
        elif line.startswith("+ "):
            added.append(line[2:].strip())
    return Change(
        function=f"{module}.{_plain(stem)}", was="\n".join(removed), becomes="\n".join(added)
    )


def _plain(stem: str) -> str:
    """Return a function's own name: ``x_a`` is ``a``, ``xǁSagaǁof`` is ``Saga.of``."""
    if stem.startswith(f"x{_SEPARATOR}"):
        return stem.removeprefix(f"x{_SEPARATOR}").replace(_SEPARATOR, ".")
    return stem.removeprefix("x_")


def told(mutants: list[Mutant], listed: Mapping[Change, str]) -> dict[str, Any]:
    """Return the results by module, what survived unlisted, and what is listed in vain."""
    modules: dict[str, dict[str, int]] = {}
    for mutant in mutants:
        row = modules.setdefault(
            mutant.change.module,
            {"mutants": 0, "killed": 0, "listed": 0, "unlisted": 0, "not_run": 0},
        )
        row["mutants"] += 1
        row[_fate(mutant, listed)] += 1
    lived = {mutant.change for mutant in mutants if mutant.has_survived}
    killed = {mutant.change for mutant in mutants} - lived
    total = {key: sum(row[key] for row in modules.values()) for key in _KEYS}
    ran = total["mutants"] - total["not_run"]
    return {
        **total,
        "killed_percent": round(100 * total["killed"] / max(1, ran), 1),
        "modules": modules,
        "strict_unlisted": sum(modules.get(each, {}).get("unlisted", 0) for each in STRICT),
        "survivors": [_row(each, listed.get(each)) for each in sorted(lived, key=_order)],
        "listed_in_vain": [
            _row(each, listed[each]) for each in sorted(killed & set(listed), key=_order)
        ],
    }


_KEYS = ("mutants", "killed", "listed", "unlisted", "not_run")


def _fate(mutant: Mutant, listed: Mapping[Change, str]) -> str:
    if mutant.exit_code is None:
        return "not_run"
    if not mutant.has_survived:
        return "killed"
    return "listed" if mutant.change in listed else "unlisted"


def _order(change: Change) -> tuple[str, str, str]:
    return change.function, change.was, change.becomes


def _row(change: Change, reason: str | None) -> dict[str, str | None]:
    return {
        "function": change.function.removeprefix("fsm_saga."),
        "was": change.was,
        "becomes": change.becomes,
        "reason": reason,
    }
