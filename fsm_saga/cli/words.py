"""How states, statuses and times look in a terminal: word, symbol and colour."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from fsm_saga.core.states import Phase, SagaState, StepStatus
from fsm_saga.drawing.picture import NodeRole
from fsm_saga.drawing.theme import NODE_LOOKS

STATUS_COLUMNS = max(len(status) for status in StepStatus)

_STATUS_STYLES: Mapping[StepStatus, str] = {
    StepStatus.WAITING: "dim",
    StepStatus.AWAITING_APPROVAL: "bold yellow",
    StepStatus.RUNNING: "bold blue",
    StepStatus.SUCCEEDED: "green",
    StepStatus.REJECTED: "red",
    StepStatus.DOUBTFUL: "bold yellow",
    StepStatus.COMPENSATING: "bold yellow",
    StepStatus.COMPENSATED: "yellow",
    StepStatus.STUCK: "bold red",
    StepStatus.SKIPPED: "dim",
}
_PHASE_STYLES: Mapping[Phase, str] = {
    Phase.PENDING: "dim",
    Phase.EXECUTING: "bold blue",
    Phase.COMPENSATING: "bold yellow",
    Phase.DONE: "bold green",
    Phase.FAILED: "bold red",
    Phase.NEEDS_HUMAN: "bold magenta",
}


def status_symbol(status: StepStatus) -> str:
    """Return the symbol that the pictures use too, or a space where stdout cannot show it."""
    symbol = NODE_LOOKS[NodeRole(status.lower().replace("_", "-"))].symbol
    try:
        # Not of sys.stdout: while a live picture is drawn, that is a stand-in without an encoding.
        symbol.encode(getattr(sys.__stdout__, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return " "
    return symbol


def status_style(status: StepStatus) -> str:
    """Return the colour of a status; its word and symbol say the same."""
    return _STATUS_STYLES[status]


def state_style(state: str) -> str:
    """Return the colour of a saga's state."""
    return _PHASE_STYLES[SagaState.parse(state).phase]


def time_text(at: float, *, has_milliseconds: bool = False) -> str:
    """Return a time of the journal as this machine's local time.

    Example:
        >>> len(time_text(1_770_000_000.5)), time_text(1_770_000_000.5, has_milliseconds=True)[-4:]
        (19, '.500')
    """
    moment = datetime.fromtimestamp(at, UTC).astimezone().replace(tzinfo=None)
    return moment.isoformat(" ", "milliseconds" if has_milliseconds else "seconds")


def iso_time(at: float) -> str:
    """Return a time of the journal in UTC, for programs.

    Example:
        >>> iso_time(0)
        '1970-01-01T00:00:00.000Z'
    """
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")


def duration_text(seconds: float) -> str:
    """Return a duration in the form that is read at a glance.

    Example:
        >>> duration_text(0.42), duration_text(75), duration_text(7_500)
        ('0.4s', '1m15s', '2h05m')
    """
    if seconds < 60:
        return f"{max(seconds, 0.0):.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    return f"{minutes // 60}h{minutes % 60:02}m"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun.

    Example:
        >>> counted(1, "attempt"), counted(3, "attempt")
        ('1 attempt', '3 attempts')
    """
    return f"{count} {noun}" + ("" if count == 1 else "s")
