"""What every store says when it refuses, so that all say it alike."""

from __future__ import annotations

from typing import Any

from fsm_saga.errors import (
    ConflictError,
    FencedError,
    InvariantBrokenError,
    StoreError,
    UnknownSagaError,
)
from fsm_saga.ports import Append, Command


def is_text(value: str) -> bool:
    """Return False for text with a lone surrogate, which cannot be written as UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_fits(append: Append) -> None:
    """Return if an append and the head that it brings belong together.

    Raises:
        InvariantBrokenError: They do not, or there is nothing to append.
    """
    head, count = append.head, len(append.records)
    if not is_text(append.saga_id) or not is_text(head.goal or ""):
        raise InvariantBrokenError(
            f"An append to saga {append.saga_id!r} was refused: its id or its goal has a lone "
            "surrogate, which no store can hold. Nothing was written; such text has to be refused "
            "where it comes in, so this is a bug of fsm_saga."
        )
    if (
        not count
        or append.position < 0
        or head.saga_id != append.saga_id
        or head.position != append.position + count
    ):
        raise InvariantBrokenError(
            f"An append of {count} records to saga {append.saga_id!r} at {append.position} does "
            f"not fit its head ({head.saga_id!r} at {head.position}). Nothing was written; this is "
            "a bug of fsm_saga."
        )


def check_command(command: Command) -> None:
    """Return if a command's saga and kind can be stored; its body is the codec's affair.

    Raises:
        InvariantBrokenError: They cannot.
    """
    if not is_text(command.saga_id + command.kind):
        raise InvariantBrokenError(
            f"A command {command.kind!r} for saga {command.saga_id!r} was refused: it has a lone "
            "surrogate, which no store can hold. Nothing was written; such text has to be refused "
            "where it comes in, so this is a bug of fsm_saga."
        )


def conflict(saga_id: str, *, expected: int, found: int | None) -> ConflictError:
    """Return the error for an append at a position where the journal is not."""
    where = "there is no such saga" if found is None else f"its journal is at {found}"
    return ConflictError(
        f"Saga {saga_id!r} refused an append at position {expected}: {where}. Nothing was written; "
        "reload the saga and decide again.",
        saga_id=saga_id,
        expected=expected,
        found=found,
    )


def fenced(place: str, *, epoch: int, leader: int | None) -> FencedError:
    """Return the error for a writer that a newer one has replaced."""
    return FencedError(
        f"Nothing was written to store {place!r}: epoch {epoch} tried, but epoch {leader} leads "
        "now. Stop; another coordinator goes on with the sagas.",
        epoch=epoch,
        leader=leader,
    )


def not_final(saga_id: str, state: str) -> ConflictError:
    """Return the error for removing a saga that is not at its end."""
    return ConflictError(
        f"Saga {saga_id!r} was not removed: it is {state}, and only DONE or FAILED ones are "
        "removed. Let it come to its end first.",
        saga_id=saga_id,
        state=state,
    )


def grown(saga_id: str, *, expected: int, found: int) -> ConflictError:
    """Return the error for removing a saga whose journal is not where its remover saw it."""
    return ConflictError(
        f"Saga {saga_id!r} was not removed: its journal is at {found}, and it was to be removed as "
        f"it was at {expected}. Nothing was changed; look at it again.",
        saga_id=saga_id,
        expected=expected,
        found=found,
    )


def removed_answer(saga_id: str) -> dict[str, Any]:
    """Return the answer to a command that still waits when its saga is removed."""
    error = UnknownSagaError(
        f"Saga {saga_id!r} was removed from the store, or moved to the archive, before this was "
        "carried out. It had ended, and nothing of it was changed.",
        saga_id=saga_id,
    )
    return {"ok": False, "code": error.code, "message": error.message}


def no_command(number: int) -> StoreError:
    """Return the error for an answer to a command that is not there."""
    return StoreError(
        f"Command {number} was not answered: the store has no command of that number. Nothing was "
        "changed."
    )


def read_only(url: str, what: str) -> StoreError:
    """Return the error for writing through a store that was opened for reading."""
    return StoreError(
        f"{what} was refused: store {url!r} was opened for reading. Nothing was written; open it "
        "for writing, or leave a command for the process that has."
    )


def closed(url: str) -> StoreError:
    """Return the error for using a store after ``close``."""
    return StoreError(f"Store {url!r} is closed. Nothing was written; open it again.")
