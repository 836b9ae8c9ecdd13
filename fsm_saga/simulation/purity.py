"""No run may look at the real world: whoever does is told at once instead of once in a while."""

from __future__ import annotations

import logging
import os
import random
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_BANNED: tuple[tuple[ModuleType | type, tuple[str, ...]], ...] = (
    (time, ("time", "time_ns", "monotonic", "monotonic_ns", "sleep")),
    (os, ("urandom",)),
    (random, ("random", "randint", "randrange", "choice", "choices", "shuffle", "uniform")),
    (secrets, ("token_hex", "token_bytes", "token_urlsafe")),
    (uuid, ("uuid1", "uuid4")),
    (threading.Thread, ("start",)),
)


class ImpureError(RuntimeError):
    """A run asked the real world for something: it could not be repeated."""


@contextmanager
def pure() -> Iterator[None]:
    """Refuse the wall clock, real chance, real sleeps and threads to this thread for a while.

    Logging is off meanwhile, since each entry carries the time.
    """
    owner = threading.get_ident()
    real: list[tuple[Any, str, Any]] = []
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        for place, names in _BANNED:
            for name in names:
                found = getattr(place, name)
                real.append((place, name, found))
                setattr(place, name, _refusing(f"{place.__name__}.{name}", found, owner))
        yield
    finally:
        for place, name, found in real:
            setattr(place, name, found)
        logging.disable(disabled)


def _refusing(name: str, real: Callable[..., Any], owner: int) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:  # stands for any function
        if threading.get_ident() != owner:
            return real(*args, **kwargs)
        raise ImpureError(f"{name} was called in a simulated run, which could not be repeated.")

    return refuse
