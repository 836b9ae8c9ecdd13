"""Decisions that an earlier leader may have carried out without answering: does the journal say?

A leader carries out the commands of a saga one after the other, and answers each before it begins
the next. If it ends in between, one of them stands in the journal and still waits for its answer.
Whoever leads next finds the record of the decision here, by all that the person said: the kind, the
step, the name, the note and the value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from pydantic import ValidationError

from fsm_saga.core import records as r
from fsm_saga.core.people import choices
from fsm_saga.core.records import Record
from fsm_saga.core.saga import Saga
from fsm_saga.errors import CommandError, FsmSagaError
from fsm_saga.plan.model import Plan
from fsm_saga.ports import Command
from fsm_saga.service.answers import ANONYMOUS, Answer, calls_text
from fsm_saga.service.growing import grown_plan


def answered_until(commands: Sequence[Command]) -> int:
    """Return the position before which all decisions were answered, by a saga's commands."""
    told = [command.answer.get("position") for command in commands if command.answer]
    return max((position for position in told if isinstance(position, int)), default=0)


def is_carried_out(
    journal: Sequence[Record], saga: Saga, answer: Answer, *, answered_until: int
) -> bool:
    """Return whether the journal has the record of a decision.

    Args:
        journal: The whole journal.
        saga: What it says.
        answer: The decision.
        answered_until: The position before which all decisions were answered.

    Raises:
        CommandError: It has one, but the saga asks for such a decision again, and it cannot be told
            which of the two this is.
    """
    since = max(answered_until, answer.position or 0)
    found = _position(journal, saga, answer, since=since)
    if found is None:
        return False
    if answer.position is None and _asks_again(saga, answer):
        raise CommandError(
            f"The decision {answer.kind!r} about saga {saga.saga_id!r} was not carried out now: it "
            f"stands in the journal already, at position {found}, and the saga asks again. The "
            "leader at that time ended before it answered, so this may be the same decision. "
            "Look at the saga with `fsm-saga show`, and decide again."
        )
    return True


def _position(journal: Sequence[Record], saga: Saga, answer: Answer, *, since: int) -> int | None:
    if answer.kind == "amend":
        return _amended(journal, answer, since=since)
    spec = None if answer.step_id is None else saga.program.step_named(answer.step_id)
    index = None if spec is None else spec.index
    is_it = _IS_IT[answer.kind]
    for position in range(since, len(journal)):
        record = journal[position]
        if getattr(record, "step", None) == index and is_it(record, answer):
            return position
    return None


def _amended(journal: Sequence[Record], answer: Answer, *, since: int) -> int | None:
    """Return where the plan became what the amendment makes of the plan before it."""
    plan: Mapping[str, Any] | None = None
    for position, record in enumerate(journal):
        if isinstance(record, r.StepsAppended) and plan is not None and position >= since:
            try:
                grown = grown_plan(Plan.model_validate(plan), answer.value)
            except (FsmSagaError, ValidationError):
                pass  # not by this amendment
            else:
                if grown.content_hash() == record.plan_hash:
                    return position
        if isinstance(record, r.SagaSubmitted | r.StepsAppended):
            plan = record.plan
    return None


def _asks_again(saga: Saga, answer: Answer) -> bool:
    spec = None if answer.step_id is None else saga.program.step_named(answer.step_id)
    if spec is None:
        return False
    if answer.kind in ("approve", "reject"):
        return bool(saga.awaiting >> spec.index & 1)
    return answer.kind in choices(saga, spec.index)


def _said(record: Any, answer: Answer) -> bool:
    return (record.by, record.note) == (answer.by, answer.note)


def _cancelled(record: Record, answer: Answer) -> bool:
    named = Answer(kind="cancel", by=answer.by or ANONYMOUS, note=answer.note)
    return isinstance(record, r.CancelRequested) and _said(record, named)


def _approved(record: Record, answer: Answer) -> bool:
    return (
        isinstance(record, r.ApprovalGiven)
        and _said(record, answer)
        and answer.digest in ("", record.digest)
    )


def _denied(record: Record, answer: Answer) -> bool:
    return isinstance(record, r.ApprovalDenied) and _said(record, answer)


def _retried(record: Record, answer: Answer) -> bool:
    return isinstance(record, r.HumanRetried) and _said(record, answer)


def _settled(record: Record, answer: Answer) -> bool:
    return isinstance(record, r.HumanSettled) and _said(record, answer)


def _output_given(record: Record, answer: Answer) -> bool:
    return (
        isinstance(record, r.HumanSuppliedOutput)
        and _said(record, answer)
        and record.output == answer.value
    )


def _calls_given(record: Record, answer: Answer) -> bool:
    """Compare the tools alone: what the parameters referred to is resolved in the record."""
    if not (isinstance(record, r.CallsSupplied) and _said(record, answer)):
        return False
    try:
        said = orjson.loads(calls_text(answer.value))["calls"]
        tools = [call["tool"] for call in said]
    except (FsmSagaError, ValueError, LookupError, TypeError):
        return False  # no calls that could have been carried out
    return tools == [call["tool"] for call in record.calls]


_IS_IT: Mapping[str, Callable[[Record, Answer], bool]] = {
    "cancel": _cancelled,
    "approve": _approved,
    "reject": _denied,
    "retry": _retried,
    "settled": _settled,
    "output": _output_given,
    "calls": _calls_given,
}
