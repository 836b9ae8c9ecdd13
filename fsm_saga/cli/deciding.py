"""How a decision about a saga is carried out: by this process, or by the one that runs it.

Whoever holds the store's lock is its writer. If nobody does, this process becomes the writer,
records the decision and, with the tools at hand, drives the saga until it rests. Otherwise the
decision is left in the store as a command, and the writer's answer is waited for.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from fsm_saga.cli.driving import (
    commands_for,
    commands_served,
    open_engine,
    stopped_text,
    wait_for_rest,
)
from fsm_saga.cli.elsewhere import check_accepted
from fsm_saga.cli.failures import StoreFailedError
from fsm_saga.cli.options import load_all, typed
from fsm_saga.cli.output import print_json, print_line
from fsm_saga.cli.progress import Progress, open_progress
from fsm_saga.cli.reading import load_journal
from fsm_saga.cli.running import run_async
from fsm_saga.cli.saga_text import print_saga
from fsm_saga.coordinator.reading import read_saga
from fsm_saga.core.decide import decide
from fsm_saga.core.saga import Saga
from fsm_saga.errors import StoreLockedError, StoreUnavailableError
from fsm_saga.ports import Command, Store
from fsm_saga.service.answers import Answer, answer_event
from fsm_saga.service.engine import Engine
from fsm_saga.service.view import SagaView, view_of
from fsm_saga.stores.opening import open_store
from fsm_saga.tools.python import Tool

ANSWER_PATIENCE_S = 10.0
ANSWER_POLL_S = 0.05
# Between two looks whether the writer is gone and this process can take its place.
LOCK_POLL_S = 1.0

# What these come to depends on the tools, which the process that runs the sagas has.
_CHECKED_BY_THE_WRITER = frozenset({"amend", "calls"})

# For these the position refuses nothing. It tells the next writer where to look, should the one
# that carries the decision out end before it answers.
_DATED = frozenset({"cancel", "approve", "reject", "amend"})


class Carried(enum.StrEnum):
    """How far a decision has come."""

    DONE = "carried out"
    RECORDED = "recorded"
    LEFT = "left in the store"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A decision about a saga, and what there is to carry it out with."""

    saga_id: str
    answer: Answer
    store: str
    specs: Sequence[str]


def decide_about(decision: Decision, *, as_json: bool) -> int:
    """Carry a decision out, print the saga afterwards, and return 0: it was accepted.

    Where the saga rests then makes no difference: while another process runs it, nobody here waits
    for that, and the same decision has the same code wherever it is carried out.

    Raises:
        FsmSagaError: If it was refused; nothing was changed.
        PlanError: If the calls or steps in it were refused, here or by the process that runs it.
        RefusedElsewhereError: If the process that runs the saga refused it otherwise.
    """
    tools = load_all(decision.specs)
    stopped = stopped_text(store=decision.store, tools=decision.specs)
    with open_progress(as_json=as_json) as progress:
        carried, view = run_async(_Carrying(decision, tools, progress).run(), when_stopped=stopped)
    message = _message(decision, carried, view.note)
    if as_json:
        print_json({**view.as_json(), "decision": str(carried), "message": message})
        return 0
    if message:
        print_line(message)
    print_saga(view, store=decision.store, tools=decision.specs)
    return 0


def _message(decision: Decision, carried: Carried, note: str) -> str:
    if carried is Carried.DONE:
        return f"{note[:1].upper()}{note[1:]}." if note else ""
    resume = typed("resume", store=decision.store, tools=decision.specs or ["MODULE_OR_FILE"])
    if carried is Carried.RECORDED:
        return f"The decision is recorded; `{resume}` goes on with the saga."
    show = typed("show", decision.saga_id, store=decision.store)
    return (
        "The decision was left in the store for the process that runs the saga and is not answered "
        f"yet: it may still be refused, which `{show}` tells. If no process runs the saga, "
        f"`{resume}` carries the decision out."
    )


