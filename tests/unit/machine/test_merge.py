from __future__ import annotations

import pytest
from msgspec.structs import replace

from fsm_saga.core.saga import Saga, StepState
from fsm_saga.core.states import Direction, StepStatus
from fsm_saga.machine.ledger import EMPTY, Ledger, Memory, StepWorld, Word
from fsm_saga.machine.merge import (
    Merger,
    cleared_steps,
    done_steps,
    forgotten_steps,
    handed_over_steps,
    is_mergeable,
)
from fsm_saga.machine.normal import LONG_OVER, NOW, Normaliser, is_going_back_for_good
from tests.support.play import Play

UNDO = Direction.UNDO
COMPENSATED, REJECTED, STUCK = StepStatus.COMPENSATED, StepStatus.REJECTED, StepStatus.STUCK
THREE = "1 a / ua\n2 b / ub\n3 c / uc"
DONE = Ledger(memory=Memory.DONE, effects=1)
UNDONE = Ledger(memory=Memory.DONE, effects=1, undone=1, undo_memory=Memory.DONE)


def merger_of(play: Play) -> Merger:
    program = play.saga.program
    return Merger(program, [StepWorld(spec) for spec in program.steps])


def going_back(tools: str = "") -> Play:
    """Return a saga whose first step is being undone, the second being undone already."""
    play = Play(THREE, tools)
    play.ok(1)
    play.ok(2)
    play.rejected(3)
    play.ok(2, direction=UNDO)
    assert play.state == "COMPENSATING(1)"
    return play


def test_while_a_saga_goes_forward_nothing_is_merged() -> None:
    play = Play(THREE)
    play.ok(1)
    assert cleared_steps(play.saga) == ()
    assert done_steps(play.saga) == ()
    assert handed_over_steps(play.saga) == ()
    assert not is_mergeable(play.saga)


def test_on_the_way_back_cleared_steps_cannot_be_told_apart() -> None:
    play = going_back()
    assert cleared_steps(play.saga) == ((1, COMPENSATED), (2, REJECTED))
    merged = merger_of(play).saga(play.saga, 0b110, 0)
    assert [str(step.status) for step in merged.steps] == [
        "COMPENSATING",
        "COMPENSATED",
        "COMPENSATED",
    ]
    assert merged.steps[1] is merged.steps[2]
    assert merged.steps[0] is play.saga.steps[0]


def test_a_step_that_was_not_merged_stays_as_it_is() -> None:
    play = going_back()
    assert merger_of(play).saga(play.saga, 0b010, 0).steps[2] is play.saga.steps[2]


def test_where_nothing_was_undone_yet_the_outcome_may_still_say_so() -> None:
    play = Play(THREE)
    play.ok(1)
    play.rejected(2)
    merged = merger_of(play).saga(play.saga, 0b110, 0)
    assert [str(step.status) for step in merged.steps] == ["COMPENSATING", "WAITING", "WAITING"]


@pytest.mark.parametrize(
    ("ledger", "word"),
    [
        (EMPTY, Word.NOTHING),
        (UNDONE, Word.TOOK_EFFECT),
        (Ledger(is_amended=True), Word.AMENDED),
        (Ledger(is_accepted=True), Word.ACCEPTED),
    ],
)
def test_of_a_cleared_step_one_word_is_left(ledger: Ledger, word: Word) -> None:
    assert merger_of(going_back()).word(1, COMPENSATED, ledger) is word
    assert ledger.word is word


def test_a_step_is_not_merged_whose_claim_is_wrong() -> None:
    merger = merger_of(going_back())
    assert merger.word(1, COMPENSATED, DONE) is None
    assert merger.word(1, COMPENSATED, Ledger(effects=2, undone=2)) is None


