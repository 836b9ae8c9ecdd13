"""A purchase with a point of no return: goods can be released, money that was paid cannot.

Everything that happens is one row, and the ``req_id`` is its key, so a repeated call changes
nothing. ``SHOP_DB`` names the SQLite file.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel

from fsm_saga import CallContext, tool

PRICES_CENTS = {"desk": 24_900, "chair": 8_900}


class RefusedError(Exception):
    """The shop does not sell this, and never will."""


class Reservation(BaseModel):
    """Goods that are put aside."""

    reservation_id: str
    price_cents: int


class Release(BaseModel):
    """Goods that are for sale again."""

    reservation_id: str


class Payment(BaseModel):
    """Money that has left the house."""

    payment_id: str


class Message(BaseModel):
    """A message that was sent."""

    message_id: str


@tool(undo="release_goods", dedupe=True, sticky_failures=True)
def reserve_goods(item: str, count: int, ctx: CallContext) -> Reservation:
    """Put goods aside and say what they cost."""
    if item not in PRICES_CENTS or count < 1:
        raise RefusedError(f"the shop does not sell {count} of {item!r}")
    price_cents = PRICES_CENTS[item] * count
    number = _note("reserved", f"{count} x {item}", price_cents, ctx)
    return Reservation(reservation_id=f"reservation-{number}", price_cents=price_cents)


@tool(dedupe=True, sticky_failures=True)
def release_goods(reservation_id: str, ctx: CallContext) -> Release:
    """Put reserved goods back on sale."""
    _note("released", reservation_id, 0, ctx)
    return Release(reservation_id=reservation_id)


@tool(dedupe=True, sticky_failures=True)
def pay_supplier(supplier: str, amount_cents: int, ctx: CallContext) -> Payment:
    """Pay. There is no way to get the money back."""
    return Payment(payment_id=f"payment-{_note('paid', supplier, amount_cents, ctx)}")


@tool(dedupe=True, sticky_failures=True)
def send_message(to: str, about: str, ctx: CallContext) -> Message:
    """Send a message; the mail server of this example is busy at the first attempt."""
    if ctx.attempt == 1:
        raise ConnectionError("the mail server is busy")
    return Message(message_id=f"message-{_note('told', f'{to} about {about}', 0, ctx)}")


def _note(deed: str, what: str, amount_cents: int, ctx: CallContext) -> int:
    with _books() as db:
        db.execute(
            "INSERT INTO deeds (req_id, deed, what, amount_cents) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (req_id) DO NOTHING",
            (ctx.req_id, deed, what, amount_cents),
        )
        row = db.execute("SELECT number FROM deeds WHERE req_id = ?", (ctx.req_id,)).fetchone()
        return int(row[0])


@contextmanager
def _books() -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(os.environ.get("SHOP_DB", "shop.db"), isolation_level=None)
    try:
        db.execute("PRAGMA synchronous = EXTRA")
        db.execute("BEGIN IMMEDIATE")
        db.execute(
            "CREATE TABLE IF NOT EXISTS deeds (number INTEGER PRIMARY KEY AUTOINCREMENT,"
            " req_id TEXT UNIQUE NOT NULL, deed TEXT, what TEXT, amount_cents INTEGER)"
        )
        yield db
        db.execute("COMMIT")
    finally:
        db.close()  # Without COMMIT this rolls back.
