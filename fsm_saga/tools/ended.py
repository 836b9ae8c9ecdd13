"""How a call into a tool's own code came to an end."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple


class How(enum.Enum):
    """The four ends, as whoever waited saw them."""

    RETURNED = "returned"
    RAISED = "raised"
    SILENT = "silent"
    NOT_STARTED = "not_started"


class Ended(NamedTuple):
    """An end and what came with it.

    ``value`` is what was returned, the exception that was raised, or, for a call that was never
    started, the reason as a text. A silent call had not ended when its time was up; it may
    still be running.
    """

    how: How
    value: Any = None
