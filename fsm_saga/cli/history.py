"""``fsm-saga history``: the journal of a saga."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fsm_saga.cli.commands import command
from fsm_saga.cli.options import STORE, AsJson, SagaId, StoreUrl
from fsm_saga.cli.output import print_json, print_line
from fsm_saga.cli.reading import read_journal, saga_at
from fsm_saga.cli.record_text import SagaRecord
from fsm_saga.cli.running import run_async
from fsm_saga.cli.words import time_text
from fsm_saga.service.archive import Archive


@command(
    "history",
    examples="""
        fsm-saga history street-festival
        fsm-saga history street-festival --json
    """,
)
def history(
    saga_id: SagaId,
    store: StoreUrl = STORE,
    archive: Annotated[
        Path | None,
        typer.Option(
            "--archive", metavar="DIR", help="Look there, and not in the store: see `gc --archive`."
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Print the journal of a saga, record by record: everything that happened and who decided it.

    The position of a record counts from 0; `show --at N` shows the saga after N records.
    """
    if archive is None:
        journal = run_async(read_journal(store, saga_id))
    else:
        journal = Archive(archive).find(saga_id)
    program = saga_at(journal, None).program
    records = [SagaRecord(position, record, program) for position, record in enumerate(journal)]
    if as_json:
        print_json([record.as_json() for record in records])
        return 0
    width = len(str(len(records)))
    for each in records:
        when = time_text(each.record.at, has_milliseconds=True)
        print_line((f"{each.position:>{width}}  {when}", "dim"), "  ", each.text)
    return 0
