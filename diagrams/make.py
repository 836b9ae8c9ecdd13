"""Draws the pictures in this folder again: ``python -m diagrams.make``, from the checkout's root.

With ``--check`` nothing is written; the names of pictures that are not what they would be now are
printed, and the exit code is 1. What is compared is DOT and Mermaid, which are the same on every
machine. Each SVG and PNG carries the digest of the DOT that it was drawn from.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from examples.travel.demo import OTHER_GUEST, PLAN, STAY, TOOLS, Demo
from examples.travel.process import REPOSITORY, open_agency
from fsm_saga.cli.planning import program_of_file
from fsm_saga.cli.reading import read_journal, saga_at
from fsm_saga.core.program import Shape
from fsm_saga.drawing.extract_dag import dag_picture
from fsm_saga.drawing.extract_machine import saga_machine_picture
from fsm_saga.drawing.extract_step import step_machine_picture
from fsm_saga.drawing.picture import Flow, Picture
from fsm_saga.drawing.render import PictureFormat, dot_digest, render
from fsm_saga.machine.flatten import saga_table, step_table

FOLDER = Path(__file__).resolve().parent
README_NAME = "readme"
SUFFIXES = {
    PictureFormat.DOT: ".dot",
    PictureFormat.MERMAID: ".mmd",
    PictureFormat.SVG: ".svg",
    PictureFormat.PNG: ".png",
}
COMPARED = (PictureFormat.DOT, PictureFormat.MERMAID)
PNG_HEAD_BYTES = 8 + 4 + 4 + 13 + 4
"""The signature of a PNG and its first chunk, which no other may precede."""


class Drawing(NamedTuple):
    """A picture and what it is called here, without a suffix."""

    name: str
    picture: Picture

    @property
    def formats(self) -> tuple[PictureFormat, ...]:
        """The files that are made of it; a PNG only where a page needs one."""
        plain = (*COMPARED, PictureFormat.SVG)
        return (*plain, PictureFormat.PNG) if self.name == README_NAME else plain

    @property
    def file_names(self) -> tuple[str, ...]:
        """The names of these files."""
        return tuple(f"{self.name}{SUFFIXES[each]}" for each in self.formats)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, or check; return the exit code."""
    parser = argparse.ArgumentParser(prog="diagrams.make", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, name what is stale")
    options = parser.parse_args(arguments)
    made = list(drawings())
    if options.check:
        stale = list(stale_files(FOLDER, made))
        for line in stale:
            print(line)
        print("Draw them again with `make diagrams`." if stale else "All pictures are current.")
        return 1 if stale else 0
    write_all(FOLDER, made)
    print(f"Drew {len(made)} pictures in {FOLDER.name}/.")
    return 0


def drawings() -> Iterator[Drawing]:
    """Yield every picture of this folder, as it would be now."""
    for step_count in (3, 30):
        table = saga_table(Shape(step_count, 1, 0, is_open=False))
        yield Drawing(f"saga-machine-{step_count}", saga_machine_picture(table))
    yield Drawing("step-machine", step_machine_picture(step_table()))
    for plan in sorted((REPOSITORY / "examples").glob("*/plan.json")):
        tools = [str(plan.with_name("tools.py"))]
        program = program_of_file(str(plan), tools, is_assumed=False)
        yield Drawing(f"example-{plan.parent.name}", dag_picture(program))
    yield Drawing(README_NAME, failed_trip())


def failed_trip() -> Picture:
    """Return the travel example's saga after a real run against an agency with a full hotel."""
    with tempfile.TemporaryDirectory(prefix="fsm-saga-diagrams-") as name:
        directory = Path(name).resolve()
        with open_agency(directory, hotel_rooms=1) as agency:
            agency.post("/hotels/book", req_id="guest-in", traveller=OTHER_GUEST, **STAY)
            demo = Demo(agency=agency, directory=directory, pictures=directory)
            command = ("run", PLAN, "--tools", TOOLS, "--store", demo.store, "--json")
            saga_id = json.loads(demo.command(*command, expected_exit=1))["saga_id"]
            saga = saga_at(asyncio.run(read_journal(demo.store, saga_id)), None)
    # A page is narrow: what reads downwards can be read there.
    return replace(dag_picture(saga.program, saga), flow=Flow.DOWN)


def write_all(folder: Path, made: Sequence[Drawing]) -> None:
    """Write the files of every drawing and of the gallery, and remove all other drawings."""
    for path in _drawings_in(folder) - {folder / n for each in made for n in each.file_names}:
        path.unlink()
    for drawing in made:
        for name, picture_format in zip(drawing.file_names, drawing.formats, strict=True):
            body = render(drawing.picture, picture_format)
            if picture_format is PictureFormat.PNG:
                body = with_digest(body, dot_digest(drawing.picture))
            (folder / name).write_bytes(body)
    (folder / "README.md").write_text(gallery(made), encoding="utf-8")


def stale_files(folder: Path, made: Sequence[Drawing]) -> Iterator[str]:
    """Yield what is not as it would be drawn now, one line each."""
    for drawing in made:
        digest = dot_digest(drawing.picture).encode()
        for name, picture_format in zip(drawing.file_names, drawing.formats, strict=True):
            path = folder / name
            if not path.is_file():
                yield f"{name} is missing"
            elif picture_format in COMPARED:
                if path.read_bytes() != render(drawing.picture, picture_format):
                    yield f"{name} is stale"
            elif digest not in path.read_bytes():
                yield f"{name} was drawn from another DOT"
    for path in sorted(_drawings_in(folder) - {folder / n for d in made for n in d.file_names}):
        yield f"{path.name} belongs to no drawing"
    page = folder / "README.md"
    if not page.is_file() or page.read_text(encoding="utf-8") != gallery(made):
        yield "README.md is stale"


def gallery(made: Sequence[Drawing]) -> str:
    """Return the page that shows them all."""
    lines = [
        "# Pictures",
        "",
        "Drawn by `make diagrams` from the tables that run and from the examples; never by hand.",
        "Each is here as SVG, as DOT for Graphviz (`.dot`) and as Mermaid (`.mmd`).",
    ]
    for drawing in made:
        lines += ["", f"## {drawing.picture.title}", "", f"![{drawing.name}]({drawing.name}.svg)"]
    return "\n".join(lines) + "\n"


def with_digest(png: bytes, digest: str) -> bytes:
    """Return the PNG with the digest of its DOT in a text chunk."""
    body = b"tEXt" + b"dot sha256\0" + digest.encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:PNG_HEAD_BYTES] + chunk + png[PNG_HEAD_BYTES:]


def _drawings_in(folder: Path) -> set[Path]:
    return {path for path in folder.iterdir() if path.suffix in SUFFIXES.values()}


if __name__ == "__main__":
    sys.exit(main())
