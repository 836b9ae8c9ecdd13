"""What the agency has written down, and whether the sagas tell the same."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from examples.cluster.tools import SCHEMA
from fsm_saga.ports import Head

KINDS = ("flight", "hotel", "car")


class Ledger:
    """The ledger, as its owner reads it."""

    def __init__(self, path: Path) -> None:
        """Make it, before anybody books."""
        self.path = path
        with self._open() as db:
            db.executescript(SCHEMA)

    def bookings(self) -> Mapping[str, tuple[str, ...]]:
        """Return what is booked now, by trip."""
        found: dict[str, tuple[str, ...]] = defaultdict(tuple)
        with self._open() as db:
            rows = db.execute("SELECT trip, kind FROM bookings WHERE state = 'booked'")
            for trip, kind in rows.fetchall():
                found[trip] += (kind,)
        return found

    def count(self) -> int:
        """Return how many bookings were ever made."""
        with self._open() as db:
            return int(db.execute("SELECT count(*) FROM bookings").fetchone()[0])

    def made_again(self) -> int:
        """Return how many calls were made by one process and again by another."""
        query = "SELECT 1 FROM calls GROUP BY req_id HAVING count(DISTINCT pid) > 1"
        with self._open() as db:
            return len(db.execute(query).fetchall())

    def differences(self, heads: Mapping[str, Head], trips: Mapping[str, bool]) -> list[str]:
        """Return everything that is not as it has to be, in words.

        Args:
            heads: What the store says of each saga.
            trips: For each trip that was asked for, whether it can be booked as a whole.
        """
        booked, wrong = self.bookings(), []
        for trip, is_possible in trips.items():
            head = heads.get(trip)
            state = "missing" if head is None else head.state
            if state != ("DONE" if is_possible else "FAILED"):
                wrong.append(f"{trip} is {state}")
            wanted = sorted(KINDS) if state == "DONE" else []
            if sorted(booked.get(trip, ())) != wanted:
                wrong.append(f"{trip} is {state} and has booked: {', '.join(booked[trip]) or '-'}")
        wrong += [f"{trip} was asked for by nobody" for trip in sorted(booked.keys() - trips)]
        return wrong

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, isolation_level=None, timeout=30.0)) as db:
            yield db
