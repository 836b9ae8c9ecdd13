"""``fsm-saga amend``: a plan gets further steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from fsm_saga.cli.commands import command
from fsm_saga.cli.deciding import Decision, decide_about
from fsm_saga.cli.options import (
    STORE,
    AsJson,
    CertificateFolder,
    SagaId,
    StoreUrl,
    ToolSpecs,
    load_all,
    read_certificates,
    read_input_text,
    tool_specs,
)
from fsm_saga.cli.reading import read_journal
from fsm_saga.cli.running import run_async
from fsm_saga.coordinator.reading import read_saga
from fsm_saga.core.contract import ToolFacts
from fsm_saga.errors import PlanError
from fsm_saga.plan.lint import checked
from fsm_saga.service.answers import Answer
from fsm_saga.service.growing import grown_plan
from fsm_saga.tools.registry import Registry


@command(
    "amend",
    examples="""
        fsm-saga amend order-desks more-steps.json --tools examples/approval/tools.py
    """,
)
def amend(
    saga_id: SagaId,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A list of steps in the form of a plan's, or - for stdin."
        ),
    ],
    tools: ToolSpecs = None,
    store: StoreUrl = STORE,
    certificates: CertificateFolder = None,
    as_json: AsJson = False,
) -> int:
    """Append steps to a saga that is under way; what has started does not change.

    The plan is checked again as a whole, so tools are needed. It is refused if it leans on a
    promise of a tool that a certificate found broken, also if another process runs the saga.

    Exit codes: 0 accepted or left in the store, whatever the saga comes to (its state is printed),
    2 refused, 75 the store failed.
    """
    answer = Answer(kind="amend", value=read_input_text(file, "The file with steps"))
    specs = tool_specs(tools)
    known = read_certificates(certificates)
    if known is not None and specs:
        catalogue = Registry(load_all(specs), certificates=known).catalogue
        run_async(_check_promises(saga_id, answer.value, store=store, catalogue=catalogue))
    return decide_about(
        Decision(saga_id=saga_id, answer=answer, store=store, specs=specs), as_json=as_json
    )


async def _check_promises(
    saga_id: str, steps: Any, *, store: str, catalogue: Mapping[str, ToolFacts]
) -> None:
    """Return if the grown plan leans on no promise that a certificate found broken.

    That is asked here, for whoever runs the saga need not know these certificates. All other
    rules are checked where the steps are appended, with the tools that are there.

    Raises:
        PlanError: It does, or the steps are none.
    """
    reader = read_saga(await read_journal(store, saga_id))[1]
    if reader.plan is None:
        return
    try:
        checked(grown_plan(reader.plan, steps), catalogue)
    except PlanError as error:
        broken = [problem for problem in error.problems if problem.code == "broken-promise"]
        if broken:
            raise PlanError(broken) from error
