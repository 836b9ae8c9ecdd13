from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fsm_saga.errors import ToolsError
from fsm_saga.tools import load_tools, tool
from fsm_saga.tools.loading import tools_of_module

Write = Callable[[str, str], str]

ONE_TOOL = """
from fsm_saga.tools import tool

@tool
def book(flight: str) -> str:
    return flight
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a file and return its path; afterwards no module and no search path is left."""
    path, modules = list(sys.path), set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(name: str, text: str) -> str:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return str(file)

    yield write
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def names(spec: str) -> list[str]:
    return [tool.name for tool in load_tools(spec)]


def test_every_tool_of_a_file_is_found_once_and_in_order(write: Write) -> None:
    write("beside.py", ONE_TOOL + "\n@tool\ndef cancel(order_id: str) -> None: ...\n")
    spec = write(
        "trip_tools.py",
        "from fsm_saga.tools import tool\n"
        "import beside\n"
        "from beside import cancel\n"
        "@tool\n"
        "async def pay(cents: int) -> None: ...\n"
        "other = pay\n"
        "def helper(): ...\n",
    )
    assert names(spec) == ["cancel", "pay"]


def test_a_dotted_module_is_found_in_the_working_directory(write: Write) -> None:
    write("agency/__init__.py", "")
    write("agency/flights.py", "from .words import NAME\n" + ONE_TOOL)
    write("agency/words.py", "NAME = 'x'\n")
    assert names("agency.flights") == ["book"]


def test_a_file_inside_a_package_is_imported_as_part_of_it(write: Write) -> None:
    write("house/__init__.py", "")
    write("house/travel/__init__.py", "")
    write("house/travel/words.py", "NAME = 'x'\n")
    spec = write("house/travel/tools.py", "from .words import NAME\nimport words\n" + ONE_TOOL)
    assert names(spec) == ["book"]
    assert "house.travel.tools" in sys.modules


def test_a_file_is_loaded_once_however_it_is_named(write: Write, tmp_path: Path) -> None:
    spec = write("trip_tools.py", ONE_TOOL)
    (tmp_path / "link.py").symlink_to(spec)
    first = load_tools(spec)
    assert load_tools("trip_tools.py")[0] is first[0]
    assert load_tools("./trip_tools.py")[0] is first[0]
    assert load_tools("trip_tools")[0] is first[0]


def test_a_file_may_be_called_like_a_library_or_like_no_module_at_all(write: Write) -> None:
    assert names(write("json.py", ONE_TOOL)) == ["book"]
    assert names(write("my-tools.py", ONE_TOOL)) == ["book"]
    assert hasattr(sys.modules["json"], "loads")


def test_a_file_in_a_package_that_is_called_like_a_library_is_run_by_itself(write: Write) -> None:
    write("json/__init__.py", "")
    assert names(write("json/trip_tools.py", ONE_TOOL)) == ["book"]


def test_two_files_of_the_same_name_are_two_modules(write: Write) -> None:
    one = write("one/tools.py", ONE_TOOL)
    two = write("two/tools.py", ONE_TOOL.replace("book", "pay"))
    assert (names(one), names(two)) == (["book"], ["pay"])


def test_a_tool_under_two_names_counts_once() -> None:
    @tool
    def book(flight: str) -> None: ...

    module = types.ModuleType("m")
    module.__dict__.update({"a": book, "b": book, "c": 3})
    assert tools_of_module(module) == [book]


REFUSED = [
    ("x = 3\n", r"it has no tool\. Nothing was registered; decorate with @tool"),
    ("def f(:\n", "its import failed in line 1: SyntaxError: "),
    ("\n\nraise ValueError('top')\n", "its import failed in line 3: ValueError: top"),
    ("import nowhere_at_all\n", "failed in line 1: ModuleNotFoundError: No module named 'nowhere_"),
    ("\nimport sys\nsys.exit(3)\n", "its import failed in line 3: SystemExit: 3"),
    ("x = 1\n\n\x00", "its import failed"),
    (
        "from fsm_saga.tools import tool\n\n@tool\ndef f(*a): ...\n",
        r"failed in line 3: Tool 'f' was refused: it takes \*a",
    ),
    (
        "from fsm_saga.tools import tool\n\n@tool(read_only=True, undo='x')\ndef f(): ...\n",
        "failed in line 3: Tool 'f' was refused: it is read_only",
    ),
]


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_a_file_that_is_of_no_use_is_refused_with_the_line_and_the_reason(
    write: Write, text: str, why: str
) -> None:
    spec = write("trip_tools.py", text)
    with pytest.raises(ToolsError, match=why) as caught:
        load_tools(spec)
    assert str(caught.value).startswith(spec)
    assert "Traceback" not in str(caught.value)
    assert "\n" not in str(caught.value)
    if "x = 3" not in text:
        assert "trip_tools" not in sys.modules


def test_an_error_in_a_module_beside_it_names_both_lines(write: Write) -> None:
    write("beside.py", "\n\n1 / 0\n")
    spec = write("trip_tools.py", "\nimport beside\n")
    with pytest.raises(ToolsError, match=r"in line 2 \(beside\.py, line 3\): ZeroDivisionError"):
        load_tools(spec)


def test_a_module_with_an_error_is_refused_with_its_file_and_line(write: Write) -> None:
    write("agency/__init__.py", "")
    write("agency/flights.py", "\nimport nowhere_at_all\n")
    with pytest.raises(
        ToolsError, match=r"agency\.flights was refused: .* \(flights\.py, line 2\): ModuleNotFound"
    ):
        load_tools("agency.flights")
    write("agency/hotels.py", "\n\ndef f(:\n")
    with pytest.raises(ToolsError, match=r"\(hotels\.py, line 3\): SyntaxError"):
        load_tools("agency.hotels")


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("nowhere.py", "there is no such file"),
        ("no/such/tools.py", "there is no such file"),
        ("nowhere_at_all", "no module is called 'nowhere_at_all'"),
        ("agency.nowhere", "no module is called 'agency.nowhere'"),
        ("agency", "it has no tool"),
        ("./agency", "is a folder"),
        ("agency.py", "is a folder"),
        ("./notes.txt", r"it is no \.py file"),
        ("two words", "neither a module's name nor the path"),
        ("", "neither a module's name nor the path"),
        ("..", "neither a module's name nor the path"),
    ],
)
def test_what_is_not_there_is_refused_by_name(write: Write, spec: str, why: str) -> None:
    write("agency/__init__.py", "")
    write("agency.py/x", "")
    write("notes.txt", "")
    with pytest.raises(ToolsError, match=why):
        load_tools(spec)
