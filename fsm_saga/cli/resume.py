"""``fsm-saga resume``: finish what is unfinished."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from fsm_saga.cli.ages import FORM, age_s
from fsm_saga.cli.commands import command
from fsm_saga.cli.driving import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_NEEDS_HUMAN,
    exit_code_of,
    heads_of,
    open_engine,
    stopped_text,
    wait_for_rest,
)
from fsm_saga.cli.failures import EXIT_STORE_FAILED
from fsm_saga.cli.options import (
    STORE,
    AsJson,
    CertificateFolder,
    StoreUrl,
    ToolSpecs,
    load_all,
    read_certificates,
    store_is_missing,
    tool_specs,
    typed,
)
from fsm_saga.cli.output import note, print_json, print_line
from fsm_saga.cli.progress import Progress, open_progress
from fsm_saga.cli.running import run_async
from fsm_saga.cli.saga_text import headline, print_saga
from fsm_saga.cli.words import counted
from fsm_saga.drawing.plain import plain_text
from fsm_saga.errors import CorruptRecordError, StoreLockedError, StoreVersionError
from fsm_saga.service.engine import Engine
from fsm_saga.service.view import SagaView
from fsm_saga.tools.certificates import Certificates
from fsm_saga.tools.python import Tool

PATIENCE = "60s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """What came of the unfinished sagas.

    Attributes:
        views: Those that were taken up, at rest.
        skipped: Why the others were left alone.
        unheard: Which of these only because the store did not answer for them in time.
    """

    views: Sequence[SagaView] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    unheard: Collection[str] = ()


@command(
    "resume",
    examples="""
        fsm-saga resume --tools examples/approval/tools.py
    """,
)
def resume(
    tools: ToolSpecs = None,
    store: StoreUrl = STORE,
    certificates: CertificateFolder = None,
    patience: Annotated[
        str,
        typer.Option(
            "--patience",
            metavar="TIME",
            help=f"How long to go on asking a store that does not answer for a saga: {FORM}.",
        ),
    ] = PATIENCE,
    as_json: AsJson = False,
) -> int:
    """Finish every saga that is unfinished in the store, after a crash for example.

    Also carries out decisions that were left in the store. A saga whose tools are not given, or
    whose journal is damaged, is named and left alone. One that the store does not answer for is
    tried again until --patience is over. What is under way goes on as it began; steps that were
    left to be appended are refused if they lean on a promise that a certificate found broken.

    Exit codes: 75 if the store failed meanwhile or did not answer for a saga: nothing acknowledged
    is lost, the same again goes on; else 3 if a person is asked or a saga was left alone, else 1 if
    one FAILED, else 0.
    """
    patience_s = age_s(patience, option="--patience")
    specs = tool_specs(tools)
    loaded = load_all(specs)
    known = read_certificates(certificates)
    found = Resumed()
    if not store_is_missing(store):
        stopped = stopped_text(store=store, tools=specs)
        with open_progress(as_json=as_json) as progress:
            found = run_async(
                _resume(store, loaded, specs, progress, known, patience_s), when_stopped=stopped
            )
    if as_json:
        print_json({"resumed": heads_of(found.views), "skipped": dict(found.skipped)})
    else:
        _print(found, store=store, specs=specs)
    return _exit_code(found)


async def _resume(
    store: str,
    tools: Sequence[Tool[..., Any]],
    specs: Sequence[str],
    progress: Progress,
    certificates: Certificates | None,
    patience_s: float,
) -> Resumed:
    try:
        async with open_engine(
            store, tools=tools, specs=specs, progress=progress, certificates=certificates
        ) as engine:
            return await _finish(engine, patience_s)
    except StoreLockedError as error:
        watch = typed("watch", store=store)
        raise StoreLockedError(
            "Nothing was resumed: another process leads the store. One that serves goes on with "
            f"what is unfinished itself; `{watch}` follows that. {error.message}"
        ) from error


async def _finish(engine: Engine, patience_s: float) -> Resumed:
    """Return the sagas at rest that could be taken up, now or within so many seconds."""
    recovery = engine.coordinator.recovery
    listed = [*await engine.resume(), *engine.skipped]
    unheard = [saga_id for saga_id in listed if saga_id in recovery]
    if unheard and patience_s:
        note(
            f"The store did not answer for {counted(len(unheard), 'saga')}; tried again for up to "
            f"{patience_s:g} s."
        )
    await asyncio.gather(*(_tried(engine, saga_id, patience_s) for saga_id in listed))
    views = await _rested(engine, listed)
    unheard = [saga_id for saga_id in engine.skipped if saga_id in recovery]
    skipped = dict(engine.skipped)
    for saga_id in unheard:
        reason = skipped[saga_id].removeprefix("tried again soon: ")
        skipped[saga_id] = f"the store did not answer for {patience_s:g} s: {reason}"
    return Resumed(views=views, skipped=skipped, unheard=unheard)


async def _tried(engine: Engine, saga_id: str, patience_s: float) -> None:
    """Return once it is known whether the saga can be taken up, or when patience is over."""
    await engine.coordinator.suspects.wait(saga_id)
    with suppress(TimeoutError):
        await asyncio.wait_for(engine.coordinator.recovery.wait(saga_id), patience_s)


async def _rested(engine: Engine, saga_ids: Sequence[str]) -> list[SagaView]:
    """Return those of the sagas that were not left alone, at rest."""
    while True:
        taken = [saga_id for saga_id in saga_ids if saga_id not in engine.skipped]
        try:
            return await wait_for_rest(engine, taken) if taken else []
        except (CorruptRecordError, StoreVersionError):
            # The journal of one was damaged under way, which stops no other.
            if engine.skipped.keys().isdisjoint(taken):
                raise


def _print(found: Resumed, *, store: str, specs: Sequence[str]) -> None:
    for view in found.views:
        if exit_code_of(view) == EXIT_NEEDS_HUMAN:
            print_saga(view, store=store, tools=specs)
        else:
            print_line(*headline(view))
    for saga_id, reason in found.skipped.items():
        note((plain_text(saga_id), "bold"), "  was left alone: ", plain_text(reason))
    if found.unheard:
        again = typed("resume", store=store, tools=specs)
        note(f"Nothing that was acknowledged is lost; once the store answers, `{again}` goes on.")
    if not found.views and not found.skipped:
        print_line("Nothing is unfinished.")


def _exit_code(found: Resumed) -> int:
    if found.unheard:
        return EXIT_STORE_FAILED
    codes = {exit_code_of(view) for view in found.views}
    if found.skipped or EXIT_NEEDS_HUMAN in codes:
        return EXIT_NEEDS_HUMAN
    return EXIT_FAILED if EXIT_FAILED in codes else EXIT_DONE
