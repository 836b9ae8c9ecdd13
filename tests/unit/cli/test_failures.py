from __future__ import annotations

import json
import logging

import pytest
import typer

from fsm_saga.cli.failures import RefusedElsewhereError, StoreFailedError, prepare_logging, report
from fsm_saga.cli.running import InterruptedBySignal
from fsm_saga.errors import CommandError, InvariantBrokenError, PlanError, Problem, StoreError

CASES = [
    (CommandError("No."), 2, "command-refused"),
    (StoreError("No."), 2, "store-error"),
    (RefusedElsewhereError("event-refused", "No. [event-refused]"), 2, "event-refused"),
    (StoreFailedError("store-unavailable", "No."), 75, "store-unavailable"),
    (InterruptedBySignal(15, "Stopped."), 143, "interrupted"),
    (InterruptedBySignal(2, "Stopped."), 130, "interrupted"),
    (KeyboardInterrupt(), 130, "interrupted"),
    (typer.Abort(), 2, "aborted"),
    (typer.BadParameter("no"), 2, "usage"),
    (FileNotFoundError(2, "No such file", "x"), 2, "system-error"),
    (InvariantBrokenError("k is 7"), 70, "internal-error"),
    (ZeroDivisionError("division"), 70, "internal-error"),
    (ExceptionGroup("g", [ValueError("v"), StoreError("No.")]), 2, "store-error"),
    (ExceptionGroup("g", [ExceptionGroup("h", [ValueError("v")])]), 70, "internal-error"),
]


@pytest.mark.parametrize(("error", "code", "name"), CASES)
def test_every_error_is_one_document_or_a_sentence_without_a_trace(
    error: BaseException, code: int, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(error, as_json=True) == code
    as_json = capsys.readouterr()
    assert json.loads(as_json.out)["error"]["code"] == name
    assert as_json.err == ""

    assert report(error, as_json=False) == code
    text = capsys.readouterr()
    assert text.out == ""
    assert text.err
    assert "Traceback" not in text.err
    assert text.err.count("[event-refused]") <= 1


def test_an_internal_error_says_how_to_see_where_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report(ZeroDivisionError("division"), as_json=False)
    said = capsys.readouterr().err
    assert "internal error: ZeroDivisionError: division" in said
    assert "FSM_SAGA_DEBUG=1" in said

    monkeypatch.setenv("FSM_SAGA_DEBUG", "1")
    try:
        1 / 0  # noqa: B018  # raises
    except ZeroDivisionError as error:
        report(error, as_json=False)
    assert "Traceback" in capsys.readouterr().err


def test_what_strangers_wrote_forges_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    report(CommandError("Saga 'x\nError: all is well\x1b[2J' is not there."), as_json=False)
    said = capsys.readouterr().err

    assert said.count("\n") == 1
    assert "\x1b" not in said


def test_each_problem_of_a_plan_is_shown_with_its_four_parts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    problem = Problem(code="cycle", pointer="/steps/0", message="It turns.", hint="Cut it.")
    assert report(PlanError([problem]), as_json=False) == 2
    said = capsys.readouterr().err

    assert "1 problem. Nothing was started." in said
    for part in ("cycle", "/steps/0", "It turns.", "Cut it."):
        assert part in said


def test_log_records_are_single_lines_without_a_trace(
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = logging.getLogger()
    before, root.handlers = root.handlers, []
    try:
        prepare_logging()
        try:
            int("line\nbreak")
        except ValueError:
            logging.getLogger("fsm_saga.test").exception("it failed\x1b[31m")
        logging.getLogger("fsm_saga.test").info("not shown")
        said = capsys.readouterr().err
    finally:
        root.handlers = before

    assert said.startswith("error: it failed: ValueError(")
    assert said.count("\n") == 1
    assert "Traceback" not in said
