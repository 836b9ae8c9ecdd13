from __future__ import annotations

import errno
import io
import json
import sys
from types import MappingProxyType

import pytest

from fsm_saga.cli import output, streams
from fsm_saga.cli.app import main

HOSTILE = "\x1b[31mred\x9b31m \u202eback\nforged \ud800 [bold]x[/bold] 和 \U0001f600"


def test_json_keeps_every_character_and_steers_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.print_json({"text": HOSTILE, "mapping": MappingProxyType({"a": 1})})
    said = capsys.readouterr().out

    assert json.loads(said) == {"text": HOSTILE, "mapping": {"a": 1}}
    for char in "\x1b\x9b\u202e\ud800":
        assert char not in said
    assert "和 \U0001f600" in said


def test_json_is_ascii_where_stdout_is_not_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    output.print_json(["和 \U0001f600"])

    assert json.loads(written.getvalue()) == ["和 \U0001f600"]


def test_a_value_that_is_not_json_is_a_bug() -> None:
    with pytest.raises(TypeError, match="set is not JSON"):
        output.print_json({1, 2})


def test_a_line_of_text_stays_one_line_and_shows_markup_as_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.print_line(("a  b", "bold"), "  ", HOSTILE)
    said = capsys.readouterr().out

    assert said == "a  b  red \ufffdback forged \ufffd [bold]x[/bold] 和 \U0001f600\n"


def test_a_value_is_shown_whole_with_what_cannot_be_seen_escaped() -> None:
    assert output.exact_text({"to": "Ann\u202e\U000e0001"}) == '{"to": "Ann\\u202e\\udb40\\udc01"}'
    assert len(output.exact_text(["x" * 5000])) > 5000
    assert len(output.value_text(["x" * 5000])) <= output.VALUE_COLUMNS


class FailingStream(io.StringIO):
    """A stream whose other end has a trouble."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, said: str) -> int:
        raise self.error


def test_a_reader_that_goes_away_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", FailingStream(BrokenPipeError()))
    output.print_line("hello")
    output.print_json({})

    assert capsys.readouterr().err == ""
    assert not streams.output_was_lost()


def test_output_that_could_not_be_written_is_told_once_and_spoils_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = FailingStream(OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr(sys, "stdout", full)

    assert main(["schema"]) == 74
    assert capsys.readouterr().err == "The output was not written: No space left on device.\n"


def test_bytes_are_printed_as_they_are(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    output.print_bytes(b"\x89PNG\r\n\x00")
    assert capfdbinary.readouterr().out == b"\x89PNG\r\n\x00"


def test_what_is_printed_while_stdout_is_kept_for_a_document_goes_to_stderr(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with output.stdout_for_document():
        sys.stdout.write("talk\n")
        output.print_json([1])
    sys.stdout.write("after\n")
    said = capfd.readouterr()

    assert said.out == "[\n  1\n]\nafter\n"
    assert said.err == "talk\n"


def test_a_console_whose_reader_went_away_goes_on_in_silence() -> None:
    console = output.QuietConsole(file=FailingStream(BrokenPipeError()))
    console.print("one")
    console.print("two")

    assert console.quiet
