"""What is wrong, told exactly: each rule is shown one thing that breaks it, and what keeps it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable
from typing import Any

import pytest
from msgspec.structs import replace

from fsm_saga.core import events as e
from fsm_saga.core.contract import ToolContract
from fsm_saga.core.decide import decide
from fsm_saga.core.draft import Draft
from fsm_saga.core.effects import CallTool
from fsm_saga.core.saga import Saga, StepState, UndoState
from fsm_saga.core.states import (
    DONE,
    FAILED,
    NEEDS_HUMAN,
    PENDING,
    Direction,
    Outcome,
    Phase,
    StepStatus,
    compensating,
    executing,
)
from fsm_saga.core.work import Decision
from fsm_saga.machine import moves, properties
from fsm_saga.machine.ledger import EMPTY, Ledger, Memory, Word
from fsm_saga.machine.moves import Move
from fsm_saga.machine.normal import SAGA_ID, plain_req_id
from fsm_saga.machine.properties import (
    Finding,
    code_of_claim,
    judge_claim,
    judge_outcome,
    judge_state,
    judge_transition,
)
from tests.support.play import UNDO, Play

DO, CHECK = Direction.DO, Direction.CHECK
LEFT = Ledger(memory=Memory.DONE, effects=1)
UNDONE = LEFT._replace(undone=1)


def told(found: Iterable[Finding]) -> list[str]:
    return [f"{finding.code}: {finding.message}" for finding in found]


def play_of(text: str, tools: str = "") -> Play:
    return Play(text, tools, saga_id=SAGA_ID)


def with_step(saga: Saga, index: int, **changes: Any) -> Saga:
    step = replace(saga.steps[index], **changes)
    return replace(saga, steps=(*saga.steps[:index], step, *saga.steps[index + 1 :]))


# --- a saga by itself -----------------------------------------------------------------------------


def every_mask() -> Saga:
    """Return a saga with a step in each status that a mask speaks of."""
    play = play_of("\n".join(f"{number} a / u ; after=-" for number in range(1, 8)))
    statuses = (
        StepStatus.RUNNING,
        StepStatus.SUCCEEDED,
        StepStatus.DOUBTFUL,
        StepStatus.COMPENSATING,
        StepStatus.STUCK,
        StepStatus.AWAITING_APPROVAL,
        StepStatus.WAITING,
    )
    return replace(
        play.saga,
        state=compensating(5),
        steps=tuple(StepState(status=status) for status in statuses),
        running=0b1,
        succeeded=0b10,
        uncleared=0b11111,
        undoing=0b1000,
        stuck=0b10000,
        awaiting=0b100000,
    )


def test_masks_that_say_what_the_steps_say_are_right() -> None:
    assert told(judge_state(every_mask())) == []


@pytest.mark.parametrize(
    ("name", "mask", "said"),
    [
        ("running", 0b11, "running is 11, the steps say 1"),
        ("succeeded", 0, "succeeded is 0, the steps say 10"),
        ("uncleared", 0b111110, "uncleared is 111110, the steps say 11111"),
        ("undoing", 0b1100, "undoing is 1100, the steps say 1000"),
        ("stuck", 0b110000, "stuck is 110000, the steps say 10000"),
        ("awaiting", 0b1100000, "awaiting is 1100000, the steps say 100000"),
    ],
)
def test_a_mask_is_held_against_the_steps(name: str, mask: int, said: str) -> None:
    assert f"INV-10: {said}" in told(judge_state(replace(every_mask(), **{name: mask})))


def test_a_success_that_cannot_be_used_does_not_count_and_a_read_leaves_nothing() -> None:
    bad = with_step(every_mask(), 1, has_bad_output=True)
    assert told(judge_state(bad)) == ["INV-10: succeeded is 10, the steps say 0"]
    read = play_of("1 look ; kind=read_only")
    read.ok(1)
    assert told(judge_state(read.saga)) == []
    wrong = replace(read.saga, uncleared=1)
    assert told(judge_state(wrong)) == ["INV-10: uncleared is 1, the steps say 0"]


def numbered() -> Saga:
    """Return a saga one of whose two steps has succeeded."""
    play = play_of("1 a / ua\n2 b / ub")
    play.ok(1)
    return play.saga


def test_the_number_of_a_state_is_held_against_what_it_counts() -> None:
    saga = numbered()
    assert told(judge_state(saga)) == []
    for state, said in {
        executing(1): ["INV-10: EXECUTING(1) with 1 steps succeeded"],
        compensating(2): [],
        compensating(1): ["INV-10: COMPENSATING(1) with 2 effects left"],
        DONE: ["INV-11: DONE with 1 of 2 steps succeeded"],
        FAILED: ["INV-11: FAILED with 2 steps not cleared"],
        NEEDS_HUMAN: ["ASKED: a person is needed, and no step takes any answer"],
        PENDING: [],
    }.items():
        assert told(judge_state(replace(saga, state=state))) == said


def test_in_needs_human_one_step_that_takes_an_answer_is_enough() -> None:
    play = play_of("1 a / ua ; retry=1\n2 b")
    play.unknown(1)
    assert (play.state, told(judge_state(play.saga))) == ("NEEDS_HUMAN", [])


# --- what a saga says of a step, and what is there ------------------------------------------------


WAITS = (StepStatus.WAITING, StepStatus.AWAITING_APPROVAL, StepStatus.SKIPPED)
CLAIMS: list[tuple[StepStatus, Ledger, str | None]] = [
    (StepStatus.SUCCEEDED, LEFT, None),
    (StepStatus.SUCCEEDED, EMPTY, "it is called succeeded, and its effect is not there"),
    (StepStatus.SUCCEEDED, UNDONE, "it is called succeeded, and its effect is not there"),
    (StepStatus.REJECTED, EMPTY, None),
    (StepStatus.REJECTED, LEFT, "it is called rejected, and its effect is there"),
    (StepStatus.REJECTED, UNDONE, "it is called rejected, and its effect is there"),
    (StepStatus.COMPENSATED, UNDONE, None),
    (StepStatus.COMPENSATED, EMPTY, None),
    (StepStatus.COMPENSATED, LEFT, "it is called compensated, and its effect is there"),
    *((status, EMPTY, None) for status in WAITS),
    *((status, LEFT, "it never started, and its effect is there") for status in WAITS),
    *(
        (status, ledger, None)
        for status in (StepStatus.RUNNING, StepStatus.DOUBTFUL, StepStatus.STUCK)
        for ledger in (EMPTY, LEFT, UNDONE)
    ),
]


@pytest.mark.parametrize(("status", "ledger", "said"), CLAIMS)
def test_a_claim_is_held_against_the_ledger(
    status: StepStatus, ledger: Ledger, said: str | None
) -> None:
    assert judge_claim(status, ledger) == said
    for word in (
        ledger._replace(is_accepted=True),
        ledger._replace(is_vouched=True),
        ledger._replace(is_amended=True),
    ):
        assert judge_claim(status, word) is None, "a person's word"


@pytest.mark.parametrize("status", StepStatus)
def test_nothing_excuses_what_happened_twice(status: StepStatus) -> None:
    for is_accepted in (False, True):
        twice = Ledger(effects=2, is_accepted=is_accepted)
        assert judge_claim(status, twice) == "it took effect twice"
        for effects, undone in ((1, 2), (0, 1)):
            ledger = Ledger(effects=effects, undone=undone, is_accepted=is_accepted)
            assert judge_claim(status, ledger) == "it was undone twice"


def test_a_wrong_claim_breaks_the_property_of_its_phase() -> None:
    lie = "it is called succeeded, and its effect is not there"
    assert {phase: code_of_claim(phase, lie) for phase in Phase} == {
        Phase.PENDING: "C3",
        Phase.EXECUTING: "C3",
        Phase.COMPENSATING: "C3",
        Phase.NEEDS_HUMAN: "C3",
        Phase.DONE: "C1",
        Phase.FAILED: "C2",
    }
    assert {code_of_claim(phase, "it was undone twice") for phase in Phase} == {"X1"}


TRUE_OUTCOMES: dict[Outcome | None, set[tuple[Phase, Word]]] = {
    Outcome.COMMITTED: {(Phase.DONE, word) for word in Word},
    Outcome.NOTHING_HAPPENED: {(Phase.FAILED, Word.NOTHING)},
    Outcome.COMPENSATED: {(Phase.FAILED, Word.NOTHING), (Phase.FAILED, Word.TOOK_EFFECT)},
    Outcome.AMENDED: {(Phase.FAILED, Word.AMENDED)},
    Outcome.PARTLY_COMPENSATED: {(Phase.FAILED, Word.ACCEPTED)},
    Outcome.UNKNOWN: {(Phase.NEEDS_HUMAN, word) for word in Word},
    None: set(itertools.product((Phase.PENDING, Phase.EXECUTING, Phase.COMPENSATING), Word)),
}
STATES = {
    state.phase: state
    for state in (PENDING, executing(1), compensating(1), DONE, FAILED, NEEDS_HUMAN)
}


@pytest.mark.parametrize("outcome", TRUE_OUTCOMES)
def test_an_outcome_is_true_of_these_ends_and_no_other(outcome: Outcome | None) -> None:
    saga = numbered()
    for phase, word in itertools.product(Phase, Word):
        found = judge_outcome(replace(saga, state=STATES[phase], outcome=outcome), word)
        is_true = (phase, word) in TRUE_OUTCOMES[outcome]
        assert found == (None if is_true else f"the outcome of {STATES[phase]} is called {outcome}")


# --- what is started ------------------------------------------------------------------------------


def test_an_action_starts_only_in_a_saga_that_goes_forward() -> None:
    saga = numbered()
    draft = Draft.of(saga)
    assert told(properties._judge_action(draft, saga, 1)) == []
    back = replace(saga, state=compensating(1))
    assert told(properties._judge_action(draft, back, 1)) == [
        "INV-5: step 1 started in COMPENSATING(1)"
    ]


def test_an_action_starts_only_after_what_it_needs() -> None:
    play = play_of("1 a / ua\n2 b / ub")
    assert told(properties._judge_action(Draft.of(play.saga), play.saga, 1)) == [
        "INV-5: step 1 started before what it needs"
    ]


def test_an_action_starts_only_if_nothing_else_turns_the_saga() -> None:
    """While a pivot runs it is open whether the saga goes back; once it is done it does not."""
    play = play_of("1 a / ua ; after=-\n2 pay ; after=- kind=pivot\n3 c ; kind=retriable after=-")
    play.rejected(1)
    turning = "INV-5: step {} started although the saga goes back"
    for index, said in ((0, []), (1, [turning.format(1)]), (2, [turning.format(2)])):
        assert told(properties._judge_action(Draft.of(play.saga), play.saga, index)) == said
    stopped = play_of("1 a / ua ; after=-\n2 pay ; after=- kind=pivot")
    stopped.cancel()
    assert told(properties._judge_action(Draft.of(stopped.saga), stopped.saga, 0)) == [
        turning.format(0)
    ]
    play.ok(2)
    assert told(properties._judge_action(Draft.of(play.saga), play.saga, 2)) == []


def test_a_step_that_turned_the_saga_itself_may_be_tried_again() -> None:
    play = play_of("1 pay ; after=- kind=pivot\n2 a / ua ; after=-")
    play.rejected(2)
    assert (play.state, play.saga.failing) == ("EXECUTING(1)", 0b10)
    assert told(properties._judge_action(Draft.of(play.saga), play.saga, 1)) == []


def undo_of(saga: Saga, index: int, **changes: Any) -> list[str]:
    """Return what is wrong with an undo that starts in the saga, after which it is as changed."""
    after = with_step(replace(saga, **changes), index, undo=UndoState())
    return told(properties._judge_undo(Draft.of(saga), after, index))


def test_an_undo_starts_only_when_no_call_is_in_flight_and_all_behind_it_is_cleared() -> None:
    play = play_of("1 a / ua\n2 b / ub\n3 c / uc")
    play.ok(1)
    saga = play.saga
    assert undo_of(saga, 0, running=0, uncleared=0b1) == []
    assert undo_of(saga, 0, running=0b110, uncleared=0b1) == [
        "INV-7: the undo of step 0 started while 1, 2 was in flight"
    ]
    assert undo_of(saga, 0, running=0, uncleared=0b111) == [
        "INV-8: the undo of step 0 started before 1, 2 was cleared"
    ]


@pytest.mark.parametrize("status", StepStatus)
def test_what_certainly_never_ran_is_not_undone(status: StepStatus) -> None:
    saga = with_step(numbered(), 0, status=status)
    never = (StepStatus.WAITING, StepStatus.AWAITING_APPROVAL, StepStatus.REJECTED)
    said = [f"INV-9: step 0 was {status} and is undone"] if status in never else []
    if status is StepStatus.DOUBTFUL:
        said = ["INV-9: step 0 may still arrive, and its undo keeps nothing out"]
    assert undo_of(saga, 0, running=0, uncleared=1) == said


def test_a_read_is_not_undone() -> None:
    play = play_of("1 look ; kind=read_only")
    play.ok(1)
    assert undo_of(play.saga, 0) == ["INV-9: step 0 was SUCCEEDED and is undone"]


@pytest.mark.parametrize(
    ("promises", "not_after", "source", "is_kept_out"),
    [
        ({}, None, "plan", False),
        ({}, 5.0, "plan", False),
        ({"deadline": True}, None, "plan", False),
        ({"deadline": True}, 5.0, "plan", True),
        ({"fenced_compensation": True}, None, "plan", True),
        ({}, None, "person", True),
    ],
)
def test_what_may_still_arrive_is_undone_only_if_it_is_kept_out(
    promises: dict[str, bool], not_after: float | None, source: str, is_kept_out: bool
) -> None:
    saga = with_step(numbered(), 0, status=StepStatus.DOUBTFUL, not_after=not_after)
    spec = saga.program.steps[0]
    action = dataclasses.replace(spec.action, contract=ToolContract(**promises))  # type: ignore[arg-type]
    specs = (dataclasses.replace(spec, action=action), *saga.program.steps[1:])
    saga = replace(saga, program=dataclasses.replace(saga.program, steps=specs), uncleared=1)
    after = with_step(replace(saga, running=0), 0, undo=UndoState(source=source))
    found = told(properties._judge_undo(Draft.of(saga), after, 0))
    said = "INV-9: step 0 may still arrive, and its undo keeps nothing out"
    assert found == ([] if is_kept_out else [said])


@pytest.mark.parametrize("status", StepStatus)
def test_after_the_point_of_no_return_nothing_is_undone(status: StepStatus) -> None:
    play = play_of("1 a / ua ; after=-\n2 pay ; after=- kind=pivot")
    play.ok(1)
    saga = with_step(play.saga, 1, status=status)
    passed = status in (StepStatus.SUCCEEDED, StepStatus.DOUBTFUL)
    said = ["INV-12: step 0 is undone after step 1 was done"] if passed else []
    assert undo_of(saga, 0, running=0) == said


# --- what is sent ---------------------------------------------------------------------------------


def sent(play: Play, event: e.Event, *, step: int, replies: Direction | None) -> tuple[Move, Any]:
    move = Move("it happens", step, event, play.saga, replies=replies)
    before = play.saga
    decision = play.give(event)
    assert told(judge_transition(before, move, decision)) == []
    return move, (before, decision)


def spoilt(before: Saga, move: Move, decision: Decision, **changes: Any) -> list[str]:
    """Return what is wrong if each call that is sent differs in this."""
    calls = [
        replace(each, **changes) if isinstance(each, CallTool) else each
        for each in decision.effects
    ]
    return told(judge_transition(before, move, replace(decision, effects=tuple(calls))))


def test_a_call_goes_out_as_it_was_written_down() -> None:
    play = play_of("1 a x=1 / ua y=2\n2 b")
    done = e.CallSucceeded(at=0.0, step=0, direction=DO, req_id=plain_req_id(0, DO), output={})
    move, (before, decision) = sent(play, done, step=0, replies=DO)
    name = "the do call of step 1"
    assert spoilt(before, move, decision, req_id="r1") == [
        f"INV-2: {name} went out under a req_id of its own"
    ]
    assert spoilt(before, move, decision, params={"x": 9}) == [
        f"INV-3: {name} went out with other parameters than its intent"
    ]
    no = e.CallRejected(
        at=0.0, step=1, direction=DO, req_id=plain_req_id(1, DO), error="no", jitter=0.0
    )
    move, (before, decision) = sent(play, no, step=1, replies=DO)
    name = "the undo call of step 0"
    assert spoilt(before, move, decision, undoes="r1") == [
        f"INV-2: {name} undoes another call than the step's"
    ]
    assert spoilt(before, move, decision, req_id="r1") == [
        f"INV-2: {name} went out under a req_id of its own"
    ]
    assert spoilt(before, move, decision, params={}) == [
        f"INV-3: {name} went out with other parameters than its intent"
    ]
    assert spoilt(before, move, decision, direction=CHECK)[-2:] == [
        "SENT: the undo call of step 0 was never sent",
        "SENT: the check call of step 0 is not awaited",
    ]


def test_a_call_that_is_sent_again_goes_out_as_it_did_before() -> None:
    play = play_of("1 a x=1 / ua y=2 ; retry=3*1 undo-retry=3*1\n2 b")
    play.unknown(1)
    play.at = play.wakes[-1]
    move, (before, decision) = sent(play, e.TimePassed(at=play.at), step=0, replies=None)
    other = with_step(before, 0, params={"x": 9})
    said = "INV-3: the {} call of step 0 went out with other parameters than its intent"
    assert said.format("do") in told(judge_transition(other, move, decision))
    renewed = with_step(other, 0, revision=1)
    assert said.format("do") not in told(judge_transition(renewed, move, decision))
    play.ok(1)
    play.rejected(2)
    play.unknown(1, direction=UNDO)
    play.at = play.wakes[-1]
    move, (before, decision) = sent(play, e.TimePassed(at=play.at), step=0, replies=None)
    undo = before.steps[0].undo
    assert undo is not None
    other = with_step(before, 0, undo=replace(undo, calls=(("ua", {"y": 9}),)))
    assert said.format("undo") in told(judge_transition(other, move, decision))
    renewed = with_step(before, 0, undo=replace(undo, calls=(("ua", {"y": 9}),), req_id="r1"))
    assert said.format("undo") not in told(judge_transition(renewed, move, decision))


def test_what_is_sent_is_awaited_once_and_what_is_awaited_was_sent() -> None:
    play = play_of("1 a / ua ; after=-\n2 b / ub ; after=-\n3 c / uc ; after=1")
    done = e.CallSucceeded(at=0.0, step=0, direction=DO, req_id=plain_req_id(0, DO), output={})
    move, (before, decision) = sent(play, done, step=0, replies=DO)
    (call,) = (each for each in decision.effects if isinstance(each, CallTool))
    assert call.step == 2

    def judged(*calls: CallTool) -> list[str]:
        return told(judge_transition(before, move, replace(decision, effects=calls)))

    assert judged() == ["SENT: the do call of step 2 was never sent"]
    assert judged(call, call) == ["SENT: one call was sent twice in one decision"]
    other = replace(call, step=0, req_id=plain_req_id(0, DO))
    assert judged(call, other) == ["SENT: the do call of step 0 is not awaited"]
    undo = replace(call, direction=UNDO, undoes=call.req_id)
    assert judged(call, undo) == [
        "SENT: the undo call of step 2 was sent without an undo under way",
        "SENT: the undo call of step 2 is not awaited",
    ]


def test_a_call_that_was_answered_is_awaited_only_if_it_is_sent_again() -> None:
    play = play_of("1 a / ua\n2 b")
    before = play.saga
    done = e.CallSucceeded(at=0.0, step=0, direction=DO, req_id=plain_req_id(0, DO), output={})
    said = ["SENT: the do call of step 0 was never sent"]
    nothing = Decision(before, (), ())
    for step, replies, found in (
        (0, DO, said),
        (0, UNDO, []),
        (0, None, []),
        (1, DO, []),
        (-1, None, []),
    ):
        move = Move("it happens", step, done, before, replies=replies)
        assert told(judge_transition(before, move, nothing)) == found


def test_an_end_is_not_left() -> None:
    play = play_of("1 a / ua")
    play.ok(1)
    ended = play.saga
    move = Move("somebody cancels", -1, e.CancelAsked(at=0.0, by="ann"), ended)
    for state in (FAILED, executing(1)):
        after = Decision(replace(ended, state=state), (), ())
        assert told(judge_transition(ended, move, after)) == [
            "INV-6: folding the records gives another state than was decided",
            f"C11: DONE became {state}",
        ]
    assert told(judge_transition(ended, move, Decision(ended, (), ()))) == []


def test_a_plan_that_is_closed_is_folded_with_its_own_program() -> None:
    play = Play("1 a / ua", is_open=True, saga_id=SAGA_ID)
    play.ok(1)
    before = play.saga
    program = moves.closed(before.program)
    event = e.PlanCloseAsked(at=0.0, program=program)
    decision = decide(before, event)
    assert str(decision.saga.state) == "DONE"
    assert told(judge_transition(before, Move("closed", -1, event, before), decision)) == []


def test_of_several_calls_that_make_good_each_has_an_id_of_its_own() -> None:
    play = play_of("1 a / ua ; undo-retry=1\n2 b")
    play.ok(1)
    play.rejected(2)
    play.rejected(1, direction=UNDO)
    play.offer(1, "x", "y")
    first = play.call(1, UNDO)
    done = e.CallSucceeded(at=0.0, step=0, direction=UNDO, req_id=first.req_id, output=None)
    move, (before, decision) = sent(play, done, step=0, replies=UNDO)
    assert play.call(1, UNDO).call == 1
    assert spoilt(before, move, decision, call=0) == [
        "INV-2: the undo call of step 0 went out under a req_id of its own"
    ]