def test_a_step_is_not_merged_of_which_a_copy_may_still_take_effect() -> None:
    merger = merger_of(going_back("b no-dedupe\nub no-dedupe"))
    assert merger.word(1, COMPENSATED, Ledger(effects=1, undone=1)) is Word.TOOK_EFFECT
    assert merger.word(1, COMPENSATED, Ledger(effects=1, undone=1, late=1)) is None
    assert merger.word(1, COMPENSATED, Ledger(effects=1, undone=1, undo_late=1)) is None
    assert merger.word(1, COMPENSATED, Ledger(effects=1, undone=1, stray=1)) is None


def test_what_a_person_s_calls_make_good_is_merged_where_tools_answer_all_copies_alike() -> None:
    ledger = Ledger(memory=Memory.DONE, effects=1, undo_late=1)
    assert merger_of(going_back()).word(1, STUCK, ledger) is Word.TOOK_EFFECT
    assert merger_of(going_back("ub no-dedupe")).word(1, STUCK, ledger) is None


def test_a_step_is_handed_over_once_a_person_supplied_the_calls_for_it() -> None:
    play = Play("1 a / ua ; undo-retry=1\n2 b")
    play.ok(1)
    play.rejected(2)
    play.rejected(1, direction=UNDO)
    assert (play.state, handed_over_steps(play.saga)) == ("NEEDS_HUMAN", ())
    play.offer(1, "ua")
    assert (play.state, handed_over_steps(play.saga)) == ("COMPENSATING(1)", (0,))


def test_past_the_point_of_no_return_what_is_done_is_done() -> None:
    play = Play("1 a / ua\n2 pay ; kind=pivot\n3 tell ; kind=retriable")
    play.ok(1)
    assert done_steps(play.saga) == ()
    play.ok(2)
    assert done_steps(play.saga) == (0, 1)
    merger = merger_of(play)
    assert merger.done(0, Ledger(is_vouched=True)) == DONE
    assert merger.done(0, DONE) == DONE
    doubled = Ledger(memory=Memory.DONE, effects=2)
    assert merger.done(0, doubled) is doubled


def test_a_forgotten_call_counts_only_where_its_undo_may_be_next_and_goes_by_it() -> None:
    plain, fenced = (Play(THREE, f"a {more}retention=60") for more in ("", "fenced "))
    for play in (plain, fenced):
        play.ok(1)
    assert (forgotten_steps(plain.saga), forgotten_steps(fenced.saga)) == ((0,), ())
    for play in (plain, fenced):
        play.ok(2)
        assert forgotten_steps(play.saga) == (0,)
    merger = merger_of(plain)
    assert merger.fresh(Ledger(effects=1)) == DONE
    assert merger.fresh(DONE) == DONE
    assert merger.fresh(Ledger(effects=1, late=1)) is None


def test_a_doubt_may_be_resolved_and_a_refusal_may_not() -> None:
    doubtful = Play("1 a / ua ; after=- retry=1\n2 b / ub ; after=-")
    doubtful.unknown(1)
    assert not is_going_back_for_good(doubtful.saga)
    doubtful.rejected(2)
    assert is_going_back_for_good(doubtful.saga)


def test_why_a_saga_goes_back_for_good_makes_no_difference() -> None:
    names = Normaliser()
    keys = set()
    for turn in ("bad", "cancel"):
        play = Play("1 a / ua ; after=-\n2 b / ub ; after=-")
        play.ok(1)
        if turn == "bad":
            play.bad(2)
        else:
            play.cancel()
            play.ok(2)
        normal, _key = names.normal(play.saga)
        _merged, key = names.normal(merger_of(play).saga(normal, 0, 0))
        keys.add(key)
    assert len(keys) == 1


def undone_last(plan: str = THREE) -> Saga:
    """Return a normal saga that undoes its second step, its first one being done."""
    play = Play(plan)
    play.ok(1, {"id": "a"})
    play.ok(2)
    play.rejected(3)
    assert play.state == "COMPENSATING(2)"
    return Normaliser().normal(play.saga)[0]


def merged_first(saga: Saga) -> Saga:
    program = saga.program
    merger = Merger(program, [StepWorld(spec) for spec in program.steps])
    return merger.saga(saga, 0, 0)


