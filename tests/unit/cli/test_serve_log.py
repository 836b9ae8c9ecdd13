"""Lines of the log of a process that serves: for people, and for programs."""

from __future__ import annotations

import json
import logging

import pytest

from fsm_saga.cli import serve_log
from fsm_saga.cli.serve_log import log_to_stderr

CLUSTER = logging.getLogger("fsm_saga.cluster")
SAGAS = logging.getLogger("fsm_saga.coordinator")


def test_a_line_for_a_program_is_one_object_with_its_fields(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with log_to_stderr(as_json=True, is_verbose=False):
        CLUSTER.info("leads shard %d", 3, extra={"event": "leads", "shard": 3, "epoch": 17})
    said = json.loads(capsys.readouterr().err)
    assert (said["event"], said["shard"], said["epoch"]) == ("leads", 3, 17)
    assert said["message"] == "leads shard 3"
    assert said["level"] == "info"
    assert said["at"].endswith("+00:00")


def test_an_exception_stays_in_its_object(capsys: pytest.CaptureFixture[str]) -> None:
    with log_to_stderr(as_json=True, is_verbose=False):
        try:
            int("a\nb")
        except ValueError:
            CLUSTER.exception("it broke")
    assert "ValueError" in json.loads(capsys.readouterr().err)["exception"]


def test_a_line_for_people_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with log_to_stderr(as_json=False, is_verbose=False):
        CLUSTER.warning("saga %s", "a\x1b[31m\nb")
    (line,) = capsys.readouterr().err.splitlines()
    assert "warning: saga a" in line
    assert "\x1b" not in line


def test_changes_of_sagas_are_told_only_if_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    for is_verbose in (False, True):
        with log_to_stderr(as_json=False, is_verbose=is_verbose):
            SAGAS.info("saga trip is DONE")
        assert ("saga trip is DONE" in capsys.readouterr().err) is is_verbose


def test_a_log_that_cannot_be_written_so_fast_loses_lines_and_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_log, "LINES_MAX", 1)
    with log_to_stderr(as_json=False, is_verbose=False):
        for number in range(5000):
            CLUSTER.info("line %d", number)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) < 5000
    assert any("were dropped" in line for line in lines)


def test_the_log_is_as_it_was_afterwards() -> None:
    before = (list(logging.getLogger().handlers), CLUSTER.level, SAGAS.parent)
    with log_to_stderr(as_json=False, is_verbose=True):
        pass
    assert (list(logging.getLogger().handlers), CLUSTER.level, SAGAS.parent) == before
