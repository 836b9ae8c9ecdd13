"""Hiring for a street festival: the smallest tool that can be repeated, undone and fenced.

One table is enough, because the ``req_id`` is its key. A repeated request finds its own row. An
undo turns the row to ``dismissed``, or writes it so before the request has come; a request that
finds such a row is refused. ``FESTIVAL_DB`` names the SQLite file.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel

from fsm_saga import CallContext, tool

# The cook refuses while the speakers are still being rented: the saga waits for them, then undoes.
SECONDS_TO_ANSWER = {"band": 0.2, "speakers": 0.5, "cook": 0.3}
NOT_FOR_HIRE = {"cook": "every cook is at the wedding on 20 June"}


class RefusedError(Exception):
    """There is none to hire, or the request was undone before it came."""


class Hire(BaseModel):
    """What was hired."""

    order_id: str


class Printed(BaseModel):
    """What was printed."""

    print_id: str


class Dismissal(BaseModel):
    """What was given back; None where the request had never come."""

    order_id: str | None


@tool(undo="dismiss", dedupe=True, sticky_failures=True, fenced_compensation=True)
def hire(what: str, day: str, ctx: CallContext) -> Hire:
    """Hire something or somebody for a day."""
    time.sleep(SECONDS_TO_ANSWER.get(what, 0.0))
    if what in NOT_FOR_HIRE:
        raise RefusedError(f"no {what} on {day}: {NOT_FOR_HIRE[what]}")
    return Hire(order_id=_engage(what, ctx))


@tool(dedupe=True, sticky_failures=True)
def dismiss(order_id: str, ctx: CallContext) -> Dismissal:
    """Give back what was hired."""
    return Dismissal(order_id=_dismiss(order_id, ctx))


@tool(undo="pulp_programme", dedupe=True, sticky_failures=True, fenced_compensation=True)
def print_programme(music: str, food: str, ctx: CallContext) -> Printed:
    """Print the programme, which names the orders for music and for food."""
    return Printed(print_id=_engage(f"programme of {music} and {food}", ctx))


@tool(dedupe=True, sticky_failures=True)
def pulp_programme(print_id: str, ctx: CallContext) -> Dismissal:
    """Throw the printed programme away."""
    return Dismissal(order_id=_dismiss(print_id, ctx))


def _engage(what: str, ctx: CallContext) -> str:
    with _books() as db:
        db.execute(
            "INSERT INTO engagements (req_id, what, state) VALUES (?, ?, 'engaged')"
            " ON CONFLICT (req_id) DO NOTHING",
            (ctx.req_id, what),
        )
        number, state = db.execute(
            "SELECT number, state FROM engagements WHERE req_id = ?", (ctx.req_id,)
        ).fetchone()
    if state == "dismissed":
        raise RefusedError(f"the request for {what} was undone")
    return f"order-{number}"


def _dismiss(order_id: str, ctx: CallContext) -> str | None:
    with _books() as db:
        (ended,) = db.execute("SELECT count(*) FROM engagements WHERE ended IS NOT NULL").fetchone()
        db.execute(
            "INSERT INTO engagements (req_id, state, ended) VALUES (?, 'dismissed', ?)"
            " ON CONFLICT (req_id) DO UPDATE"
            " SET state = 'dismissed', ended = coalesce(ended, excluded.ended)",
            (ctx.undoes, ended + 1),
        )
        (what,) = db.execute(
            "SELECT what FROM engagements WHERE req_id = ?", (ctx.undoes,)
        ).fetchone()
    return None if what is None else order_id


@contextmanager
def _books() -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(os.environ.get("FESTIVAL_DB", "festival.db"), isolation_level=None)
    try:
        db.execute("PRAGMA synchronous = EXTRA")
        db.execute("BEGIN IMMEDIATE")
        db.execute(
            "CREATE TABLE IF NOT EXISTS engagements (number INTEGER PRIMARY KEY AUTOINCREMENT,"
            " req_id TEXT UNIQUE NOT NULL, what TEXT, state TEXT, ended INTEGER)"
        )
        yield db
        db.execute("COMMIT")
    finally:
        db.close()  # Without COMMIT this rolls back.
