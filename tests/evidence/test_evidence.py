"""The page of evidence says what was found, and each of its commands exists."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from fsm_saga.cli.app import COMMANDS
from tests.evidence import __main__ as command
from tests.evidence import results as results_module
from tests.evidence.figure import Figure, Table, cell, shown_rows, table_rows, value_at
from tests.evidence.figures import FIGURES, figure_named
from tests.evidence.page import render_page
from tests.evidence.results import (
    PAGE,
    NoDocumentError,
    load_results,
    result_of,
    run_figure,
    words_of,
)
from tests.evidence.unmodelled import engine_limits, evidence_limits

MACHINE = {"cores": 2, "load_average": [0.5], "system": "Linux", "python": "3.11", "sqlite": "3.53"}
SAMPLE = Figure(
    name="sample",
    title="A sample, drawn",
    command="python -c 'print(1)'",
    shows="It shows.",
    leaves_out=("All else.",),
    rows={"things": "counts.things"},
    tables=(Table(at="doors", columns={"cases": "cases"}),),
)
DOCUMENT = {"counts": {"things": 1234}, "doors": {"a|b": {"cases": 7}}}


def result(**fields: Any) -> dict[str, Any]:
    made = result_of(SAMPLE, json.dumps(DOCUMENT), seconds=3.0, machine=MACHINE)
    return made | {"has_changes": False, "at": "2026-01-02"} | fields


# --- what is in the checkout ---------------------------------------------------------------------


def test_the_page_is_what_the_results_say() -> None:
    found = PAGE.read_text(encoding="utf-8")
    assert found == render_page(FIGURES, load_results()), "run `python -m tests.evidence --render`"


def test_each_result_was_made_by_its_figure_as_it_is_now() -> None:
    for name, found in load_results().items():
        figure = figure_named(name)
        assert figure is not None, f"{name} is no figure: run `python -m tests.evidence --render`"
        assert found["command"] == figure.command, f"run `python -m tests.evidence {name}`"
        assert found["exit_code"] == 0, name


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_each_number_that_the_page_promises_is_in_the_result(figure: Figure) -> None:
    found = load_results().get(figure.name)
    if found is not None:
        lost = [way for way in figure.rows.values() if value_at(found["document"], way) is None]
        assert not lost
        assert [
            table.at for table in figure.tables if not value_at(found["document"], table.at)
        ] == []


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_each_command_that_the_page_names_exists(figure: Figure) -> None:
    program, *words = figure.command.split()
    if program == "python":
        assert words[0] == "-m"
        found = importlib.util.find_spec(words[1])
        assert found is not None
        if found.submodule_search_locations is not None:
            assert importlib.util.find_spec(f"{words[1]}.__main__") is not None
    else:
        assert program == "fsm-saga"
        assert words[0] in {listed.name for listed in COMMANDS}
    assert Path(words_of(figure.command)[0]).is_absolute()


def test_each_figure_has_a_name_and_a_title_of_its_own() -> None:
    assert len({figure.name for figure in FIGURES}) == len(FIGURES)
    assert len({figure.title for figure in FIGURES}) == len(FIGURES)


def test_the_page_tells_what_is_not_modelled() -> None:
    assert len(engine_limits()) >= 5
    assert any(limit.startswith("**Exactly-once") for limit in engine_limits())
    page = PAGE.read_text(encoding="utf-8")
    for limit in (*engine_limits(), *evidence_limits()):
        assert f"- {limit}\n" in page


# --- how a figure becomes a page -----------------------------------------------------------------


def test_a_figure_shows_its_numbers_its_tables_and_where_they_were_made() -> None:
    page = render_page([SAMPLE], {"sample": result()})
    assert "| [A sample, drawn](#a-sample-drawn) | 1,234 things |" in page
    assert "## A sample, drawn" in page
    assert "    python -c 'print(1)'" in page
    assert "| things | 1,234 |" in page
    assert "| a\\|b | 7 |" in page
    assert "Made on 2026-01-02 in 3 s" in page
    assert "load 0.5" in page
    assert "Not in it: All else." in page


def test_a_figure_that_was_not_run_or_failed_says_so() -> None:
    assert "Not run yet." in render_page([SAMPLE], {})
    assert "**The command failed with exit code 3.**" in render_page(
        [SAMPLE], {"sample": result(exit_code=3)}
    )
    assert "with changes on top" in render_page([SAMPLE], {"sample": result(has_changes=True)})


def test_every_link_of_the_contents_leads_to_a_heading() -> None:
    page = render_page(FIGURES, {})
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^## (.*)$", page, flags=re.MULTILINE)
    }
    assert set(re.findall(r"\(#([^)]*)\)", page)) <= anchors


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (True, "yes"),
        (1234567, "1,234,567"),
        (0.012345, "0.0123"),
        (12345.6, "12,346"),
        ([1, "a"], "1, a"),
        ([], "-"),
        ("a\n|<b>", "a \\|&lt;b>"),
        ("x" * 500, "x" * 399 + "…"),
        ("a\udc00b", "a?b"),
    ],
)
def test_a_value_fits_into_a_cell(value: Any, text: str) -> None:
    assert cell(value) == text


def test_a_way_that_leads_nowhere_is_a_dash() -> None:
    assert value_at({"a": [1]}, "a.5") is None
    assert value_at({"a": 1}, "a.b") is None
    figure = Figure(name="x", title="x", command="x", shows="x", rows={"b": "a.b"})
    assert list(shown_rows(figure, {"a": 1})) == [("b", "-")]
    assert list(table_rows(Table(at="x", columns={"a": "a"}), {})) == [["a"]]


def test_without_rows_every_plain_value_at_the_top_is_shown() -> None:
    figure = Figure(name="x", title="x", command="x", shows="x")
    document = {"some_seeds": 5, "deep": {}, "is_fine": True}
    assert list(shown_rows(figure, document)) == [("some seeds", "5"), ("is fine", "yes")]


# --- how a figure is made ------------------------------------------------------------------------


def test_a_figure_is_run_with_the_python_at_hand(tmp_path: Path) -> None:
    figure = Figure(name="x", title="x", command="python -m tests.corpus", shows="x")
    made = run_figure(figure)
    assert made["exit_code"] == 0
    assert made["document"]["missing"] == []
    assert made["machine"]["python"]


@pytest.mark.parametrize("printed", ["", "no json", "[1]", json.dumps({"x": "y" * 70_000})])
def test_what_is_no_document_is_refused(printed: str) -> None:
    with pytest.raises(NoDocumentError):
        result_of(SAMPLE, printed, seconds=0.0, machine={})


@pytest.fixture
def own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results and page in a folder of the test's own."""
    results, page = tmp_path / "evidence.json", tmp_path / "evidence.md"
    monkeypatch.setattr(
        command, "load_results", lambda path=results: results_module.load_results(path)
    )
    monkeypatch.setattr(
        command, "write_results", lambda found: results_module.write_results(found, results)
    )
    monkeypatch.setattr(command, "PAGE", page)
    monkeypatch.setattr(command, "FAULTS_PAGE", tmp_path / "faults.md")
    return tmp_path


