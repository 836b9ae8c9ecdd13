"""A tool's own memory: one SQLite file in which an effect and its ``req_id`` are one transaction.

It is what a careful tool does (reliability U8), and it is the judge of the kill tests: whatever
the engine believes, this file says what was done and undone, in which order, and how often each
call arrived. It knows nothing of fsm_saga.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls(
    req_id TEXT PRIMARY KEY, tool TEXT, params TEXT, answer TEXT, refusal TEXT
);
CREATE TABLE IF NOT EXISTS effects(
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    saga TEXT, step TEXT, what TEXT, req_id TEXT, undoes TEXT
);
CREATE TABLE IF NOT EXISTS arrivals(number INTEGER PRIMARY KEY AUTOINCREMENT, req_id TEXT);
"""


class RefusedError(Exception):
    """The tool refuses, now and whenever the same call arrives again."""


class Effect(NamedTuple):
    """One line of the ledger, in the order of the world; ``what`` is ``did`` or ``undid``."""

    saga: str
    step: str
    what: str
    req_id: str
    undoes: str | None


class ToolLedger:
    """The file at ``path``, opened anew for each call, as by a service that is restarted a lot."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        # SQLite does not wait its turn while a file becomes a WAL one: two threads that make the
        # file at once would have one of them refused, which is no refusal of the tool's.
        self._turn = threading.Lock()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._turn, self._connected() as connection:
            yield connection

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path, timeout=10, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # The machine does not lose power here: a killed process loses nothing that it wrote.
            connection.execute("PRAGMA synchronous = OFF")
            connection.executescript(_SCHEMA)
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        finally:
            connection.close()

    def act(
        self,
        tool: str,
        req_id: str,
        params: dict[str, Any],
        *,
        saga: str,
        step: str,
        undoes: str | None = None,
        refusal: str | None = None,
    ) -> dict[str, Any]:
        """Do it once, whatever happens; a repeated ``req_id`` gets the first answer.

        Raises:
            RefusedError: If this call is refused.
        """
        text = json.dumps(params, sort_keys=True)
        with self._transaction() as connection:
            connection.execute("INSERT INTO arrivals(req_id) VALUES (?)", (req_id,))
            known = connection.execute(
                "SELECT tool, params, answer, refusal FROM calls WHERE req_id = ?", (req_id,)
            ).fetchone()
            if known is None:
                answer = {"id": f"{tool}-{req_id[:6]}"}
                connection.execute(
                    "INSERT INTO calls VALUES (?, ?, ?, ?, ?)",
                    (req_id, tool, text, json.dumps(answer), refusal),
                )
                if refusal is None:
                    what = "did" if undoes is None else "undid"
                    connection.execute(
                        "INSERT INTO effects(saga, step, what, req_id, undoes)"
                        " VALUES (?, ?, ?, ?, ?)",
                        (saga, step, what, req_id, undoes),
                    )
                known = (tool, text, json.dumps(answer), refusal)
        if known[:2] != (tool, text):
            raise AssertionError(f"{req_id} came as {(tool, text)} and before as {known[:2]}")
        if known[3] is not None:
            raise RefusedError(known[3])
        found: dict[str, Any] = json.loads(known[2])
        return found

    def effects(self, saga: str) -> list[Effect]:
        """Return what was done for a saga, in order."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT saga, step, what, req_id, undoes FROM effects WHERE saga = ?"
                " ORDER BY number",
                (saga,),
            ).fetchall()
        return [Effect(*row) for row in rows]

    def req_ids(self) -> set[str]:
        """Return every ``req_id`` that ever arrived."""
        return set(self.arrivals())

    def arrivals(self) -> Counter[str]:
        """Return how often each ``req_id`` arrived."""
        with self._transaction() as connection:
            return Counter(row[0] for row in connection.execute("SELECT req_id FROM arrivals"))
