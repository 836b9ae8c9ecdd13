"""``fsm-saga verify``: what can happen to a plan, before it does."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from fsm_saga.cli.commands import command
from fsm_saga.cli.options import (
    AsJson,
    CertificateFolder,
    PlanFile,
    ToolSpecs,
    read_certificates,
    tool_specs,
)
from fsm_saga.cli.output import note, print_json, print_line
from fsm_saga.cli.planning import planned_of_file
from fsm_saga.core.contract import Standing
from fsm_saga.core.program import Program
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Phase
from fsm_saga.drawing.extract_dag import dag_picture
from fsm_saga.drawing.picture import Edge, EdgeRole, Flow, Node, NodeRole, Picture
from fsm_saga.drawing.plain import plain_text, wrap
from fsm_saga.drawing.render import check_picture_path, write_picture
from fsm_saga.errors import PlanError
from fsm_saga.machine.verify import CONFIGURATION_MAX, Verification, Violation, verify_program

EXIT_PROVEN = 0
EXIT_BROKEN = 1
EXIT_UNDECIDED = 3
EVENT_COLUMNS = 60

_ROLES = {
    Phase.PENDING: NodeRole.PENDING,
    Phase.EXECUTING: NodeRole.EXECUTING,
    Phase.COMPENSATING: NodeRole.GOING_BACK,
    Phase.DONE: NodeRole.DONE,
    Phase.FAILED: NodeRole.FAILED,
    Phase.NEEDS_HUMAN: NodeRole.NEEDS_HUMAN,
}


@command(
    "verify",
    examples="""
        fsm-saga verify examples/approval/plan.json --tools examples/approval/tools.py
        fsm-saga verify examples/travel/plan.json --assume-tools --json
    """,
)
def verify(
    plan: PlanFile,
    tools: ToolSpecs = None,
    is_assumed: Annotated[
        bool,
        typer.Option(
            "--assume-tools", help="Take every tool that the plan names as there, and undeclared."
        ),
    ] = False,
    picture: Annotated[
        str | None,
        typer.Option(
            "--picture",
            metavar="FILE",
            help="Draw how a property breaks, step by step; the plan itself where all hold.",
        ),
    ] = None,
    limit: Annotated[
        int,
        typer.Option(
            "--limit",
            metavar="N",
            min=1,
            help="The bound: above so many configurations a plan is sampled by random walks.",
        ),
    ] = CONFIGURATION_MAX,
    is_strict: Annotated[
        bool,
        typer.Option("--strict", help="Exit 3 if the plan was only sampled, for its size."),
    ] = False,
    certificates: CertificateFolder = None,
    as_json: AsJson = False,
) -> int:
    """Try every order of events that a plan can meet, crashes and lost answers included.

    What runs in the search is what runs in production. Nothing is called. Plans of dozens of
    steps in line, or of half a dozen side by side, are searched to the last configuration; a plan
    with more than --limit of them is searched up to there and then sampled.

    Exit codes: 0 every property is proven, or none was found broken in what was sampled of a
    plan that is too large (the first line says which; with --strict that is 3), 1 one fails
    (with the way to it), 2 the plan is refused.
    """
    if picture is not None:
        check_picture_path(picture)
    specs = tool_specs(tools)
    try:
        program, standings = planned_of_file(
            plan, specs, is_assumed=is_assumed, certificates=read_certificates(certificates)
        )
    except PlanError:
        if not (specs or is_assumed or as_json):
            note("No tools were given: add --tools MODULE_OR_FILE, or --assume-tools.")
        raise
    result = verify_program(program, configuration_max=limit)
    code = report_verification(
        program, result, picture=picture, as_json=as_json, standings=standings
    )
    if code == EXIT_PROVEN and is_strict and not result.is_proven:
        return EXIT_UNDECIDED
    return code


def report_verification(
    program: Program,
    result: Verification,
    *,
    picture: str | None,
    as_json: bool,
    standings: Mapping[str, Standing] | None = None,
) -> int:
    """Print what came of a verification, draw it if wanted, and return the exit code."""
    if picture is not None:
        broken = result.violations
        drawn = path_picture(broken[0]) if broken else dag_picture(program, standings=standings)
        write_picture(drawn, picture)
    if as_json:
        told = {} if standings is None else {"standings": standings}
        print_json(result.as_json() | told)
    else:
        for line in result.as_text().splitlines():
            print_line(line)
        _print_standings(standings)
        if picture is not None:
            print_line(f"Drawn: {picture}")
    if not result.is_sound:
        return EXIT_BROKEN
    if not result.is_proven and not as_json:
        note("Not proven, only sampled: raise --limit, or split the plan.")
    return EXIT_PROVEN


def _print_standings(standings: Mapping[str, Standing] | None) -> None:
    """Say which of the contracts that the proof rests on were tried on the real tools."""
    if standings is None:
        return
    print_line("Contracts:")
    for standing in Standing:
        names = sorted(name for name, each in standings.items() if each is standing)
        if names:
            print_line(f"  {', '.join(map(plain_text, names))}: {standing}")


def path_picture(violation: Violation) -> Picture:
    """Return the picture of a history in which a property breaks, one box for each event."""
    nodes = [_node(number, event, saga) for number, (event, saga) in enumerate(violation.path)]
    return Picture(
        title=f"{violation.code} breaks: {violation.message}",
        nodes=tuple(nodes),
        edges=tuple(_edges(nodes)),
        notes=(f"What should hold: {violation.title}.",),
        flow=Flow.DOWN,
    )


def _node(number: int, event: str, saga: Saga) -> Node:
    statuses = ", ".join(
        f"{spec.step_id} {step.status}"
        for spec, step in zip(saga.program.steps, saga.steps, strict=False)
    )
    told = wrap(f"{number + 1}. {event}", EVENT_COLUMNS, line_max=3)
    lines = (*told, str(saga.state), *wrap(statuses, EVENT_COLUMNS, line_max=4))
    return Node(id=f"event-{number}", lines=lines, role=_ROLES[saga.state.phase])


def _edges(nodes: Sequence[Node]) -> list[Edge]:
    return [
        Edge(source=one.id, target=next_one.id, role=EdgeRole.TAKEN)
        for one, next_one in itertools.pairwise(nodes)
    ]
