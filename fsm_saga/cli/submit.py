"""``fsm-saga submit``: plans are handed over, and nobody waits for what becomes of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fsm_saga.cli.commands import command
from fsm_saga.cli.driving import EXIT_DONE, EXIT_REFUSED
from fsm_saga.cli.elsewhere import LOOK_S, is_led
from fsm_saga.cli.failures import EXIT_STORE_FAILED, StoreFailedError, error_as_json, report
from fsm_saga.cli.handing import AGAIN, Handed, hand_to_leader, hand_to_store
from fsm_saga.cli.options import (
    STORE,
    Allowed,
    AsJson,
    CertificateFolder,
    PlanFiles,
    StoreUrl,
    ToolSpecs,
    load_all,
    read_certificates,
    read_input,
    store_is_missing,
    tool_specs,
    typed,
    without_password,
)
from fsm_saga.cli.output import note, print_json, print_line
from fsm_saga.cli.planning import note_outdated, note_short_memory
from fsm_saga.cli.running import run_async
from fsm_saga.cli.words import counted
from fsm_saga.drawing.plain import plain_text
from fsm_saga.errors import CommandError, PlanError, StoreLockedError
from fsm_saga.plan.lint import read_plan
from fsm_saga.plan.model import Plan
from fsm_saga.service.preparing import Preparer
from fsm_saga.stores.opening import open_cluster, open_store
from fsm_saga.tools.registry import Registry

UNLED_S = 2.0
"""How long nobody may serve a store before that is told to who has no tools: a member whose lease
has ended is back after a moment."""
TRIES = 50
"""How often it is looked again who leads the store: who has just come, or is about to leave."""


@command(
    "submit",
    examples="""
        fsm-saga submit examples/parallel/plan.json --tools examples/parallel/tools.py
        fsm-saga submit - --tools examples/parallel/tools.py --json < examples/parallel/plan.json
    """,
)
def submit(
    plans: PlanFiles,
    tools: ToolSpecs = None,
    allow: Allowed = None,
    store: StoreUrl = STORE,
    certificates: CertificateFolder = None,
    as_json: AsJson = False,
) -> int:
    """Hand plans over, and leave as soon as each is a saga in the store.

    Where a process leads the store (`fsm-saga serve`, or a `run`), it checks and runs them;
    --tools is not needed. Else they are checked with --tools and stored, and nothing is called:
    `fsm-saga serve` or `resume` runs them. The same plan again is the same saga. With --tools,
    nothing is handed over unless all plans pass.

    Exit codes: 0 every plan is a saga, 2 a plan was refused, 75 the store failed or nobody who
    leads it has answered: submit the same again, nothing is done twice.
    """
    if store.startswith("memory:"):
        raise CommandError(
            "Nothing was submitted: what is in memory ends with this process. Name a file or a "
            "server, for example sqlite:///sagas.db."
        )
    specs = tool_specs(tools)
    order = _read(plans, specs, allow, store, certificates)
    if any(each.error for each in order.plans):
        found = _Found(order.plans, is_led=False, is_held_back=True)
    else:
        found = run_async(_submit(order), when_stopped=_stopped_text)
    if len(found.plans) == 1 and (error := found.plans[0].error) is not None:
        raise error
    if as_json:
        print_json(_as_json(found))
    else:
        _print(found, store=store, specs=specs)
    return _exit_code(found)


class _Found(NamedTuple):
    """What became of the plans.

    ``is_led`` says whether anybody runs them; ``is_held_back`` that none was handed over, for one
    of them was refused here.
    """

    plans: Sequence[Handed]
    is_led: bool
    is_held_back: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What is submitted; ``preparer`` is None where only a leader can check it."""

    store: str
    plans: Sequence[Handed]
    preparer: Preparer | None = None


