"""What tells an entry or a command that is damaged, and what is said of it: one for every store."""

from __future__ import annotations

from typing import Any
from zlib import crc32

from fsm_saga.errors import CorruptRecordError


def entry_checksum(saga_id: str, position: int, count: int, body: bytes) -> int:
    """Return the checksum of an entry: over its body and over where it belongs.

    An entry that turns up under another saga or at another position is as wrong as a flipped bit.
    """
    key = f"{saga_id}\0{position}\0{count}".encode(errors="surrogatepass")
    return crc32(body, crc32(key))


def damaged_journal(saga_id: str, position: int, why: str) -> CorruptRecordError:
    """Return the error for a journal that is not whole."""
    return CorruptRecordError(
        f"The journal of saga {saga_id!r} is damaged at position {position}: {why}. Only this saga "
        "is affected and nothing was changed; restore it from a copy of the store.",
        saga_id=saga_id,
        position=position,
    )


def journal_too_short(saga_id: str, found: int, end: object) -> CorruptRecordError:
    """Return the error for a journal that does not end where its head says."""
    return damaged_journal(saga_id, found, f"the journal should go on to {end}")


def damaged_answer(number: int) -> dict[str, Any]:
    """Return the answer to a command that is damaged and therefore never carried out."""
    return answer_with(
        CorruptRecordError(
            f"Command {number} was refused: it was damaged in the store, so what it asks is not "
            "known. Nothing was changed; decide again."
        )
    )


def answer_with(error: CorruptRecordError) -> dict[str, Any]:
    """Return the answer that stands for one that cannot be read, or cannot be given."""
    return {"ok": False, "code": error.code, "message": error.message}
