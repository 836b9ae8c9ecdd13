from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from fsm_saga.core.program import Shape
from fsm_saga.drawing.extract_dag import dag_picture
from fsm_saga.drawing.extract_machine import saga_machine_picture
from fsm_saga.drawing.picture import Picture
from fsm_saga.drawing.render import (
    PictureFormat,
    available_renderers,
    cjk_font_available,
    dot_digest,
    render,
    write_picture,
)
from fsm_saga.errors import DrawingError
from fsm_saga.machine.flatten import saga_table
from tests.unit.drawing.programs import Step, make_program

DAG = dag_picture(make_program([Step(name="预订酒店"), Step(name="Pay")]))
MACHINE = saga_machine_picture(saga_table(Shape(3, 1, 0, is_open=False)))
PICTURES = pytest.mark.parametrize("picture", [DAG, MACHINE], ids=["free", "placed"])


@pytest.fixture(params=["system", "carried"])
def renderer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Draw with the `dot` of the system, then with what the wheel of pygraphviz carries."""
    if request.param == "carried":
        hide_dot(monkeypatch)
    else:
        assert shutil.which("dot"), "install Graphviz: `make system`"
    return str(request.param)


def hide_dot(monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "dot" else real(name))


def hide_pygraphviz(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)


@PICTURES
def test_an_svg_has_the_ids_of_the_picture(renderer: str, picture: Picture) -> None:
    root = ET.fromstring(render(picture, "svg"))  # noqa: S314  # our own
    assert set(picture.ids) <= {element.get("id") for element in root.iter()}


@PICTURES
def test_a_png_is_as_large_as_the_svg_at_120_dots_an_inch(renderer: str, picture: Picture) -> None:
    body = render(picture, "png")
    assert body.startswith(b"\x89PNG\r\n")
    width, _height = struct.unpack(">II", body[16:24])
    found = re.search(rb'width="(\d+)pt"', render(picture, "svg"))
    assert found is not None
    assert abs(width - int(found[1]) * 120 / 72) <= 3


@PICTURES
@pytest.mark.parametrize("picture_format", PictureFormat)
def test_the_same_picture_gives_the_same_bytes(
    renderer: str, picture: Picture, picture_format: PictureFormat
) -> None:
    assert render(picture, picture_format) == render(picture, picture_format)


def test_chinese_is_drawn_and_not_boxes(renderer: str) -> None:
    """A missing glyph is the same box for each character; two real ones differ."""
    assert cjk_font_available(), "install a Chinese font: `make system`"
    one, other = (
        render(dag_picture(make_program([Step(name=name, tool="t")])), "png")
        for name in ("预订预订", "酒店酒店")
    )
    assert one != other


def test_emoji_are_text_in_an_svg_and_told_apart_in_a_png(renderer: str) -> None:
    """Without a font for them a PNG has a box with the character's number, and no trouble."""
    names = ("Rent a 🎪", "Rent a 🎡", "👨‍👩‍👧 family")
    pictures = [dag_picture(make_program([Step(name=name, tool="t")])) for name in names]
    for name, picture in zip(names, pictures, strict=True):
        assert name in render(picture, "svg").decode()
    drawn = {render(picture, "png") for picture in pictures}
    assert len(drawn) == len(names)


def test_an_svg_carries_the_digest_of_its_dot() -> None:
    digest = hashlib.sha256(render(DAG, "dot")).hexdigest()
    assert dot_digest(DAG) == digest
    assert f"<!-- dot sha256 {digest} -->".encode() in render(DAG, "svg")


def test_a_format_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(DrawingError, match="formats are svg, png, dot, mermaid, text"):
        render(DAG, "jpg")


def test_without_any_graphviz_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hide_dot(monkeypatch)
    hide_pygraphviz(monkeypatch)
    assert list(available_renderers()) == []
    with pytest.raises(DrawingError, match=r"apt-get install graphviz.*'dot', 'mermaid' or 'text'"):
        render(DAG, "svg")
    for drawn_without in ("dot", "mermaid", "text"):
        assert render(DAG, drawn_without)


def test_a_graphviz_that_is_broken_gives_way_to_the_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "dot"
    broken.write_text("#!/bin/sh\necho no layout engine >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert b"<svg" in render(DAG, "svg")
    hide_pygraphviz(monkeypatch)
    with pytest.raises(DrawingError, match="no layout engine"):
        render(DAG, "svg")


def test_a_graphviz_that_cannot_be_started_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "dot").write_bytes(b"\x7fELF")
    (tmp_path / "dot").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    hide_pygraphviz(monkeypatch)
    with pytest.raises(DrawingError, match="Exec format error"):
        render(DAG, "svg")


def test_a_layout_that_does_not_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any, **kwargs: Any) -> None:
        raise subprocess.TimeoutExpired(args[0], kwargs["timeout"])

    monkeypatch.setattr(subprocess, "run", never)
    with pytest.raises(DrawingError, match=r"not drawn within 60 s: it has 7 nodes"):
        render(DAG, "svg")


def test_the_carried_graphviz_is_not_shadowed_by_modules_beside_its_script(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hide_dot(monkeypatch)
    (carried,) = available_renderers()
    assert carried.command("dot", "svg")[:2] == [sys.executable, "-P"]


def test_a_program_without_a_python_to_start_can_still_use_dot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "")
    assert [renderer.name for renderer in available_renderers()] == [
        f"Graphviz at {shutil.which('dot')}"
    ]


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("a.svg", b"<?xml"),
        ("a.PNG", b"\x89PNG"),
        ("a.dot", b"digraph"),
        ("a.gv", b"digraph"),
        ("a.mmd", b"---\ntitle"),
        ("a.txt", b"Trip"),
    ],
)
def test_the_suffix_says_the_format(tmp_path: Path, name: str, start: bytes) -> None:
    write_picture(DAG, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_format_that_is_named_counts_more_than_the_suffix(tmp_path: Path) -> None:
    write_picture(DAG, tmp_path / "a.svg", "dot")
    assert (tmp_path / "a.svg").read_bytes().startswith(b"digraph")


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DrawingError, match=r"'a\.jpg' is not known"):
        write_picture(DAG, tmp_path / "a.jpg")


def test_a_file_is_replaced_whole_or_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.dot"
    path.write_text("old")

    def full(self: Path, body: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DrawingError, match="No space left on device"):
        write_picture(DAG, path)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.dot"]


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DrawingError, match="No such file or directory"):
        write_picture(DAG, tmp_path / "none" / "a.dot")


# --- fonts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("platform", "answer"), [("darwin", True), ("linux", False)])
def test_without_fontconfig_the_system_decides(
    monkeypatch: pytest.MonkeyPatch, platform: str, answer: bool
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(sys, "platform", platform)
    assert cjk_font_available() is answer


@pytest.mark.parametrize(("listed", "answer"), [("echo WenQuanYi", True), ("true", False)])
def test_fontconfig_is_asked_for_a_chinese_font(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, listed: str, answer: bool
) -> None:
    program = tmp_path / "fc-list"
    program.write_text(f"#!/bin/sh\n{listed}\n")
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(program))
    assert cjk_font_available() is answer


def test_a_fontconfig_that_cannot_be_asked_has_no_font(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/nowhere/fc-list")
    assert cjk_font_available() is False
