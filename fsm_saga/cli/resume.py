"""``fsm-saga resume``: finish what is unfinished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
from fsm_saga.drawing.plain import plain_text
from fsm_saga.errors import StoreLockedError
from fsm_saga.service.view import SagaView
from fsm_saga.tools.certificates import Certificates
from fsm_saga.tools.python import Tool

Skipped = Mapping[str, str]


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
    as_json: AsJson = False,
) -> int:
    """Finish every saga that is unfinished in the store, after a crash for example.

    Also carries out decisions that were left in the store. A saga whose tools are not given, or
    whose journal is damaged, is named and left alone. What is under way goes on as it began;
    steps that were left to be appended are refused if they lean on a promise that a certificate
    found broken.

    Exit codes: 3 if a person is asked or a saga was left alone, else 1 if one FAILED, else 0; 75 if
    the store failed meanwhile: nothing acknowledged is lost, the same again goes on.
    """
    specs = tool_specs(tools)
    loaded = load_all(specs)
    known = read_certificates(certificates)
    views: list[SagaView] = []
    skipped: Skipped = {}
    if not store_is_missing(store):
        stopped = stopped_text(store=store, tools=specs)
        with open_progress(as_json=as_json) as progress:
            views, skipped = run_async(
                _resume(store, loaded, specs, progress, known), when_stopped=stopped
            )
    if as_json:
        print_json({"resumed": heads_of(views), "skipped": dict(skipped)})
    else:
        _print(views, skipped, store=store, specs=specs)
    return _exit_code(views, skipped)


async def _resume(
    store: str,
    tools: Sequence[Tool[..., Any]],
    specs: Sequence[str],
    progress: Progress,
    certificates: Certificates | None,
) -> tuple[list[SagaView], Skipped]:
    try:
        async with open_engine(
            store, tools=tools, specs=specs, progress=progress, certificates=certificates
        ) as engine:
            views = await wait_for_rest(engine, await engine.resume())
            return views, dict(engine.skipped)
    except StoreLockedError as error:
        watch = typed("watch", store=store)
        raise StoreLockedError(
            "Nothing was resumed: another process leads the store. One that serves goes on with "
            f"what is unfinished itself; `{watch}` follows that. {error.message}"
        ) from error


def _print(
    views: Sequence[SagaView], skipped: Skipped, *, store: str, specs: Sequence[str]
) -> None:
    for view in views:
        if exit_code_of(view) == EXIT_NEEDS_HUMAN:
            print_saga(view, store=store, tools=specs)
        else:
            print_line(*headline(view))
    for saga_id, reason in skipped.items():
        note((plain_text(saga_id), "bold"), "  was left alone: ", plain_text(reason))
    if not views and not skipped:
        print_line("Nothing is unfinished.")


def _exit_code(views: Sequence[SagaView], skipped: Skipped) -> int:
    codes = {exit_code_of(view) for view in views}
    if skipped or EXIT_NEEDS_HUMAN in codes:
        return EXIT_NEEDS_HUMAN
    return EXIT_FAILED if EXIT_FAILED in codes else EXIT_DONE
