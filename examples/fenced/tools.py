"""A tea shop that keeps its word: a fence in its own database does the remembering.

``order`` declares everything that a tool can declare, and `fsm-saga certify` tries it all.
``FENCED_DB`` names the SQLite file.
"""

from __future__ import annotations

import os
import sqlite3

from fsm_saga import CallContext, CheckAnswer, tool
from fsm_saga.tools.fence import CallRefusedError, Fence

COUNT_MAX = 100
SCHEMA = "CREATE TABLE IF NOT EXISTS orders (number INTEGER PRIMARY KEY, item TEXT, count INTEGER)"


def connect() -> sqlite3.Connection:
    """Open the shop's database; each call has a connection of its own."""
    db = sqlite3.connect(os.environ.get("FENCED_DB", "fenced.db"), isolation_level=None)
    db.execute(SCHEMA)
    return db


fence = Fence(connect, retention_s=90 * 86_400)


@tool(undo="cancel_order", contract=fence.contract(check="order_status", deadline=True))
def order(item: str, count: int, ctx: CallContext) -> dict[str, int]:
    """Order some of an item."""
    with fence.do(ctx, {"item": item, "count": count}) as call:
        if call.is_first:
            if count > COUNT_MAX:
                raise CallRefusedError(f"there are never more than {COUNT_MAX} of anything")
            row = call.db.execute("INSERT INTO orders (item, count) VALUES (?, ?)", (item, count))
            call.answer = {"number": row.lastrowid}
    answer: dict[str, int] = call.answer
    return answer


@tool(contract=fence.undo_contract())
def cancel_order(ctx: CallContext) -> dict[str, bool]:
    """Cancel an order. The fence knows which: nobody has to say its number."""
    with fence.undo(ctx, nothing={"was_there": False}) as call:
        if call.is_first:
            call.db.execute("DELETE FROM orders WHERE number = ?", (call.action_answer["number"],))
            call.answer = {"was_there": True}
    answer: dict[str, bool] = call.answer
    return answer


@tool(read_only=True)
def order_status(ctx: CallContext) -> CheckAnswer:
    """Tell what became of an order."""
    return fence.status(ctx)


@tool(read_only=True)
def orders() -> int:
    """Count the orders there are: a probe for `fsm-saga certify`."""
    db = connect()
    try:
        count: int = db.execute("SELECT count(*) FROM orders").fetchone()[0]
        return count
    finally:
        db.close()