def test_figures_are_made_taken_and_rendered(own_files: Path) -> None:
    assert command.main(["bad-input"]) == 0
    printed = own_files / "printed.json"
    printed.write_text(json.dumps({"cases": 12, "failed_cases": 0, "seed": 1, "targets": {}}))
    assert command.main(["--take", "fuzz", str(printed), "60", "--commit", "abc123"]) == 0
    page = (own_files / "evidence.md").read_text()
    assert "| cases | 12 |" in page
    assert "at commit abc123;" in page
    assert "JSONTestSuite" in page
    assert set(json.loads((own_files / "evidence.json").read_text())) == {"bad-input", "fuzz"}


def test_results_are_taken_over_from_another_checkout(own_files: Path) -> None:
    other = own_files / "other.json"
    other.write_text(json.dumps({"fuzz": result(), "bad-input": result(), "gone": result()}))
    assert command.main(["--from", str(other), "fuzz"]) == 0
    assert set(json.loads((own_files / "evidence.json").read_text())) == {"fuzz"}
    assert command.main(["--from", str(other)]) == 0
    assert set(json.loads((own_files / "evidence.json").read_text())) == {"bad-input", "fuzz"}


def test_all_but_some_are_made_and_what_another_process_wrote_stays(
    own_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def run(figure: Figure) -> dict[str, Any]:
        made.append(figure.name)
        if figure.name == "fuzz":
            raise NoDocumentError("it printed nothing")
        results_module.write_results({"mutants": result()}, own_files / "evidence.json")
        return result(exit_code=int(figure.name == "bench"))

    monkeypatch.setattr(command, "run_figure", run)
    assert command.main(["--all", "--but", "mutants", "disk"]) == 2
    assert made == [each.name for each in FIGURES if each.name not in ("mutants", "disk")]
    # The last one wrote over the others here, as another process may; what it wrote is kept.
    assert set(json.loads((own_files / "evidence.json").read_text())) == {"mutants", made[-1]}
    assert command.main(["--all", "--but", "nothing"]) == 2


def test_a_name_that_is_no_figure_is_refused(
    own_files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["nothing"]) == 2
    assert "There is no figure 'nothing'" in capsys.readouterr().err


def test_without_names_the_figures_are_listed(
    own_files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([]) == 0
    assert "python -m tests.corpus" in capsys.readouterr().out
