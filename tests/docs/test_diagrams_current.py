"""The pictures in diagrams/ are those that the tables, the plans and the code would give now."""

from __future__ import annotations

import shutil
import struct
import zlib
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from diagrams import make
from diagrams.make import FOLDER, Drawing, drawings, gallery, stale_files, with_digest, write_all
from fsm_saga.drawing.picture import Node, NodeRole, Picture
from fsm_saga.drawing.render import render

ROOT = FOLDER.parent


@pytest.fixture(scope="module")
def made() -> list[Drawing]:
    return list(drawings())


def picture(title: str) -> Picture:
    return Picture(title=title, nodes=(Node(id="a", lines=("x",), role=NodeRole.PLANNED),))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two small drawings in it, one of them with a PNG."""
    write_all(tmp_path, small("old"))
    return tmp_path


def small(title: str) -> list[Drawing]:
    return [Drawing("one", picture(title)), Drawing("readme", picture(title))]


def test_every_picture_is_current(made: list[Drawing]) -> None:
    assert list(stale_files(FOLDER, made)) == [], "draw them again with `make diagrams`"


def test_every_example_with_a_plan_has_its_picture(made: list[Drawing]) -> None:
    plans = {path.parent.name for path in ROOT.glob("examples/*/plan.json")}
    assert plans
    assert plans == {d.name.removeprefix("example-") for d in made if d.name.startswith("example-")}


def test_every_kept_svg_can_be_read(made: list[Drawing]) -> None:
    for drawing in made:
        root = ET.fromstring((FOLDER / f"{drawing.name}.svg").read_bytes())  # noqa: S314  # ours
        assert set(drawing.picture.ids) <= {element.get("id") for element in root.iter()}


def test_the_picture_of_the_readme_shows_a_trip_that_was_undone(made: list[Drawing]) -> None:
    (drawing,) = [each for each in made if each.name == "readme"]
    lines = {node.id: node.lines[-1] for node in drawing.picture.nodes}
    assert lines["step-0"] == "↩ COMPENSATED"
    assert lines["step-1"] == "✗ REJECTED"
    assert lines["failed"] == "✗ FAILED · compensated"
    assert "diagrams/readme.png" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_what_was_just_drawn_is_current(folder: Path) -> None:
    assert list(stale_files(folder, small("old"))) == []


def test_each_file_of_a_picture_that_changed_is_named(folder: Path) -> None:
    assert list(stale_files(folder, small("new"))) == [
        "one.dot is stale",
        "one.mmd is stale",
        "one.svg was drawn from another DOT",
        "readme.dot is stale",
        "readme.mmd is stale",
        "readme.svg was drawn from another DOT",
        "readme.png was drawn from another DOT",
        "README.md is stale",
    ]


def test_what_is_missing_and_what_nobody_draws_are_named(folder: Path) -> None:
    (folder / "one.svg").unlink()
    (folder / "README.md").unlink()
    (folder / "gone.dot").write_text("digraph {}")
    (folder / "make.py").write_text("")
    assert list(stale_files(folder, small("old"))) == [
        "one.svg is missing",
        "gone.dot belongs to no drawing",
        "README.md is stale",
    ]


def test_drawing_again_removes_what_nobody_draws_and_nothing_else(folder: Path) -> None:
    (folder / "gone.svg").write_text("<svg/>")
    (folder / "make.py").write_text("")
    write_all(folder, small("new"))
    assert list(stale_files(folder, small("new"))) == []
    assert (folder / "make.py").exists()


def test_an_svg_of_another_graphviz_is_current_all_the_same(folder: Path) -> None:
    svg = folder / "one.svg"
    svg.write_bytes(svg.read_bytes().replace(b'x="', b'x="1'))
    assert list(stale_files(folder, small("old"))) == []


def test_a_png_with_a_digest_is_still_a_png() -> None:
    png = with_digest(render(picture("t"), "png"), "abc")
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    place, names = 8, []
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        body = png[place + 4 : place + 8 + length]
        (checksum,) = struct.unpack(">I", png[place + 8 + length : place + 12 + length])
        assert zlib.crc32(body) == checksum
        names.append(body[:4])
        place += 12 + length
    assert names[:2] == [b"IHDR", b"tEXt"]
    assert names[-1] == b"IEND"


def test_the_check_is_red_when_something_is_stale(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(make, "FOLDER", folder)
    monkeypatch.setattr(make, "drawings", lambda: small("old"))
    assert make.main(["--check"]) == 0
    assert capsys.readouterr().out == "All pictures are current.\n"
    shutil.copy(folder / "one.svg", folder / "two.svg")
    assert make.main(["--check"]) == 1
    assert "two.svg belongs to no drawing\nDraw them again" in capsys.readouterr().out
    assert make.main([]) == 0
    assert not (folder / "two.svg").exists()


def test_the_page_shows_every_picture(made: list[Drawing]) -> None:
    page = gallery(made)
    assert all(f"({drawing.name}.svg)" in page for drawing in made)
