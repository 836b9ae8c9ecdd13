"""How plans become sagas: from this process, and from what others left in the store."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile

import orjson

from fsm_saga.coordinator.coordinator import Coordinator
from fsm_saga.coordinator.driver import head_of
from fsm_saga.coordinator.reading import read_saga
from fsm_saga.core import events as e
from fsm_saga.core.decide import decide
from fsm_saga.core.records import SagaMoved, SagaSubmitted
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Outcome
from fsm_saga.errors import CommandError, ConflictError, SagaExistsError, UnknownSagaError
from fsm_saga.plan.model import Plan
from fsm_saga.ports import Append, Clock, Command, Store
from fsm_saga.service.preparing import Prepared, Preparer
from fsm_saga.service.undoing import UndoPlan, undo_id, undo_plan

SUBMIT = "submit"
UNDO = "undo"
SUBMISSION_KINDS = frozenset({SUBMIT, UNDO})


class Submitter:
    """Makes sagas of plans on one coordinator's store."""

    def __init__(self, coordinator: Coordinator, preparer: Preparer) -> None:
        self._coordinator = coordinator
        self._store = coordinator.store
        self._clock = coordinator.clock
        self._preparer = preparer

    async def submit(
        self,
        prepared: Prepared,
        *,
        undo_of: str | None = None,
        undoes: Mapping[str, str] | None = None,
    ) -> None:
        """Make a plan a saga, durable and started; the same plan again is the same saga.

        Raises:
            SagaExistsError: If the task_id belongs to a saga of another plan.
        """
        saga_id = prepared.task_id
        event = e.Submitted(
            at=self._clock.now(),
            plan=prepared.body,
            tools=prepared.declared,
            undo_of=undo_of,
            undoes=undoes,
            run_key=self._clock.token(),
        )
        if self._coordinator.driver(saga_id) is None:
            try:
                await self._coordinator.submit(saga_id, prepared.program, event)
            except ConflictError:
                pass
            else:
                return
        await check_same(self._store, saga_id, prepared.program.plan_hash)
        await self._coordinator.take_up(saga_id)

    async def submit_open(self, plan: Plan) -> Saga:
        """Make an open saga of a plan that will grow, started if it has a step."""
        prepared = self._preparer.prepare(plan, is_open=True)
        event = e.Submitted(
            at=self._clock.now(),
            plan=prepared.body,
            tools=prepared.declared,
            run_key=self._clock.token(),
        )
        return await self._coordinator.submit(plan.task_id, prepared.program, event)

    async def undo_plan(self, saga_id: str) -> UndoPlan:
        """Return what can be undone of a saga that is DONE.

        Raises:
            UnknownSagaError: If there is no such saga.
            CommandError: If the saga is not DONE.
        """
        return undo_plan(await self._stored(saga_id), now=self._clock.now())

    async def submit_undo(self, found: UndoPlan, *, is_partial: bool) -> str:
        """Make the undo of a finished saga a saga, and return its id.

        Raises:
            CommandError: If nothing can be undone, or not everything and that is not wanted.
        """
        found.check_possible(is_partial=is_partial)
        plan = found.plan(await free_undo_id(self._store, found.saga_id))
        prepared = self._preparer.prepare(plan, undoes=found.undoes)
        await self.submit(prepared, undo_of=found.saga_id, undoes=found.undoes)
        return prepared.task_id

    async def obey(self, command: Command) -> str:
        """Carry out what ``submission`` or ``undo_order`` made, and return the saga's id.

        Raises:
            PlanError: If the plan is refused; nothing was started.
            CommandError: If it cannot be carried out, or is not understood.
        """
        body = command.body
        if command.kind == UNDO and isinstance(body.get("undo_of"), str):
            found = await self.undo_plan(body["undo_of"])
            return await self.submit_undo(found, is_partial=body.get("is_partial") is True)
        if command.kind == SUBMIT and isinstance(body.get("plan"), Mapping):
            plan = Plan.of(dict(body["plan"]))
            if plan.task_id == command.saga_id:
                await self.submit(self._preparer.prepare(plan))
                return plan.task_id
        raise CommandError(
            f"A command {command.kind!r} with {', '.join(sorted(body)) or 'nothing in it'} is not "
            "known here: it may come from another version. Nothing was changed."
        )

    async def has_obeyed(self, command: Command) -> bool:
        """Return whether there is the saga that this command asks for, made of what it says.

        Raises:
            PlanError: There is another one, and the plan in the command is none.
        """
        body = command.body
        if await self._store.head(command.saga_id) is None:
            return False
        journal = await self._store.load(command.saga_id)
        first = journal[0] if journal else None
        if not isinstance(first, SagaSubmitted):
            return False
        if command.kind == UNDO:
            return first.undo_of is not None and first.undo_of == body.get("undo_of")
        plan = body.get("plan")
        return isinstance(plan, Mapping) and (Plan.of(dict(plan)).content_hash() == first.plan_hash)

    async def _stored(self, saga_id: str) -> Saga:
        journal = await self._store.load(saga_id)
        if journal is None:
            raise UnknownSagaError(
                f"The store has no saga {saga_id!r}. `fsm-saga list` shows those it has.",
                saga_id=saga_id,
            )
        return read_saga(journal)[0]


