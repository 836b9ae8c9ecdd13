"""``fsm-saga approve`` and ``fsm-saga reject``: a person lets a step run, or does not."""

from __future__ import annotations

from typing import Annotated

import typer

from fsm_saga.cli.commands import command
from fsm_saga.cli.deciding import Decision, decide_about
from fsm_saga.cli.options import (
    STORE,
    AsJson,
    By,
    Note,
    SagaId,
    StepName,
    StoreUrl,
    ToolSpecs,
    tool_specs,
)
from fsm_saga.service.answers import Answer

Digest = Annotated[
    str,
    typer.Option(
        "--digest",
        metavar="DIGEST",
        help="The digest that `show` printed: refused if other parameters wait by now.",
    ),
]


@command(
    "approve",
    examples="""
        fsm-saga approve order-desks --step pay --by Ada --tools examples/approval/tools.py
    """,
)
def approve(
    saga_id: SagaId,
    step: StepName,
    by: By,
    note: Note = "",
    digest: Digest = "",
    tools: ToolSpecs = None,
    store: StoreUrl = STORE,
    as_json: AsJson = False,
) -> int:
    """Let a step run that waits for approval: once, with the parameters that `show` prints.

    Without --tools, and while no other process runs the saga, the decision waits in the store for
    `fsm-saga resume`.

    Exit codes: 0 accepted or left in the store, whatever the saga comes to (its state is printed),
    2 refused, 75 the store failed.
    """
    answer = Answer(kind="approve", step_id=step, by=by, note=note, digest=digest)
    specs = tool_specs(tools)
    return decide_about(
        Decision(saga_id=saga_id, answer=answer, store=store, specs=specs), as_json=as_json
    )


@command(
    "reject",
    examples="""
        fsm-saga reject order-desks --step pay --by Ada --note "too many desks"
    """,
)
def reject(
    saga_id: SagaId,
    step: StepName,
    by: By,
    note: Note = "",
    tools: ToolSpecs = None,
    store: StoreUrl = STORE,
    as_json: AsJson = False,
) -> int:
    """Deny a step that waits for approval; what was done before it is undone.

    Exit codes: 0 accepted or left in the store, whatever the saga comes to (its state is printed),
    2 refused, 75 the store failed.
    """
    answer = Answer(kind="reject", step_id=step, by=by, note=note)
    specs = tool_specs(tools)
    return decide_about(
        Decision(saga_id=saga_id, answer=answer, store=store, specs=specs), as_json=as_json
    )
