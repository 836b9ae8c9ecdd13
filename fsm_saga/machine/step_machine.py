"""The step machine: what can become of one step, the same for every step of every plan.

A step waits, perhaps for an approval too, runs, and ends in one of three ways: it succeeded, it
was rejected (certainly no effect), or it is doubtful (it may have happened). What happened, or
may have, can be undone; an undo that cannot go on is stuck and waits for a person. There are no
guards: which event is sent is decided from the plan's data, and an event that the class does
not know in a status is a bug of ours.

Only COMPENSATED and SKIPPED are final. REJECTED is not: once the way back is closed only
forward is left, and a person may have a rejected step sent again, under a new revision.
"""

from __future__ import annotations

from statemachine import StateMachine
from statemachine.states import States

from fsm_saga.core.states import StepStatus


class StepMachine(StateMachine):
    """The life of one step; the names of the events are the values of ``StepEvent``.

    Example:
        >>> step = StepMachine()
        >>> step.send("launched")
        >>> step.send("doubted")
        >>> [str(value) for value in step.configuration_values]
        ['DOUBTFUL']
    """

    status = States.from_enum(
        StepStatus,
        initial=StepStatus.WAITING,
        final=[StepStatus.COMPENSATED, StepStatus.SKIPPED],
    )

    # Before the call.
    approval_asked = status.WAITING.to(status.AWAITING_APPROVAL)
    approval_withdrawn = status.AWAITING_APPROVAL.to(status.WAITING)
    launched = status.RUNNING.from_(status.WAITING, status.AWAITING_APPROVAL)
    skipped = status.SKIPPED.from_(status.WAITING, status.AWAITING_APPROVAL)

    # How the call ended. A step is rejected without any call where a reference of its params
    # cannot be resolved, and where its approval is denied or has expired.
    succeeded = status.RUNNING.to(status.SUCCEEDED)
    doubted = status.RUNNING.to(status.DOUBTFUL)
    rejected = status.REJECTED.from_(status.WAITING, status.AWAITING_APPROVAL, status.RUNNING)

    # The same call once more: as its own retry, after a doubt, for a bad answer, or because a
    # person wants a rejected step tried again.
    resent = status.RUNNING.from_(
        status.RUNNING, status.DOUBTFUL, status.SUCCEEDED, status.REJECTED
    )

    # The way back. A second start of the undo is its next call, or the same call once more.
    undo_started = status.COMPENSATING.from_(
        status.SUCCEEDED, status.DOUBTFUL, status.COMPENSATING, status.STUCK
    )
    undone = status.COMPENSATING.to(status.COMPENSATED)
    got_stuck = status.STUCK.from_(status.SUCCEEDED, status.DOUBTFUL, status.COMPENSATING)

    # What a person vouches for. On a stuck step an output is not the end of it: with the output
    # the params of the undo can be computed.
    output_supplied = status.SUCCEEDED.from_(
        status.SUCCEEDED, status.DOUBTFUL, status.REJECTED
    ) | status.STUCK.to(status.STUCK)
    settled_as_done = status.SUCCEEDED.from_(status.SUCCEEDED, status.DOUBTFUL, status.REJECTED)
    settled_as_gone = status.COMPENSATED.from_(status.SUCCEEDED, status.DOUBTFUL, status.STUCK)
