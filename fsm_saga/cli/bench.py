"""``fsm-saga bench``: what this machine reaches."""

from __future__ import annotations

from typing import Annotated

import typer

from fsm_saga.bench.command import render_table, run_bench
from fsm_saga.cli.commands import command
from fsm_saga.cli.options import STORE, AsJson, StoreUrl
from fsm_saga.cli.output import print_json, print_text


@command(
    "bench",
    examples="""
        fsm-saga bench --quick
        fsm-saga bench --repeats 5 --json
        fsm-saga bench --store etcd://127.0.0.1:2379/travel --quick
    """,
)
def bench(
    is_quick: Annotated[
        bool, typer.Option("--quick", help="Measure less: seconds instead of minutes.")
    ] = False,
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, max=100, help="How often to measure everything.")
    ] = 3,
    store: StoreUrl = STORE,
    as_json: AsJson = False,
) -> int:
    """Measure the engine beside the bare store, on the disk or server of the store, in one run.

    The store itself is not opened: what is measured is made for it and removed afterwards. On a
    server that is below a prefix of its own, and coordinators are started, killed and stopped.
    """
    found = run_bench(store, quick=is_quick, repeats=repeats, as_json=as_json)
    if as_json:
        print_json(found)
    else:
        print_text(render_table(found))
    return 0
