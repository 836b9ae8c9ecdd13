from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fsm_saga.cli.streams import ClosedStream, SafeStream, open_streams, output_was_lost

CLOSING = """
import os, sys
from fsm_saga.cli.streams import open_streams
with open_streams():
    name = sys.argv[1]
    file = os.open(name, os.O_RDWR | os.O_CREAT)
    print("spoilt", flush=True)
    os.write(1, b"spoilt")
    os.write(2, b"spoilt")
    assert file > 2, file
"""


class Full(io.StringIO):
    """A stream without space."""

    def write(self, said: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def put_on_stdout(monkeypatch: pytest.MonkeyPatch, stream: io.TextIOBase | None) -> None:
    monkeypatch.setattr(sys, "stdout", stream)


def test_what_cannot_be_written_is_told_once_and_raises_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_on_stdout(monkeypatch, Full())
    with open_streams():
        for _ in range(3):
            sys.stdout.write("a line\n")
            sys.stdout.flush()
        assert output_was_lost()
    assert capsys.readouterr().err == "The output was not written: No space left on device.\n"


def test_a_stream_that_was_closed_at_the_start_loses_everything_and_raises_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_on_stdout(monkeypatch, None)
    with open_streams():
        assert not sys.stdout.isatty()
        sys.stdout.write("a line\n")
    assert capsys.readouterr().err == "The output was not written: standard output is closed.\n"


def test_a_stream_that_a_tool_closes_loses_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_on_stdout(monkeypatch, io.StringIO())
    with open_streams():
        sys.stdout.close()
        sys.stdout.write("a line\n")
    assert "closed file" in capsys.readouterr().err


def test_nothing_is_lost_if_nothing_was_to_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    put_on_stdout(monkeypatch, None)
    with open_streams():
        pass
    assert not output_was_lost()


def test_a_lost_stderr_is_told_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (None, Full()):
        monkeypatch.setattr(sys, "stderr", stream)
        with open_streams():
            sys.stderr.write("a note\n")
            assert not output_was_lost()


def test_a_reader_that_went_away_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    put_on_stdout(monkeypatch, os.fdopen(writing, "w"))
    with open_streams():
        sys.stdout.writelines(["x" * 100_000, "y" * 100_000])
        assert not output_was_lost()
    sys.stdout.close()


def test_the_streams_of_before_are_there_again_afterwards() -> None:
    before = sys.stdout, sys.stderr
    with open_streams():
        assert isinstance(sys.stdout, SafeStream)
        assert sys.stdout.encoding == before[0].encoding
    assert (sys.stdout, sys.stderr) == before


def test_a_closed_stream_refuses() -> None:
    with pytest.raises(OSError, match="standard output is closed"):
        ClosedStream().write("x")


def test_no_file_is_opened_under_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    file = tmp_path / "store"
    words = [sys.executable, "-c", CLOSING, str(file)]
    ended = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *words], check=False, timeout=60
    )
    assert ended.returncode == 0
    assert file.read_bytes() == b""
