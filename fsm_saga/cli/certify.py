"""``fsm-saga certify``: whether a tool keeps what it declares, by calling it."""

from __future__ import annotations

import datetime
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from fsm_saga.cli.commands import command
from fsm_saga.cli.options import (
    AsJson,
    ToolSpecs,
    load_all,
    read_input,
    tool_specs,
)
from fsm_saga.cli.output import print_json, print_line, value_text
from fsm_saga.cli.running import run_async
from fsm_saga.drawing.plain import plain_text
from fsm_saga.errors import CommandError
from fsm_saga.tools.certificates import FOLDER
from fsm_saga.tools.certify import (
    CallMade,
    CheckResult,
    Report,
    Samples,
    Verdict,
    certificate_of,
    certify_tool,
)
from fsm_saga.tools.certify.trial import TIMEOUT_S
from fsm_saga.tools.registry import Registry
from fsm_saga.tools.runner import PythonRunner

EXIT_KEPT = 0
EXIT_BROKEN = 3
TITLE_COLUMNS = 38
PARAMS_COLUMNS = 60

_STYLES = {
    Verdict.KEPT: "green",
    Verdict.BROKEN: "bold red",
    Verdict.EXTRA: "cyan",
    Verdict.NOT_DECLARED: "dim",
    Verdict.CANNOT_TELL: "bold yellow",
}
_VERDICT_COLUMNS = max(map(len, Verdict))


ToolName = Annotated[str, typer.Argument(metavar="TOOL", help="The tool's name.")]
GoodParams = Annotated[
    str,
    typer.Option(
        "--params",
        metavar="JSON_OR_FILE",
        help="Params that it accepts, as often as they come under a new req_id.",
    ),
]
OtherParams = Annotated[
    str | None,
    typer.Option(
        "--other-params",
        metavar="JSON_OR_FILE",
        help="Others that it accepts. By default a number or a text of --params is changed.",
    ),
]
BadParams = Annotated[
    str | None,
    typer.Option(
        "--bad-params",
        metavar="JSON_OR_FILE",
        help="Params that fit its schema and that it refuses for good.",
    ),
]
Undo = Annotated[
    str | None,
    typer.Option("--undo", metavar="TOOL", help="What undoes it, if it does not say."),
]
UndoParams = Annotated[
    str | None,
    typer.Option(
        "--undo-params",
        metavar="JSON_OR_FILE",
        help="For the undo; '$output.step_1.<path>' is what the tool returned.",
    ),
]
Probe = Annotated[
    str | None,
    typer.Option(
        "--probe", metavar="TOOL", help="A read-only tool that returns how many effects exist."
    ),
]
Timeout = Annotated[
    float,
    typer.Option("--timeout", metavar="SECONDS", min=0.01, help="How long to wait for a call."),
]
WhereTo = Annotated[
    Path,
    typer.Option(
        "--certificates",
        metavar="DIR",
        envvar="FSM_SAGA_CERTIFICATES",
        help="Where the certificate is written, as `<tool>.json`.",
    ),
]
Agreed = Annotated[
    bool, typer.Option("--yes", help="Call it without asking: this is a test environment.")
]


@command(
    "certify",
    examples="""
        fsm-saga certify order --tools examples/fenced/tools.py --params '{"item": "tea", "count": 2}' --probe orders --yes
        fsm-saga certify order --tools examples/fenced/tools.py --params examples/fenced/good.json --bad-params examples/fenced/bad.json --probe orders --yes --json
    """,  # noqa: E501  # one line each, as it is typed
)
def certify(
    tool: ToolName,
    tools: ToolSpecs = None,
    params: GoodParams = "{}",
    other_params: OtherParams = None,
    bad_params: BadParams = None,
    undo: Undo = None,
    undo_params: UndoParams = None,
    probe: Probe = None,
    timeout_s: Timeout = TIMEOUT_S,
    certificates: WhereTo = FOLDER,
    is_agreed: Agreed = False,
    as_json: AsJson = False,
) -> int:
    """Call a tool for real, as crashes and slow networks would, and see if it keeps its word.

    It is called some forty times: again and again under one req_id, at the same moment, with other
    params, before and after its undo. What it can undo is undone after each check, the rest stays:
    point the tools at a test environment.

    What is found goes into a certificate, which `run`, `verify` and `diagram` read: a plan that
    leans on a promise which was found broken is refused.

    Exit codes: 0 what is declared is kept, as far as it could be told; 3 something is broken; 2
    nothing could be tried.
    """
    samples = Samples(
        params=_params("--params", params) or {},
        other_params=_params("--other-params", other_params),
        bad_params=_params("--bad-params", bad_params),
        undo=undo,
        undo_params=_params("--undo-params", undo_params),
        probe=probe,
    )
    registry = Registry(load_all(tool_specs(tools)))
    _check_folder(certificates)
    if tool in registry.known:  # else it is refused in a moment, and nobody has to agree to that
        _check_agreed(tool, is_agreed=is_agreed, as_json=as_json)
    report = run_async(
        _certify(registry, tool, samples, timeout_s, is_told=not as_json),
        when_stopped="No certificate was written; what was called until then has happened.",
    )
    path = _write(report, registry, undo, certificates)
    if as_json:
        print_json(report.as_json() | {"certificate": str(path)})
    else:
        _print_summary(report, path)
    return EXIT_KEPT if report.is_kept else EXIT_BROKEN


