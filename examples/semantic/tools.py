"""A party that is announced too early: a post that people have read cannot be unpublished.

The notice board is a SQLite file, named by ``BOARD_DB``. The ``req_id`` is each row's key, so a
repeated call adds nothing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel

from fsm_saga import CallContext, tool

GUESTS_MAX = 200


class RefusedError(Exception):
    """The owner of the hall says no."""


class Hold(BaseModel):
    """A hall that is kept free for us."""

    hold_id: str


class Release(BaseModel):
    """A hall that is no longer kept."""

    hold_id: str


class Post(BaseModel):
    """What everybody can read now."""

    post_id: str


class Contract(BaseModel):
    """A signed contract."""

    contract_id: str


@tool(undo="release_hall", dedupe=True, sticky_failures=True)
def hold_hall(hall: str, evening: str, ctx: CallContext) -> Hold:
    """Ask the owner to keep a hall free on an evening."""
    return Hold(hold_id=f"hold-{_write('holds', f'{hall} on {evening}', None, ctx)}")


@tool(dedupe=True, sticky_failures=True)
def release_hall(hold_id: str, ctx: CallContext) -> Release:
    """Tell the owner that the hall need not be kept."""
    _write("releases", hold_id, None, ctx)
    return Release(hold_id=hold_id)


@tool(dedupe=True, sticky_failures=True)
def publish_post(text: str, ctx: CallContext, reply_to: str | None = None) -> Post:
    """Publish a post, or a reply to one, for everybody to read."""
    return Post(post_id=f"post-{_write('posts', text, reply_to, ctx)}")


@tool(undo="withdraw_contract", dedupe=True, sticky_failures=True)
def sign_contract(hold_id: str, guests: int, ctx: CallContext) -> Contract:
    """Rent the hall that is kept for us, for so many guests."""
    if guests > GUESTS_MAX:
        raise RefusedError(f"the hall is licensed for {GUESTS_MAX} guests, not {guests}")
    return Contract(contract_id=f"contract-{_write('contracts', hold_id, None, ctx)}")


@tool(dedupe=True, sticky_failures=True)
def withdraw_contract(contract_id: str, ctx: CallContext) -> Contract:
    """Withdraw from a contract, within the days that the law gives."""
    _write("withdrawals", contract_id, None, ctx)
    return Contract(contract_id=contract_id)


def _write(page: str, text: str, reply_to: str | None, ctx: CallContext) -> int:
    with _board() as db:
        db.execute(
            "INSERT INTO notes (req_id, page, number, text, reply_to)"
            " VALUES (?, ?, (SELECT 1 + count(*) FROM notes WHERE page = ?), ?, ?)"
            " ON CONFLICT (req_id) DO NOTHING",
            (ctx.req_id, page, page, text, reply_to),
        )
        row = db.execute("SELECT number FROM notes WHERE req_id = ?", (ctx.req_id,)).fetchone()
        return int(row[0])


@contextmanager
def _board() -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(os.environ.get("BOARD_DB", "board.db"), isolation_level=None)
    try:
        db.execute("PRAGMA synchronous = EXTRA")
        db.execute("BEGIN IMMEDIATE")
        db.execute(
            "CREATE TABLE IF NOT EXISTS notes (req_id TEXT PRIMARY KEY, page TEXT,"
            " number INTEGER, text TEXT, reply_to TEXT)"
        )
        yield db
        db.execute("COMMIT")
    finally:
        db.close()  # Without COMMIT this rolls back.
