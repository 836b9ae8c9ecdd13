"""``fsm-saga watch``: follow sagas, whatever process runs them."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import typer

from fsm_saga.cli.commands import command
from fsm_saga.cli.driving import heads_of
from fsm_saga.cli.elsewhere import is_led
from fsm_saga.cli.options import STORE, AsJson, StoreUrl, typed
from fsm_saga.cli.output import note, print_json, print_line
from fsm_saga.cli.progress import Progress, open_progress
from fsm_saga.cli.reading import load_journal
from fsm_saga.cli.running import run_async
from fsm_saga.cli.saga_text import headline, print_saga
from fsm_saga.coordinator.driver import is_at_rest
from fsm_saga.coordinator.reading import read_saga
from fsm_saga.core.saga import Saga
from fsm_saga.drawing.plain import plain_text
from fsm_saga.errors import CorruptRecordError, StoreError
from fsm_saga.ports import Store
from fsm_saga.service.view import view_of
from fsm_saga.stores.opening import open_store

POLL_S = 0.2
# When nothing has happened for so long, it may be that no process runs the sagas.
SILENCE_S = 10.0


@command(
    "watch",
    examples="""
        fsm-saga watch street-festival
        fsm-saga watch --forever
    """,
)
def watch(
    saga_id: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="The saga; without it, every unfinished one."),
    ] = None,
    is_forever: Annotated[
        bool, typer.Option("--forever", help="Go on when everything rests, until interrupted.")
    ] = False,
    store: StoreUrl = STORE,
    as_json: AsJson = False,
) -> int:
    """Follow sagas live and stop when they rest: ended, or waiting for a person.

    Reads the store only, so it may run beside the process that runs the sagas. In a pipe it
    prints where each saga stands and then a line for each change.
    """
    if is_forever and as_json:
        raise typer.BadParameter("one JSON document has an end.", param_hint="'--forever'")
    with open_progress(as_json=as_json) as progress:
        watching = _Watching(saga_id, progress, is_forever=is_forever, store=store)
        sagas = run_async(watching.run(store), when_stopped="Nothing was changed.")
    views = [view_of(saga) for saga in sagas]
    if as_json:
        print_json(heads_of(views) if saga_id is None else views[0].as_json())
    elif saga_id is not None:
        print_saga(views[0], store=store)
    else:
        for view in views:
            print_line(*headline(view))
        if not views:
            print_line("Nothing is unfinished.")
    return 0


class _Watching:
    """The sagas that are followed, each as of the last look."""

    def __init__(
        self, saga_id: str | None, progress: Progress, *, is_forever: bool, store: str
    ) -> None:
        self._saga_id = saga_id
        self._progress = progress
        self._is_forever = is_forever
        self._store = store
        self._sagas: dict[str, Saga] = {}
        self._damaged: set[str] = set()
        self._changed_at = time.monotonic()

    async def run(self, url: str) -> list[Saga]:
        """Return the sagas once they all rest."""
        has_hinted = False
        async with open_store(url, mode="read") as store:
            while True:
                await self._look(store)
                is_resting = all(is_at_rest(saga) for saga in self._sagas.values())
                if is_resting and not self._is_forever:
                    return list(self._sagas.values())
                silence_s = time.monotonic() - self._changed_at
                if not is_resting and silence_s > SILENCE_S and not has_hinted:
                    has_hinted = True
                    await self._hint()
                await asyncio.sleep(POLL_S)

    async def _hint(self) -> None:
        """Say what may be the matter: nobody leads the store, or somebody does and waits too."""
        try:
            is_served = await is_led(self._store)
        except StoreError:  # who may only read cannot tell
            is_served = True
        if is_served:
            look = typed("cluster", store=self._store)
            note(f"Nothing happens, though somebody may lead the store: `{look}` tells more.")
            return
        serve = typed("serve", "--tools", "MODULE_OR_FILE", store=self._store)
        resume = typed("resume", "--tools", "MODULE_OR_FILE", store=self._store)
        note(f"Nothing happens: nobody leads the store. `{resume}` goes on, or `{serve}`.")

    async def _look(self, store: Store) -> None:
        """Take in what has changed since the last look."""
        if self._saga_id is not None:
            head = await store.head(self._saga_id)
            await self._look_at(store, self._saga_id, None if head is None else head.position)
            return
        heads = await store.heads(only_unfinished=True)
        positions = {head.saga_id: head.position for head in heads}
        followed = [i for i, saga in self._sagas.items() if not saga.state.is_final]
        for saga_id in dict.fromkeys((*followed, *positions)):
            try:
                await self._look_at(store, saga_id, positions.get(saga_id))
            except CorruptRecordError as error:
                # One damaged journal hides no other saga.
                if saga_id not in self._damaged:
                    self._damaged.add(saga_id)
                    note(plain_text(error.message))

    async def _look_at(self, store: Store, saga_id: str, position: int | None) -> None:
        known = self._sagas.get(saga_id)
        if known is not None and position == known.position:
            return
        journal = await load_journal(store, saga_id)
        saga = read_saga(journal)[0]
        self._sagas[saga_id] = saga
        self._changed_at = time.monotonic()
        self._progress.show(saga, journal[known.position :] if known is not None else ())
