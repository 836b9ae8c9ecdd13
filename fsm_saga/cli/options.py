"""The options that many commands share, and what they mean."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fsm_saga.core.limits import LIMITS
from fsm_saga.drawing.plain import plain_text
from fsm_saga.errors import CommandError

if TYPE_CHECKING:
    from fsm_saga.tools.certificates import Certificates
    from fsm_saga.tools.python import Tool

STORE = "sqlite:///fsm-saga.db"

StoreUrl = Annotated[
    str,
    typer.Option(
        "--store",
        metavar="URL",
        envvar="FSM_SAGA_STORE",
        help=(
            "Where sagas are kept: sqlite:///relative.db, sqlite:////absolute/path.db, "
            "etcd://HOST:PORT[,HOST:PORT...]/PREFIX, redis://HOST:PORT/DB."
        ),
    ),
]
ToolSpecs = Annotated[
    list[str] | None,
    typer.Option(
        "--tools",
        metavar="MODULE_OR_FILE",
        help=(
            "A module or a .py file with functions made tools by @tool; may be repeated. "
            f"[env var: FSM_SAGA_TOOLS, several joined by '{os.pathsep}']"
        ),
    ),
]
Allowed = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="TOOL",
        help="Let plans use only this tool; may be repeated. Without it, all that are given.",
    ),
]
CertificateFolder = Annotated[
    Path | None,
    typer.Option(
        "--certificates",
        metavar="DIR",
        envvar="FSM_SAGA_CERTIFICATES",
        help=(
            "Where `fsm-saga certify` left its certificates; without it, .fsm-saga/certificates "
            "if that is there."
        ),
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
SagaId = Annotated[str, typer.Argument(metavar="ID", help="The saga's id: the plan's task_id.")]
PlanFiles = Annotated[
    list[str],
    typer.Argument(metavar="PLAN...", help="Files with a plan in JSON each; - is stdin."),
]
PlanFile = Annotated[
    str, typer.Argument(metavar="PLAN", help="A file with a plan in JSON, or - for stdin.")
]
AtPosition = Annotated[
    int | None,
    typer.Option(
        "--at", metavar="POSITION", help="As it was after so many records of its journal."
    ),
]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who decides; kept in the history.")]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="Why; kept in the history.")]
StepName = Annotated[
    str, typer.Option("--step", metavar="STEP", help="The step_id of the step that this is about.")
]


def tool_specs(given: Sequence[str] | None) -> list[str]:
    """Return what ``--tools`` named, or what FSM_SAGA_TOOLS does."""
    if given:
        return list(given)
    return [spec for spec in os.environ.get("FSM_SAGA_TOOLS", "").split(os.pathsep) if spec]


def load_all(specs: Sequence[str]) -> list[Tool[..., Any]]:
    """Return the tools of all the modules and files.

    Raises:
        ToolsError: If one of them cannot be used.
    """
    if not specs:
        return []
    from fsm_saga.tools.loading import load_tools  # noqa: PLC0415  # most commands need no tools

    return [tool for spec in specs for tool in load_tools(spec)]


def read_certificates(folder: Path | None) -> Certificates | None:
    """Return the certificates of a folder; None if none was named and none is in its usual place.

    Raises:
        ToolsError: If one of them cannot be read.
    """
    from fsm_saga.tools.certificates import FOLDER, Certificates  # noqa: PLC0415  # as above

    if folder is None and not FOLDER.is_dir():
        return None
    return Certificates.read(FOLDER if folder is None else folder)


def read_input(path: str, what: str) -> bytes:
    """Return what a file, or stdin for ``-``, holds; of a file that is too long, a byte too much.

    Raises:
        CommandError: If it cannot be read.
    """
    bytes_max = LIMITS.plan_bytes_max + 1
    try:
        if path == "-":
            if sys.stdin is None:  # Python's word for a stream that was closed at the start
                raise ValueError("standard input is closed")  # noqa: TRY301  # told below
            return sys.stdin.buffer.read(bytes_max)
        with open(path, "rb") as file:
            return file.read(bytes_max)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CommandError(
            f"{what} {path!r} was not read: {reason}. Nothing was started or changed."
        ) from error


def read_input_text(path: str, what: str) -> str:
    """Return what a file, or stdin for ``-``, holds as a text.

    Raises:
        CommandError: If it cannot be read or is not UTF-8.
    """
    try:
        return read_input(path, what).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CommandError(
            f"{what} {path!r} was not read: it is not UTF-8 text. Nothing was changed."
        ) from error


def store_is_missing(url: str) -> bool:
    """Return whether the URL names a file that is not there yet: no saga was ever run in it."""
    prefix = "sqlite:///"
    return url.startswith(prefix) and not Path(url.removeprefix(prefix)).exists()


def without_password(url: str) -> str:
    """Return the URL of a store as it may be shown; whoever types it knows the password.

    Example:
        >>> without_password("redis://:secret@host/0"), without_password("etcd://me:secret@a,b/x")
        ('redis://host/0', 'etcd://me@a,b/x')
    """
    scheme, separator, rest = url.partition("://")
    who, at, place = rest.partition("/")[0].rpartition("@")
    if not separator or not at or scheme == "sqlite":
        return url
    user = who.partition(":")[0]
    return f"{scheme}://{user}{'@' if user else ''}{place}{rest[len(who + at + place) :]}"


def typed(*words: str, store: str, tools: Sequence[str] = ()) -> str:
    """Return the command line that a person can type to go on, quoted for a shell.

    Example:
        >>> typed("approve", "a b", "--by", "NAME", store="sqlite:///fsm-saga.db")
        "fsm-saga approve 'a b' --by NAME"
        >>> typed("list", store="redis://ann:secret@host/0")
        'fsm-saga list --store redis://ann@host/0'
    """
    line = ["fsm-saga", *words]
    for spec in tools:
        line += ["--tools", spec]
    if store != os.environ.get("FSM_SAGA_STORE", STORE):
        line += ["--store", without_password(store)]
    return shlex.join(plain_text(word) for word in line)
