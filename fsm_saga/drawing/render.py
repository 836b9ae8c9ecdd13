"""Picture -> bytes of a file: SVG, PNG, DOT, Mermaid or text.

DOT, Mermaid and text are written here and always the same. SVG and PNG need Graphviz: the ``dot``
on the PATH when there is one, else the Graphviz inside the pygraphviz wheel, so that a bare
machine draws too. Either runs in a process of its own with a time limit.
"""

from __future__ import annotations

import enum
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from fsm_saga.drawing.dot import layout_engine, render_dot
from fsm_saga.drawing.mermaid import render_mermaid
from fsm_saga.drawing.picture import Picture
from fsm_saga.drawing.picture_file import picture_file
from fsm_saga.drawing.svg import finish_svg
from fsm_saga.drawing.text import render_text
from fsm_saga.errors import DrawingError

DRAW_TIMEOUT_S = 60.0
FONT_LIST_TIMEOUT_S = 10.0
PNG_DOTS_PER_INCH = 120
_CARRIED = Path(__file__).with_name("graphviz_carried.py")
_INSTALL = "Install Graphviz (Debian: apt-get install graphviz) or 'pip install pygraphviz'"


class PictureFormat(enum.StrEnum):
    """What a picture can be made into."""

    SVG = "svg"
    PNG = "png"
    DOT = "dot"
    MERMAID = "mermaid"
    TEXT = "text"


_SUFFIXES: Mapping[str, PictureFormat] = {
    ".svg": PictureFormat.SVG,
    ".png": PictureFormat.PNG,
    ".dot": PictureFormat.DOT,
    ".gv": PictureFormat.DOT,
    ".mmd": PictureFormat.MERMAID,
    ".mermaid": PictureFormat.MERMAID,
    ".txt": PictureFormat.TEXT,
}


class Renderer(NamedTuple):
    """A way to run Graphviz: ``command`` gives its arguments for a layout and a format."""

    name: str
    command: Callable[[str, str], list[str]]


def render(picture: Picture, picture_format: PictureFormat | str) -> bytes:
    """Return the picture as the bytes of a file.

    The same picture gives the same bytes; for SVG and PNG with the same Graphviz and fonts.

    Args:
        picture: What to draw.
        picture_format: ``svg``, ``png``, ``dot``, ``mermaid`` or ``text``.

    Raises:
        DrawingError: If there is no such format, no Graphviz was found, or drawing failed.
    """
    match _known_format(picture_format):
        case PictureFormat.DOT:
            return render_dot(picture).encode()
        case PictureFormat.MERMAID:
            return render_mermaid(picture).encode()
        case PictureFormat.TEXT:
            return render_text(picture).encode()
        case PictureFormat.PNG:
            return _draw(picture, "png")
        case PictureFormat.SVG:
            return finish_svg(_draw(picture, "svg"), picture, comment=_digest_line(picture))


def dot_digest(picture: Picture) -> str:
    """Return the digest of the picture's DOT, which each SVG carries in a comment."""
    return hashlib.sha256(render_dot(picture).encode()).hexdigest()


def write_picture(
    picture: Picture, output: str | Path, picture_format: PictureFormat | str | None = None
) -> None:
    """Write the picture to a file, whole or not at all; the format is the suffix's by default.

    Raises:
        DrawingError: If the picture cannot be drawn, or the file cannot be written, or is none.
    """
    path = picture_file(output)
    body = render(picture, picture_format or _format_of(path))
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(body)
        part.replace(path)
    except OSError as error:
        with suppress(OSError):  # it may be a name that no file can have
            part.unlink(missing_ok=True)
        raise DrawingError(
            f"The picture was not written to {str(path)!r}: {error.strerror or error}. "
            f"A file that was there is unchanged; name a place that can be written to."
        ) from error


def check_picture_path(output: str | Path) -> None:
    """Refuse a file that no picture could be written to, before the work that it is to show.

    Raises:
        DrawingError: If something else is there than a file, the format is not known or the folder
            cannot be written to.
    """
    path = picture_file(output)
    _format_of(path)
    if not path.parent.is_dir():
        why = "its folder is not there"
    elif not os.access(path.parent, os.W_OK):
        why = "its folder cannot be written to"
    else:
        return
    raise DrawingError(
        f"No picture can be written to {str(path)!r}: {why}. Nothing was begun; name a place that "
        f"can be written to."
    )


