"""Reading one saga from the store, without becoming its writer."""

from __future__ import annotations

from collections.abc import Sequence

from fsm_saga.coordinator.reading import read_saga, read_saga_at
from fsm_saga.core.records import Record
from fsm_saga.core.saga import Saga
from fsm_saga.errors import CommandError, UnknownSagaError
from fsm_saga.ports import Command, Store
from fsm_saga.stores.opening import open_store


async def load_journal(store: Store, saga_id: str) -> Sequence[Record]:
    """Return the journal of a saga.

    Raises:
        UnknownSagaError: If there is no such saga.
        CorruptRecordError: If it cannot be read.
    """
    journal = await store.load(saga_id)
    if journal is None:
        raise UnknownSagaError(
            f"The store has no saga {saga_id!r}. `fsm-saga list` shows those it has.",
            saga_id=saga_id,
        )
    return journal


async def read_journal(url: str, saga_id: str) -> Sequence[Record]:
    """Return the journal of a saga in the store of this URL. See ``load_journal``."""
    async with open_store(url, mode="read") as store:
        return await load_journal(store, saga_id)


async def read_saga_and_commands(
    url: str, saga_id: str
) -> tuple[Sequence[Record], Sequence[Command]]:
    """Return the journal of a saga and what was left for the process that runs it."""
    async with open_store(url, mode="read") as store:
        return await load_journal(store, saga_id), await store.saga_commands(saga_id)


def saga_at(journal: Sequence[Record], position: int | None) -> Saga:
    """Return the saga of a journal, now or after its first ``position`` records.

    Raises:
        CommandError: If the journal has no such position.
    """
    if position is None:
        return read_saga(journal)[0]
    if not 1 <= position <= len(journal):
        raise CommandError(
            f"There is no position {position} in this journal: it has 1 to {len(journal)}."
        )
    return read_saga_at(journal, position)
