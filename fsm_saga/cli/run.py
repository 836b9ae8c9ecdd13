"""``fsm-saga run``: a plan becomes a saga and is driven until it rests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsm_saga.cli.commands import command
from fsm_saga.cli.driving import exit_code_of, open_engine, stopped_text, wait_for_rest
from fsm_saga.cli.elsewhere import Request, StoppedText, driven_or_followed, is_led
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
    store_is_missing,
    tool_specs,
)
from fsm_saga.cli.output import note, print_json
from fsm_saga.cli.planning import note_outdated, note_short_memory
from fsm_saga.cli.progress import Progress, open_progress
from fsm_saga.cli.running import run_async
from fsm_saga.cli.saga_text import print_saga
from fsm_saga.drawing.plain import plain_text
from fsm_saga.errors import PlanError
from fsm_saga.plan.lint import read_plan
from fsm_saga.plan.model import Plan
from fsm_saga.service.submitting import submission
from fsm_saga.service.view import SagaView
from fsm_saga.tools.certificates import Certificates
from fsm_saga.tools.python import Tool
from fsm_saga.tools.registry import Registry


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

    Where another process leads the store (`fsm-saga serve`, or another `run`), the plan is handed
    to that one, checked and run with the tools there, and followed here; --tools is not needed.

    Exit codes: 0 DONE, 1 FAILED (undone), 3 a person is asked, 2 refused (nothing ran), 74 the
    output could not be written (the saga rests), 75 the store failed while the saga was under way:
    nothing acknowledged is lost, `fsm-saga resume` goes on when it answers again. Also 75 if
    nobody who leads the store has answered.
    """
    specs = tool_specs(tools)
    text = read_input(plan, "Plan")
    # Without tools a plan can only be run by who leads the store, and is then checked there.
    if not specs and not store_is_missing(store) and run_async(is_led(store)):
        order = _Order(plan=Plan.read(text), store=store, can_drive=False)
    else:
        order = _checked(text, specs, allow, store, certificates, as_json=as_json)
    stopped = StoppedText(stopped_text(store=store, tools=specs))
    with open_progress(as_json=as_json) as progress:
        view = run_async(_run(order, progress, stopped), when_stopped=stopped)
    if as_json:
        print_json(view.as_json())
    else:
        print_saga(view, store=store, tools=specs)
    return exit_code_of(view)


def _checked(
    text: bytes,
    specs: Sequence[str],
    allow: Sequence[str] | None,
    store: str,
    certificates: Path | None,
    *,
    as_json: bool,
) -> _Order:
    """Return the order for a plan that is checked with the tools given here."""
    loaded = load_all(specs)
    known = read_certificates(certificates)
    catalogue = Registry(loaded, allow=allow or None, certificates=known).catalogue
    if unknown := sorted(set(allow or ()) - {tool.name for tool in loaded}):
        note(
            f"No tool that was given is called {', '.join(map(plain_text, unknown))}: see --allow."
        )
    try:
        checked, _graph = read_plan(text, catalogue, allowed=allow or None)
    except PlanError:
        if not loaded and not as_json:
            note("No tools were given: add --tools MODULE_OR_FILE, or serve the store.")
        raise
    note_outdated(checked, catalogue)
    note_short_memory(checked, catalogue)
    return _Order(
        plan=checked, tools=loaded, specs=specs, allow=allow, store=store, certificates=known
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    plan: Plan
    store: str
    tools: Sequence[Tool[..., Any]] = ()
    specs: Sequence[str] = ()
    allow: Sequence[str] | None = None
    certificates: Certificates | None = None
    can_drive: bool = True


async def _run(order: _Order, progress: Progress, stopped: StoppedText) -> SagaView:
    """Run the plan here, or have it run by the process that leads the store."""

    async def ask() -> Request:
        return Request(
            store=order.store,
            command=submission(order.plan),
            plan_hash=order.plan.content_hash(),
            specs=tuple(order.specs),
        )

    async def drive() -> SagaView:
        async with open_engine(
            order.store,
            tools=order.tools,
            specs=order.specs,
            progress=progress,
            allow=order.allow,
            certificates=order.certificates,
        ) as engine:
            return (await wait_for_rest(engine, [await engine.submit(order.plan)]))[0]

    return await driven_or_followed(
        drive if order.can_drive else None, ask, progress, stopped=stopped
    )