def available_renderers() -> Iterator[Renderer]:
    """Yield the ways to run Graphviz on this machine, best first. For ``doctor`` too."""
    program = shutil.which("dot")
    if program is not None:
        yield Renderer(f"Graphviz at {program}", _dot_command(program))
    if sys.executable and importlib.util.find_spec("pygraphviz") is not None:
        yield Renderer("Graphviz carried by pygraphviz", _carried_command)


def cjk_font_available() -> bool:
    """Return whether this machine has a font that can draw Chinese in a PNG.

    An SVG needs none: there the fonts are those of whoever looks at it.
    """
    program = shutil.which("fc-list")
    if program is None:
        # macOS and Windows always bring one; a system without fontconfig draws from none.
        return sys.platform in ("darwin", "win32")
    try:
        listed = subprocess.run(  # noqa: S603  # a program of the system, fixed arguments
            [program, ":lang=zh", "family"],
            capture_output=True,
            timeout=FONT_LIST_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return bool(listed.stdout.strip())


# --- formats --------------------------------------------------------------------------------------


def _known_format(picture_format: PictureFormat | str) -> PictureFormat:
    try:
        return PictureFormat(picture_format)
    except ValueError as error:
        raise DrawingError(
            f"There is no picture format {str(picture_format)!r}: the formats are "
            f"{', '.join(PictureFormat)}. Nothing was drawn; choose one of them."
        ) from error


def _format_of(path: Path) -> PictureFormat:
    known = _SUFFIXES.get(path.suffix.lower())
    if known is None:
        raise DrawingError(
            f"The format of {path.name!r} is not known: its suffix is none of "
            f"{', '.join(_SUFFIXES)}. Nothing was drawn; name the format."
        )
    return known


def _digest_line(picture: Picture) -> str:
    return f"dot sha256 {dot_digest(picture)}"


# --- Graphviz -------------------------------------------------------------------------------------


def _dot_command(program: str) -> Callable[[str, str], list[str]]:
    # The graphviz package wrote the DOT; its own way to run `dot` has no time limit.
    def command(layout: str, drawn_format: str) -> list[str]:
        arguments = [program, f"-K{layout}", f"-T{drawn_format}"]
        return [*arguments, f"-Gdpi={PNG_DOTS_PER_INCH}"] if drawn_format == "png" else arguments

    return command


def _carried_command(layout: str, drawn_format: str) -> list[str]:
    # -P: the script's own folder holds modules with common names and must not be searched.
    script = [sys.executable, "-P", str(_CARRIED)]
    return [*script, layout, drawn_format, str(PNG_DOTS_PER_INCH)]


def _draw(picture: Picture, drawn_format: str) -> bytes:
    source = render_dot(picture).encode()
    failures: list[str] = []
    for renderer in available_renderers():
        command = renderer.command(layout_engine(picture), drawn_format)
        try:
            done = subprocess.run(  # noqa: S603  # our own arguments; the DOT goes in by stdin
                command, input=source, capture_output=True, timeout=DRAW_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise DrawingError(
                f"The picture was not drawn within {DRAW_TIMEOUT_S:g} s: it has "
                f"{len(picture.nodes)} nodes and {len(picture.edges)} arrows. Nothing was saved; "
                f"ask for the format 'dot', 'mermaid' or 'text', which need no layout."
            ) from error
        except OSError as error:
            failures.append(f"{renderer.name}: {error.strerror or error}")
            continue
        if done.returncode == 0 and done.stdout:
            return done.stdout
        said = done.stderr.decode(errors="replace").strip().splitlines()
        failures.append(f"{renderer.name}: {said[-1][:200] if said else done.returncode}")
    if failures:
        raise DrawingError(
            f"The picture was not drawn: {'; '.join(failures)}. Nothing was saved. {_INSTALL}, or "
            f"ask for the format 'dot', 'mermaid' or 'text', which need none."
        )
    raise DrawingError(
        f"The picture was not drawn: there is no 'dot' on the PATH and no pygraphviz. Nothing was "
        f"saved. {_INSTALL}, or ask for the format 'dot', 'mermaid' or 'text', which need none."
    )
