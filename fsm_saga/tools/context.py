"""What a tool may know of the call that it is answering."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

TRACEPARENT: ContextVar[str | None] = ContextVar("traceparent", default=None)
"""The trace that the call under way belongs to; set by whoever traces, around the runner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallContext:
    """Who calls, for which step, and under which id; given to a parameter of this type.

    It is not part of the plan's params: the planner can neither set nor see it.

    Attributes:
        req_id: The id of this call, the same on every retry, after every crash and under every
            coordinator. A tool that remembers it has no second effect.
        saga_id: The saga that calls.
        step_id: The step's name as the planner wrote it, a number or a text.
        direction: ``do``, ``undo`` or ``check``.
        attempt: Counts the sends of this ``req_id``, from 1.
        undoes: The ``req_id`` of the action that this call undoes or asks about, or None.
        not_after: Seconds since 1970 after which the tool has to refuse the call, or None.
        traceparent: The trace that the call belongs to, as the W3C header of that name, or None. To
            be handed on with what the tool sends.
    """

    req_id: str
    saga_id: str
    step_id: int | str
    direction: str
    attempt: int
    undoes: str | None = None
    not_after: float | None = None
    traceparent: str | None = None
