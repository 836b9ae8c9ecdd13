"""The clocks of this package: seconds that never go back."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]


def lease_time_s() -> float:
    """Return seconds that go on while the machine sleeps, where the system can tell.

    A lease goes on ending while a laptop is shut or a virtual machine is frozen. The monotonic
    clock of Linux stands still meanwhile, so that afterwards a lease would seem to live.
    """
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
