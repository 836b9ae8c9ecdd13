"""The working copy: what it counts, which way it says is left, and what it refuses."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fsm_saga.core import records as r
from fsm_saga.core.contract import ToolContract
from fsm_saga.core.draft import Draft, refusal_settles
from fsm_saga.core.guards import Facts, WayBack
from fsm_saga.core.saga import WAITING_STEP, Saga, StepState
from fsm_saga.core.states import SagaEvent, StepEvent, StepStatus
from fsm_saga.errors import InvariantBrokenError
from tests.support.play import UNDO, Play

PIVOT = "1 a / ua\n2 pay ; kind=pivot retry=3*5\n3 tell ; kind=retriable retry=1"


def test_a_frozen_draft_is_the_saga_that_it_was_made_of() -> None:
    play = Play(PIVOT)
    play.ok(1)
    frozen = Draft.of(play.saga).freeze()
    assert frozen == play.saga
    assert type(frozen.steps) is tuple
    assert Draft.__struct_fields__ == Saga.__struct_fields__


def test_a_new_saga_has_a_waiting_step_for_each_of_its_program() -> None:
    program = Play(PIVOT).saga.program
    assert Draft.of(Saga("s", program)).steps == [WAITING_STEP] * 3


@pytest.mark.parametrize("status", StepStatus)
def test_a_step_is_filed_under_its_status_and_nowhere_else(status: StepStatus) -> None:
    draft = Draft.of(Play("1 a / ua\n2 b / ub").saga)
    draft._file(0, StepState(status=status))
    filed = {
        name
        for name in ("running", "succeeded", "uncleared", "undoing", "awaiting", "stuck")
        if getattr(draft, name) & 1
    }
    assert (
        filed
        == {
            StepStatus.WAITING: set(),
            StepStatus.AWAITING_APPROVAL: {"awaiting"},
            StepStatus.RUNNING: {"running", "uncleared"},
            StepStatus.SUCCEEDED: {"succeeded", "uncleared"},
            StepStatus.REJECTED: set(),
            StepStatus.DOUBTFUL: {"uncleared"},
            StepStatus.COMPENSATING: {"undoing", "uncleared"},
            StepStatus.COMPENSATED: set(),
            StepStatus.STUCK: {"stuck", "uncleared"},
            StepStatus.SKIPPED: set(),
        }[status]
    )


def test_a_bad_output_is_an_effect_and_no_success() -> None:
    draft = Draft.of(Play("1 a / ua").saga)
    draft._file(0, StepState(status=StepStatus.SUCCEEDED, has_bad_output=True))
    assert (draft.succeeded, draft.uncleared) == (0, 1)


def test_what_only_reads_is_a_success_and_no_effect() -> None:
    play = Play("1 look\n2 a / ua", "look read_only")
    assert play.saga.uncleared == 1, "in flight it counts: a saga does not end before its calls"
    play.ok(1)
    assert (play.saga.succeeded, play.saga.uncleared) == (0b01, 0b10)


def test_a_step_that_takes_an_event_it_cannot_take_is_a_bug() -> None:
    draft = Draft.of(Play("1 a / ua").saga)
    with pytest.raises(InvariantBrokenError, match="step 0 of 's' cannot take undone in RUNNING"):
        draft.step_event(0, StepEvent.UNDONE, draft.steps[0])


def test_a_record_that_nobody_knows_is_a_bug() -> None:
    class Invented(r.Record, frozen=True, kw_only=True):
        pass

    with pytest.raises(InvariantBrokenError, match="no rule to fold a Invented"):
        Draft.of(Play("1 a / ua").saga).apply(Invented(at=0.0))


# --- outputs -------------------------------------------------------------------------------------


def test_a_step_has_an_output_once_it_succeeded_or_a_person_vouched_for_it() -> None:
    steps = [
        StepState(status=StepStatus.SUCCEEDED, output=1),
        StepState(status=StepStatus.COMPENSATED, output=2, settled_by="ann"),
        StepState(status=StepStatus.RUNNING, output=3),
    ]
    draft = Draft.of(replace(Play(PIVOT).saga, steps=tuple(steps)))
    assert [draft.output_of(index) for index in range(2)] == [1, 2]
    with pytest.raises(LookupError):
        draft.output_of(2)


# --- the way back --------------------------------------------------------------------------------


def way_back(play: Play) -> WayBack:
    return Draft.of(play.saga).way_back()


def test_the_way_back_is_open_before_the_pivot_and_closed_after_it() -> None:
    play = Play(PIVOT)
    assert way_back(play) is WayBack.OPEN
    play.ok(1)
    assert way_back(play) is WayBack.UNDECIDED
    play.ok(2)
    assert way_back(play) is WayBack.CLOSED


def test_a_pivot_in_doubt_closes_the_way_back() -> None:
    play = Play("1 a / ua\n2 pay ; kind=pivot retry=1")
    play.ok(1)
    play.unknown(2)
    assert way_back(play) is WayBack.CLOSED


def test_a_pivot_that_was_refused_and_waits_leaves_the_way_back_open() -> None:
    play = Play(PIVOT)
    play.ok(1)
    play.rejected(2)
    assert way_back(play) is WayBack.OPEN
    play.tick()
    assert way_back(play) is WayBack.UNDECIDED, "it is sent again"


def test_a_pivot_that_was_lost_and_waits_does_not() -> None:
    play = Play(PIVOT)
    play.ok(1)
    play.unknown(2)
    assert way_back(play) is WayBack.UNDECIDED


def test_of_a_tool_that_forgets_refusals_a_refusal_after_a_doubt_says_nothing() -> None:
    play = Play(PIVOT, "pay forgets-refusals")
    play.ok(1)
    play.unknown(2)
    play.tick()
    play.rejected(2)
    assert play.step(2).retry_at is not None
    assert way_back(play) is WayBack.UNDECIDED


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_of_several_irrevocable_steps_each_has_a_say(order: tuple[int, int]) -> None:
    play = Play("1 a ; kind=retriable after=- retry=3*1\n2 b ; kind=retriable after=- retry=3*1")
    play.rejected(order[0])
    assert way_back(play) is WayBack.UNDECIDED, "the other one is in flight"
    play.rejected(order[1])
    assert way_back(play) is WayBack.OPEN
    play.tick()
    play.ok(1)
    assert way_back(play) is WayBack.CLOSED


def test_a_step_with_a_way_back_has_no_say() -> None:
    play = Play("1 a / ua ; after=-\n2 pay ; kind=pivot after=- retry=3*5")
    play.rejected(2)
    assert play.statuses == "RUNNING RUNNING"
    assert way_back(play) is WayBack.OPEN


def test_an_irrevocable_step_that_is_made_good_for_does_not_close_the_way_back() -> None:
    draft = Draft.of(Play("1 pay ; kind=pivot").saga)
    for status in (StepStatus.COMPENSATING, StepStatus.STUCK):
        draft._file(0, StepState(status=status))
        assert draft.way_back() is WayBack.OPEN
    draft._file(0, StepState(status=StepStatus.DOUBTFUL))
    assert draft.way_back() is WayBack.CLOSED


@pytest.mark.parametrize(
    ("contract", "is_doubted", "settles"),
    [
        (ToolContract(), False, True),
        (ToolContract(), True, True),
        (ToolContract(sticky_failures=False), False, True),
        (ToolContract(sticky_failures=False), True, False),
        (ToolContract(sticky_failures=False, fenced_compensation=True), False, False),
        (ToolContract(fenced_compensation=True), True, True),
    ],
)
def test_a_refusal_settles_a_call_if_no_copy_can_still_take_effect(
    contract: ToolContract, is_doubted: bool, settles: bool
) -> None:
    """Rows J, K, L and M of the truth table."""
    assert refusal_settles(StepState(is_doubted=is_doubted), contract) is settles


# --- facts ---------------------------------------------------------------------------------------


def test_facts_are_counted_from_the_steps() -> None:
    play = Play("1 a / ua ; after=-\n2 b / ub ; after=-\n3 c / uc ; after=1")
    play.ok(1)
    facts = Draft.of(play.saga).facts()
    assert facts == Facts(3, 1, 3, True, WayBack.OPEN, True, True)
    open_play = Play("1 a / ua", is_open=True)
    open_play.ok(1)
    assert Draft.of(open_play.saga).facts() == Facts(1, 1, 1, False, WayBack.OPEN, False, True)


def test_what_turned_the_saga_keeps_it_from_leading_forward() -> None:
    play = Play("1 a / ua\n2 b / ub ; retry=1")
    play.ok(1)
    play.unknown(2)
    assert not Draft.of(play.saga).leads_forward()
    free = replace(play.saga, failing=0)
    assert Draft.of(free).leads_forward()
    assert not Draft.of(replace(free, stuck=1)).leads_forward()
    assert not Draft.of(replace(free, was_undone=True)).leads_forward()
    assert not Draft.of(replace(free, stop=SagaEvent.CANCELLED)).leads_forward()


def test_a_saga_that_goes_on_when_something_waits_runs_or_is_undone() -> None:
    play = Play("1 a / ua ; approval=60")
    assert Draft.of(play.saga).facts().can_go_on
    play = Play("1 a / ua\n2 b / ub")
    assert Draft.of(play.saga).facts().can_go_on
    play.ok(1)
    play.rejected(2)
    assert Draft.of(play.saga).facts().can_go_on
    play.rejected(1, direction=UNDO)
    assert Draft.of(play.saga).facts().can_go_on, "it waits for its next attempt"
