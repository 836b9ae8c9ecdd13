"""``fsm-saga list``: the heads of the sagas in the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from fsm_saga.cli.commands import command
from fsm_saga.cli.heads import head_as_json
from fsm_saga.cli.options import STORE, AsJson, StoreUrl, store_is_missing
from fsm_saga.cli.output import note, print_json, print_line
from fsm_saga.cli.running import run_async
from fsm_saga.cli.words import state_style, time_text
from fsm_saga.drawing.plain import plain_text, shorten
from fsm_saga.ports import Head
from fsm_saga.stores.opening import open_store

GOAL_COLUMNS = 60
_WAITS = {"approval": "waits for approval", "person": "needs a person"}


@command(
    "list",
    examples="""
        fsm-saga list
        fsm-saga list --unfinished --json
    """,
)
def list_sagas(
    only_unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Leave out what is DONE or FAILED.")
    ] = False,
    store: StoreUrl = STORE,
    as_json: AsJson = False,
) -> int:
    """List the sagas of the store, the newest first."""
    heads: Sequence[Head] = ()
    if not store_is_missing(store):
        heads = run_async(_heads(store, only_unfinished=only_unfinished))
    elif not as_json:
        note(f"There is no store {store} yet: nothing was ever run in it.")
    if as_json:
        print_json([head_as_json(head) for head in heads])
        return 0
    state_columns = max((len(head.state) for head in heads), default=0)
    about_columns = max((len(_about(head)) for head in heads), default=0)
    for head in heads:
        print_line(
            (f"{head.state:<{state_columns}}", state_style(head.state)),
            f"  {_about(head):<{about_columns}}  {time_text(head.updated_at)}  ",
            (plain_text(head.saga_id), "bold"),
            f"  {shorten(head.goal or '', GOAL_COLUMNS)}".rstrip(),
        )
    return 0


async def _heads(url: str, *, only_unfinished: bool) -> Sequence[Head]:
    async with open_store(url, mode="read") as store:
        return await store.heads(only_unfinished=only_unfinished)


def _about(head: Head) -> str:
    return _WAITS.get(head.waits_for) or head.outcome or ""
