"""The list of survivors stays true: what it names is in the code as it stands."""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path

import pytest

from tests.mutants.reading import (
    STRICT,
    Change,
    Listed,
    Mutant,
    Rule,
    read_mutants,
    read_survivors,
    told,
)

LISTED = read_survivors()


@pytest.mark.parametrize("change", LISTED.changes, ids=lambda change: change.function)
def test_a_listed_survivor_changes_lines_that_are_there(change: Change) -> None:
    thing: object = importlib.import_module(change.module)
    for name in change.function.removeprefix(f"{change.module}.").split("."):
        thing = inspect.getattr_static(thing, name)
    source = [line.strip() for line in inspect.getsource(thing).splitlines()]  # type: ignore[arg-type]
    assert set(change.was.splitlines()) <= set(source)


def test_the_strict_modules_are_there() -> None:
    for name in STRICT:
        importlib.import_module(name)


MUTATED = """\
def x_f__mutmut_orig(a):
    if a:
        return 1
    return 2
def x_f__mutmut_1(a):
    if not a:
        return 1
    return 2
def x_f__mutmut_2(a):
    if a:
        return 1
    return 3
class C:
    def xǁCǁg__mutmut_orig(self):
        return 0
    def xǁCǁg__mutmut_1(self):
        return 1
    def xǁCǁh__mutmut_orig(self, a=0):
        return a
    def xǁCǁh__mutmut_1(self, a=1):
        return a
"""


def test_a_mutant_is_known_by_its_function_and_the_lines_that_differ(tmp_path: Path) -> None:
    folder = tmp_path / "fsm_saga" / "core"
    folder.mkdir(parents=True)
    (folder / "ids.py").write_text(MUTATED, "utf-8")
    codes = {"x_f__mutmut_1": 0, "x_f__mutmut_2": 1, "xǁCǁg__mutmut_1": None}
    codes["xǁCǁh__mutmut_1"] = 1
    meta = {"exit_code_by_key": {f"fsm_saga.core.ids.{key}": code for key, code in codes.items()}}
    (folder / "ids.py.meta").write_text(json.dumps(meta), "utf-8")
    mutants = list(read_mutants(tmp_path))
    change = Change(function="fsm_saga.core.ids.f", was="if a:", becomes="if not a:")
    assert [mutant.change for mutant in mutants] == [
        change,
        Change(function="fsm_saga.core.ids.f", was="return 2", becomes="return 3"),
        Change(function="fsm_saga.core.ids.C.g", was="return 0", becomes="return 1"),
        Change(
            function="fsm_saga.core.ids.C.h",
            was="def h(self, a=0):",
            becomes="def h(self, a=1):",
        ),
    ]
    document = told(mutants, Listed({}))
    assert (document["mutants"], document["killed"], document["not_run"]) == (4, 2, 1)
    assert (document["unlisted"], document["strict_unlisted"]) == (1, 1)
    document = told(mutants, Listed({change: "it makes no difference"}))
    assert (document["listed"], document["strict_unlisted"]) == (1, 0)


def test_what_is_listed_and_does_not_survive_is_told() -> None:
    change = Change(function="fsm_saga.core.ids.f", was="a", becomes="b")
    killed = Mutant(name="n", exit_code=1, change=change)
    assert len(told([killed], Listed({change: "why"}))["listed_in_vain"]) == 1
    not_run = Mutant(name="n", exit_code=None, change=change)
    assert told([not_run], Listed({change: "why"}))["listed_in_vain"] == []


def test_a_rule_excuses_what_differs_in_nothing_else() -> None:
    zipped = "for a, b in zip(x, y, strict=True):"
    touches = r"(, strict=\w+|, (?=\)))"
    rule = Rule(within=r"zip\(", touches=touches, reason="they are of one length")
    for becomes, reason in {
        "for a, b in zip(x, y, strict=False):": rule.reason,
        "for a, b in zip(x, y, ):": rule.reason,
        "for a, b in zip(x, None, strict=True):": None,
    }.items():
        change = Change(function="fsm_saga.core.ids.f", was=zipped, becomes=becomes)
        assert Listed({}, [rule]).reason(change) == reason
        elsewhere = Change(function="f", was="f(x, strict=True)", becomes="f(x, strict=False)")
        assert Listed({}, [rule]).reason(elsewhere) is None


def test_a_rule_may_excuse_the_case_of_letters() -> None:
    rule = Rule(within='"SELECT', ignores_case=True, reason="SQL reads both")
    was = 'execute("SELECT a FROM b")'
    for becomes, excused in ((was.lower(), True), ('execute("SELECT a FROM c")', False)):
        change = Change(function="f", was=was, becomes=becomes)
        assert rule.holds_for(change) is excused
