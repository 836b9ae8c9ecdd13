"""The plugin, in pytest runs of its own; and the page that tells of it, word for word."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fsm_saga.testing
from fsm_saga.testing import Call, End, FakeTool, Person, SagaTest

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
NAME = "fsm_saga.testing.plugin"


def blocks(language: str) -> list[str]:
    """Return the code blocks of the page."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def pytest_in(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run pytest there with this plugin alone, whatever is installed."""
    line = [sys.executable, "-m", "pytest", "-q", "-p", NAME, "-p", "no:cacheprovider", *words]
    return subprocess.run(
        line,
        cwd=folder,
        env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_tests_on_the_page_pass(tmp_path: Path) -> None:
    tests, tools = blocks("python")
    (tmp_path / "test_trip.py").write_text(tests)
    (tmp_path / "tools.py").write_text(tools)
    (tmp_path / "plan.json").write_text(blocks("json")[0])

    ended = pytest_in(tmp_path, "-W", "error", "--strict-config", "--strict-markers")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{tests.count('def test_')} passed" in ended.stdout


def test_a_wrong_end_tells_what_happened(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "def test_it(saga):\n"
        "    step = {'step_id': 1, 'tool': 'pay', 'params': {}, 'kind': 'pivot'}\n"
        "    saga.plan({'task_id': 't', 'steps': [step]})\n"
        "    saga.tool('pay').rejects('no money')\n"
        "    assert saga.run() == 'DONE committed'\n"
    )
    ended = pytest_in(tmp_path)

    assert ended.returncode == 1
    assert "<End FAILED nothing_happened> == 'DONE committed'" in ended.stdout
    assert "do pay, step 1: rejected: no money" in ended.stdout


def test_a_run_without_sagas_imports_nothing_of_the_engine(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_it():\n"
        "    ours = {m for m in sys.modules if m.startswith('fsm_saga')}\n"
        "    assert ours == {'fsm_saga', 'fsm_saga.testing', 'fsm_saga.testing.plugin'}\n"
        "    assert 'msgspec' not in sys.modules and 'pydantic' not in sys.modules\n"
    )
    ended = pytest_in(tmp_path)

    assert ended.returncode == 0, ended.stdout


def test_the_plugin_is_registered_by_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["entry-points"]["pytest11"] == {"fsm_saga": NAME}


def test_every_public_name_is_on_the_page() -> None:
    for name in fsm_saga.testing.__all__:
        assert f"`{name}`" in PAGE or f"## {name}" in PAGE
    assert dir(fsm_saga.testing) == sorted(fsm_saga.testing.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'stage'"):
        _ = fsm_saga.testing.stage


def test_every_method_is_on_the_page() -> None:
    for kind in (SagaTest, FakeTool, Person, End):
        for name, value in vars(kind).items():
            if callable(value) and not name.startswith("_"):
                assert f"`{name}(" in PAGE, f"{kind.__name__}.{name}"
    for field in (*End.__dataclass_fields__, *Call.__dataclass_fields__):
        assert f"`{field}`" in PAGE, field


PAYS = (
    "def test_it(saga):\n"
    "    step = {'step_id': 1, 'tool': 'pay', 'params': {}, 'kind': 'pivot'}\n"
    "    saga.plan({'task_id': 't', 'steps': [step]})\n"
)


def failure_of(folder: Path, *lines: str) -> str:
    """Return what pytest says of a test that goes on with these lines."""
    (folder / "test_it.py").write_text(PAYS + "".join(f"    {line}\n" for line in lines))
    ended = pytest_in(folder)
    assert ended.returncode == 1
    return ended.stdout


def test_wrong_names_tell_what_happened(tmp_path: Path) -> None:
    said = failure_of(tmp_path, "end = saga.run()", "assert end.left == []")

    assert "['pay'] == []" in said
    assert "do pay, step 1: ok" in said


def test_an_end_that_no_run_can_come_to_is_told(tmp_path: Path) -> None:
    said = failure_of(tmp_path, "assert saga.run() == 'DONE comitted'")

    assert "No run can end as 'DONE comitted'" in said
    assert "Did you mean 'DONE committed'?" in said


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("saga.tool('play')", "Did you mean 'pay'?"),
        ("saga.cancel(after='play')", "it has 1 (pay). Did you mean 'pay'?"),
        ("saga.plan('none.json')", "A path is relative to"),
        ("saga.plan({'task_id': 't', 'steps': []})", "/steps"),
        ("saga.tool('pay').returns(object())", "cannot return this"),
    ],
)
def test_what_is_wrong_with_a_test_is_shown_at_its_line(
    tmp_path: Path, line: str, told: str
) -> None:
    said = failure_of(tmp_path, line)

    assert told in said
    shown = re.findall(r"^(\S+\.py):\d+: ", said, flags=re.MULTILINE)
    assert shown == ["test_it.py"]
