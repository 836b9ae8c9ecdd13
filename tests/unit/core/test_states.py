from __future__ import annotations

import pytest

from fsm_saga.core.states import (
    COUNTED_PHASES,
    DONE,
    FAILED,
    NEEDS_HUMAN,
    PENDING,
    Phase,
    SagaState,
    compensating,
    executing,
)

STATES = [PENDING, executing(1), executing(200), compensating(1), DONE, FAILED, NEEDS_HUMAN]


@pytest.mark.parametrize("state", STATES, ids=str)
def test_a_state_is_read_from_what_it_is_written_as(state: SagaState) -> None:
    assert SagaState.parse(str(state)) == state


def test_the_count_stands_in_brackets_and_only_where_there_is_one() -> None:
    assert [str(state) for state in STATES] == [
        "PENDING",
        "EXECUTING(1)",
        "EXECUTING(200)",
        "COMPENSATING(1)",
        "DONE",
        "FAILED",
        "NEEDS_HUMAN",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "EXECUTING",
        "EXECUTING()",
        "EXECUTING(-1)",
        "EXECUTING(1) ",
        "COMPENSATING",
        "DONE(1)",
        "PENDING(0)",
        "executing(1)",
        "RUNNING",
        "EXECUTING(1)\n",
    ],
)
def test_a_text_that_names_no_state_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"saga state|is not a valid Phase"):
        SagaState.parse(text)


def test_done_and_failed_are_final_and_nothing_else_is() -> None:
    assert [state for state in STATES if state.is_final] == [DONE, FAILED]


def test_two_phases_are_counted() -> None:
    assert {Phase.EXECUTING, Phase.COMPENSATING} == COUNTED_PHASES
