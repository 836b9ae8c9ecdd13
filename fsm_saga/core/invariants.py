"""The checks that turn a bug of ours into a stop, and the names of what must hold.

INV-1  No call is sent before its intent is durable.
INV-2  One (saga, step, direction, revision, call) has one req_id, always the same.
INV-3  Every resend of a req_id carries the params of its intent.
INV-4  No outcome is acted upon before it is durable.
INV-5  An action starts only in EXECUTING, when all that it needs has succeeded.
INV-6  The state of a saga is the fold of its journal and of nothing else.
INV-7  No undo starts while a sibling is in flight.
INV-8  A step is undone only after everything that depends on it is cleared.
INV-9  Nothing is undone that certainly never ran.
INV-10 The number in a state's name is the count of what it counts.
INV-11 FAILED means that no step's effect is left; DONE that every step succeeded.
INV-12 After the point of no return nothing is undone.
"""

from __future__ import annotations

from typing import NoReturn

from fsm_saga.errors import InvariantBrokenError


def broken(message: str) -> NoReturn:
    """Stop: the code came to where it cannot come.

    Raises:
        InvariantBrokenError: Always; the process must not go on with this saga.
    """
    raise InvariantBrokenError(message)


def check(holds: bool, message: str) -> None:
    """Return if ``holds``.

    Raises:
        InvariantBrokenError: If it does not; the process must not go on with this saga.
    """
    if not holds:
        broken(message)
