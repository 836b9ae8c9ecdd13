"""What is judged while a run goes on: each write when it is accepted, each call when it is sent.

The watch keeps a second copy of every saga, folded from what the store accepted, and never asks a
coordinator what it thinks. What only the end can show is in ``judge.py``; the rules for single
records are in ``rules.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from fsm_saga.coordinator.driver import head_of
from fsm_saga.coordinator.reading import JournalReader
from fsm_saga.core import records as r
from fsm_saga.core.decide import Decision
from fsm_saga.core.draft import Draft
from fsm_saga.core.effects import CallTool
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Phase, SagaState, StepStatus
from fsm_saga.errors import FencedError, FsmSagaError, InvariantBrokenError
from fsm_saga.ports import Append
from fsm_saga.simulation.intents import Intents
from fsm_saga.simulation.rules import PERSON, RULES, Findings
from fsm_saga.simulation.tools import ToolWorld
from fsm_saga.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from fsm_saga.coordinator.coordinator import Coordinator
    from fsm_saga.core.records import Record
    from fsm_saga.simulation.node import Node

NOT_THERE = frozenset(
    {
        StepStatus.WAITING,
        StepStatus.AWAITING_APPROVAL,
        StepStatus.REJECTED,
        StepStatus.COMPENSATED,
        StepStatus.SKIPPED,
    }
)
"""What a step is called of whose effect nothing is in the world."""


class Watched:
    """One saga as its accepted records say.

    Attributes:
        saga: Folded from everything accepted.
        records: The same, in order.
        ancestors: For each step the bitmask of what must have succeeded before it.
    """

    __slots__ = ("ancestors", "reader", "records", "saga")

    def __init__(self, saga: Saga, reader: JournalReader) -> None:
        self.saga = saga
        self.reader = reader
        self.records: list[Record] = []
        self.ancestors = ancestors_of(saga)


def is_same(one: Saga, other: Saga) -> bool:
    """Return whether two sagas are equal in all but the object that their program is."""
    return replace(one, program=other.program) == other


def ancestors_of(saga: Saga) -> tuple[int, ...]:
    """Return for each step the bitmask of what must have succeeded before it, at any distance."""
    found: list[int] = []
    by_index: dict[int, int] = {}

    def above(index: int) -> int:
        if index not in by_index:
            needs = mask = saga.program.steps[index].needs
            for need in range(len(saga.program.steps)):
                if needs >> need & 1:
                    mask |= above(need)
            by_index[index] = mask
        return by_index[index]

    found += [above(index) for index in range(len(saga.program.steps))]
    return tuple(found)


class Watch:
    """The oracles of one run.

    Attributes:
        on_change: Called with the id of each saga whose journal has grown.
        corrupt: Sagas whose journal was damaged.

    Args:
        people: The names of those who decide in this run.
    """

    def __init__(
        self, world: World, tools: ToolWorld, *, people: frozenset[str] = frozenset({PERSON})
    ) -> None:
        self._people = people
        self.sagas: dict[str, Watched] = {}
        self._findings: dict[str, Findings] = {}
        self.intents = Intents()
        self.corrupt: dict[str, None] = {}
        self.submitted: dict[str, None] = {}
        self.on_change: list[Callable[[str], None]] = []
        self._world = world
        self._tools = tools
        self._epoch = 0
        self._replied: dict[tuple[str, int], None] = {}

    # The store.

    def accepted(self, epoch: int, leader: int | None, append: Append, body: bytes) -> None:
        """Judge a write that the store has just accepted."""
        world, saga_id = self._world, append.saga_id
        world.bytes.update(body)
        if epoch != leader:
            world.broken("L1", f"{saga_id}: a write of epoch {epoch} came in while {leader} led")
        watched = self.sagas.get(saga_id)
        length = 0 if watched is None else watched.saga.position
        if length != append.position:
            message = f"{saga_id}: written at {append.position}, its journal is at {length}"
            world.broken("L1", message)
            return
        world.note("store", "writes", f"{saga_id}@{length} " + _names(append.records))
        try:
            after = self._fold(watched, append)
        except InvariantBrokenError as error:
            world.broken("W6", f"{saga_id}: the records do not fold: {error.message}")
            return
        if head_of(after) != append.head:
            world.broken("W6", f"{saga_id}: its head says {append.head}, its records {after.state}")
        for call in self.on_change:
            call(saga_id)

    def _fold(self, watched: Watched | None, append: Append) -> Saga:
        """Apply the records one by one, each judged against the state before it."""
        draft: Draft | None = None if watched is None else Draft.of(watched.saga)
        findings = self._findings.get(append.saga_id)
        if findings is None:
            findings = self._findings[append.saga_id] = Findings(
                append.saga_id, self._world.broken, self._people, true_at=self._world.true_at
            )
        for record in append.records:
            if draft is None or watched is None:
                reader = JournalReader()
                program = reader.program_of(record)
                new = Saga(append.saga_id, program)
                draft = Draft.of(new)
                watched = self.sagas[append.saga_id] = Watched(new, reader)
                draft.apply(record)
            elif isinstance(record, r.StepsAppended | r.PlanClosed):
                draft.apply(record, watched.reader.program_of(record))
                watched.ancestors = ancestors_of(draft.freeze())
            else:
                self._judge(watched, draft, record, append, findings)
                state = draft.state
                draft.apply(record)
                self._count(state, draft, record)
            watched.records.append(record)
        if draft is None or watched is None:
            raise InvariantBrokenError("an append without records")
        after = draft.freeze()
        before, watched.saga = watched.saga, after
        if before.state.is_final and after.state != before.state:
            self._world.broken("C11", f"{append.saga_id}: {before.state} became {after.state}")
        return after

    def _judge(
        self,
        watched: Watched,
        draft: Draft,
        record: Record,
        append: Append,
        findings: Findings,
    ) -> None:
        rule = RULES.get(type(record))
        if rule is not None:
            rule(findings, draft, record, watched.ancestors)
        self.intents.note(draft, record, self._world.broken)
        index = getattr(record, "step", None)
        if index is not None:
            self._replied.pop((append.saga_id, index), None)
            self._take_word(draft, index, record)
            self._judge_claim(append.saga_id, draft, index, record)

    def _take_word(self, draft: Draft, index: int, record: Record) -> None:
        """From here on a person answers for what is in the world of the step."""
        truth = self._tools.truth(draft.saga_id, index)
        if isinstance(record, r.HumanSettled):
            truth.word = "accepted"
        elif isinstance(record, r.HumanSuppliedOutput) and truth.left != 1:
            truth.word = "vouched"
        elif isinstance(record, r.CallsSupplied):
            truth.word = "amended"

    def _judge_claim(self, saga_id: str, draft: Draft, index: int, record: Record) -> None:
        """Hold what is written of a step against what its tool has done by now (C3, U1)."""
        truth = self._tools.truth(saga_id, index)
        if truth.word or not draft.program.steps[index].is_effectful:
            return
        left = truth.left
        match record:
            case r.ActionSucceeded() | r.ActionSucceededBadly() if left != 1:
                said = "it succeeded"
            case r.ActionRejected() if left:
                said = "it was refused"
            case r.UndoSucceeded(is_last=True) if left:
                said = "it was undone"
            case _:
                return
        world = self._world
        world.broken("C3", f"{saga_id}.{index}: {said}, and {left} effects are in the world")

    def refused(self, epoch: int, append: Append, error: FsmSagaError) -> None:
        """Take notice of a write that the store refused."""
        if isinstance(error, FencedError):
            self._world.counts["stale leader's write refused"] += 1
        else:
            self._world.counts["stale write refused"] += 1
        self._world.note("store", "refuses", f"{append.saga_id} {error.code}")

    def elected(self, epoch: int) -> None:
        """Judge a new leader's epoch: higher than any before it (L2)."""
        if epoch <= self._epoch:
            self._world.broken("L2", f"epoch {epoch} was given after epoch {self._epoch}")
        self._epoch = epoch

    def damage_missed(self, saga_id: str) -> None:
        """Take notice that a damaged journal was read as if it were whole."""
        self._world.broken("W5", f"{saga_id} is damaged, and was read")

    def corruption_seen(self, saga_id: str) -> None:
        """Take notice that damage was found where it is."""
        self._world.counts["corrupt journal refused"] += 1
        if saga_id not in self.corrupt:
            self._world.broken("W5", f"{saga_id} was called corrupt, and its journal is whole")

    # The coordinators.

    def told(self, node: Node, saga: Saga, decision: Decision) -> None:
        """Judge what a coordinator tells others: durable, and what the records say (W2, W6)."""
        watched = self.sagas.get(saga.saga_id)
        journal = node.storage.journals.get(saga.saga_id)
        length = 0 if journal is None else journal.length
        if watched is None or saga.position > length:
            message = f"{saga.saga_id}: told of {saga.position} records, {length} are durable"
            self._world.broken("W2", message)
            return
        if saga.saga_id in self.corrupt:
            return
        start = saga.position - len(decision.records)
        if tuple(watched.records[start : saga.position]) != decision.records:
            self._world.broken("W2", f"{saga.saga_id}: told of records that are not the journal's")
        elif saga.position == watched.saga.position and not is_same(saga, watched.saga):
            self._world.broken("W6", f"{saga.saga_id}: its state is not what its records say")

    def sent(self, node: Node, coordinator: Coordinator, request: CallTool, saga_id: str) -> None:
        """Judge a call that goes out now against what is durable now (W1, C10, P7, X2, L5)."""
        world = self._world
        if coordinator.failure is not None:
            message = f"{node.name} calls for {saga_id} after it stopped: {coordinator.failure}"
            world.broken("L5", message)
        self.intents.judge(request, saga_id, world.broken)

    def replied(self, saga_id: str, step: int) -> None:
        """Take notice that a coordinator has heard of a call."""
        self._replied[saga_id, step] = None

    def crashed(self, node: Node) -> None:
        """Count what was in flight when a coordinator was killed."""
        counts = self._world.counts
        for saga_id, watched in self.sagas.items():
            if node.engine_of(saga_id) is None:
                continue
            for index, step in enumerate(watched.saga.steps):
                is_undo = step.status is StepStatus.COMPENSATING and step.undo is not None
                if not is_undo and step.status is not StepStatus.RUNNING:
                    continue
                rid = step.undo.req_id if is_undo and step.undo is not None else step.req_id
                if self.intents.is_unsent(rid or ""):
                    counts["killed between intent and send"] += 1
                elif (saga_id, index) in self._replied:
                    counts["killed between reply and record"] += 1
                else:
                    counts["killed between send and reply"] += 1

    def coordinator_stopped(self, node: Node, epoch: int, error: FsmSagaError) -> None:
        """Judge why a coordinator stopped: for a store that moved on, and never for a bug."""
        self._world.note(node.name, "stops", error.code)
        self._world.counts[f"stopped: {error.code}"] += 1
        if isinstance(error, InvariantBrokenError):
            self._world.broken("TOTAL", f"{node.name} found a bug in itself: {error.message}")

    # The tools.

    def tool_of(self, req_id: str) -> str | None:
        """Return the tool of the call with this req_id, by its durable intent."""
        return self.intents.tool_of(req_id)

    def status_of(self, saga_id: str, step: int) -> StepStatus | None:
        """Return what a step is called in the durable journal."""
        watched = self.sagas.get(saga_id)
        if watched is None or step >= len(watched.saga.steps):
            return None
        return watched.saga.steps[step].status

    def took_effect(self, saga_id: str, step: int, req_id: str) -> None:
        """Judge an effect as it comes into the world (X1, U)."""
        truth = self._tools.truth(saga_id, step)
        if truth.word:
            return
        world = self._world
        if truth.left > 1 or truth.effects > 1:
            world.broken("X1", f"{saga_id}.{step} took effect {truth.effects} times")
        status = self.status_of(saga_id, step)
        if status in NOT_THERE:
            world.broken("U1", f"{saga_id}.{step} took effect while it is called {status}")

    def taken_back(self, saga_id: str, step: int, req_id: str) -> None:
        """Judge an effect as it is taken back (C6, C8)."""
        truth, world = self._tools.truth(saga_id, step), self._world
        watched = self.sagas.get(saga_id)
        if truth.word or watched is None:
            return
        if truth.undone > 1 or truth.undone > truth.effects:
            message = f"{saga_id}.{step} was undone {truth.undone} times, done {truth.effects}"
            world.broken("C8", message)
        for other, above in enumerate(watched.ancestors):
            if above >> step & 1:
                left = self._tools.truth(saga_id, other)
                if left.left > 0 and not left.word and watched.saga.program.steps[other].undo:
                    world.broken(
                        "C6", f"{saga_id}.{step} was undone before {other}, which needs it"
                    )

    # Counting.

    def _count(self, before: SagaState, draft: Draft, record: Record) -> None:
        counts = self._world.counts
        match record:
            case r.SagaMoved():
                phase = record.state.partition("(")[0]
                counts[f"edge {before.phase} {record.event} -> {phase}"] += 1
                if phase == Phase.NEEDS_HUMAN:
                    for step in draft.steps:
                        if step.status is StepStatus.DOUBTFUL:
                            counts["a person is asked: doubtful"] += 1
                        if step.undo is not None and step.undo.stuck_reason:
                            counts[f"a person is asked: undo {step.undo.stuck_reason}"] += 1
            case r.CancelRequested():
                counts["cancel accepted"] += 1
            case r.ReplyIgnored():
                counts["reply ignored"] += 1
            case r.ActionDoubted() if draft.running | draft.failing & ~(1 << record.step):
                counts["sibling settled as unknown"] += 1
            case r.ActionDoubted() if "no longer remembers" in record.error:
                counts["retention expired before a resend"] += 1
            case r.ActionRejected() if not record.was_sent:
                counts["refused before it was sent"] += 1
            case _:
                counts[type(record).__name__] += 1


def _names(records: tuple[Any, ...]) -> str:
    return " ".join(type(record).__name__ for record in records)
