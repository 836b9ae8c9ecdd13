"""``fsm-saga undo``: the way back of a saga that is done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from fsm_saga.cli.commands import command
from fsm_saga.cli.driving import exit_code_of, open_engine, stopped_text
from fsm_saga.cli.options import STORE, AsJson, SagaId, StoreUrl, ToolSpecs, load_all, tool_specs
from fsm_saga.cli.output import print_json, print_line, value_text
from fsm_saga.cli.progress import Progress, open_progress
from fsm_saga.cli.reading import read_journal, saga_at
from fsm_saga.cli.running import run_async
from fsm_saga.cli.saga_text import print_saga
from fsm_saga.drawing.plain import plain_text
from fsm_saga.service.undoing import UndoPlan, undo_plan
from fsm_saga.service.view import SagaView
from fsm_saga.tools.python import Tool


@command(
    "undo",
    examples="""
        fsm-saga undo trip-shanghai --dry-run
        fsm-saga undo trip-shanghai --tools examples/travel/tools.py
    """,
)
def undo(
    saga_id: SagaId,
    is_dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be undone; no tool is needed.")
    ] = False,
    is_partial: Annotated[
        bool, typer.Option("--partial", help="Undo what can be undone even if something cannot.")
    ] = False,
    tools: ToolSpecs = None,
    store: StoreUrl = STORE,
    as_json: AsJson = False,
) -> int:
    """Take back a saga that is DONE, latest effect first, as a new saga named ID.undo.

    Exit codes as of `run`, for the new saga: 0 DONE (everything is undone), 1 FAILED, 3 a person
    is asked, 2 refused (nothing ran), 74 and 75 too.
    """
    if is_dry_run:
        saga = saga_at(run_async(read_journal(store, saga_id)), None)
        _print_plan(undo_plan(saga, now=time.time()), as_json=as_json)
        return 0
    run_async(read_journal(store, saga_id))  # a store is not made for an unknown saga
    specs = tool_specs(tools)
    loaded = load_all(specs)
    stopped = stopped_text(store=store, tools=specs)
    with open_progress(as_json=as_json) as progress:
        work = _undo(saga_id, store, loaded, specs, progress, is_partial=is_partial)
        view = run_async(work, when_stopped=stopped)
    if as_json:
        print_json(view.as_json())
    else:
        print_saga(view, store=store, tools=specs)
    return exit_code_of(view)


async def _undo(
    saga_id: str,
    store: str,
    tools: Sequence[Tool[..., Any]],
    specs: Sequence[str],
    progress: Progress,
    *,
    is_partial: bool,
) -> SagaView:
    async with open_engine(store, tools=tools, specs=specs, progress=progress) as engine:
        _plan, view = await engine.undo(saga_id, is_partial=is_partial)
        return view if view is not None else await engine.get(saga_id)


def _print_plan(plan: UndoPlan, *, as_json: bool) -> None:
    if as_json:
        steps = [step.as_json() for step in plan.steps]
        is_whole = len(plan.possible) == len(plan.steps)
        print_json({"saga_id": plan.saga_id, "can_be_undone": is_whole, "steps": steps})
        return
    if not plan.steps:
        print_line("It left nothing that could be undone.")
    for step in plan.steps:
        about = f"  {plain_text(str(step.step_id))}  {plain_text(step.name)}"
        if step.obstacle:
            print_line(("cannot be undone", "bold red"), about, ": ", plain_text(step.obstacle))
        else:
            call = f"  {plain_text(step.tool or '')} {value_text(step.params)}"
            print_line(("is undone       ", "green"), about, call)
