"""What the travel agency sells, and how an order takes it and gives it back.

Every function works inside a transaction that its caller opened and ends; see ``ledger.py``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

NIGHTS_MAX = 30
TEXT_CHARS_MAX = 200

SCHEMA = """
CREATE TABLE accounts (name TEXT PRIMARY KEY, balance_cents INTEGER CHECK (balance_cents >= 0));
CREATE TABLE stock (
    kind TEXT, code TEXT, day TEXT, free INTEGER CHECK (free >= 0), price_cents INTEGER,
    PRIMARY KEY (kind, code, day));
CREATE TABLE orders (
    number INTEGER PRIMARY KEY AUTOINCREMENT, req_id TEXT UNIQUE, kind TEXT, code TEXT,
    first_day TEXT, last_day TEXT, traveller TEXT, price_cents INTEGER, state TEXT)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One thing the agency sells: where its money goes and what an order of it is called."""

    unit: str
    supplier: str
    order_prefix: str
    fields: tuple[str, ...]


TRADES: Mapping[str, Trade] = {
    "flights": Trade(
        unit="seat",
        supplier="airline",
        order_prefix="FL",
        fields=("flight", "date", "traveller"),
    ),
    "hotels": Trade(
        unit="room",
        supplier="hotel",
        order_prefix="HT",
        fields=("hotel", "check_in", "check_out", "traveller"),
    ),
    "transfers": Trade(
        unit="car",
        supplier="car service",
        order_prefix="TR",
        fields=("pickup_at", "drop_off", "traveller"),
    ),
}
LANDS_AT = {"CA1234": "11:45", "MU5102": "15:20"}
HOTEL = "和平饭店"
ADDRESSES = {HOTEL: "上海市黄浦区南京东路20号"}
CAR_FLEET = "airport car"
FIRST_DAY = date(2026, 2, 1)
DAYS_ON_SALE = 7
OPENING_BALANCES_CENTS = {"Li Na": 800_000, "Poor Poet": 5_000, "王小明": 800_000}


class RefusedError(Exception):
    """The agency says no, for good; nothing was changed."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A booking as asked for, checked: one code on each day, for one traveller."""

    kind: str
    code: str
    first: date
    last: date
    traveller: str


def write_opening_stock(db: sqlite3.Connection, *, hotel_rooms: int) -> None:
    """Fill new books: accounts, and a week of seats, rooms and cars."""
    for statement in SCHEMA.split(";"):
        db.execute(statement)
    suppliers = {trade.supplier: 0 for trade in TRADES.values()}
    for account in (OPENING_BALANCES_CENTS | suppliers).items():
        db.execute("INSERT INTO accounts VALUES (?, ?)", account)
    for offset in range(DAYS_ON_SALE):
        day = (FIRST_DAY + timedelta(days=offset)).isoformat()
        for row in (
            ("flights", "CA1234", day, 3, 128_000),
            ("flights", "MU5102", day, 1, 99_000),
            ("hotels", HOTEL, day, hotel_rooms, 145_000),
            ("transfers", CAR_FLEET, day, 2, 18_000),
        ):
            db.execute("INSERT INTO stock VALUES (?, ?, ?, ?, ?)", row)


def order_id_of(kind: str, number: int) -> str:
    """Return the name that people see, such as ``FL-1001``."""
    return f"{TRADES[kind].order_prefix}-{1000 + number}"


def parse_wish(kind: str, params: Mapping[str, Any]) -> Wish:
    """Return the booking that ``params`` ask for.

    Raises:
        RefusedError: If a field is missing, unknown or not what it should be (400).
    """
    text = checked_texts(params, required=TRADES[kind].fields)
    if kind == "flights":
        code, first = text["flight"], _parse_day("date", text["date"])
        last = first
    elif kind == "hotels":
        code, first = text["hotel"], _parse_day("check_in", text["check_in"])
        last = _parse_day("check_out", text["check_out"]) - timedelta(days=1)
        if not 0 <= (last - first).days < NIGHTS_MAX:
            raise RefusedError(400, f"check_out must be 1 to {NIGHTS_MAX} days after check_in")
    else:
        code, first = CAR_FLEET, _parse_day("pickup_at", text["pickup_at"].partition("T")[0])
        last = first
    return Wish(kind=kind, code=code, first=first, last=last, traveller=text["traveller"])