async def deposit(store: Store, clock: Clock, prepared: Prepared) -> bool:
    """Make a plan a saga that nobody runs yet, and return whether it is a new one.

    What is stored is the beginning of what a coordinator would decide: the saga, and that it goes
    forward. No call is in it, for a call that stands in the journal counts as one that may have
    been sent. Whoever takes the saga up next makes the first.

    Raises:
        SagaExistsError: If the task_id belongs to a saga of another plan.
        StoreUnavailableError: If the store failed; the saga may be there or not.
    """
    saga_id = prepared.task_id
    event = e.Submitted(
        at=clock.now(), plan=prepared.body, tools=prepared.declared, run_key=clock.token()
    )
    decided = decide(Saga(saga_id, prepared.program), event).records
    records = tuple(
        takewhile(lambda record: isinstance(record, SagaSubmitted | SagaMoved), decided)
    )
    head = head_of(read_saga(records)[0])
    try:
        await store.append(Append(saga_id=saga_id, position=0, records=records, head=head))
    except ConflictError:
        await check_same(store, saga_id, prepared.program.plan_hash)
        return False
    return True


async def check_same(store: Store, saga_id: str, plan_hash: str) -> None:
    """Return if the saga was made of the plan with this hash.

    Raises:
        SagaExistsError: If it was made of another one.
    """
    journal = await store.load(saga_id)
    first = journal[0] if journal else None
    if isinstance(first, SagaSubmitted) and first.plan_hash == plan_hash:
        return
    raise SagaExistsError(
        f"The task_id {saga_id!r} belongs to a saga that was made from another plan. "
        "Nothing was started; give this plan a task_id of its own.",
        saga_id=saga_id,
    )


def submission(plan: Plan) -> Command:
    """Return the command by which another process is asked to submit a plan."""
    body = {"plan": orjson.loads(plan.canonical_json())}
    return Command(saga_id=plan.task_id, kind=SUBMIT, body=body)


def undo_order(saga_id: str, *, undo_saga_id: str, is_partial: bool) -> Command:
    """Return the command by which another process is asked to take a finished saga back."""
    body = {"undo_of": saga_id, "is_partial": is_partial}
    return Command(saga_id=undo_saga_id, kind=UNDO, body=body)


async def free_undo_id(store: Store, saga_id: str) -> str:
    """Return the id of the saga's undo: the first that has not failed without any effect."""
    number = 1
    while True:
        name = undo_id(saga_id, number=number)
        head = await store.head(name)
        if head is None or head.outcome != Outcome.NOTHING_HAPPENED:
            return name
        number += 1
