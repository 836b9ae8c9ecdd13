"""Every error and every problem of a plan is told on one page, and nothing else is."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from fsm_saga import errors
from fsm_saga.etcd import errors as etcd_errors

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")


def trees() -> Iterator[tuple[Path, ast.Module]]:
    """Give every module of the package, whether or not what it imports is installed."""
    for path in sorted((ROOT / "fsm_saga").rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def error_classes() -> dict[tuple[Path, str], str | None]:
    """Return the code that each error class of the package brings, or None if it has its base's.

    A class is one of ours if one of its bases is, by name: whoever derives an error under the name
    of another one is found by the test that no two of them share a name.
    """
    classes = {
        (path, node.name): node
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    ours = {"FsmSagaError"}
    while True:
        derived = {
            name
            for (_path, name), node in classes.items()
            if any(ast.unparse(base).rpartition(".")[2] in ours for base in node.bases)
        }
        if derived <= ours:
            break
        ours |= derived
    return {place: _code_of(node) for place, node in classes.items() if place[1] in ours}


def _code_of(node: ast.ClassDef) -> str | None:
    for line in node.body:
        target = line.targets[0] if isinstance(line, ast.Assign) else None
        if isinstance(line, ast.AnnAssign):
            target = line.target
        if isinstance(target, ast.Name) and target.id == "code":
            value = line.value if isinstance(line, ast.Assign | ast.AnnAssign) else None
            assert isinstance(value, ast.Constant), f"the code of {node.name} is no text"
            return str(value.value)
    return None


def command_line_codes() -> set[str]:
    """Return the codes that the command line gives to what is no error of ours."""
    found: set[str] = set()
    for path in (ROOT / "fsm_saga" / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            said: list[ast.expr] = []
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "_report_sentence":
                said = node.args[:1]
            elif isinstance(node, ast.Dict):
                said = [
                    value
                    for key, value in zip(node.keys, node.values, strict=True)
                    if isinstance(key, ast.Constant) and key.value == "code"
                ]
            found |= {str(each.value) for each in said if isinstance(each, ast.Constant)}
    return found


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
    sections = re.findall(r"^## ([a-z-]+)$", PAGE, flags=re.MULTILINE)
    assert sorted(sections) == sorted(code for code in error_classes().values() if code)


def test_a_section_names_the_class_that_has_its_code() -> None:
    sections = re.split(r"^##? ", PAGE, flags=re.MULTILINE)
    texts = {text.partition("\n")[0]: text for text in sections}
    for (_path, name), code in error_classes().items():
        if code is not None:
            assert f"`{name}`" in texts[code], f"{code} does not name {name}"


def test_every_problem_of_a_plan_has_a_row_and_every_row_a_problem() -> None:
    rows = set(re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE, flags=re.MULTILINE))
    assert rows == problem_codes() | command_line_codes()


def test_no_two_errors_share_a_code_or_a_name() -> None:
    found = error_classes()
    codes = [code for code in found.values() if code is not None]
    assert len(set(codes)) == len(codes)
    names = [name for _path, name in found]
    assert len(set(names)) == len(names)


def test_the_classes_that_python_has_are_those_that_were_read() -> None:
    """The reading above is not blind: what can be imported here is found by it."""
    for module in (errors, etcd_errors):
        for name, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, errors.FsmSagaError) and kind.__module__ == module.__name__:
                code = error_classes()[Path(inspect.getfile(kind)), name]
                assert code in (kind.code, None)
