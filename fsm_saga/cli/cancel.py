"""``fsm-saga cancel``: stop and undo."""

from __future__ import annotations

from fsm_saga.cli.commands import command
from fsm_saga.cli.deciding import Decision, decide_about
from fsm_saga.cli.options import STORE, AsJson, By, Note, SagaId, StoreUrl, ToolSpecs, tool_specs
from fsm_saga.service.answers import Answer


@command(
    "cancel",
    examples="""
        fsm-saga cancel order-desks --by Ada --tools examples/approval/tools.py
    """,
)
def cancel(
    saga_id: SagaId,
    by: By = "",
    note: Note = "",
    tools: ToolSpecs = None,
    store: StoreUrl = STORE,
    as_json: AsJson = False,
) -> int:
    """Stop a saga and undo what it did.

    While another process runs the saga, that one is told. Refused once the saga has ended or has
    passed its point of no return. A saga that is under way is undone later than this is accepted,
    and may then need a person: its state, printed or in the JSON, says how far it is.

    Exit codes: 0 accepted or left in the store, whatever the saga comes to (its state is printed),
    2 refused, 75 the store failed.
    """
    answer = Answer(kind="cancel", by=by, note=note)
    specs = tool_specs(tools)
    return decide_about(
        Decision(saga_id=saga_id, answer=answer, store=store, specs=specs), as_json=as_json
    )
