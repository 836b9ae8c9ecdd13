"""What commands share that run sagas: exit codes, progress, and the sagas' heads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fsm_saga.cli.failures import StoreFailedError
from fsm_saga.cli.heads import head_as_json
from fsm_saga.cli.options import typed
from fsm_saga.cli.progress import Progress
from fsm_saga.coordinator.driver import head_of
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Phase
from fsm_saga.core.work import Decision
from fsm_saga.errors import StoreError
from fsm_saga.ports import Command
from fsm_saga.service.engine import Engine
from fsm_saga.service.view import SagaView
from fsm_saga.tools.certificates import Certificates
from fsm_saga.tools.python import Tool

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_REFUSED = 2
EXIT_NEEDS_HUMAN = 3
COMMAND_POLL_S = 0.05


def exit_code_of(view: SagaView) -> int:
    """Return the exit code for a saga at rest: a saga that has not ended needs somebody."""
    match view.phase:
        case Phase.DONE:
            return EXIT_DONE
        case Phase.FAILED:
            return EXIT_FAILED
        case _:
            return EXIT_NEEDS_HUMAN


@asynccontextmanager
async def open_engine(
    store: str,
    *,
    tools: Sequence[Tool[..., Any]],
    specs: Sequence[str],
    progress: Progress,
    allow: Collection[str] | None = None,
    certificates: Certificates | None = None,
) -> AsyncIterator[Engine]:
    """Give the engine of a command that runs sagas; every durable change of theirs is shown.

    Args:
        store: URL of the store.
        tools: The tools.
        specs: What the tools were loaded from, to say how to go on.
        progress: Shows the changes.
        allow: Names of the tools that plans may use; None allows all that are given.
        certificates: What is known of the tools, or None.

    Raises:
        StoreFailedError: If the store failed after a saga had come under way.
        StoreError: If it failed before: nothing was done.
    """
    engine: Engine | None = None
    try:
        async with Engine.open(
            store, tools=tools, allow=allow or None, certificates=certificates, recover=False
        ) as engine:
            _follow(engine, progress)
            yield engine
    except StoreError as error:
        if engine is None or not engine.coordinator.has_driven:
            raise
        resume = typed("resume", store=store, tools=specs)
        raise StoreFailedError(
            error.code,
            f"The store failed while sagas were under way: {error.message} Nothing that was "
            f"acknowledged is lost; once the store answers again, `{resume}` goes on.",
        ) from error


def _follow(engine: Engine, progress: Progress) -> None:
    """Show every durable change of the engine's sagas from now on."""

    def show(saga: Saga, decision: Decision) -> None:
        progress.show(saga, decision.records)

    engine.coordinator.listeners.append(show)


async def commands_for(engine: Engine, saga_ids: Collection[str]) -> list[Command]:
    """Return what was left in the store for these sagas and is not answered yet."""
    return [c for c in await engine.store.pending_commands() if c.saga_id in saga_ids]


async def commands_served(engine: Engine, saga_ids: Collection[str]) -> None:
    """Return once nothing that was left for these sagas is unanswered; their tools are there."""
    while await commands_for(engine, saga_ids):  # noqa: ASYNC110  # another process may post
        await asyncio.sleep(COMMAND_POLL_S)


async def wait_for_rest(engine: Engine, saga_ids: Sequence[str]) -> list[SagaView]:
    """Return the sagas once all of them rest and nobody has left a decision about them."""
    while True:
        await commands_served(engine, saga_ids)
        views = [await engine.wait(saga_id) for saga_id in saga_ids]
        if not await commands_for(engine, saga_ids):
            return views


def heads_of(views: Iterable[SagaView]) -> list[dict[str, Any]]:
    """Return the heads of sagas as JSON."""
    return [head_as_json(head_of(view.saga)) for view in views]


def stopped_text(*, store: str, tools: Sequence[str]) -> str:
    """Return what is true after an interruption, and how to go on."""
    resume = typed("resume", store=store, tools=tools)
    return f"Interrupted. What was begun is safe in the store; `{resume}` goes on with it."
