"""Keeping the garbage collector from what only grows."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_off() -> Iterator[None]:
    """Do without the collector of cycles for a while; it is left as it was found.

    For work that makes many objects and drops none: each look of the collector at all there is
    would find nothing, and one look takes as long as a table of some thousand rows.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
