"""One decision in the making: the working copy, what is written, what is to be done."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from fsm_saga.core.draft import Draft
from fsm_saga.core.effects import Effect, WakeAt
from fsm_saga.core.program import Program, StepSpec
from fsm_saga.core.records import Record, SagaMoved
from fsm_saga.core.saga import Saga, StepState
from fsm_saga.core.states import COUNTED_PHASES, Outcome, Phase, SagaEvent, SagaState, StepStatus
from fsm_saga.core.table import Verdict


class Decision(Struct, frozen=True):
    """What follows from one event.

    Attributes:
        saga: The state after the records; it counts only once they are durable (INV-4).
        records: To be appended at the old saga's position, all or none.
        effects: To be carried out in order, and only after the append returned (INV-1).
        note: Why nothing, or less than asked, came of the event; empty otherwise.
    """

    saga: Saga
    records: tuple[Record, ...]
    effects: tuple[Effect, ...]
    note: str = ""


def bits(mask: int) -> Iterator[int]:
    """Yield the indexes of the set bits, lowest first.

    Example:
        >>> list(bits(0b1010))
        [1, 3]
    """
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


class Work:
    """Collects the records and effects of one decision; every record is applied as written."""

    __slots__ = ("at", "candidates", "draft", "effects", "note", "records", "waited_for")

    def __init__(self, saga: Saga, at: float) -> None:
        self.draft = Draft.of(saga)
        self.at = at
        self.waited_for = 0.0
        self.records: list[Record] = []
        self.effects: list[Effect] = []
        self.note = ""
        # Steps that the event may have set free; None stands for all of them.
        self.candidates: tuple[int, ...] | None = None

    def write(self, record: Record, program: Program | None = None) -> None:
        """Write a record down and apply it to the draft.

        One record clears at most one effect, and each clearing is a transition of its own: so
        the number in COMPENSATING(k) is true after every record (INV-10).
        """
        draft = self.draft
        draft.apply(record, program)
        self.records.append(record)
        state = draft.state
        if state.phase is Phase.COMPENSATING and draft.uncleared.bit_count() < state.count:
            self.move(SagaEvent.EFFECT_CLEARED)

    def do(self, effect: Effect) -> None:
        """Order an effect, to be carried out once the records are durable."""
        self.effects.append(effect)

    def wake(self, at: float | None, *, wait_s_max: float | None) -> None:
        """Ask for a ``TimePassed`` at that time, if any; see ``WakeAt``."""
        if at is not None:
            self.effects.append(WakeAt(at=at, wait_s_max=wait_s_max))

    def is_over(self, limit: float | None) -> bool:
        """Return whether what was to last until then is over: by the clock, or by waiting."""
        return limit is not None and (limit <= self.at or limit == self.waited_for)

    def spec(self, index: int) -> StepSpec:
        """Return the compiled step."""
        return self.draft.program.steps[index]

    def step(self, index: int) -> StepState:
        """Return the step as it stands now."""
        return self.draft.steps[index]

    def move(self, event: SagaEvent, cause: str | None = None) -> Verdict:
        """Put a saga event to the table and make the transition it orders, if any."""
        draft = self.draft
        verdict = draft.program.table.verdict(draft.state, event, draft.facts())
        target = verdict.target
        if target is not None and target != draft.state:
            outcome = None if target.phase in COUNTED_PHASES else self._outcome(target)
            self.write(
                SagaMoved(at=self.at, event=event, state=str(target), outcome=outcome, cause=cause)
            )
        return verdict

    def _outcome(self, target: SagaState) -> Outcome | None:
        draft = self.draft
        match target.phase:
            case Phase.DONE:
                return Outcome.COMMITTED
            case Phase.NEEDS_HUMAN:
                return Outcome.UNKNOWN
            case Phase.FAILED:
                if draft.is_settled:
                    return Outcome.PARTLY_COMPENSATED
                if draft.is_amended:
                    return Outcome.AMENDED
                if any(step.status is StepStatus.COMPENSATED for step in draft.steps):
                    return Outcome.COMPENSATED
                return Outcome.NOTHING_HAPPENED
            case _:
                return None

    def decision(self) -> Decision:
        """Return what was collected."""
        return Decision(self.draft.freeze(), tuple(self.records), tuple(self.effects), self.note)
