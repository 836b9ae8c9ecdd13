"""``fsm-saga diagram``: pictures of plans, sagas and machines."""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from fsm_saga.cli.commands import command
from fsm_saga.cli.options import (
    STORE,
    AsJson,
    AtPosition,
    CertificateFolder,
    StoreUrl,
    ToolSpecs,
    read_certificates,
    tool_specs,
    typed,
)
from fsm_saga.cli.output import print_bytes, print_json, print_line
from fsm_saga.cli.planning import Planned, planned_of_file
from fsm_saga.cli.reading import read_journal, saga_at
from fsm_saga.cli.running import run_async
from fsm_saga.core.records import Record, SagaMoved
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import PENDING, SagaState
from fsm_saga.drawing.extract_dag import dag_picture
from fsm_saga.drawing.extract_machine import saga_machine_picture
from fsm_saga.drawing.extract_step import step_machine_picture
from fsm_saga.drawing.extract_timeline import timeline_picture
from fsm_saga.drawing.picture import Picture
from fsm_saga.drawing.plain import plain_text
from fsm_saga.drawing.render import PictureFormat, render, write_picture
from fsm_saga.errors import CommandError
from fsm_saga.machine.flatten import step_table

STDOUT = "-"


class Kind(enum.StrEnum):
    """What can be drawn."""

    DAG = "dag"
    MACHINE = "machine"
    STEP = "step"
    TIMELINE = "timeline"


@command(
    "diagram",
    examples="""
        fsm-saga diagram examples/parallel/plan.json --tools examples/parallel/tools.py -o plan.svg
        fsm-saga diagram --saga street-festival --kind timeline -o what-happened.png
        fsm-saga diagram examples/parallel/plan.json --kind machine --format mermaid
        fsm-saga diagram --kind step --format dot -o -
    """,
)
def diagram(
    plan: Annotated[
        str | None,
        typer.Argument(metavar="[PLAN]", help="A file with a plan in JSON, or - for stdin."),
    ] = None,
    saga_id: Annotated[
        str | None, typer.Option("--saga", metavar="ID", help="Draw this saga of the store.")
    ] = None,
    kind: Annotated[
        Kind,
        typer.Option("--kind", help="Steps, saga machine, step machine, or a saga over time."),
    ] = Kind.DAG,
    picture_format: Annotated[
        PictureFormat | None,
        typer.Option("--format", help="By default the ending of the file's name, else text."),
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Where to; - is stdout.")
    ] = STDOUT,
    at: AtPosition = None,
    is_open_ended: Annotated[
        bool, typer.Option("--open-ended", help="Draw a plan that will grow.")
    ] = False,
    tools: ToolSpecs = None,
    store: StoreUrl = STORE,
    certificates: CertificateFolder = None,
    as_json: AsJson = False,
) -> int:
    """Draw a plan before it runs, or a saga as it is, was, and would get back.

    A plan whose tools are not given is drawn as if none of them declared anything. A saga needs no
    tools: what they had declared is in its journal. An SVG keeps names as text; a PNG draws what no
    installed font has, an emoji for example, as a box with its number.
    """
    if as_json and output == STDOUT:
        raise typer.BadParameter("stdout is taken by the JSON: name a file.", param_hint="'-o'")
    if plan is not None and saga_id is not None:
        raise typer.BadParameter("give a plan or a saga, not both.", param_hint="'--saga'")
    if saga_id is not None:
        picture = _picture_of_saga(kind, run_async(read_journal(store, saga_id)), at)
    elif kind is Kind.STEP:
        picture = step_machine_picture(step_table())
    elif plan is not None:
        _check_file(plan, store)
        specs = tool_specs(tools)
        planned = planned_of_file(
            plan,
            specs,
            is_assumed=not specs,
            is_open=is_open_ended,
            certificates=read_certificates(certificates),
        )
        picture = _picture_of_program(kind, planned)
    else:
        raise typer.BadParameter("give a plan, or a saga with --saga.", param_hint="'PLAN'")
    _write(picture, picture_format, output)
    if as_json:
        print_json({"file": output, "kind": kind, "title": plain_text(picture.title)})
    elif output != STDOUT:
        print_line(f"Drawn: {output}")
    return 0


def _check_file(plan: str, store: str) -> None:
    """Return if there is such a file; who draws what happened may have typed a saga's id.

    Raises:
        CommandError: If there is none.
    """
    # Unlike a path's own method, this one takes a name of any length or content.
    if plan != STDOUT and not os.path.exists(plan):
        saga = typed("diagram", "--saga", plan, store=store)
        raise CommandError(
            f"Plan {plan!r} was not read: there is no such file. Nothing was drawn. If it is the "
            f"id of a saga, `{saga}` draws that."
        )


def _picture_of_program(kind: Kind, planned: Planned) -> Picture:
    if kind is Kind.TIMELINE:
        raise typer.BadParameter(
            "a timeline is of something that happened: name a saga with --saga.",
            param_hint="'--kind'",
        )
    if kind is Kind.MACHINE:
        return saga_machine_picture(planned.program.table)
    return dag_picture(planned.program, standings=planned.standings)


def _picture_of_saga(kind: Kind, journal: Sequence[Record], position: int | None) -> Picture:
    saga: Saga = saga_at(journal, position)
    past = journal[: saga.position]
    match kind:
        case Kind.DAG:
            return dag_picture(saga.program, saga)
        case Kind.MACHINE:
            visited = [SagaState.parse(r.state) for r in past if isinstance(r, SagaMoved)]
            return saga_machine_picture(saga.program.table, saga.state, visited=(PENDING, *visited))
        case Kind.STEP:
            return step_machine_picture(saga.program.step_table)
        case Kind.TIMELINE:
            return timeline_picture(saga.program, past)


def _write(picture: Picture, picture_format: PictureFormat | None, output: str) -> None:
    if output != STDOUT:
        write_picture(picture, output, picture_format)
        return
    wanted = picture_format or PictureFormat.TEXT
    if wanted is PictureFormat.PNG and sys.stdout.isatty():
        raise typer.BadParameter("a terminal shows no PNG: name a file.", param_hint="'-o'")
    print_bytes(render(picture, wanted))