def _params(option: str, given: str | None) -> Mapping[str, Any] | None:
    """Return a JSON object that was typed, or that is in the file that was named."""
    if given is None:
        return None
    is_typed = given.lstrip()[:1] in ("{", "[", '"')
    text = given.encode() if is_typed else read_input(given, f"What {option} names,")
    try:
        value = orjson.loads(text)
    except ValueError as error:
        raise CommandError(
            f"{option} was refused: it is no JSON ({error}). Nothing was called."
        ) from error
    if not isinstance(value, dict):
        raise CommandError(f"{option} was refused: it is no JSON object. Nothing was called.")
    return value


def _check_folder(folder: Path) -> None:
    """Return if a certificate can be written there: tools are not called for real for nothing.

    Raises:
        CommandError: If it cannot.
    """
    place = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    if not place.is_dir():
        why = f"{str(place)!r} is no folder"
    elif not os.access(place, os.W_OK):
        why = f"{str(place)!r} cannot be written to"
    else:
        return
    raise CommandError(
        f"No certificate can be written below {str(folder)!r}: {why}. Nothing was called; name "
        "another folder with --certificates."
    )


def _check_agreed(tool: str, *, is_agreed: bool, as_json: bool) -> None:
    if is_agreed:
        return
    if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CommandError(
            f"{tool!r} was not certified: that calls it for real, some forty times. Nothing "
            "was called; point its tools at a test environment and add --yes."
        )
    typer.confirm(
        f"This calls {plain_text(tool)} for real, some forty times, and effects may stay. Go on?",
        abort=True,
        err=True,
    )


async def _certify(
    registry: Registry, tool: str, samples: Samples, timeout_s: float, *, is_told: bool
) -> Report:
    runner = PythonRunner(registry)
    try:
        return await certify_tool(
            runner, tool, samples, timeout_s=timeout_s, listener=_print_result if is_told else None
        )
    finally:
        await runner.close()


def _write(report: Report, registry: Registry, undo: str | None, folder: Path) -> Path:
    certificate = certificate_of(
        report,
        registry.known,
        undo=undo,
        at=datetime.datetime.now(datetime.UTC).replace(microsecond=0),
        # By name: no module of the package imports the package's public face.
        version=import_module("fsm_saga").__version__,
    )
    return certificate.write(folder)


def _print_result(result: CheckResult) -> None:
    verdict = (f"{result.verdict:<{_VERDICT_COLUMNS}}", _STYLES[result.verdict])
    print_line(verdict, f"  {result.title:<{TITLE_COLUMNS}}  ", plain_text(result.why))
    if result.verdict is Verdict.BROKEN:
        for call in result.calls:
            print_line(f"    {_call_line(call)}")


def _call_line(call: CallMade) -> str:
    """Return a call as one line: what was sent, under which id, and what came back."""
    about = f" about {call.undoes}" if call.undoes is not None else ""
    note = f", {call.note}" if call.note else ""
    sent = f"{call.label}: {plain_text(call.tool)}{value_text(call.params, columns=PARAMS_COLUMNS)}"
    came = plain_text(call.error) if call.error else value_text(call.output, columns=PARAMS_COLUMNS)
    return f"{sent}{about}{note} -> {call.outcome} {came}"


def _print_summary(report: Report, path: Path) -> None:
    lines: Sequence[tuple[str, Sequence[str]]] = (
        ("Proven", report.proven),
        ("Broken", report.broken),
        ("Could not be told", report.untried),
        ("Kept without being declared", report.extra),
    )
    print_line("")
    for title, promises in lines:
        if promises:
            print_line(f"{title}: {', '.join(promises)}")
    print_line(f"Certificate: {plain_text(str(path))}")
