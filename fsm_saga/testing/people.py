"""Those who cancel, approve and decide in a test, each at the moment that the test names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fsm_saga.core import people
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Phase, StepStatus
from fsm_saga.errors import CommandError, FsmSagaError, PlanError
from fsm_saga.service.answers import Answer

SOMEBODY = "somebody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What somebody will say, and when.

    Attributes:
        kind: One of ``ANSWER_KINDS``.
        steps: The steps that it is about or waits for, by index; empty for none.
        when: The status of such a step in which it is said; None for when a person is asked.
        at_s: Said at this virtual second instead.
        after_s: Said so much later than it could be.
    """

    kind: str
    steps: frozenset[int]
    when: StepStatus | None = None
    at_s: float | None = None
    after_s: float = 0.0
    by: str = SOMEBODY
    value: Any = None


class Person:
    """Who answers for a step when the saga needs a person. Answers are given in this order."""

    def __init__(self, add: Callable[[str, Any], None]) -> None:
        self._add = add

    def retries(self, times: int = 1) -> Person:
        """Order the open call again; each of ``times`` when asked once more."""
        for _time in range(times):
            self._add(people.RETRY, None)
        return self

    def settles(self) -> Person:
        """Vouch that nothing more is to be done or undone."""
        self._add(people.SETTLED, None)
        return self

    def supplies(self, output: Any) -> Person:
        """Vouch that it did happen, and that this is what the tool returned."""
        self._add(people.OUTPUT, output)
        return self

    def makes_good(self, *calls: dict[str, Any]) -> Person:
        """Order these calls, each ``{"tool": ..., "params": ...}``, instead of an undo."""
        self._add(people.CALLS, list(calls))
        return self


class Office:
    """Says what is to be said, as soon as it is time.

    Attributes:
        busy: How many decisions are on their way.
        refused: What the engine did not take.
    """

    def __init__(self, decisions: list[Decision], say: Callable[[Decision, Answer], None]) -> None:
        self.busy = 0
        self.refused: list[str] = []
        self._open = list(decisions)
        self._say = say

    def look(self, saga: Saga) -> None:
        """Say what is due in this state of the saga; once a person is asked, one thing a step."""
        spoken: set[int] = set()
        for decision in list(self._open):
            found = self._due(saga, decision)
            if found is None or (found >= 0 and found in spoken):
                continue
            spoken.add(found)
            if decision.kind in ("approve", "reject"):
                rest = decision.steps - {found}
                at = self._open.index(decision)
                self._open[at : at + 1] = [_about(decision, rest)] if rest else []
            else:
                self._open.remove(decision)
            self.busy += 1
            self._say(decision, _answer(saga, decision, found))

    def _due(self, saga: Saga, decision: Decision) -> int | None:
        """Return the step for which it is time, -1 for the whole saga, or None."""
        if saga.state.is_final or decision.at_s is not None:
            return None
        if decision.when is None and decision.steps:
            if saga.state.phase is not Phase.NEEDS_HUMAN:
                return None
            asked = (i for i in sorted(decision.steps) if i < len(saga.steps))
            return next((i for i in asked if people.choices(saga, i)), None)
        for index in sorted(decision.steps):
            if index < len(saga.steps) and saga.steps[index].status is decision.when:
                return index
        return None

    def said(self, decision: Decision, found: object) -> None:
        """Take in what the engine said to a decision."""
        self.busy -= 1
        if isinstance(found, FsmSagaError):
            self.refused.append(f"{decision.kind} by {decision.by}: {found}")


def is_answer(found: object) -> bool:
    """Return whether the engine has judged; a store that failed for a moment is asked again."""
    return not isinstance(found, FsmSagaError) or isinstance(found, CommandError | PlanError)


def at_once(decision: Decision) -> Answer:
    """Return the answer of a decision about the whole saga."""
    return Answer(kind=decision.kind, by=decision.by, note="in a test", value=decision.value)


def _answer(saga: Saga, decision: Decision, index: int) -> Answer:
    if decision.kind == "cancel":
        return at_once(decision)
    step_id = saga.program.steps[index].step_id
    digest = (saga.steps[index].digest or "") if decision.kind == "approve" else ""
    return Answer(
        kind=decision.kind,
        step_id=step_id,
        by=decision.by,
        note="in a test",
        digest=digest,
        value=decision.value,
    )


def _about(decision: Decision, steps: frozenset[int]) -> Decision:
    return Decision(
        kind=decision.kind,
        steps=steps,
        when=decision.when,
        after_s=decision.after_s,
        by=decision.by,
        value=decision.value,
    )
