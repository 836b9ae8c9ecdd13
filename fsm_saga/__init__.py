"""Undo for agents: a plan becomes a state machine that ends done, undone, or with a person asked.

    from fsm_saga import Engine, Plan, tool

    @tool(undo="cancel_flight")
    async def book_flight(flight: str, date: str) -> Booking: ...

    async with Engine.open("sqlite:///trips.db", tools=[book_flight, cancel_flight]) as engine:
        saga = await engine.run(Plan.read(text))

Only public names are here. Each is imported when it is first asked for, so that a program pays
for what it uses and the command line starts at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsm_saga.errors import (
        CommandError,
        ConflictError,
        CorruptRecordError,
        DrawingError,
        EventRefusedError,
        FencedError,
        FsmSagaError,
        OutcomeUnknown,
        PlanError,
        Problem,
        SagaExistsError,
        SagaFailedError,
        StoreError,
        StoreLockedError,
        StoreUnavailableError,
        StoreVersionError,
        ToolsError,
        UnknownSagaError,
    )
    from fsm_saga.plan.model import Plan
    from fsm_saga.service.engine import Engine
    from fsm_saga.service.view import SagaView, StepView
    from fsm_saga.tools.check import CheckAnswer
    from fsm_saga.tools.context import CallContext
    from fsm_saga.tools.python import Tool, tool

__version__ = "0.1.0"

__all__ = [
    "CallContext",
    "CheckAnswer",
    "CommandError",
    "ConflictError",
    "CorruptRecordError",
    "DrawingError",
    "Engine",
    "EventRefusedError",
    "FencedError",
    "FsmSagaError",
    "OutcomeUnknown",
    "Plan",
    "PlanError",
    "Problem",
    "SagaExistsError",
    "SagaFailedError",
    "SagaView",
    "StepView",
    "StoreError",
    "StoreLockedError",
    "StoreUnavailableError",
    "StoreVersionError",
    "Tool",
    "ToolsError",
    "UnknownSagaError",
    "__version__",
    "tool",
]

_ELSEWHERE = {
    "CallContext": "fsm_saga.tools.context",
    "CheckAnswer": "fsm_saga.tools.check",
    "Engine": "fsm_saga.service.engine",
    "Plan": "fsm_saga.plan.model",
    "SagaView": "fsm_saga.service.view",
    "StepView": "fsm_saga.service.view",
    "Tool": "fsm_saga.tools.python",
    "tool": "fsm_saga.tools.python",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_ELSEWHERE.get(name, "fsm_saga.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
