"""``fsm-saga undo``: the way back of a saga that is done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from fsm_saga.cli.commands import command
from fsm_saga.cli.driving import exit_code_of, open_engine, stopped_text
from fsm_saga.cli.elsewhere import Request, StoppedText, driven_or_followed
from fsm_saga.cli.options import STORE, AsJson, SagaId, StoreUrl, ToolSpecs, load_all, tool_specs
from fsm_saga.cli.output import print_json, print_line, value_text
from fsm_saga.cli.progress import Progress, open_progress
from fsm_saga.cli.reading import read_journal, saga_at
from fsm_saga.cli.running import run_async
from fsm_saga.cli.saga_text import print_saga
from fsm_saga.drawing.plain import plain_text
from fsm_saga.service.submitting import free_undo_id, undo_order
from fsm_saga.service.undoing import UndoPlan, undo_plan
from fsm_saga.service.view import SagaView
from fsm_saga.stores.opening import open_store
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

    Where another process leads the store, it is done there, with the tools of that process.

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
    stopped = StoppedText(stopped_text(store=store, tools=specs))
    order = _Order(saga_id=saga_id, store=store, tools=loaded, specs=specs, is_partial=is_partial)
    with open_progress(as_json=as_json) as progress:
        view = run_async(_undo(order, progress, stopped), when_stopped=stopped)
    if as_json:
        print_json(view.as_json())
    else:
        print_saga(view, store=store, tools=specs)
    return exit_code_of(view)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    saga_id: str
    store: str
    tools: Sequence[Tool[..., Any]]
    specs: Sequence[str]
    is_partial: bool


async def _undo(order: _Order, progress: Progress, stopped: StoppedText) -> SagaView:
    """Undo the saga here, or have it undone by the process that leads the store."""

    async def ask() -> Request:
        async with open_store(order.store, mode="read") as reader:
            undo_saga_id = await free_undo_id(reader, order.saga_id)
        return Request(
            store=order.store,
            command=undo_order(
                order.saga_id, undo_saga_id=undo_saga_id, is_partial=order.is_partial
            ),
            plan_hash=None,
            specs=tuple(order.specs),
        )

    async def drive() -> SagaView:
        async with open_engine(
            order.store, tools=order.tools, specs=order.specs, progress=progress
        ) as engine:
            _plan, view = await engine.undo(order.saga_id, is_partial=order.is_partial)
            return view if view is not None else await engine.get(order.saga_id)

    return await driven_or_followed(drive, ask, progress, stopped=stopped)


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
