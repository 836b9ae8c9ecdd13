"""The step machine on one page: every status meets every event."""

from __future__ import annotations

import pytest

from fsm_saga.core.states import StepEvent, StepStatus
from fsm_saga.machine.flatten import step_table
from fsm_saga.machine.step_machine import StepMachine

# One line for each status; an event that is not on it is refused there.
PAGE = """
WAITING: approval_asked AWAITING_APPROVAL, launched RUNNING, rejected REJECTED, skipped SKIPPED
AWAITING_APPROVAL: approval_withdrawn WAITING, launched RUNNING, rejected REJECTED, skipped SKIPPED
RUNNING: succeeded SUCCEEDED, rejected REJECTED, doubted DOUBTFUL, resent RUNNING
SUCCEEDED: undo_started COMPENSATING, got_stuck STUCK, resent RUNNING, output_supplied SUCCEEDED, \
settled_as_done SUCCEEDED, settled_as_gone COMPENSATED
REJECTED: resent RUNNING, output_supplied SUCCEEDED, settled_as_done SUCCEEDED
DOUBTFUL: undo_started COMPENSATING, got_stuck STUCK, resent RUNNING, output_supplied SUCCEEDED, \
settled_as_done SUCCEEDED, settled_as_gone COMPENSATED
COMPENSATING: undo_started COMPENSATING, undone COMPENSATED, got_stuck STUCK
COMPENSATED:
STUCK: undo_started COMPENSATING, output_supplied STUCK, settled_as_gone COMPENSATED
SKIPPED:
"""


def page() -> dict[tuple[StepStatus, StepEvent], StepStatus]:
    """Return what PAGE says as a table."""
    table = {}
    for line in PAGE.strip().splitlines():
        status, _, pairs = line.partition(":")
        for pair in filter(None, pairs.split(",")):
            event, target = pair.split()
            table[StepStatus(status), StepEvent(event)] = StepStatus(target)
    return table


def test_the_page_is_the_machine() -> None:
    assert dict(step_table()) == page()
    assert PAGE.count(":") == len(StepStatus)


def test_every_event_of_a_step_can_happen() -> None:
    assert {event for _, event in step_table()} == set(StepEvent)
    named = {event for state in StepMachine.states for event in state.transitions.unique_events}
    assert {event.id for event in named} == set(StepEvent)


def test_a_step_waits_first_and_ends_compensated_or_skipped() -> None:
    assert StepMachine.initial_state is not None
    assert StepMachine.initial_state.value is StepStatus.WAITING
    finals = {state.value for state in StepMachine.final_states}
    assert finals == {StepStatus.COMPENSATED, StepStatus.SKIPPED}


def test_an_illegal_event_is_refused_and_changes_nothing() -> None:
    step = StepMachine()
    with pytest.raises(StepMachine.TransitionNotAllowed):
        step.send("undone")
    assert list(step.configuration_values) == [StepStatus.WAITING]


def test_what_may_be_in_the_world_never_becomes_rejected() -> None:
    """REJECTED says certainly no effect: no way leads there once a call may have had one."""
    for source in (StepStatus.SUCCEEDED, StepStatus.DOUBTFUL, StepStatus.COMPENSATING):
        assert (source, StepEvent.REJECTED) not in step_table()


def test_only_an_undo_or_a_person_makes_a_step_compensated() -> None:
    into = {event for (_, event), to in step_table().items() if to is StepStatus.COMPENSATED}
    assert into == {StepEvent.UNDONE, StepEvent.SETTLED_AS_GONE}