class _Carrying:
    """One decision on its way."""

    def __init__(
        self, decision: Decision, tools: Sequence[Tool[..., Any]], progress: Progress
    ) -> None:
        self._saga_id = decision.saga_id
        self._answer = decision.answer
        self._url = decision.store
        self._specs = decision.specs
        self._tools = tools
        self._progress = progress

    async def run(self) -> tuple[Carried, SagaView]:
        """Return how far it came, and the saga then."""
        async with open_store(self._url, mode="read") as store:
            # Refused here, a saga that no process runs is not even taken up.
            saga = await self._stored(store)
            self._check(saga)
            number: int | None = None
            give_up_at = time.monotonic() + ANSWER_PATIENCE_S
            while True:
                try:
                    return await self._here(number)
                except StoreLockedError:
                    if number is None:
                        with self._doubted():
                            number = await store.post_command(self._command(saga))
                answer = await _answer_to(store, number, patience_s=LOCK_POLL_S)
                if answer is not None:
                    check_accepted(answer)
                    note = str(answer.get("message") or "")
                    return Carried.DONE, SagaView(await self._stored(store), note=note)
                if time.monotonic() >= give_up_at:
                    return Carried.LEFT, view_of(await self._stored(store))

    async def _here(self, number: int | None) -> tuple[Carried, SagaView]:
        """Carry it out as the writer; ``number`` is its command if it was left in the store."""
        async with open_engine(
            self._url, tools=self._tools, specs=self._specs, progress=self._progress
        ) as engine:
            saga = (await engine.get(self._saga_id)).saga
            if not saga.state.is_final and engine.desk.missing_tools(saga):
                return await self._without_tools(engine, number)
            # Who decided first comes first: the engine serves what was left in the store.
            await commands_served(engine, {self._saga_id})
            if number is None:
                with self._doubted():
                    note = (await engine.answer(self._saga_id, self._answer)).note
            else:
                answer = await engine.store.command_answer(number) or {}
                check_accepted(answer)
                note = str(answer.get("message") or "")
            rested = (await wait_for_rest(engine, [self._saga_id]))[0]
            return Carried.DONE, SagaView(rested.saga, note=note)

    async def _without_tools(self, engine: Engine, number: int | None) -> tuple[Carried, SagaView]:
        """Record the decision if it calls for no tool, else leave it in the store."""
        carried = Carried.LEFT
        if number is None:
            before = await commands_for(engine, {self._saga_id})
            with self._doubted():
                answered = await engine.answer(self._saga_id, self._answer)
            if answered.note:
                return Carried.DONE, answered
            if len(await commands_for(engine, {self._saga_id})) == len(before):
                carried = Carried.RECORDED
        return carried, await engine.get(self._saga_id)

    @contextmanager
    def _doubted(self) -> Iterator[None]:
        """Say so if the store fails while the decision is written: it may be there."""
        try:
            yield
        except StoreUnavailableError as error:
            show = typed("show", self._saga_id, store=self._url)
            raise StoreFailedError(
                error.code,
                f"The store failed while the decision was written, so it may count or not: "
                f"{error.message} `{show}` tells once the store answers again.",
            ) from error

    def _check(self, saga: Saga) -> None:
        """Return if the saga as it is accepts the decision, as far as that can be told here."""
        if self._answer.kind not in _CHECKED_BY_THE_WRITER:
            decide(saga, answer_event(saga, self._answer, at=time.time()))

    def _command(self, saga: Saga) -> Command:
        answer = self._answer
        if answer.kind in _DATED:
            answer = replace(answer, position=saga.position)
        return Command(saga_id=self._saga_id, kind=answer.kind, body=answer.as_json())

    async def _stored(self, store: Store) -> Saga:
        return read_saga(await load_journal(store, self._saga_id))[0]


async def _answer_to(store: Store, number: int, *, patience_s: float) -> Mapping[str, Any] | None:
    """Return the writer's answer to a command, or None if it does not come in time."""
    give_up_at = time.monotonic() + patience_s
    while True:
        answer = await store.command_answer(number)
        if answer is not None or time.monotonic() >= give_up_at:
            return answer
        await asyncio.sleep(ANSWER_POLL_S)
