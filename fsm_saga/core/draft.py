"""The working copy on which one decision, or one fold, is made.

``Draft`` is the only mutable thing in the core and never leaves it. ``decide`` and ``fold``
change a saga through the same ``apply``, record by record, so that a decided state and a
recovered one cannot differ (INV-6).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct
from msgspec.structs import astuple, replace

from fsm_saga.core.contract import ToolContract
from fsm_saga.core.guards import Facts, WayBack
from fsm_saga.core.invariants import broken
from fsm_saga.core.program import Program
from fsm_saga.core.records import Record
from fsm_saga.core.references import JSON
from fsm_saga.core.saga import WAITING_STEP, Saga, StepState
from fsm_saga.core.states import (
    Outcome,
    SagaEvent,
    SagaState,
    StepEvent,
    StepStatus,
)

# Which sets a step of each status is in: running, succeeded, uncleared, undoing, awaiting, stuck.
# A success counts unless its output is bad, and has to be cleared only if it has an effect.
_SETS_OF: Mapping[StepStatus, tuple[int, int, int, int, int, int]] = {
    StepStatus.RUNNING: (1, 0, 1, 0, 0, 0),
    StepStatus.SUCCEEDED: (0, 1, 1, 0, 0, 0),
    StepStatus.DOUBTFUL: (0, 0, 1, 0, 0, 0),
    StepStatus.COMPENSATING: (0, 0, 1, 1, 0, 0),
    StepStatus.AWAITING_APPROVAL: (0, 0, 0, 0, 1, 0),
    StepStatus.STUCK: (0, 0, 1, 0, 0, 1),
}
_NO_SET = (0, 0, 0, 0, 0, 0)


def refusal_settles(step: StepState, contract: ToolContract) -> bool:
    """Return whether a refusal says that no copy of the step's call can still take effect.

    Either none is out there, or the tool promises to refuse those as well. A tool that fences its
    undo but forgets its refusals is undone for safety; that undo is null if nothing happened.
    """
    return contract.sticky_failures or not (step.is_doubted or contract.fenced_compensation)


class Draft(Struct):
    """A saga while one decision is being made; its fields are those of ``Saga``, in that order."""

    saga_id: str
    program: Program
    state: SagaState
    outcome: Outcome | None
    steps: list[StepState]
    position: int
    running: int
    succeeded: int
    uncleared: int
    undoing: int
    awaiting: int
    stuck: int
    failing: int
    stop: SagaEvent | None
    was_undone: bool
    is_amended: bool
    is_settled: bool
    cause: str | None
    deadline_at: float | None
    created_at: float
    updated_at: float
    undo_of: str | None
    run_key: str

    @staticmethod
    def of(saga: Saga) -> Draft:
        """Return a working copy of the saga; a new one gets a waiting step for each planned one."""
        draft = Draft(*astuple(saga))
        draft.steps = list(saga.steps) or [WAITING_STEP] * len(saga.program.steps)
        return draft

    def freeze(self) -> Saga:
        """Return the immutable saga."""
        return replace(Saga(*astuple(self)), steps=tuple(self.steps))

    @property
    def call_scope(self) -> str:
        """What the req_ids of this saga belong to: its id, and the key of this run of it."""
        return f"{self.saga_id}\x1f{self.run_key}" if self.run_key else self.saga_id

    def step_event(self, index: int, event: StepEvent, state: StepState) -> None:
        """Take the step through one transition of the step table and store ``state`` with it.

        Raises:
            InvariantBrokenError: If the step machine has no such transition.
        """
        old = self.steps[index].status
        new = self.program.step_table.get((old, event))
        if new is None:
            broken(f"step {index} of {self.saga_id!r} cannot take {event} in {old}")
        if new is not state.status:
            state = replace(state, status=new)
        self.steps[index] = state
        self._file(index, state)

    def _file(self, index: int, state: StepState) -> None:
        keep = ~(1 << index)
        status = state.status
        running, succeeded, uncleared, undoing, awaiting, stuck = _SETS_OF.get(status, _NO_SET)
        if status is StepStatus.SUCCEEDED:
            succeeded = not state.has_bad_output
            uncleared = self.program.effectful >> index & 1
        self.running = self.running & keep | running << index
        self.succeeded = self.succeeded & keep | succeeded << index
        self.uncleared = self.uncleared & keep | uncleared << index
        self.undoing = self.undoing & keep | undoing << index
        self.awaiting = self.awaiting & keep | awaiting << index
        self.stuck = self.stuck & keep | stuck << index

    def output_of(self, index: int) -> JSON:
        """Return what the step returned.

        Raises:
            LookupError: If it has not succeeded and nobody vouched for it. The checks of a plan see
                to it that no reference is looked up before.
        """
        step = self.steps[index]
        if step.status is not StepStatus.SUCCEEDED and step.settled_by is None:
            raise LookupError(index)
        return step.output

    def way_back(self) -> WayBack:
        """Return whether what was done can still be undone (INV-12)."""
        irrevocable = self.program.irrevocable & self.uncleared
        if not irrevocable:
            return WayBack.OPEN
        if irrevocable & ~(self.running | self.undoing | self.stuck):
            return WayBack.CLOSED
        running = irrevocable & self.running
        while running:
            low = running & -running
            if not self.is_refused_and_idle(low.bit_length() - 1):
                return WayBack.UNDECIDED
            running ^= low
        return WayBack.OPEN

    def is_refused_and_idle(self, index: int) -> bool:
        """True for a running step that was certainly refused and only waits for another attempt."""
        step, contract = self.steps[index], self.program.steps[index].action.contract
        is_idle = step.retry_at is not None and step.was_refused
        return is_idle and refusal_settles(step, contract)

    def leads_forward(self) -> bool:
        """True when nothing that happened forces the saga back."""
        return self._leads_forward(self.way_back())

    def _leads_forward(self, way_back: WayBack) -> bool:
        if way_back is not WayBack.OPEN:
            # Undecided: an irrevocable step is in flight, and only its outcome may turn the saga.
            return True
        return self.stop is None and not (self.failing or self.stuck or self.was_undone)

    def facts(self) -> Facts:
        """Return what the guards may know, counted now."""
        way_back = self.way_back()
        return Facts(
            len(self.steps),
            self.succeeded.bit_count(),
            self.uncleared.bit_count(),
            not self.program.is_open,
            way_back,
            (self.running | self.undoing | self.awaiting) != 0,
            self._leads_forward(way_back),
        )

    def apply(self, record: Record, program: Program | None = None) -> None:
        """Change the draft by what a record says. ``program`` goes with records that carry a plan.

        Raises:
            InvariantBrokenError: If the record cannot follow what came before.
        """
        handler = APPLY.get(type(record))
        if handler is None:
            broken(f"no rule to fold a {type(record).__name__}")
        if program is not None:
            self.program = program
        handler(self, record)
        self.position += 1
        self.updated_at = record.at


Handler = Callable[[Draft, Record], None]
APPLY: dict[type[Record], Handler] = {}
