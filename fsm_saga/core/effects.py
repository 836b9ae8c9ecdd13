"""What must be done: the outputs of ``decide``, carried out only once the records are durable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from fsm_saga.core.states import Direction


class CallTool(Struct, frozen=True, kw_only=True):
    """Send this call. Its intent is in the same decision's records, durable before it goes out.

    Attributes:
        undoes: The req_id of the action that this call undoes or asks about, or None.
        not_after: The time after which the tool itself refuses the call, or None.
        call: Index in a compensation of several calls.
        is_repeat: The same call may have been sent before, so that a local refusal of this one
            says nothing of it.
        send_before: The time from which it is not sent any more, or None: its tool may have
            forgotten the req_id by then, and would take a copy for a new call.
    """

    step: int
    direction: Direction
    tool: str
    params: Mapping[str, Any]
    req_id: str
    attempt: int
    timeout_s: float
    undoes: str | None = None
    not_after: float | None = None
    call: int = 0
    is_repeat: bool = False
    send_before: float | None = None

    @property
    def shown_direction(self) -> Direction:
        """What the call is to its tool: a step that takes back another saga's effect undoes."""
        if self.direction is Direction.DO and self.undoes is not None:
            return Direction.UNDO
        return self.direction


class WakeAt(Struct, frozen=True, kw_only=True):
    """Feed ``TimePassed`` to the saga once the clock shows ``at``; earlier or twice is harmless.

    Attributes:
        wait_s_max: The longest wait that this can be of: after so many seconds, or as many as were
            left when it was ordered, it is over whatever the clock shows, which may have been set
            back. None for the time of somebody else's clock, which ours alone can tell.
    """

    at: float
    wait_s_max: float | None = None


Effect = CallTool | WakeAt
