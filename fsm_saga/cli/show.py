"""``fsm-saga show``: one saga, now or as it was."""

from __future__ import annotations

from fsm_saga.cli.commands import command
from fsm_saga.cli.options import STORE, AsJson, AtPosition, SagaId, StoreUrl, tool_specs
from fsm_saga.cli.output import print_json
from fsm_saga.cli.reading import read_journal, saga_at
from fsm_saga.cli.running import run_async
from fsm_saga.cli.saga_text import print_saga
from fsm_saga.service.view import view_of


@command(
    "show",
    examples="""
        fsm-saga show street-festival
        fsm-saga show street-festival --at 5 --json
    """,
)
def show(
    saga_id: SagaId,
    at: AtPosition = None,
    store: StoreUrl = STORE,
    as_json: AsJson = False,
) -> int:
    """Show one saga: its state and outcome, its steps, and what a person is asked."""
    view = view_of(saga_at(run_async(read_journal(store, saga_id)), at))
    if as_json:
        print_json(view.as_json())
    else:
        print_saga(view, store=store, tools=tool_specs(None))
    return 0
