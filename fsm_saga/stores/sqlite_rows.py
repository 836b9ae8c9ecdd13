"""An append as the rows that SQLite is given, worked out before its turn comes."""

from __future__ import annotations

from fsm_saga.ports import Append
from fsm_saga.stores.codec import CODEC
from fsm_saga.stores.damage import entry_checksum
from fsm_saga.stores.heads import facts_checksum
from fsm_saga.stores.refusals import check_fits


class AppendRow:
    """What one append binds to its statements.

    Attributes:
        head: The values of the head and its checksum, then the saga's id, then, for a new saga,
            whether it is final, else the position that its journal must have.
        entry: Position, count, body, checksum and the saga's id.
    """

    __slots__ = ("entry", "head", "is_final", "is_new", "position", "saga_id", "size")

    def __init__(self, append: Append) -> None:
        head, saga_id, position = append.head, append.saga_id, append.position
        check_fits(append)
        count = len(append.records)
        body = CODEC.encode(append.records)
        self.saga_id = saga_id
        self.position = position
        self.is_new = position == 0
        self.is_final = head.is_final
        self.size = len(body)
        facts = (
            saga_id,
            head.state,
            head.outcome,
            head.position,
            head.created_at + 0.0,
            head.updated_at + 0.0,
            head.goal,
            head.waits_for,
            head.is_final,
        )
        key = head.is_final if position == 0 else position
        self.head = (*facts[1:8], facts_checksum(facts), saga_id, key)
        self.entry = (
            position,
            count,
            body,
            entry_checksum(saga_id, position, count, body),
            saga_id,
        )
