"""Where a failure of a test is shown: at the line of the test, not inside of this package."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from fsm_saga.errors import FsmSagaError

P = ParamSpec("P")
R = TypeVar("R")


def told_at_the_test(method: Callable[P, R]) -> Callable[P, R]:
    """Return the method, whose deliberate errors have no trace of their own.

    What is wrong stands in their message; forty lines of this package above it say nothing to
    whoever wrote the test. FSM_SAGA_DEBUG=1 shows them.
    """

    @functools.wraps(method)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        __tracebackhide__ = True  # pytest looks for it
        try:
            return method(*args, **kwargs)
        except (FsmSagaError, AssertionError) as error:
            if os.environ.get("FSM_SAGA_DEBUG", "") not in ("", "0"):
                raise
            raise error.with_traceback(None) from None

    return wrapper
