"""What can be said of a program without running it: its ways back, and where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fsm_saga.core.program import Program, StepSpec
from fsm_saga.core.states import DoubtExit
from fsm_saga.core.work import bits

MECHANICAL = "mechanical"
SEMANTIC = "semantic"
NONE = "none"
NOT_NEEDED = "not_needed"

EXIT_WORDS: Mapping[DoubtExit, str] = {
    DoubtExit.NO_EFFECT: "it only reads, so there is nothing to settle",
    DoubtExit.COMPENSATE_NOW: "it is undone at once, and its tool keeps a late copy out",
    DoubtExit.RESEND: "it is sent again under its req_id until its tool answers, else a person",
    DoubtExit.CHECK: "its tool is asked what became of it, else a person",
    DoubtExit.WAIT_DEADLINE: "its tool's deadline is waited for, then it is undone",
    DoubtExit.PERSON: "a person decides, since its tool promises nothing that settles it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFacts:
    """What the checks know of one step.

    Attributes:
        step_id: The planner's name for it.
        name: What it does, or its tool.
        kind: What it is to the way back.
        way_back: ``mechanical`` (an undo call), ``semantic`` (made good for by calls that are
            decided late), ``none``, or ``not_needed`` (it only reads).
        is_point_of_no_return: Once it is done, only forward is left.
        is_after_no_return: It can start only when such a step is done.
        exit: How a doubtful call of it is settled.
        exit_words: The same, for a reader.
        needs_approval: A person has to let it start.
    """

    step_id: int | str
    name: str
    kind: str
    way_back: str
    is_point_of_no_return: bool
    is_after_no_return: bool
    exit: str
    exit_words: str
    needs_approval: bool

    def as_json(self) -> dict[str, Any]:
        """Return the facts as a JSON object."""
        return {
            "step_id": self.step_id,
            "name": self.name,
            "kind": self.kind,
            "way_back": self.way_back,
            "is_point_of_no_return": self.is_point_of_no_return,
            "is_after_no_return": self.is_after_no_return,
            "exit": self.exit,
            "exit_words": self.exit_words,
            "needs_approval": self.needs_approval,
        }


def facts_of(program: Program) -> tuple[StepFacts, ...]:
    """Return the facts of each step."""
    after = 0
    for index in bits(program.irrevocable):
        after |= program.steps[index].descendants
    return tuple(
        StepFacts(
            step_id=spec.step_id,
            name=spec.name,
            kind=spec.kind.value,
            way_back=way_back_of(spec),
            is_point_of_no_return=spec.is_irrevocable,
            is_after_no_return=bool(after >> spec.index & 1),
            exit=spec.exit.value,
            exit_words=EXIT_WORDS[spec.exit],
            needs_approval=spec.approval_expires_s is not None,
        )
        for spec in program.steps
    )


def way_back_of(spec: StepSpec) -> str:
    """Return how the effect of a step can be taken back."""
    if not spec.is_effectful:
        return NOT_NEEDED
    if spec.undo is not None:
        return MECHANICAL
    return SEMANTIC if spec.semantic is not None else NONE


def coverage_of(steps: tuple[StepFacts, ...]) -> dict[str, int]:
    """Return, of the steps that have an effect, how many in a hundred have which way back."""
    ways = [step.way_back for step in steps if step.way_back != NOT_NEEDED]
    if not ways:
        return {MECHANICAL: 100, SEMANTIC: 0, NONE: 0}
    return {way: round(100 * ways.count(way) / len(ways)) for way in (MECHANICAL, SEMANTIC, NONE)}