def book(db: sqlite3.Connection, wish: Wish, *, req_id: str) -> dict[str, Any]:
    """Take one unit on each day, move the money, and return the order.

    Raises:
        RefusedError: If there is no such thing (404), none is free (409), or the traveller
            cannot pay (402). What was taken until then is for the caller to roll back.
    """
    price_cents = _take_stock(db, wish)
    _pay(db, wish.traveller, TRADES[wish.kind].supplier, price_cents)
    inserted = db.execute(
        "INSERT INTO orders (req_id, kind, code, first_day, last_day, traveller, price_cents,"
        " state) VALUES (?, ?, ?, ?, ?, ?, ?, 'booked')",
        (
            req_id,
            wish.kind,
            wish.code,
            wish.first.isoformat(),
            wish.last.isoformat(),
            wish.traveller,
            price_cents,
        ),
    )
    order: dict[str, Any] = {
        "order_id": order_id_of(wish.kind, inserted.lastrowid or 0),
        "price_cents": price_cents,
    }
    if wish.kind == "flights":
        order["lands_at"] = f"{wish.first}T{LANDS_AT[wish.code]}"
    elif wish.kind == "hotels":
        order["address"] = ADDRESSES[wish.code]
    return order


def cancel(db: sqlite3.Connection, kind: str, order_number: int) -> dict[str, Any]:
    """Give back what a booked order took, once; a cancelled order stays as it is."""
    code, first, last, traveller, price_cents, state = db.execute(
        "SELECT code, first_day, last_day, traveller, price_cents, state FROM orders"
        " WHERE number = ?",
        (order_number,),
    ).fetchone()
    refunded_cents = 0
    if state == "booked":
        db.execute(
            "UPDATE stock SET free = free + 1 WHERE kind = ? AND code = ? AND day BETWEEN ? AND ?",
            (kind, code, first, last),
        )
        _pay(db, TRADES[kind].supplier, traveller, price_cents)
        db.execute("UPDATE orders SET state = 'cancelled' WHERE number = ?", (order_number,))
        refunded_cents = price_cents
    return {"order_id": order_id_of(kind, order_number), "refunded_cents": refunded_cents}


def checked_texts(
    params: Mapping[str, Any], *, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()
) -> dict[str, str]:
    """Return ``params`` if they have the right names and short texts as values.

    Raises:
        RefusedError: If a name is missing or unknown, or a value is not a short text (400).
    """
    unknown = sorted(set(params) - set(required) - set(optional))
    missing = sorted(set(required) - set(params))
    if unknown or missing:
        raise RefusedError(400, f"missing fields {missing}, unknown fields {unknown}")
    for name, value in params.items():
        if not isinstance(value, str) or not 0 < len(value) <= TEXT_CHARS_MAX:
            raise RefusedError(400, f"{name!r} must be a text of 1 to {TEXT_CHARS_MAX} characters")
    return dict(params)


def _take_stock(db: sqlite3.Connection, wish: Wish) -> int:
    trade = TRADES[wish.kind]
    price_sum_cents = 0
    day = wish.first
    while day <= wish.last:
        key = (wish.kind, wish.code, day.isoformat())
        row = db.execute(
            "SELECT free, price_cents FROM stock WHERE kind = ? AND code = ? AND day = ?", key
        ).fetchone()
        if row is None:
            raise RefusedError(404, f"{wish.code} is not on sale on {day}")
        free, price_cents = row
        if free == 0:
            raise RefusedError(409, f"no {trade.unit} free: {wish.code} on {day}")
        db.execute("UPDATE stock SET free = free - 1 WHERE kind = ? AND code = ? AND day = ?", key)
        price_sum_cents += price_cents
        day += timedelta(days=1)
    return price_sum_cents


def _pay(db: sqlite3.Connection, payer: str, payee: str, amount_cents: int) -> None:
    row = db.execute("SELECT balance_cents FROM accounts WHERE name = ?", (payer,)).fetchone()
    if row is None:
        raise RefusedError(404, f"no account of {payer!r}")
    if row[0] < amount_cents:
        raise RefusedError(402, f"{payer!r} has {row[0]} cents and needs {amount_cents}")
    for name, change_cents in ((payer, -amount_cents), (payee, amount_cents)):
        db.execute(
            "UPDATE accounts SET balance_cents = balance_cents + ? WHERE name = ?",
            (change_cents, name),
        )


def _parse_day(name: str, text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise RefusedError(400, f"{name} {text!r} is not a day like 2026-02-01") from None
    if day.isoformat() != text:
        raise RefusedError(400, f"{name} {text!r} is not a day like 2026-02-01")
    return day
