"""Where the decisions of people and planners come in, from this process and from others."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from fsm_saga.coordinator.coordinator import Coordinator
from fsm_saga.coordinator.driver import head_of
from fsm_saga.coordinator.reading import read_saga
from fsm_saga.core import events as e
from fsm_saga.core.decide import decide
from fsm_saga.core.effects import CallTool
from fsm_saga.core.saga import Saga
from fsm_saga.core.work import Decision
from fsm_saga.errors import (
    CommandError,
    FencedError,
    FsmSagaError,
    PlanError,
    StoreUnavailableError,
    UnknownSagaError,
)
from fsm_saga.plan.lint import check_calls
from fsm_saga.plan.model import Plan
from fsm_saga.ports import Append, Command
from fsm_saga.service.answers import Answer, answer_event, calls_text, checked
from fsm_saga.service.growing import grown_plan
from fsm_saga.service.preparing import Prepared, Preparer
from fsm_saga.service.recalling import answered_until, is_carried_out
from fsm_saga.service.serving import CommandServer
from fsm_saga.service.submitting import SUBMISSION_KINDS, Submitter

logger = logging.getLogger("fsm_saga.service")


class Desk:
    """Turns answers into events, hands them to the sagas, and serves the store's commands."""

    def __init__(
        self,
        coordinator: Coordinator,
        preparer: Preparer,
        submitter: Submitter,
        *,
        allowed: Collection[str] | None,
    ) -> None:
        self._coordinator = coordinator
        self._store = coordinator.store
        self._catalogue = coordinator.runner.catalogue
        self._clock = coordinator.clock
        self._preparer = preparer
        self._submitter = submitter
        self._allowed = allowed
        self.commands = CommandServer(coordinator, self._obey, self._recall)

    async def answer(self, saga_id: str, answer: Answer) -> Decision:
        """Carry out an answer and return what was decided, with the saga as it is then.

        If that needs tools which are not at hand, the answer is left in the store for the next
        coordinator that has them, and the saga comes back as it still is.

        Raises:
            UnknownSagaError: If there is no such saga.
            EventRefusedError: If the saga does not accept it.
            CommandError: If the answer itself cannot be used.
            PlanError: If the calls or steps in it are refused.
        """
        answer = checked(answer)
        driver = self._coordinator.driver(saga_id)
        if driver is None:
            saga = await self.stored(saga_id)
            if saga.state.is_final or self.missing_tools(saga):
                return await self._answer_without_tools(saga, answer)
            driver = await self._coordinator.take_up(saga_id)
            if driver is None:
                return Decision(saga=await self.stored(saga_id), records=(), effects=())
        return await driver.command(await self._event(driver.saga, answer))

    async def _event(self, saga: Saga, answer: Answer) -> e.Event:
        at = self._clock.now()
        if answer.kind == "amend":
            plan = await self.plan_of(saga.saga_id)
            grown = grown_plan(plan, answer.value)
            prepared = self._preparer.prepare(grown, is_open=saga.program.is_open)
            return plan_grown(prepared, base=plan, at=at)
        if answer.kind == "calls":
            plan = await self.plan_of(saga.saga_id)
            checked = check_calls(
                calls_text(answer.value), plan, self._catalogue, allowed=self._allowed
            )
            return answer_event(saga, answer, at=at, calls=checked, catalogue=self._catalogue)
        return answer_event(saga, answer, at=at)

    async def _answer_without_tools(self, saga: Saga, answer: Answer) -> Decision:
        decision = decide(saga, await self._event(saga, answer))
        if any(isinstance(effect, CallTool) for effect in decision.effects):
            await self._store.post_command(
                Command(saga_id=saga.saga_id, kind=answer.kind, body=answer.as_json())
            )
            return Decision(saga=saga, records=(), effects=())
        if decision.records:
            await self._store.append(
                Append(
                    saga_id=saga.saga_id,
                    position=saga.position,
                    records=decision.records,
                    head=head_of(decision.saga),
                )
            )
        return decision

    async def stored(self, saga_id: str) -> Saga:
        """Return a saga as the store has it.

        Raises:
            UnknownSagaError: If there is no such saga.
            CorruptRecordError: If its journal cannot be read.
        """
        return await self._coordinator.stored(saga_id)

    async def plan_of(self, saga_id: str) -> Plan:
        """Return the saga's plan as it is now, with what was appended.

        Raises:
            UnknownSagaError: If there is no such saga.
        """
        journal = await self._store.load(saga_id)
        plan = read_saga(journal)[1].plan if journal else None
        if plan is None:
            raise UnknownSagaError(f"The store has no saga {saga_id!r}.", saga_id=saga_id)
        return plan

    def missing_tools(self, saga: Saga) -> list[str]:
        """Return the tools that the saga may call and that are not at hand."""
        return self._coordinator.missing_tools(saga)

    async def serve(self) -> None:
        """Carry out what other processes left in the store, until cancelled."""
        await self.commands.run()

    async def _obey(self, command: Command) -> dict[str, Any] | None:
        """Carry a command out; None leaves it for a coordinator that has the tools."""
        try:
            if command.kind in SUBMISSION_KINDS:
                return _submitted(await self._submitter.obey(command))
            answer = Answer.from_json(command.kind, command.body)
            if self._coordinator.driver(command.saga_id) is None:
                saga = await self.stored(command.saga_id)
                if not saga.state.is_final and self.missing_tools(saga):
                    return None
            decision = await self.answer(command.saga_id, answer)
        except (FencedError, StoreUnavailableError):
            raise  # that says nothing of the command: whoever leads next carries it out
        except FsmSagaError as error:
            return _refusal(error)
        return _acceptance(decision.saga, remark_on(decision))

    async def _recall(self, command: Command) -> dict[str, Any] | None:
        """Return the answer to a command that an earlier leader carried out; None if none did."""
        try:
            if command.kind in SUBMISSION_KINDS:
                is_made = await self._submitter.has_obeyed(command)
                return _submitted(command.saga_id) if is_made else None
            answer = Answer.from_json(command.kind, command.body)
            journal = await self._store.load(command.saga_id)
            if journal is None:
                return None
            saga = read_saga(journal)[0]
            until = answered_until(await self._store.saga_commands(command.saga_id))
        except (FencedError, StoreUnavailableError):
            raise
        except FsmSagaError:
            return None  # it is refused where it is carried out
        try:
            if not is_carried_out(journal, saga, answer, answered_until=until):
                return None
        except CommandError as error:
            return _refusal(error)
        logger.info(
            "saga %r: a decision %r is answered that was carried out before by another leader",
            command.saga_id,
            command.kind,
        )
        return _acceptance(saga, "")


