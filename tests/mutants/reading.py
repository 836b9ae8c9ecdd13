"""What mutmut left behind, read: every mutant, what it changed, and how it ended.

mutmut keeps, beside each source file that it mutated, a file of exit codes by the mutant's name.
The number in a name shifts with every edit, so a survivor is known here by its function and the
lines that differ.
"""

from __future__ import annotations

import ast
import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SURVIVORS = Path(__file__).with_name("survivors")

# Here nothing may survive but what is listed: who may go on, under which id a tool is called, what
# a tool's error means, and what of it is shown.
STRICT = (
    "fsm_saga.core.guards",
    "fsm_saga.core.ids",
    "fsm_saga.tools.classify",
    "fsm_saga.tools.redact",
    "fsm_saga.tools.wording",
)

# pytest's exit codes, and mutmut's own: 33 and 5 are mutants that no test reaches, 24 and 36 a
# time-out, negative a signal; all but these three count as found.
_SURVIVED = frozenset({0, 5, 33})
_TIMED_OUT = frozenset({24, 36, 152, -24})
KILLED_PERCENT_MIN = 90.0
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

    @property
    def has_timed_out(self) -> bool:
        """True if a test went on for so long that it was stopped; it counts as killed."""
        return self.exit_code in _TIMED_OUT


def read_mutants(folder: Path) -> Iterator[Mutant]:
    """Yield each mutant of a ``mutants`` folder in the order of files."""
    for meta in sorted(folder.rglob("*.py.meta")):
        codes: Mapping[str, int | None] = json.loads(meta.read_bytes())["exit_code_by_key"]
        if not codes:
            continue
        functions = _functions(meta.with_suffix("").read_text("utf-8"))
        for name, code in codes.items():
            yield Mutant(name=name, exit_code=code, change=_change(name, functions))


def forget_unproven(folder: Path) -> None:
    """Let mutmut run again what no test refused: it keeps results, and the tests may have changed.

    What timed out is among it: the machine may have been busy.
    """
    for meta in folder.rglob("*.py.meta"):
        document = json.loads(meta.read_bytes())
        codes = document["exit_code_by_key"]
        document["exit_code_by_key"] = {
            name: None if code in _SURVIVED | _TIMED_OUT else code for name, code in codes.items()
        }
        meta.write_text(json.dumps(document), "utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A kind of change that no test can notice: what it touches has no effect when code runs.

    Attributes:
        within: A pattern of the lines that it is about.
        reason: Why it makes no difference.
        touches: A pattern of what may be changed in them.
        ignores_case: Capitals and small letters may be exchanged in them.
    """

    within: str
    reason: str
    touches: str = r"(?!)"
    ignores_case: bool = False

    def holds_for(self, change: Change) -> bool:
        """Return whether the lines are the same but for what the rule speaks of."""
        was, becomes = (re.sub(self.touches, "", text) for text in (change.was, change.becomes))
        if self.ignores_case:
            was, becomes = was.casefold(), becomes.casefold()
        return was == becomes and re.search(self.within, change.was) is not None


class Listed:
    """The survivors that may live, each with the reason."""

    def __init__(self, changes: Mapping[Change, str], rules: Sequence[Rule] = ()) -> None:
        self.changes = changes
        self.rules = tuple(rules)

    def reason(self, change: Change) -> str | None:
        """Return why a survivor may live, or None if nobody has said."""
        if change in self.changes:
            return self.changes[change]
        return next((rule.reason for rule in self.rules if rule.holds_for(change)), None)


def read_survivors(folder: Path = SURVIVORS) -> Listed:
    """Return the survivors that the folder's files list.

    A survivor is known by its function and the lines that differ; a rule tells a kind of change.

    Raises:
        ValueError: If one is listed twice or has no reason.
    """
    documents = [tomllib.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.toml"))]
    changes: dict[Change, str] = {}
    for row in (row for document in documents for row in document.get("survivor", ())):
        change = Change(function=row["function"], was=row["was"], becomes=row["becomes"])
        if change in changes or not row["reason"]:
            raise ValueError(f"{change} is listed twice, or without a reason")
        changes[change] = row["reason"]
    rules = [Rule(**row) for document in documents for row in document.get("rule", ())]
    return Listed(changes, rules)


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
    before, after = functions[f"{stem}__mutmut_orig"], functions[mangled]
    # All but the first line is as it stands; that one has the name which mutmut gave.
    own = _plain(stem).rpartition(".")[2]
    before = [before[0].replace(f"{stem}__mutmut_orig", own), *before[1:]]
    after = [after[0].replace(mangled, own), *after[1:]]
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


def told(mutants: list[Mutant], listed: Listed) -> dict[str, Any]:
    """Return the results by package and module, what survived, and what is listed in vain."""
    modules: dict[str, dict[str, Any]] = {}
    packages: dict[str, dict[str, Any]] = {}
    total = dict.fromkeys(_KEYS, 0)
    for mutant in mutants:
        module = mutant.change.module
        fate = _fate(mutant, listed)
        for row in (
            modules.setdefault(module, dict.fromkeys(_KEYS, 0)),
            packages.setdefault(module.split(".")[1], dict.fromkeys(_KEYS, 0)),
            total,
        ):
            row["mutants"] += 1
            row[fate] += 1
            row["timed_out"] += mutant.has_timed_out
    lived = {mutant.change for mutant in mutants if mutant.has_survived}
    tried = {mutant.change for mutant in mutants if mutant.exit_code is not None}
    return {
        **_rated(total),
        "packages": {name: _rated(row) for name, row in packages.items()},
        "modules": {name: _rated(row) for name, row in modules.items()},
        "strict_unlisted": sum(modules.get(each, {}).get("unlisted", 0) for each in STRICT),
        "survivors": [_row(each, listed.reason(each)) for each in sorted(lived, key=_order)],
        "listed_in_vain": [
            _row(each, listed.reason(each))
            for each in sorted((tried - lived) & set(listed.changes), key=_order)
        ],
    }


def is_enough(document: Mapping[str, Any]) -> bool:
    """True if all was run, each package killed its share, and no strict module let one live."""
    shares = [row["killed_percent"] for row in document["packages"].values()]
    return (
        document["not_run"] == 0
        and document["strict_unlisted"] == 0
        and min(shares, default=0.0) >= KILLED_PERCENT_MIN
    )


def _rated(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with the share that was killed of those that were run."""
    ran = row["mutants"] - row["not_run"]
    return {**row, "killed_percent": round(100 * row["killed"] / max(1, ran), 1)}


_KEYS = ("mutants", "killed", "listed", "unlisted", "not_run", "timed_out")


def _fate(mutant: Mutant, listed: Listed) -> str:
    if mutant.exit_code is None:
        return "not_run"
    if not mutant.has_survived:
        return "killed"
    return "unlisted" if listed.reason(mutant.change) is None else "listed"


def _order(change: Change) -> tuple[str, str, str]:
    return change.function, change.was, change.becomes


def _row(change: Change, reason: str | None) -> dict[str, str | None]:
    return {
        "function": change.function.removeprefix("fsm_saga."),
        "was": change.was,
        "becomes": change.becomes,
        "reason": reason,
    }
