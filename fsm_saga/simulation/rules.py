"""What each record may follow: rules over the state before it, one function for a type.

They are written against the plan's own order and the steps' statuses, not against the engine's
masks and guards, so that a guard that is wrong does not judge itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from fsm_saga.core import records as r
from fsm_saga.core.draft import Draft
from fsm_saga.core.records import Record
from fsm_saga.core.states import Direction, Phase, StepStatus

Ancestors = tuple[int, ...]

_CLEARED = frozenset(
    {
        StepStatus.WAITING,
        StepStatus.AWAITING_APPROVAL,
        StepStatus.REJECTED,
        StepStatus.COMPENSATED,
        StepStatus.SKIPPED,
    }
)
_PASSED = (StepStatus.SUCCEEDED, StepStatus.DOUBTFUL)


class Findings:
    """Where a rule says what it found, and what rules have to remember of a saga.

    Attributes:
        people: Who there is to decide.
        true_at: The true time at which a clock showed what stands in a record.
        over_at: For each step and direction, when the wait for its next attempt is truly over.
    """

    __slots__ = ("_broken", "_saga_id", "over_at", "people", "true_at")

    def __init__(
        self,
        saga_id: str,
        broken: Callable[[str, str], None],
        people: frozenset[str],
        *,
        true_at: Mapping[float, float],
    ) -> None:
        self.people = people
        self.true_at = true_at
        self.over_at: dict[tuple[int, Direction], float] = {}
        self._saga_id = saga_id
        self._broken = broken

    def broken(self, code: str, index: int, message: str) -> None:
        """Say that a rule is broken for a step."""
        self._broken(code, f"{self._saga_id}.{index}: {message}")


CLOCKS_S = 1e-6
PERSON = "somebody"
"""The name of whoever decides in a run."""

Rule = Callable[[Findings, Draft, Any, Ancestors], None]


def _action_started(
    findings: Findings, draft: Draft, record: r.ActionStarted, ancestors: Ancestors
) -> None:
    index, steps = record.step, draft.steps
    is_ordered = steps[index].status is StepStatus.REJECTED  # by a person, after a refusal
    if draft.state.phase is not Phase.EXECUTING and not is_ordered:
        findings.broken("X3", index, f"it starts in {draft.state}")
    for other, step in enumerate(steps):
        is_needed = ancestors[index] >> other & 1
        if is_needed and (step.status is not StepStatus.SUCCEEDED or step.has_bad_output):
            findings.broken("X3", index, f"it starts while step {other} is {step.status}")
    spec, own = draft.program.steps[index], steps[index]
    if spec.approval_expires_s is not None and (
        own.approved_by is None or own.params != record.params
    ):
        findings.broken("H1", index, "it starts without an approval of what it does")
    if not is_ordered and not _has_passed(draft):
        if draft.stop is not None:
            findings.broken("X3", index, f"it starts after {draft.stop}")
        for other, step in enumerate(steps):
            if other != index and _has_failed(step):
                findings.broken("X3", index, f"it starts although step {other} has failed")


def _has_failed(step: Any) -> bool:  # the core's own state of a step
    failed = (StepStatus.REJECTED, StepStatus.DOUBTFUL, StepStatus.STUCK)
    return step.status in failed or step.has_bad_output


def _has_passed(draft: Draft) -> bool:
    """Return whether a step that cannot be undone has, or may have, happened (C12)."""
    return any(
        spec.is_irrevocable and step.status in _PASSED
        for spec, step in zip(draft.program.steps, draft.steps, strict=True)
    )


def _undo_started(
    findings: Findings, draft: Draft, record: r.UndoStarted, ancestors: Ancestors
) -> None:
    index, steps = record.step, draft.steps
    spec, step = draft.program.steps[index], steps[index]
    for other, state in enumerate(steps):
        if state.status is StepStatus.RUNNING:
            findings.broken("C5", index, f"its undo starts while step {other} is in flight")
        if ancestors[other] >> index & 1 and state.status not in _CLEARED:
            is_read = not draft.program.steps[other].is_effectful
            if not (is_read and state.status is StepStatus.SUCCEEDED):
                findings.broken("C6", index, f"it is undone while step {other} is {state.status}")
    gone = step.status in _CLEARED
    if gone or not spec.is_effectful:
        findings.broken("C4", index, f"it is undone, and it is {step.status}")
    is_planned = step.undo is None or step.undo.source == "plan"
    contract = spec.action.contract
    keeps_out = contract.fenced_compensation or (contract.deadline and step.not_after is not None)
    if step.status is StepStatus.DOUBTFUL and is_planned and not keeps_out:
        findings.broken("C4", index, "it may still arrive, and its undo keeps nothing out")
    if _has_passed(draft) and not (spec.is_irrevocable and not is_planned):
        findings.broken("C12", index, "it is undone after what cannot be undone was done")


def _attempt_failed(
    findings: Findings, draft: Draft, record: r.AttemptFailed, ancestors: Ancestors
) -> None:
    """Remember how long the next attempt has to wait."""
    failed_at = findings.true_at.get(record.at, math.inf)
    findings.over_at[record.step, record.direction] = failed_at + record.retry_at - record.at


def _attempt_started(
    findings: Findings, draft: Draft, record: r.AttemptStarted, ancestors: Ancestors
) -> None:
    """Hold the sends against the budget and the wait; a person may order more."""
    index = record.step
    spec, step = draft.program.steps[index], draft.steps[index]
    undo = step.undo
    retry_at = step.retry_at
    if record.direction is Direction.UNDO and undo is not None:
        retry_at = undo.retry_at
    if retry_at is not None and record.at < retry_at - CLOCKS_S:
        # By that clock; it may have been set back, and the wait over all the same.
        over_at = findings.over_at.get((index, record.direction), math.inf)
        early_s = over_at - findings.true_at.get(record.at, 0.0)
        if early_s > CLOCKS_S:
            findings.broken("X8", index, f"it is tried again {early_s:.3f} s too early")
    if record.direction is Direction.DO:
        rule, used = spec.action.retry, record.attempt - step.budget_from
        if used > max(rule.attempt_max, rule.doubt_attempt_max):
            findings.broken("R4", index, f"attempt {used} of at most {rule}")


def _outcome(findings: Findings, draft: Draft, record: Record, ancestors: Ancestors) -> None:
    """An outcome is written of a call that is open, and of no other (X5, X6)."""
    index: int = record.step  # type: ignore[attr-defined]  # registered for outcomes of steps only
    status = draft.steps[index].status
    is_unsent = isinstance(record, r.ActionRejected) and not record.was_sent
    if status is not StepStatus.RUNNING and not (is_unsent and status is StepStatus.WAITING):
        findings.broken("X6", index, f"{type(record).__name__} is written of a {status} step")


def _approval_given(
    findings: Findings, draft: Draft, record: r.ApprovalGiven, ancestors: Ancestors
) -> None:
    if record.digest != draft.steps[record.step].digest:
        findings.broken("H1", record.step, "the approval is of something else than was shown")
    if record.by not in findings.people:
        findings.broken("H1", record.step, f"it is approved by {record.by!r}, who is nobody here")


def _doubted(
    findings: Findings, draft: Draft, record: r.ActionDoubted, ancestors: Ancestors
) -> None:
    """A wait for the tool's own deadline lasts until it (U1)."""
    _outcome(findings, draft, record, ancestors)
    until = draft.steps[record.step].wait_until
    if until is not None and record.at < until - CLOCKS_S:
        findings.broken("U1", record.step, f"its wait ends {until - record.at:.3f} s too early")


