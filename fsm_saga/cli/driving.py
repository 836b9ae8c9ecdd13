"""What commands share that run sagas: exit codes, progress, and the sagas' heads."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from fsm_saga.cli.heads import head_as_json
from fsm_saga.cli.options import typed
from fsm_saga.cli.progress import Progress
from fsm_saga.coordinator.driver import head_of
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Phase
from fsm_saga.core.work import Decision
from fsm_saga.ports import Command
from fsm_saga.service.engine import Engine
from fsm_saga.service.view import SagaView

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


def follow(engine: Engine, progress: Progress) -> None:
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
