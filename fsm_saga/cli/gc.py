"""``fsm-saga gc``: remove what ended long ago, to an archive or for good."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from fsm_saga.cli.ages import FORM, age_s
from fsm_saga.cli.commands import command
from fsm_saga.cli.options import STORE, AsJson, StoreUrl, store_is_missing
from fsm_saga.cli.output import note, print_json, print_line
from fsm_saga.cli.running import run_async
from fsm_saga.cli.words import counted, time_text
from fsm_saga.drawing.plain import plain_text
from fsm_saga.ports import Head
from fsm_saga.service.archive import Archive
from fsm_saga.service.archiving import Archived, archive_finished
from fsm_saga.stores.opening import open_store


@command(
    "gc",
    examples="""
        fsm-saga gc --older-than 30d --dry-run
        fsm-saga gc --older-than 30d
        fsm-saga gc --older-than 30d --archive old-sagas
    """,
)
def gc(
    older_than: Annotated[
        str,
        typer.Option("--older-than", metavar="AGE", help=f"Time since a saga ended: {FORM}."),
    ],
    archive: Annotated[
        Path | None,
        typer.Option(
            "--archive",
            metavar="DIR",
            help="First write each saga's whole journal to a file of its day there.",
        ),
    ] = None,
    is_dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed.")
    ] = False,
    store: StoreUrl = STORE,
    as_json: AsJson = False,
) -> int:
    """Remove sagas that are DONE or FAILED, with their journals, once they are old enough.

    A removed saga is forgotten: its task_id is free, and it can no longer be undone. Choose an age
    above that at which a caller may still repeat a plan. With `--archive` its journal is kept as a
    line of JSON, which `history --archive` shows; a saga that cannot be read stays in the store.
    """
    older_than_s = age_s(older_than, option="--older-than")
    done = Archived(heads=(), left={})
    if not store_is_missing(store):
        work = (
            _remove(store, older_than_s=older_than_s, is_dry_run=is_dry_run)
            if archive is None or is_dry_run
            else _archive(store, archive, older_than_s=older_than_s)
        )
        done = run_async(
            work,
            when_stopped="Interrupted. What was removed is gone; the rest is as it was.",
        )
    if as_json:
        _print_json(done, is_dry_run=is_dry_run)
        return 0
    for head in done.heads:
        outcome = head.outcome or ""
        print_line(
            f"{time_text(head.updated_at)}  {head.state:<6}  {outcome:<20}  ",
            (plain_text(head.saga_id), "bold"),
        )
    would_be = "would be " if is_dry_run else ""
    archived = "" if archive is None else "archived and "
    print_line(f"{counted(len(done.heads), 'saga')} {would_be}{archived}removed.")
    _note_left(done.left)
    return 0


def _print_json(done: Archived, *, is_dry_run: bool) -> None:
    said = {"removed": [head.saga_id for head in done.heads], "dry_run": is_dry_run}
    print_json(said | ({"left": done.left} if done.left else {}))


def _note_left(left: Mapping[str, str]) -> None:
    for saga_id, why in left.items():
        note(("! ", "bold yellow"), plain_text(f"{saga_id} stays in the store. {why}"))


async def _remove(url: str, *, older_than_s: float, is_dry_run: bool) -> Archived:
    before = time.time() - older_than_s
    removed: list[Head] = []
    async with open_store(url, mode="read" if is_dry_run else "write") as store:
        for head in await store.heads():
            if head.is_final and head.updated_at < before:
                if not is_dry_run:
                    await store.remove(head.saga_id)
                removed.append(head)
    return Archived(heads=removed, left={})


async def _archive(url: str, directory: Path, *, older_than_s: float) -> Archived:
    archive = Archive(directory)
    archive.prepare()
    async with open_store(url) as store:
        return await archive_finished(store, archive, older_than_s=older_than_s, now=time.time())