def test_a_step_that_is_to_be_undone_is_that_however_it_was_done() -> None:
    saga = undone_last()
    plain = merged_first(saga)
    assert plain.steps[0] == replace(saga.steps[0], output=None)
    first, *rest = plain.steps
    for done in (
        {"output": {"id": "b"}},
        {"approved_by": "someone"},
        {"is_doubted": True},
        {"has_bad_output": True},
        {"not_after": 1e9},
        {"approved_by": "someone", "is_doubted": True, "not_after": 1e9},
    ):
        succeeded = saga.succeeded & ~1 if "has_bad_output" in done else saga.succeeded
        other = replace(saga, steps=(replace(first, **done), *rest), succeeded=succeeded)
        assert merged_first(other) == plain, done
    assert merged_first(plain) is plain, "nothing is left to merge"


def test_what_an_undo_is_still_to_read_is_kept() -> None:
    saga = undone_last("1 a / ua\n2 b / ub id=$output.step_1.id\n3 c")
    assert merged_first(saga).steps[0].output == {"id": "a"}
    approved = replace(saga.steps[0], approved_by="someone")
    merged = merged_first(replace(saga, steps=(approved, *saga.steps[1:])))
    assert merged == merged_first(saga)
    assert undone_last().steps[0].output == {"id": "a"}
    assert merged_first(undone_last()).steps[0].output is None


def test_a_person_s_word_on_what_is_done_stays() -> None:
    play = Play("1 a / ua\n2 pay ; kind=pivot\n3 tell ; kind=retriable")
    play.ok(1)
    play.ok(2)
    merger = merger_of(play)
    for said in (
        Ledger(is_accepted=True),
        Ledger(is_amended=True),
        Ledger(effects=1, is_accepted=True),
        Ledger(effects=1, is_amended=True),
    ):
        assert merger.done(0, said) is said


def test_on_the_way_back_what_was_refused_or_only_read_is_cleared() -> None:
    play = Play("1 a / ua\n2 b / ub\n3 look ; kind=read_only\n4 c / uc\n5 d")
    for number in range(1, 5):
        play.ok(number)
    play.rejected(5)
    assert play.statuses == "SUCCEEDED SUCCEEDED SUCCEEDED COMPENSATING REJECTED"
    assert cleared_steps(play.saga) == ((2, StepStatus.SUCCEEDED), (4, REJECTED))
    reading = Play("1 a / ua ; after=-\n2 look ; kind=read_only after=-\n3 c / uc ; after=-")
    reading.rejected(3)
    assert reading.statuses == "RUNNING RUNNING REJECTED"
    assert cleared_steps(reading.saga) == ((2, REJECTED),)


def test_a_saga_that_goes_one_way_for_good_may_be_merged() -> None:
    back = Play("1 a / ua\n2 b / ub")
    back.ok(1)
    back.bad(2)
    assert back.statuses == "SUCCEEDED COMPENSATING"
    assert is_mergeable(back.saga)
    forward = Play("1 pay ; kind=pivot\n2 tell ; kind=retriable")
    assert not is_mergeable(forward.saga)
    forward.ok(1)
    assert is_mergeable(forward.saga)


def test_what_a_person_cannot_write_down_is_not_handed_over() -> None:
    play = Play("1 a / ua ; undo-retry=1\n2 b")
    play.ok(1)
    play.rejected(2)
    play.rejected(1, direction=UNDO)
    play.offer(1, "ua")
    first, second = play.saga.steps
    assert first.undo is not None
    for reason, handed_over in (("stuck", (0,)), ("unresolvable", ())):
        undo = replace(first.undo, stuck_reason=reason)
        saga = replace(play.saga, steps=(replace(first, undo=undo), second))
        assert handed_over_steps(saga) == handed_over


