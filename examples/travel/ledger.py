"""The travel agency's memory: each call is written in the transaction that carries it out.

So a call is either done and remembered, or neither. From that one row follow the promises that
a coordinator may rely on:

- A repeated ``req_id`` gets the first answer and has no second effect. A refusal is an answer
  too, and stays one.
- The same ``req_id`` with other parameters is refused (422).
- Undoing a ``req_id`` that never arrived leaves a tombstone: should the call arrive later, it is
  refused (410). A late copy of a booking that was undone is refused in the same way, for ever.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from examples.travel import bookings
from examples.travel.bookings import RefusedError

FORMAT_VERSION = 1
BUSY_TIMEOUT_S = 1.0

SCHEMA = """
CREATE TABLE calls (
    position INTEGER PRIMARY KEY AUTOINCREMENT, req_id TEXT UNIQUE, path TEXT, params TEXT,
    fingerprint TEXT, status INTEGER, reply TEXT, arrivals INTEGER)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a caller gets: an HTTP status and a JSON body; ``replayed`` if it is an old one."""

    status: int
    body: Mapping[str, Any]
    replayed: bool = False


class Ledger:
    """The books of one agency. Safe to share between threads."""

    def __init__(self, path: str, *, hotel_rooms: int) -> None:
        """Open the books at ``path``; new books start with ``hotel_rooms`` free every night.

        Raises:
            ValueError: If the file was written by another version of this service.
        """
        self._lock = threading.Lock()
        self._db = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_S
        )
        # Rollback journal with EXTRA: an answer that was given survives a loss of power.
        self._db.execute("PRAGMA journal_mode = DELETE")
        self._db.execute("PRAGMA synchronous = EXTRA")
        with self._transaction() as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                db.execute(SCHEMA)
                bookings.write_opening_stock(db, hotel_rooms=hotel_rooms)
                db.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
            elif version != FORMAT_VERSION:
                raise ValueError(
                    f"{path!r} has format {version}; this service reads {FORMAT_VERSION}."
                )

    def close(self) -> None:
        """Close the file; a call that is running ends first."""
        with self._lock:
            self._db.close()

    def perform(self, path: str, *, req_id: str, params: Mapping[str, Any]) -> Answer:
        """Carry out the call ``/<kind>/book`` or ``/<kind>/cancel``, or repeat its first answer.

        Raises:
            sqlite3.Error: The books could not be written; nothing was changed or remembered.
        """
        with self._transaction() as db:
            answer = _remembered_answer(db, path, req_id=req_id, params=params)
            if answer is None:
                answer = _carry_out(db, path, req_id=req_id, params=params)
                _remember(db, path, req_id=req_id, params=params, answer=answer)
            return answer

    def snapshot(self) -> dict[str, Any]:
        """Return balances, what is free on each day, and every order, all of one moment."""
        with self._transaction() as db:
            accounts = dict(db.execute("SELECT name, balance_cents FROM accounts ORDER BY name"))
            free: dict[str, dict[str, int]] = {kind: {} for kind in bookings.TRADES}
            for kind, code, day, count in db.execute(
                "SELECT kind, code, day, free FROM stock ORDER BY kind, code, day"
            ):
                free[kind][f"{code} {day}"] = count
            orders = db.execute(
                "SELECT number, kind, traveller, price_cents, state FROM orders ORDER BY number"
            ).fetchall()
        return {
            "accounts_cents": accounts,
            "free": free,
            "orders": [
                {
                    "order_id": bookings.order_id_of(kind, number),
                    "traveller": traveller,
                    "price_cents": price_cents,
                    "state": state,
                }
                for number, kind, traveller, price_cents, state in orders
            ],
        }

    def calls(self) -> list[dict[str, Any]]:
        """Return every remembered call, oldest first; ``arrivals`` counts its copies."""
        with self._transaction() as db:
            rows = db.execute(
                "SELECT req_id, path, params, status, reply, arrivals, fingerprint IS NULL"
                " FROM calls ORDER BY position"
            ).fetchall()
        return [
            {
                "req_id": req_id,
                "path": path,
                "params": json.loads(params),
                "status": status,
                "reply": json.loads(reply),
                "arrivals": arrivals,
                "tombstone": bool(tombstone),
            }
            for req_id, path, params, status, reply, arrivals, tombstone in rows
        ]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")


def _fingerprint(path: str, params: Mapping[str, Any]) -> str:
    text = json.dumps([path, params], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _remembered_answer(
    db: sqlite3.Connection, path: str, *, req_id: str, params: Mapping[str, Any]
) -> Answer | None:
    seen = db.execute(
        "SELECT fingerprint, status, reply FROM calls WHERE req_id = ?", (req_id,)
    ).fetchone()
    if seen is None:
        return None
    db.execute("UPDATE calls SET arrivals = arrivals + 1 WHERE req_id = ?", (req_id,))
    fingerprint, status, reply = seen
    # A tombstone has no fingerprint: it was left before the parameters were known.
    if fingerprint is not None and fingerprint != _fingerprint(path, params):
        message = f"req_id {req_id!r} was used for a call with other parameters"
        return Answer(status=422, body={"error": message})
    undone = db.execute(
        "SELECT kind, number FROM orders WHERE req_id = ? AND state = 'cancelled'", (req_id,)
    ).fetchone()
    if undone is not None:
        order_id = bookings.order_id_of(*undone)
        body = {"error": f"order {order_id} was cancelled", "order_id": order_id}
        return Answer(status=410, body=body)
    return Answer(status=status, body=json.loads(reply), replayed=True)


def _carry_out(
    db: sqlite3.Connection, path: str, *, req_id: str, params: Mapping[str, Any]
) -> Answer:
    _, kind, verb = path.split("/")
    # A refusal is remembered by the same transaction, so only the attempted effect goes back.
    db.execute("SAVEPOINT effect")
    try:
        if verb == "book":
            body = bookings.book(db, bookings.parse_wish(kind, params), req_id=req_id)
        else:
            body = _cancel(db, kind, params)
    except RefusedError as refusal:
        db.execute("ROLLBACK TO effect")
        return Answer(status=refusal.status, body={"error": str(refusal)})
    return Answer(status=200, body=body)


def _remember(
    db: sqlite3.Connection, path: str, *, req_id: str, params: Mapping[str, Any], answer: Answer
) -> None:
    db.execute(
        "INSERT INTO calls (req_id, path, params, fingerprint, status, reply, arrivals)"
        " VALUES (?, ?, ?, ?, ?, ?, 1)",
        (
            req_id,
            path,
            json.dumps(params, ensure_ascii=False),
            _fingerprint(path, params),
            answer.status,
            json.dumps(answer.body, ensure_ascii=False),
        ),
    )


def _cancel(db: sqlite3.Connection, kind: str, params: Mapping[str, Any]) -> dict[str, Any]:
    named = bookings.checked_texts(params, optional=("order_id", "undoes"))
    if "undoes" in named:
        return _cancel_request(db, kind, named["undoes"], order_id=named.get("order_id"))
    if "order_id" not in named:
        raise RefusedError(400, "name the order_id to cancel, or the req_id that it undoes")
    for (number,) in db.execute("SELECT number FROM orders WHERE kind = ?", (kind,)):
        if bookings.order_id_of(kind, number) == named["order_id"]:
            return bookings.cancel(db, kind, number)
    raise RefusedError(404, f"no order {named['order_id']!r} among the {kind}")


def _cancel_request(
    db: sqlite3.Connection, kind: str, undoes: str, *, order_id: str | None
) -> dict[str, Any]:
    book_path = f"/{kind}/book"
    seen = db.execute("SELECT path FROM calls WHERE req_id = ?", (undoes,)).fetchone()
    if seen is None:
        if order_id is not None:
            raise RefusedError(409, f"order {order_id!r} was not made by req_id {undoes!r}")
        _leave_tombstone(db, book_path, undoes)
        return {"order_id": None, "refunded_cents": 0}
    if seen[0] != book_path:
        raise RefusedError(409, f"req_id {undoes!r} was a call of {seen[0]}, not {book_path}")
    order = db.execute("SELECT number FROM orders WHERE req_id = ?", (undoes,)).fetchone()
    made = None if order is None else bookings.order_id_of(kind, order[0])
    if order_id is not None and order_id != made:
        raise RefusedError(409, f"order {order_id!r} was not made by req_id {undoes!r}")
    if order is None:  # It was refused, or has a tombstone: either way there is nothing to undo.
        return {"order_id": None, "refunded_cents": 0}
    return bookings.cancel(db, kind, order[0])


def _leave_tombstone(db: sqlite3.Connection, book_path: str, req_id: str) -> None:
    reply = {"error": f"req_id {req_id!r} was cancelled before it arrived"}
    db.execute(
        "INSERT INTO calls (req_id, path, params, fingerprint, status, reply, arrivals)"
        " VALUES (?, ?, '{}', NULL, 410, ?, 0)",
        (req_id, book_path, json.dumps(reply, ensure_ascii=False)),
    )
