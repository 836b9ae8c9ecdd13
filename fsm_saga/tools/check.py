"""What a check tool answers when it is asked what became of a call."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class CheckAnswer(BaseModel):
    """The truth about one ``req_id``, from the tool that was called under it.

    A check tool has no params but a :class:`~fsm_saga.tools.context.CallContext`, whose
    ``undoes`` is the ``req_id`` in question. It may return a dictionary of the same form.

    Attributes:
        status: ``done``: the effect exists. ``absent``: it does not; whether a late copy of the
            call is refused from now on is what ``check_fences`` declares. ``refused``: the call
            arrived and was refused for good.
        output: With ``done``, what the call returned or would have returned.

    Example:
        >>> CheckAnswer(status="done", output={"order_id": "FL-1"}).model_dump()
        {'status': 'done', 'output': {'order_id': 'FL-1'}}
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Literal["done", "absent", "refused"]
    output: Any = None
