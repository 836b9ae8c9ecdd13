"""A travel agency's tools, for coordinators that may die while one of them is called.

What was booked stands in a ledger of the agency's own, an SQLite file that ``CLUSTER_LEDGER``
names. A fence in the same file lets each booking happen once, however often and by whomever it is
asked for.
"""

from __future__ import annotations

import os
import sqlite3
import time

from fsm_saga import CallContext, tool
from fsm_saga.tools.fence import CallRefusedError, Fence

WORK_S = 0.5
"""How long the agency takes for anything, so that there is time to be killed in."""
BUSY_S = 30.0
NO_CARS = "Venice"
SCHEMA = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS bookings (
        number INTEGER PRIMARY KEY, trip TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS calls (req_id TEXT NOT NULL, pid INTEGER NOT NULL);
"""


def connect() -> sqlite3.Connection:
    """Open the ledger; each call has a connection of its own."""
    path = os.environ.get("CLUSTER_LEDGER", "cluster-ledger.db")
    db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_S)
    db.executescript(SCHEMA)
    return db


fence = Fence(connect)


def _work(ctx: CallContext) -> None:
    """Note that somebody asks, then take the agency's time."""
    db = connect()
    try:
        db.execute("INSERT INTO calls VALUES (?, ?)", (ctx.req_id, os.getpid()))
    finally:
        db.close()
    time.sleep(WORK_S)


@tool(undo="cancel", contract=fence.contract())
def book(kind: str, city: str, ctx: CallContext) -> dict[str, int]:
    """Book a flight, a hotel or a car."""
    _work(ctx)
    with fence.do(ctx, {"kind": kind, "city": city}) as call:
        if call.is_first:
            if kind == "car" and city == NO_CARS:
                raise CallRefusedError(f"there are no cars in {NO_CARS}")
            row = call.db.execute(
                "INSERT INTO bookings (trip, kind, state) VALUES (?, ?, 'booked')",
                (ctx.saga_id, kind),
            )
            call.answer = {"number": row.lastrowid}
    answer: dict[str, int] = call.answer
    return answer


@tool(contract=fence.undo_contract())
def cancel(ctx: CallContext) -> None:
    """Cancel a booking; the fence knows its number."""
    _work(ctx)
    with fence.undo(ctx) as call:
        if call.is_first:
            number = call.action_answer["number"]
            call.db.execute("UPDATE bookings SET state = 'cancelled' WHERE number = ?", (number,))