def _submitted(saga_id: str) -> dict[str, Any]:
    return {"ok": True, "message": "", "saga_id": saga_id}


def _acceptance(saga: Saga, message: str) -> dict[str, Any]:
    """Return the answer that a decision was carried out; ``position`` is behind its records."""
    return {
        "ok": True,
        "message": message,
        "state": str(saga.state),
        "outcome": None if saga.outcome is None else str(saga.outcome),
        "position": saga.position,
    }


def _refusal(error: FsmSagaError) -> dict[str, Any]:
    said: dict[str, Any] = {"ok": False, "code": error.code, "message": str(error)}
    if isinstance(error, PlanError):
        said["problems"] = [problem.as_json() for problem in error.problems]
    return said


def remark_on(decision: Decision) -> str:
    """Return what whoever decided is to be told beside the saga; mostly nothing."""
    if not decision.note:
        return ""
    return decision.note if decision.records else f"nothing was changed: {decision.note}"


def plan_grown(prepared: Prepared, *, base: Plan, at: float) -> e.PlanGrown:
    """Return the event that gives a saga a plan that was grown from ``base``."""
    return e.PlanGrown(
        at=at,
        program=prepared.program,
        plan=prepared.body,
        tools=prepared.declared,
        base_hash=base.content_hash(),
    )
