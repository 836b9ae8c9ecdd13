"""What a picture may take the place of: a file, by whoever it is written."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from fsm_saga.drawing.extract_dag import dag_picture
from fsm_saga.drawing.picture_file import picture_file
from fsm_saga.drawing.render import check_picture_path, write_picture
from fsm_saga.errors import DrawingError
from tests.unit.drawing.programs import Step, make_program

DAG = dag_picture(make_program([Step(name="Pay")]))


def refusal(path: str | Path) -> str:
    """Return why a picture is neither written there nor begun."""
    with pytest.raises(DrawingError) as written:
        write_picture(DAG, path)
    with pytest.raises(DrawingError) as checked:
        check_picture_path(path)
    assert checked.value.message == written.value.message
    return written.value.message


def test_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "a.dot"
    os.mkfifo(pipe)
    assert refusal(pipe) == (
        f"The picture was not written to {str(pipe)!r}: it is a device or a pipe, and no file. "
        "Nothing was changed; name a file."
    )
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert os.listdir(tmp_path) == ["a.dot"]


def test_a_socket_stays_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # its name may not be long
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("a.dot")
    assert "it is a device or a pipe, and no file" in refusal("a.dot")
    assert stat.S_ISSOCK(os.stat("a.dot").st_mode)


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_stays_a_link_and_its_file_becomes_the_picture(
    tmp_path: Path, is_there: bool
) -> None:
    link, real = tmp_path / "a.svg", tmp_path / "real.dot"
    link.symlink_to("real.dot")
    if is_there:
        real.write_text("old")
    check_picture_path(link)
    write_picture(DAG, link)
    assert link.is_symlink()
    assert real.read_bytes().startswith(b"digraph"), "the suffix of the file counts"
    assert sorted(os.listdir(tmp_path)) == ["a.svg", "real.dot"]


def test_a_link_that_leads_nowhere_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.dot").symlink_to("b.dot")
    (tmp_path / "b.dot").symlink_to("a.dot")
    assert "it is a link that leads back to itself" in refusal(tmp_path / "a.dot")
    assert (tmp_path / "a.dot").is_symlink()
    assert (tmp_path / "b.dot").is_symlink()


@pytest.mark.parametrize("name", ["", ".", "/", "nul\0.dot"])
def test_what_no_file_can_be_called_is_said_as_it_was_typed(name: str) -> None:
    assert refusal(name).startswith(
        f"The picture was not written to {name!r}: no file can be called so."
    )


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert "it is a folder" in refusal(tmp_path)


def test_a_name_that_is_too_long_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(DrawingError, match="File name too long"):
        write_picture(DAG, tmp_path / f"{'x' * 5_000}.dot")


def test_a_file_and_nothing_yet_are_taken_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.dot"
    assert picture_file(str(path)) == path
    path.touch()
    assert picture_file(path) == path
