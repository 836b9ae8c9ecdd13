"""The closed set of guards: named, pure, synchronous, and nothing else may guard a row.

A guard sees the facts of one saga and the row's target. Guards compare counts with the target,
which is what keeps the number in a state's name true.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping

from msgspec import Struct

from fsm_saga.core.states import Phase, SagaState


class WayBack(enum.Enum):
    """Whether what was done can still be undone."""

    OPEN = "open"
    UNDECIDED = "undecided"
    CLOSED = "closed"


class Facts(Struct, frozen=True):
    """What guards may know, counted from the steps at the moment of the event.

    Attributes:
        step_count: N.
        succeeded: Steps whose success is durable and usable.
        uncleared: Steps whose effect is or may be in the world, in flight included.
        is_closed: No more steps will be appended.
        way_back: CLOSED once an irrevocable step has, or may have, happened; UNDECIDED while
            one is in flight.
        can_go_on: Something is running, waits for a timer or an answer, or could be launched.
        leads_forward: After a person's answer the saga is free to go on forward.
    """

    step_count: int
    succeeded: int
    uncleared: int
    is_closed: bool
    way_back: WayBack
    can_go_on: bool
    leads_forward: bool


Guard = Callable[[Facts, SagaState], bool]


def plan_has_a_step(facts: Facts, target: SagaState) -> bool:
    """There is something to do."""
    return facts.step_count > 0


def successes_are_counted(facts: Facts, target: SagaState) -> bool:
    """The target's number is one more than the successes; DONE wants all of them."""
    if target.phase is Phase.DONE:
        return facts.succeeded == facts.step_count
    return facts.succeeded == target.count - 1


def effects_are_counted(facts: Facts, target: SagaState) -> bool:
    """The target's number is the number of effects left; FAILED wants none."""
    return facts.uncleared == target.count


def plan_is_closed(facts: Facts, target: SagaState) -> bool:
    """No step can be appended any more."""
    return facts.is_closed


def plan_is_open(facts: Facts, target: SagaState) -> bool:
    """A step may still be appended."""
    return not facts.is_closed


def way_back_is_open(facts: Facts, target: SagaState) -> bool:
    """No irrevocable step has happened, may have happened, or is under way."""
    return facts.way_back is WayBack.OPEN


def way_back_is_closed(facts: Facts, target: SagaState) -> bool:
    """An irrevocable step has happened or may have."""
    return facts.way_back is WayBack.CLOSED


def nothing_can_go_on(facts: Facts, target: SagaState) -> bool:
    """Nothing is in flight and nothing can be launched without a person."""
    return not facts.can_go_on


def leads_forward(facts: Facts, target: SagaState) -> bool:
    """What turned the saga is resolved, or only forward was ever left."""
    return facts.leads_forward


def leads_back(facts: Facts, target: SagaState) -> bool:
    """The saga stays turned round."""
    return not facts.leads_forward


GUARDS: Mapping[str, Guard] = {
    guard.__name__: guard
    for guard in (
        plan_has_a_step,
        successes_are_counted,
        effects_are_counted,
        plan_is_closed,
        plan_is_open,
        way_back_is_open,
        way_back_is_closed,
        nothing_can_go_on,
        leads_forward,
        leads_back,
    )
}
