"""Names that the engine alone may give: request ids and digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from fsm_saga.core.states import Direction


def req_id(scope: str, step: int, direction: Direction, revision: int, call: int = 0) -> str:
    """Return the id under which a tool sees one call, on every retry and after every crash.

    It depends on what the call is for and on nothing else: not on the attempt, the clock or
    the coordinator (INV-2). ``scope`` is the saga's id with the key of this run of it, both from
    its first record. ``revision`` grows when a person orders a definitely refused call
    anew; ``call`` counts the calls of a compensation that is a list.

    Example:
        >>> req_id("trip-7", 0, Direction.DO, 0) == req_id("trip-7", 0, Direction.DO, 0)
        True
        >>> req_id("trip-7", 0, Direction.DO, 0) == req_id("trip-7", 0, Direction.UNDO, 0)
        False
    """
    # The length in front keeps an id that itself holds separators from posing as another saga.
    length = len(scope.encode())
    text = f"{length}\x1f{scope}\x1f{step}\x1f{direction}\x1f{revision}\x1f{call}"
    return "r" + hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def canonical_json(value: object) -> bytes:
    """Return ``value`` as the one JSON text that equal values share."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def approval_digest(saga_id: str, step: int, tool: str, params: Mapping[str, Any]) -> str:
    """Return the digest that binds an approval to the call that a person was shown."""
    shown = canonical_json([saga_id, step, tool, params])
    return hashlib.sha256(shown).hexdigest()
