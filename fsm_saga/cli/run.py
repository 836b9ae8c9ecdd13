"""``fsm-saga run``: a plan becomes a saga and is driven until it rests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fsm_saga.cli.commands import command
from fsm_saga.cli.driving import exit_code_of, open_engine, stopped_text, wait_for_rest
from fsm_saga.cli.options import (
    STORE,
    Allowed,
    AsJson,
    CertificateFolder,
    PlanFile,
    StoreUrl,
    ToolSpecs,
    load_all,
    read_certificates,
    read_input,
    tool_specs,
)
from fsm_saga.cli.output import note, print_json
from fsm_saga.cli.planning import note_outdated
from fsm_saga.cli.progress import Progress, open_progress
from fsm_saga.cli.running import run_async
from fsm_saga.cli.saga_text import print_saga
from fsm_saga.coordinator.driver import is_at_rest
from fsm_saga.coordinator.reading import read_saga
from fsm_saga.core.records import SagaSubmitted
from fsm_saga.errors import PlanError, StoreLockedError
from fsm_saga.plan.lint import read_plan
from fsm_saga.plan.model import Plan
from fsm_saga.service.view import SagaView, view_of
from fsm_saga.stores.opening import open_store
from fsm_saga.tools.certificates import Certificates
from fsm_saga.tools.python import Tool
from fsm_saga.tools.registry import Registry

LOCK_POLL_S = 0.5


@command(
    "run",
    examples="""
        fsm-saga run examples/parallel/plan.json --tools examples/parallel/tools.py
        fsm-saga run - --tools examples/parallel/tools.py --json < examples/parallel/plan.json
    """,
)
def run(
    plan: PlanFile,
    tools: ToolSpecs = None,
    allow: Allowed = None,
    store: StoreUrl = STORE,
    certificates: CertificateFolder = None,
    as_json: AsJson = False,
) -> int:
    """Run a plan until it is done, undone, or a person is asked.

    The plan is checked as a whole before anything happens. A task_id names its saga for ever: the
    same plan again shows the saga that there is, and goes on with it if it is unfinished.

    Exit codes: 0 DONE, 1 FAILED (undone), 3 a person is asked, 2 refused (nothing ran), 74 the
    output could not be written (the saga rests), 75 the store failed while the saga was under way:
    nothing acknowledged is lost, `fsm-saga resume` goes on when it answers again.
    """
    specs = tool_specs(tools)
    loaded = load_all(specs)
    known = read_certificates(certificates)
    catalogue = Registry(loaded, allow=allow or None, certificates=known).catalogue
    text = read_input(plan, "Plan")
    try:
        checked, _graph = read_plan(text, catalogue, allowed=allow or None)
    except PlanError:
        if not catalogue and not as_json:
            note("No tools were given: add --tools MODULE_OR_FILE.")
        raise
    note_outdated(checked, catalogue)
    order = _Order(
        plan=checked, tools=loaded, specs=specs, allow=allow, store=store, certificates=known
    )
    with open_progress(as_json=as_json) as progress:
        view = run_async(_run(order, progress), when_stopped=stopped_text(store=store, tools=specs))
    if as_json:
        print_json(view.as_json())
    else:
        print_saga(view, store=store, tools=specs)
    return exit_code_of(view)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    plan: Plan
    tools: Sequence[Tool[..., Any]]
    specs: Sequence[str]
    allow: Sequence[str] | None
    store: str
    certificates: Certificates | None


async def _run(order: _Order, progress: Progress) -> SagaView:
    """Run the plan here; where another process runs this very saga, follow it instead."""
    shown = 0
    while True:
        try:
            return await _drive(order, progress)
        except StoreLockedError:
            view = await _look(order)
            if view is None:
                raise
            if is_at_rest(view.saga):
                return view
            if view.position != shown:
                shown = view.position
                progress.show(view.saga, ())
        await asyncio.sleep(LOCK_POLL_S)


async def _drive(order: _Order, progress: Progress) -> SagaView:
    async with open_engine(
        order.store,
        tools=order.tools,
        specs=order.specs,
        progress=progress,
        allow=order.allow,
        certificates=order.certificates,
    ) as engine:
        return (await wait_for_rest(engine, [await engine.submit(order.plan)]))[0]


async def _look(order: _Order) -> SagaView | None:
    """Return the saga that was made from this very plan, or None."""
    async with open_store(order.store, mode="read") as store:
        journal = await store.load(order.plan.task_id)
    first = journal[0] if journal else None
    if journal is None or not isinstance(first, SagaSubmitted):
        return None
    is_same = first.plan_hash == order.plan.content_hash()
    return view_of(read_saga(journal)[0]) if is_same else None
