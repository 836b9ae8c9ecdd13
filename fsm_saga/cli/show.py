"""``fsm-saga show``: one saga, now or as it was."""

from __future__ import annotations

from fsm_saga.cli.commands import command
from fsm_saga.cli.options import STORE, AsJson, AtPosition, SagaId, StoreUrl, tool_specs
from fsm_saga.cli.output import print_json, print_line
from fsm_saga.cli.reading import read_saga_and_commands, saga_at
from fsm_saga.cli.running import run_async
from fsm_saga.cli.saga_text import decision_line, print_saga
from fsm_saga.service.view import open_decisions, view_of


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
    """Show one saga: its state and outcome, its steps, and what a person is asked.

    Also shows the decisions that were left in the store for the process that runs the saga and
    that wait to be carried out, or were refused by it.
    """
    journal, commands = run_async(read_saga_and_commands(store, saga_id))
    view = view_of(saga_at(journal, at))
    decisions = open_decisions(commands) if at is None else []
    if as_json:
        print_json({**view.as_json(), "decisions": decisions})
        return 0
    print_saga(view, store=store, tools=tool_specs(None))
    for decision in decisions:
        print_line(*decision_line(decision))
    return 0
