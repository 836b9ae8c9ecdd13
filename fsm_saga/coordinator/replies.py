"""What a call came to, as the event that its saga is told."""

from __future__ import annotations

from fsm_saga.core import events as e
from fsm_saga.core.effects import CallTool
from fsm_saga.ports import CallOutcome, Clock, OutcomeKind


def event_of(call: CallTool, outcome: CallOutcome, *, clock: Clock) -> e.CallEvent:
    """Return the outcome of one attempt of a call as an event; its time and chance are new.

    Chance is asked only where a retry may follow.
    """
    at, rid, attempt = clock.now(), call.req_id, call.attempt
    step, direction = call.step, call.direction
    match outcome.kind:
        case OutcomeKind.OK:
            return e.CallSucceeded(
                at=at,
                step=step,
                direction=direction,
                req_id=rid,
                attempt=attempt,
                output=outcome.output,
            )
        case OutcomeKind.OK_WITH_BAD_OUTPUT:
            return e.CallSucceededBadly(
                at=at,
                step=step,
                direction=direction,
                req_id=rid,
                attempt=attempt,
                error=outcome.error,
            )
        case OutcomeKind.REJECTED:
            return e.CallRejected(
                at=at,
                step=step,
                direction=direction,
                req_id=rid,
                attempt=attempt,
                error=outcome.error,
                jitter=clock.jitter(),
                was_sent=outcome.was_sent,
            )
        case OutcomeKind.UNKNOWN:  # pragma: no branch
            return e.CallUnknown(
                at=at,
                step=step,
                direction=direction,
                req_id=rid,
                attempt=attempt,
                error=outcome.error,
                jitter=clock.jitter(),
            )