@pytest.mark.parametrize(("more", "idle"), [("", (0,)), ("fenced ", ())])
def test_while_a_step_is_undone_its_call_may_be_forgotten_where_the_undo_does_not_go_by_it(
    more: str, idle: tuple[int, ...]
) -> None:
    play = Play("1 a / ua ; undo-retry=1\n2 b", f"a {more}retention=60")
    assert forgotten_steps(play.saga) == (), "it is under way"
    play.ok(1)
    play.rejected(2)
    assert (str(play.step(1).status), forgotten_steps(play.saga)) == ("COMPENSATING", idle)
    play.rejected(1, direction=UNDO)
    assert (str(play.step(1).status), forgotten_steps(play.saga)) == ("STUCK", idle)
    play.settle(1)
    assert forgotten_steps(play.saga) == ()


def test_a_call_whose_answer_cannot_be_used_is_asked_again_and_so_must_be_remembered() -> None:
    play = Play("1 a / ua\n2 b", "a retention=60")
    play.ok(1)
    assert forgotten_steps(play.saga) == (0,)
    first = replace(play.saga.steps[0], has_bad_output=True)
    assert forgotten_steps(replace(play.saga, steps=(first, play.saga.steps[1]))) == ()


def test_while_it_is_open_whether_a_saga_goes_back_only_what_is_gone_is_cleared() -> None:
    play = Play("1 a / ua ; after=- approval=yes\n2 b / ub ; after=- retry=1")
    play.deny(1)
    assert play.statuses.split()[0] == "REJECTED"
    doubtful = Play("1 a / ua ; after=- retry=1\n2 b / ub ; after=1")
    doubtful.unknown(1)
    assert (doubtful.state, cleared_steps(doubtful.saga)) == ("NEEDS_HUMAN", ())
    skipped = StepState(status=StepStatus.SKIPPED)
    steps = (doubtful.saga.steps[0], skipped)
    assert cleared_steps(replace(doubtful.saga, steps=steps)) == ((1, StepStatus.SKIPPED),)
    assert is_mergeable(replace(doubtful.saga, steps=steps))


def test_of_what_is_merged_only_what_is_to_be_undone_still_counts_as_done() -> None:
    play = Play("1 a / ua\n2 look ; kind=read_only\n3 b / ub\n4 c / uc\n5 d")
    for number in range(1, 5):
        play.ok(number)
    play.rejected(5)
    saga = Normaliser().normal(play.saga)[0]
    assert saga.succeeded == 0b0111
    merged = merger_of(play).saga(saga, 0b10010, 0)
    assert merged.succeeded == 0b0101
    bad = replace(saga.steps[2], has_bad_output=True)
    saga = replace(saga, steps=(*saga.steps[:2], bad, *saga.steps[3:]), succeeded=0b0011)
    assert merger_of(play).saga(saga, 0b10010, 0) == merged


def test_at_an_end_where_nothing_was_undone_what_is_merged_was_skipped() -> None:
    play = Play("1 a / ua ; after=-\n2 b / ub ; after=-")
    play.rejected(1)
    play.rejected(2)
    assert play.state == "FAILED"
    merged = merger_of(play).saga(play.saga, 0b11, 0)
    assert {str(step.status) for step in merged.steps} == {"SKIPPED"}


def test_a_call_that_is_taken_for_one_that_is_not_forgotten_was_made_just_now() -> None:
    play = Play(THREE, "a retention=60\nb retention=60")
    play.ok(1)
    play.ok(2)
    saga = Normaliser().normal(play.saga)[0]
    aged = tuple(replace(step, started_at=LONG_OVER) for step in saga.steps[:2])
    old = replace(saga, steps=(*aged, saga.steps[2]))
    merger = merger_of(play)
    assert merger.saga(old, 0, 0b11) == saga
    one = merger.saga(old, 0, 0b10)
    assert [step.started_at for step in one.steps[:2]] == [LONG_OVER, NOW]
    assert merger.saga(old, 0, 0) is old
    assert merger.saga(saga, 0, 0b11) is saga


def test_a_step_is_not_merged_of_which_it_is_not_true_that_it_is_done() -> None:
    play = Play("1 a / ua\n2 pay ; kind=pivot\n3 tell ; kind=retriable")
    play.ok(1)
    play.ok(2)
    assert merger_of(play).done(0, EMPTY) is EMPTY