def _undo_outcome(
    findings: Findings, draft: Draft, record: r.UndoSucceeded, ancestors: Ancestors
) -> None:
    status = draft.steps[record.step].status
    if status is not StepStatus.COMPENSATING:
        findings.broken("X6", record.step, f"an undo ends of a step that is {status}")


def _moved(findings: Findings, draft: Draft, record: r.SagaMoved, ancestors: Ancestors) -> None:
    if draft.state.is_final:
        findings.broken("C11", 0, f"{draft.state} is left for {record.state}")
    phase = record.state.partition("(")[0]
    if phase == Phase.FAILED:
        for index, step in enumerate(draft.steps):
            is_left = step.status not in _CLEARED and draft.program.steps[index].is_effectful
            if is_left:
                findings.broken("C2", index, f"the saga is called FAILED, the step {step.status}")
    if phase == Phase.DONE:
        for index, step in enumerate(draft.steps):
            if step.status is not StepStatus.SUCCEEDED or step.has_bad_output:
                findings.broken("C1", index, f"the saga is called DONE, the step {step.status}")
    if phase == Phase.COMPENSATING and draft.state.phase is Phase.EXECUTING and _has_passed(draft):
        findings.broken("C12", 0, "the saga turns round after what cannot be undone was done")


RULES: Mapping[type[Record], Rule] = {
    r.ActionStarted: _action_started,
    r.UndoStarted: _undo_started,
    r.AttemptFailed: _attempt_failed,
    r.AttemptStarted: _attempt_started,
    r.ActionSucceeded: _outcome,
    r.ActionSucceededBadly: _outcome,
    r.ActionRejected: _outcome,
    r.ActionDoubted: _doubted,
    r.ApprovalGiven: _approval_given,
    r.UndoSucceeded: _undo_outcome,
    r.SagaMoved: _moved,
}
