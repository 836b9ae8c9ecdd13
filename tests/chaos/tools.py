"""The shop's tools, as coordinators load them; from ``CHAOS_NAME`` to ``CHAOS_SHOP``."""

from __future__ import annotations

import json
import os
from http.client import HTTPConnection, HTTPException
from typing import Any

from fsm_saga import CallContext, OutcomeUnknown, tool
from fsm_saga.tools.fence import CallFencedError, CallRefusedError

ADDRESS = os.environ.get("CHAOS_SHOP", "127.0.0.1:1")
NAME = os.environ.get("CHAOS_NAME", "")
TIMEOUT_S = 1.5


def _ask(path: str, ctx: CallContext, params: dict[str, Any]) -> dict[str, Any]:
    said = {
        "from": NAME,
        "req_id": ctx.req_id,
        "undoes": ctx.undoes,
        "saga_id": ctx.saga_id,
        "step_id": ctx.step_id,
        "params": params,
    }
    connection = HTTPConnection(ADDRESS, timeout=TIMEOUT_S)
    try:
        connection.request("POST", path, json.dumps(said))
        answer = connection.getresponse()
        body: dict[str, Any] = json.loads(answer.read())
    except (OSError, HTTPException, ValueError) as error:
        raise OutcomeUnknown(f"the shop did not answer: {error!r}") from error
    finally:
        connection.close()
    if answer.status == 409:
        raise CallFencedError(body["error"])
    if answer.status != 200:
        raise CallRefusedError(body["error"])
    return body


@tool(undo="release", fenced_compensation=True)
def reserve(item: str, ctx: CallContext, is_sold_out: bool = False) -> dict[str, str]:
    """Reserve something."""
    return _ask("/do", ctx, {"item": item, "is_sold_out": is_sold_out})


@tool(fenced_compensation=True)
def release(item: str, ctx: CallContext) -> None:
    """Give it back."""
    _ask("/undo", ctx, {"item": item})
