"""The fence table: its columns, its statements, and what each state of a row means.

The same statements run on every backend: named parameters, ``ON CONFLICT`` and plain types are
what SQLite and PostgreSQL share.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from fsm_saga.errors import ToolsError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}(?:\.[A-Za-z_][A-Za-z0-9_]{0,62})?")


class FenceState(enum.StrEnum):
    """What a row says of the call with its ``req_id``.

    DOING is seen by others only where a tool ended the fence's transaction in the middle: what
    became of the effect is then unknown, for ever.
    """

    DOING = "doing"
    DONE = "done"
    REFUSED = "refused"
    FENCED = "fenced"
    UNDONE = "undone"


class Kind(enum.StrEnum):
    """Whether a row is about an action or about the undo of one."""

    DO = "do"
    UNDO = "undo"


class Row(NamedTuple):
    """What is remembered of one ``req_id``.

    Attributes:
        fingerprint: Of the params; None in a tombstone, which was there before the call.
        answer: JSON of what was returned; of a refused call, the reason as a JSON string.
        partner: Of an undo, the ``req_id`` of its action; of an action that was undone or
            fenced by an undo, the ``req_id`` of that undo.
        first_at: When it was written, in seconds since 1970.
        last_at: When a copy of the call, its undo or a query was last here.
    """

    req_id: str
    kind: str
    state: str
    fingerprint: str | None
    answer: str | None
    partner: str | None
    first_at: float
    last_at: float


class Session(Protocol):
    """One connection in one transaction at a time; what every backend has to offer."""

    @property
    def locks_rows(self) -> bool:
        """Rows are locked one by one, by ``FOR UPDATE``, not all at once by ``begin``."""

    @property
    def db(self) -> Any:
        """What a tool's own statements go through."""

    def begin(self) -> None:
        """Begin a transaction that may write."""

    def commit(self) -> None:
        """Make it durable."""

    def rollback(self) -> None:
        """Take everything back; harmless where nothing was begun here."""

    def open_body(self) -> None:
        """Mark where the tool's own part begins."""

    def close_body(self) -> None:
        """Keep the tool's own part.

        Raises:
            OutcomeUnknown: If the tool ended the transaction that the fence had begun.
        """

    def discard_body(self) -> None:
        """Take back the tool's own part and nothing else.

        Raises:
            OutcomeUnknown: If the tool ended the transaction that the fence had begun.
        """

    def rows(self, statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Return what a query finds."""

    def change(self, statement: str, values: Mapping[str, Any]) -> int:
        """Return how many rows a statement wrote."""


class FenceTable:
    """The statements of one fence table.

    Args:
        name: The table, perhaps behind the name of its schema and a dot.

    Raises:
        ToolsError: If it is no plain name.
    """

    def __init__(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise ToolsError(
                f"Fence table {name!r} was refused: a name has letters, digits and underscores, "
                "and perhaps a schema before a dot. Nothing was created."
            )
        columns = ", ".join(Row._fields)
        self.name = name
        self.ddl = (
            f"CREATE TABLE IF NOT EXISTS {name} (\n"
            "    req_id TEXT PRIMARY KEY,\n"
            "    kind TEXT NOT NULL,\n"
            "    state TEXT NOT NULL,\n"
            "    fingerprint TEXT,\n"
            "    answer TEXT,\n"
            "    partner TEXT,\n"
            "    first_at DOUBLE PRECISION NOT NULL,\n"
            "    last_at DOUBLE PRECISION NOT NULL\n"
            ")"
        )
        self.probe = f"SELECT {columns} FROM {name} WHERE 1 = 0"  # noqa: S608  # a checked name
        self._claim = (
            f"INSERT INTO {name} ({columns}) "  # noqa: S608  # a checked name
            f"VALUES ({', '.join(f':{column}' for column in Row._fields)}) "
            "ON CONFLICT (req_id) DO NOTHING"
        )
        self._find = f"SELECT {columns} FROM {name} WHERE req_id = :req_id"  # noqa: S608  # the same
        self._touch = f"UPDATE {name} SET last_at = :now WHERE req_id = :req_id"  # noqa: S608  # the same
        self._settle = (
            f"UPDATE {name} SET state = :state, answer = :answer, "  # noqa: S608  # the same
            "last_at = :now WHERE req_id = :req_id"
        )
        self._undone = (
            f"UPDATE {name} SET state = :state, partner = :partner, "  # noqa: S608  # the same
            "last_at = :now WHERE req_id = :req_id"
        )
        # The age stands twice: PostgreSQL looks again at a row that was touched while the
        # statement waited for it, but only at the outer condition.
        self._purge = (
            f"DELETE FROM {name} WHERE last_at < :before AND state <> 'doing' AND req_id IN "  # noqa: S608  # the same
            f"(SELECT req_id FROM {name} WHERE last_at < :before AND state <> 'doing' LIMIT :most)"
        )

    def claim(self, session: Session, row: Row) -> bool:
        """Write a row unless its ``req_id`` has one; return whether it was written.

        On PostgreSQL this waits for a transaction that wrote the same ``req_id`` to end.
        """
        return session.change(self._claim, row._asdict()) == 1

    def find(self, session: Session, req_id: str, *, for_update: bool = False) -> Row | None:
        """Return the row of a ``req_id``, locked if it is going to be changed, or None."""
        locks = for_update and session.locks_rows
        statement = f"{self._find} FOR UPDATE" if locks else self._find
        found = session.rows(statement, {"req_id": req_id})
        return Row(*found[0]) if found else None

    def touch(self, session: Session, req_id: str, *, now: float) -> None:
        """Remember that a copy of the call was here: the row is needed for longer."""
        session.change(self._touch, {"req_id": req_id, "now": now})

    def settle(
        self, session: Session, req_id: str, *, state: FenceState, answer: str | None, now: float
    ) -> None:
        """Write how the call ended."""
        values = {"req_id": req_id, "state": state.value, "answer": answer, "now": now}
        session.change(self._settle, values)

    def mark_undone(self, session: Session, req_id: str, *, by: str, now: float) -> None:
        """Write that the call's effect was undone; its answer is kept."""
        values = {"req_id": req_id, "state": FenceState.UNDONE.value, "partner": by, "now": now}
        session.change(self._undone, values)

    def purge(self, session: Session, *, before: float, most: int) -> int:
        """Delete at most so many rows that nobody asked about since; return how many."""
        return session.change(self._purge, {"before": before, "most": most})
