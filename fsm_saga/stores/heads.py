"""Heads as every store protects them: a checksum, and the way back to one from the journal.

A head repeats what the journal says, so that lists need not read journals. The journal is the
truth: a head that fails its checksum is made again from the records, and where those cannot be
read either, the saga is shown as damaged. It is never shown in a state that nothing vouches for.

What a head says can be read off single records, so no plan is compiled for it here. A test holds
the result against the heads that the coordinator writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

from orjson import dumps

from fsm_saga.core.records import (
    ApprovalGiven,
    ApprovalRequested,
    Record,
    ReplyIgnored,
    SagaMoved,
    SagaSubmitted,
    StepsAppended,
)
from fsm_saga.core.states import Outcome, Phase, SagaState
from fsm_saga.errors import CorruptRecordError, InvariantBrokenError
from fsm_saga.ports import Head

DAMAGED = str(SagaState(Phase.NEEDS_HUMAN))
"""The state in the head of a saga of which nothing can be read: who reads heads knows the word."""

_SAID_OF_DAMAGED = "damaged in the store: `fsm-saga doctor` tells more"

_NOBODY_IS_ASKED = frozenset({Phase.COMPENSATING, Phase.NEEDS_HUMAN, Phase.FAILED})


def head_checksum(head: Head) -> int:
    """Return the checksum of a head, over all that it says.

    The fields are named here one by one: a new field of ``Head`` must not make the checksums of
    all stored heads wrong.
    """
    return facts_checksum(
        (
            head.saga_id,
            head.state,
            head.outcome,
            head.position,
            head.created_at + 0.0,  # 0 and 0.0 are one number to a database
            head.updated_at + 0.0,
            head.goal,
            head.waits_for,
            head.is_final,
        )
    )


def facts_checksum(facts: tuple[object, ...]) -> int:
    """Return ``head_checksum`` of what a head says, in the order that is used there.

    For who has taken the head apart already: each append makes one.

    Raises:
        InvariantBrokenError: If one of them is not JSON.
    """
    try:
        return crc32(dumps(facts))
    except TypeError as error:  # what orjson raises for all that it cannot write
        raise InvariantBrokenError(
            f"The head of saga {facts[0]!r} cannot be stored: {error}. Nothing was written; "
            "such a value has to be refused where it comes in, so this is a bug of fsm_saga."
        ) from error


def head_from_journal(saga_id: str, journal: Sequence[Record]) -> Head:
    """Return the head that belongs to a journal.

    Raises:
        CorruptRecordError: If the records are no journal of this saga.
    """
    first = journal[0] if journal else None
    if not isinstance(first, SagaSubmitted) or first.saga_id != saga_id:
        raise CorruptRecordError(
            f"The head of saga {saga_id!r} cannot be made from its journal: the journal does not "
            "begin with this saga. Nothing was changed; restore it from a copy of the store.",
            saga_id=saga_id,
        )
    moved = _last_move(journal)
    state = SagaState(Phase.PENDING) if moved is None else _state_of(saga_id, moved)
    return Head(
        saga_id=saga_id,
        state=str(state),
        outcome=None if moved is None else moved.outcome,
        position=len(journal),
        created_at=first.at,
        updated_at=journal[-1].at,
        goal=_goal(journal),
        is_final=state.is_final,
        waits_for=_waits_for(saga_id, journal, state.phase),
    )


def damaged_head(saga_id: str) -> Head:
    """Return what lists show of a saga of which nothing can be read."""
    return Head(
        saga_id=saga_id,
        state=DAMAGED,
        outcome=str(Outcome.UNKNOWN),
        position=0,
        created_at=0.0,
        updated_at=0.0,
        goal=_SAID_OF_DAMAGED,
        waits_for="person",
    )


def _last_move(journal: Sequence[Record]) -> SagaMoved | None:
    return next((record for record in reversed(journal) if isinstance(record, SagaMoved)), None)


def _state_of(saga_id: str, moved: SagaMoved) -> SagaState:
    try:
        return SagaState.parse(moved.state)
    except ValueError as error:
        raise CorruptRecordError(
            f"The head of saga {saga_id!r} cannot be made from its journal: no saga is ever "
            f"{moved.state!r}. Nothing was changed; restore it from a copy of the store.",
            saga_id=saga_id,
        ) from error


def _goal(journal: Sequence[Record]) -> str | None:
    plans = (r.plan for r in reversed(journal) if isinstance(r, SagaSubmitted | StepsAppended))
    goal = next(plans).get("goal")
    return goal if isinstance(goal, str) else None


def _waits_for(saga_id: str, journal: Sequence[Record], phase: Phase) -> str:
    if phase is Phase.NEEDS_HUMAN:
        return "person"
    return "approval" if _steps_in_question(saga_id, journal) else ""


def _steps_in_question(saga_id: str, journal: Sequence[Record]) -> set[int]:
    """Return the steps that wait for an approval: whatever happens to a step ends its waiting."""
    asked: set[int] = set()
    for record in journal:
        if isinstance(record, SagaMoved):
            if _state_of(saga_id, record).phase in _NOBODY_IS_ASKED:
                asked.clear()
        elif isinstance(record, ApprovalRequested):
            asked.add(record.step)
        elif not isinstance(record, ApprovalGiven | ReplyIgnored):
            asked.discard(getattr(record, "step", -1))
    return asked
