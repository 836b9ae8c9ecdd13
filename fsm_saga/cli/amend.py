"""``fsm-saga amend``: a plan gets further steps."""

from __future__ import annotations

from typing import Annotated

import typer

from fsm_saga.cli.commands import command
from fsm_saga.cli.deciding import Decision, decide_about
from fsm_saga.cli.options import (
    STORE,
    AsJson,
    SagaId,
    StoreUrl,
    ToolSpecs,
    read_input_text,
    tool_specs,
)
from fsm_saga.service.answers import Answer


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
    as_json: AsJson = False,
) -> int:
    """Append steps to a saga that is under way; what has started does not change.

    The plan is checked again as a whole, so tools are needed.

    Exit codes: 0 accepted, 2 refused, 75 the store failed.
    """
    answer = Answer(kind="amend", value=read_input_text(file, "The file with steps"))
    specs = tool_specs(tools)
    return decide_about(
        Decision(saga_id=saga_id, answer=answer, store=store, specs=specs), as_json=as_json
    )
