"""Tests that wait for seconds, and take none."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any

from tests.support.virtual_time import run_virtual


def on_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run the test on a loop where waiting costs nothing."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        run_virtual(test(**fixtures))

    return run
