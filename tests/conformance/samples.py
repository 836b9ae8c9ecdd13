"""Appends to test stores with: what they say does not matter, only that it comes back."""

from __future__ import annotations

from typing import Any

from fsm_saga.core.records import ActionStarted, ActionSucceeded, Record, SagaMoved, SagaSubmitted
from fsm_saga.ports import Append, Command, Head, Store

STARTED_AT = 1_760_000_000.0


def head_of(
    saga_id: str, position: int, *, state: str = "EXECUTING(1)", goal: str | None = None
) -> Head:
    """Return a head at ``position``, final if its state is."""
    return Head(
        saga_id=saga_id,
        state=state,
        outcome="committed" if state == "DONE" else None,
        position=position,
        created_at=STARTED_AT,
        updated_at=STARTED_AT + position,
        goal=goal,
        is_final=state in {"DONE", "FAILED"},
        waits_for="person" if state == "NEEDS_HUMAN" else "",
    )


def append_of(saga_id: str, position: int, *records: Record, state: str = "EXECUTING(1)") -> Append:
    """Return an append of ``records``, or of one that tells the position."""
    chosen = records or (
        SagaMoved(at=STARTED_AT, event="step_succeeded", state=state, cause=f"at {position}"),
    )
    return Append(
        saga_id=saga_id,
        position=position,
        records=chosen,
        head=head_of(saga_id, position + len(chosen), state=state),
    )


def submitted(saga_id: str, plan: dict[str, Any] | None = None) -> SagaSubmitted:
    """Return the first record of a saga."""
    return SagaSubmitted(
        at=STARTED_AT, saga_id=saga_id, plan_hash="ab12", plan=plan or {"steps": []}, tools={}
    )


def started(step: int = 0, **params: Any) -> ActionStarted:
    """Return the intent to call a step's tool."""
    return ActionStarted(at=STARTED_AT, step=step, req_id=f"req-{step}", revision=1, params=params)


def succeeded(step: int = 0, output: Any = None) -> ActionSucceeded:
    """Return the success of a step."""
    return ActionSucceeded(at=STARTED_AT, step=step, output=output)


async def store_saga(store: Store, saga_id: str, *, state: str = "EXECUTING(1)") -> None:
    """Store a saga of two appends that ends in ``state``."""
    await store.append(append_of(saga_id, 0, submitted(saga_id)))
    await store.append(append_of(saga_id, 1, started(), succeeded(), state=state))


def command_of(saga_id: str, **body: Any) -> Command:
    """Return a command to cancel a saga."""
    return Command(saga_id=saga_id, kind="cancel", body=body)
