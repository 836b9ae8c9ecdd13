"""``fsm-saga gc``: remove what ended long ago."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Annotated

import typer

from fsm_saga.cli.commands import command
from fsm_saga.cli.options import STORE, AsJson, StoreUrl, store_is_missing
from fsm_saga.cli.output import print_json, print_line
from fsm_saga.cli.running import run_async
from fsm_saga.cli.words import counted, time_text
from fsm_saga.drawing.plain import plain_text
from fsm_saga.ports import Head
from fsm_saga.stores.opening import open_store

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_AGE = re.compile(r"(\d{1,9})([smhdw])")


@command(
    "gc",
    examples="""
        fsm-saga gc --older-than 30d --dry-run
        fsm-saga gc --older-than 30d
    """,
)
def gc(
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than", metavar="AGE", help="Time since a saga ended: 90s, 15m, 12h, 30d, 8w."
        ),
    ],
    is_dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed.")
    ] = False,
    store: StoreUrl = STORE,
    as_json: AsJson = False,
) -> int:
    """Remove sagas that are DONE or FAILED, with their journals, once they are old enough.

    A removed saga is forgotten: its task_id is free, and it can no longer be undone. Choose an age
    above that at which a caller may still repeat a plan.
    """
    age_s = _age_s(older_than)
    removed: Sequence[Head] = ()
    if not store_is_missing(store):
        removed = run_async(
            _collect(store, before=time.time() - age_s, is_dry_run=is_dry_run),
            when_stopped="Interrupted. What was removed is gone; the rest is as it was.",
        )
    if as_json:
        print_json({"removed": [head.saga_id for head in removed], "dry_run": is_dry_run})
        return 0
    for head in removed:
        outcome = head.outcome or ""
        print_line(
            f"{time_text(head.updated_at)}  {head.state:<6}  {outcome:<20}  ",
            (plain_text(head.saga_id), "bold"),
        )
    print_line(f"{counted(len(removed), 'saga')} {'would be ' if is_dry_run else ''}removed.")
    return 0


def _age_s(text: str) -> int:
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(
            f"{text!r} is no age; write a number and one of s, m, h, d, w, as in 30d.",
            param_hint="'--older-than'",
        )
    return int(found[1]) * _SECONDS[found[2]]


async def _collect(url: str, *, before: float, is_dry_run: bool) -> list[Head]:
    removed: list[Head] = []
    async with open_store(url, mode="read" if is_dry_run else "write") as store:
        for head in await store.heads():
            if head.is_final and head.updated_at < before:
                if not is_dry_run:
                    await store.remove(head.saga_id)
                removed.append(head)
    return removed