def _read(
    paths: Sequence[str],
    specs: Sequence[str],
    allow: Sequence[str] | None,
    store: str,
    certificates: Path | None,
) -> _Order:
    """Return the plans, checked as far as they can be here; one that is refused has its error."""
    loaded = load_all(specs)
    texts = [(path, read_input(path, "Plan")) for path in paths]
    if not loaded:
        return _Order(store=store, plans=[_given(*each, Plan.read) for each in texts])
    known = read_certificates(certificates)
    catalogue = Registry(loaded, allow=allow or None, certificates=known).catalogue

    def checked(text: bytes) -> Plan:
        plan = read_plan(text, catalogue, allowed=allow or None)[0]
        note_outdated(plan, catalogue)
        note_short_memory(plan, catalogue)
        return plan

    return _Order(
        store=store,
        plans=[_given(*each, checked) for each in texts],
        preparer=Preparer(catalogue, allow or None),
    )


def _given(path: str, text: bytes, read: Callable[[bytes], Plan]) -> Handed:
    try:
        return Handed(path=path, plan=read(text))
    except PlanError as error:
        return Handed(path=path, error=error)


async def _submit(order: _Order) -> _Found:
    """Hand the plans to who leads the store, or store them if nobody does."""
    give_up_at = time.monotonic() + UNLED_S
    for _ in range(TRIES):
        if not store_is_missing(order.store) and await is_led(order.store):
            async with open_cluster(order.store) as cluster:
                return _Found(await hand_to_leader(cluster, order.plans), is_led=True)
        if order.preparer is None:
            if not store_is_missing(order.store) and time.monotonic() < give_up_at:
                await asyncio.sleep(LOOK_S)
                continue
            raise CommandError(
                f"Nothing was submitted: nobody serves store {without_password(order.store)!r}, "
                "and no tools were given to check a plan with. Add --tools MODULE_OR_FILE, or "
                "start `fsm-saga serve` first."
            )
        try:
            async with open_store(order.store) as store:
                found = await hand_to_store(store, order.preparer, order.plans)
                return _Found(found, is_led=False)
        except StoreLockedError:
            await asyncio.sleep(LOOK_S)  # another process has come meanwhile: it is asked
    raise StoreFailedError(
        "store-locked",
        f"Store {without_password(order.store)!r} is opened and left by others again and again. "
        f"Nothing was submitted; try again. {AGAIN}",
    )


def _stopped_text() -> str:
    return f"Interrupted. What was handed over before stays so. {AGAIN}"


def _exit_code(found: _Found) -> int:
    if any(each.is_unknown for each in found.plans):
        return EXIT_STORE_FAILED
    return EXIT_REFUSED if any(each.error for each in found.plans) else EXIT_DONE


def _as_json(found: _Found) -> dict[str, Any]:
    submitted = [each for each in found.plans if each.error is None and not found.is_held_back]
    held_back = [each for each in found.plans if each.error is None and found.is_held_back]
    return {
        "submitted": [_named(each) | {"is_new": each.is_new} for each in submitted],
        "refused": [
            _named(each) | error_as_json(each.error)
            for each in found.plans
            if each.error is not None and not each.is_unknown
        ],
        "unknown": [
            _named(each) | error_as_json(each.error)
            for each in found.plans
            if each.error is not None and each.is_unknown
        ],
        "held_back": [_named(each) for each in held_back],
        "is_run": found.is_led and bool(submitted),
    }


def _named(handed: Handed) -> dict[str, Any]:
    return {"plan": handed.path, "saga_id": handed.saga_id}


def _print(found: _Found, *, store: str, specs: Sequence[str]) -> None:
    refused = [each for each in found.plans if each.error is not None]
    for each in refused:
        note((plain_text(each.path), "bold"), ":")
        report(each.error or CommandError(""), as_json=False)
    if found.is_held_back:
        note(
            f"Nothing was submitted: {counted(len(refused), 'plan')} would have to be mended first."
        )
        return
    taken = [each for each in found.plans if each.error is None]
    for each in taken:
        said = "  submitted" if each.is_new else "  was there already, of the same plan"
        print_line((plain_text(each.saga_id or ""), "bold"), said)
    if taken and not found.is_led:
        resume = typed("resume", store=store, tools=specs)
        serve = typed("serve", store=store, tools=specs)
        print_line(f"Nobody runs it yet: `{resume}` does that once, `{serve}` from then on.")
