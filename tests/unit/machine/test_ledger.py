"""What each act does at a step's tools: the model that every proof rests on."""

from __future__ import annotations

from typing import Any

import pytest

from fsm_saga.core.contract import ToolContract
from fsm_saga.machine.ledger import (
    COPIES_MAX,
    EMPTY,
    Act,
    Ledger,
    Memory,
    StepWorld,
    Word,
    more,
)
from tests.modelcheck.programs import READ_ONLY, Step, make_program

DONE = Ledger(memory=Memory.DONE, effects=1)
REFUSED = Ledger(memory=Memory.REFUSED)


def world(*, has_doubles: bool = False, undo: ToolContract | None = None, **said: Any) -> StepWorld:
    step = Step(contract=ToolContract(**said), undo_contract=undo or ToolContract())
    (spec,) = make_program((step,)).steps
    return StepWorld(spec, has_doubles=has_doubles)


PLAIN = world()
FORGETFUL = world(dedupe=False)
UNSTICKY = world(sticky_failures=False)


def test_copies_and_effects_are_counted_to_two() -> None:
    assert [more(0), more(1), more(2)] == [1, 2, 2]
    assert COPIES_MAX == 2


def test_a_copy_that_arrives_takes_effect_once_at_a_tool_that_remembers() -> None:
    assert PLAIN.after(Act.DO, EMPTY) == DONE
    assert PLAIN.after(Act.DO, DONE) == DONE
    assert PLAIN.after(Act.DO, REFUSED) is None, "it answers every copy alike"


def test_a_copy_that_arrives_takes_effect_each_time_at_a_tool_that_does_not() -> None:
    once = FORGETFUL.after(Act.DO, EMPTY)
    assert once == Ledger(effects=1)
    assert FORGETFUL.after(Act.DO, once) == Ledger(effects=2)


def test_a_refusal_is_remembered_where_refusals_are_sticky() -> None:
    assert PLAIN.after(Act.REFUSE, EMPTY) == REFUSED
    assert PLAIN.after(Act.REFUSE, DONE) is None
    assert UNSTICKY.after(Act.REFUSE, EMPTY) == EMPTY
    doubled = world(sticky_failures=False, has_doubles=True)
    assert doubled.after(Act.REFUSE, EMPTY) == Ledger(late=1), "a second copy is on its way"
    assert doubled.after(Act.REFUSE, Ledger(late=2)) == Ledger(late=2)


def test_a_lost_copy_may_arrive_later_and_then_takes_effect() -> None:
    lost = PLAIN.after(Act.LOSE, EMPTY)
    assert lost == Ledger(late=1)
    assert PLAIN.after(Act.ARRIVE_LATE, lost) == DONE
    assert PLAIN.after(Act.ARRIVE_LATE, EMPTY) is None, "there is none"
    assert PLAIN.after(Act.LOSE, lost) == lost, "copies at a steady tool are all alike"
    assert UNSTICKY.after(Act.LOSE, lost) == Ledger(late=2)
    assert PLAIN.after(Act.LOSE, DONE) == DONE, "what it remembers it does not do again"


def test_a_success_is_heard_late_only_of_what_happened_or_happens_then() -> None:
    assert PLAIN.after(Act.ANSWER_LATE, EMPTY) is None
    assert PLAIN.after(Act.ANSWER_LATE, DONE) == DONE
    assert PLAIN.after(Act.ANSWER_LATE, Ledger(late=1)) == DONE
    assert FORGETFUL.after(Act.ANSWER_LATE, Ledger(effects=1)) == Ledger(effects=1)


def test_a_call_under_a_new_id_leaves_its_copies_behind_as_strays() -> None:
    assert UNSTICKY.after(Act.RENEW, Ledger(late=1)) == Ledger(stray=1)
    assert UNSTICKY.after(Act.RENEW, Ledger(late=2, stray=1)) == Ledger(stray=2)
    assert PLAIN.after(Act.RENEW, REFUSED) == EMPTY
    assert PLAIN.after(Act.ARRIVE_STRAY, Ledger(stray=2)) == Ledger(stray=1, effects=1)
    assert PLAIN.after(Act.ARRIVE_STRAY, EMPTY) is None


def test_a_tool_with_a_deadline_refuses_what_comes_after_it() -> None:
    timed = world(deadline=True)
    closed = timed.after(Act.CLOSE, Ledger(late=1))
    assert closed == Ledger(memory=Memory.FENCED)
    assert timed.after(Act.DO, closed) is None
    assert timed.after(Act.CLOSE, DONE) == DONE
    assert PLAIN.after(Act.CLOSE, Ledger(late=1)) == Ledger(late=1)


def test_a_tool_whose_retention_is_over_knows_nothing_and_no_copy_is_on_its_way() -> None:
    kept = world(retention_s=60.0)
    assert kept.after(Act.FORGET, DONE) == Ledger(effects=1)
    assert kept.after(Act.FORGET, Ledger(late=2, undo_late=1)) == EMPTY


def test_a_check_finds_what_is_there() -> None:
    tool = world(check="look")
    assert tool.after(Act.FIND_DONE, DONE) == DONE
    assert tool.after(Act.FIND_DONE, EMPTY) is None
    assert tool.after(Act.FIND_DONE, Ledger(late=1)) == DONE, "it arrives just before"
    assert tool.after(Act.FIND_REFUSED, REFUSED) == REFUSED
    assert tool.after(Act.FIND_REFUSED, EMPTY) is None
    assert tool.after(Act.FIND_REFUSED, Ledger(late=1)) == REFUSED, "it is refused just before"
    assert tool.after(Act.FIND_ABSENT, DONE) is None
    assert tool.after(Act.FIND_ABSENT, REFUSED) is None
    assert tool.after(Act.FIND_ABSENT, Ledger(late=1)) == Ledger(late=1)


def test_nothing_comes_after_a_check_that_fences() -> None:
    tool = world(check="look", check_fences=True)
    fenced = tool.after(Act.FIND_ABSENT, Ledger(late=1))
    assert fenced == Ledger(memory=Memory.FENCED)
    assert tool.after(Act.ARRIVE_LATE, fenced) is None


def test_a_check_does_not_see_an_effect_that_its_tool_has_forgotten() -> None:
    tool = world(check="look", retention_s=60.0)
    forgotten = Ledger(effects=1)
    assert tool.after(Act.FIND_DONE, forgotten) is None
    assert tool.after(Act.FIND_ABSENT, forgotten) == forgotten
    assert tool.after(Act.FIND_DONE, DONE) == DONE


def test_an_undo_takes_the_effect_back_once() -> None:
    undone = PLAIN.after(Act.UNDO, DONE)
    assert undone == DONE._replace(undone=1, undo_memory=Memory.DONE)
    assert undone.left == 0
    assert PLAIN.after(Act.UNDO, undone) == undone
    twice = world(undo=ToolContract(dedupe=False))
    again = twice.after(Act.UNDO, DONE)
    assert again == DONE._replace(undone=1)
    assert twice.after(Act.UNDO, again) == DONE._replace(undone=2)
    assert PLAIN.after(Act.UNDO, EMPTY) == Ledger(undo_memory=Memory.DONE), "of nothing"


def test_an_undo_that_fences_keeps_late_copies_out() -> None:
    tool = world(fenced_compensation=True)
    fenced = tool.after(Act.UNDO, Ledger(late=1))
    assert fenced == Ledger(memory=Memory.FENCED, undo_memory=Memory.DONE)
    assert tool.after(Act.ARRIVE_LATE, fenced) is None
    # Of an action that it has forgotten it makes a null undo: the effect stays.
    forgotten = Ledger(effects=1)
    kept = world(fenced_compensation=True, retention_s=60.0)
    assert kept.after(Act.UNDO, forgotten) == Ledger(memory=Memory.FENCED, effects=1)


def test_an_undo_is_refused_lost_and_late_like_a_call() -> None:
    refused = PLAIN.after(Act.UNDO_REFUSE, DONE)
    assert refused == DONE._replace(undo_memory=Memory.REFUSED)
    assert PLAIN.after(Act.UNDO, refused) is None
    assert PLAIN.after(Act.UNDO_REFUSE, DONE._replace(undo_memory=Memory.DONE)) is None
    unsticky = world(undo=ToolContract(sticky_failures=False))
    assert unsticky.after(Act.UNDO_REFUSE, DONE) == DONE
    lost = PLAIN.after(Act.UNDO_LOSE, DONE)
    assert lost == DONE._replace(undo_late=1)
    assert PLAIN.after(Act.UNDO_LOSE, lost) == lost
    assert unsticky.after(Act.UNDO_LOSE, lost) == DONE._replace(undo_late=2)
    undone = DONE._replace(undone=1, undo_memory=Memory.DONE)
    assert PLAIN.after(Act.UNDO_ARRIVE_LATE, lost) == undone
    assert PLAIN.after(Act.UNDO_ARRIVE_LATE, DONE) is None
    assert PLAIN.after(Act.UNDO_ANSWER_LATE, lost) == undone
    assert PLAIN.after(Act.UNDO_ANSWER_LATE, undone) == undone
    assert PLAIN.after(Act.UNDO_ANSWER_LATE, DONE) is None


def test_an_undo_under_a_new_id_leaves_its_copies_behind_as_strays() -> None:
    before = DONE._replace(undo_memory=Memory.REFUSED, undo_late=0, undo_stray=1)
    assert PLAIN.after(Act.UNDO_RENEW, before) == DONE._replace(undo_stray=1)
    late = DONE._replace(undo_late=2, undo_stray=1)
    assert PLAIN.after(Act.UNDO_RENEW, late) == DONE._replace(undo_stray=2)
    stray = PLAIN.after(Act.UNDO_ARRIVE_STRAY, DONE._replace(undo_stray=1))
    assert stray == DONE._replace(undone=1), "what comes under an old id is not remembered"
    assert PLAIN.after(Act.UNDO_ARRIVE_STRAY, DONE) is None
    remembered = DONE._replace(undone=1, undo_memory=Memory.DONE, undo_late=0)
    assert PLAIN.after(Act.UNDO_FORGET, remembered) == DONE._replace(undone=1)


def test_at_a_steady_tool_a_copy_that_is_sent_stands_for_all_that_are_late() -> None:
    assert PLAIN.after(Act.SEND, Ledger(late=1)) == EMPTY
    assert UNSTICKY.after(Act.SEND, Ledger(late=1)) == Ledger(late=1)
    assert PLAIN.after(Act.UNDO_SEND, DONE._replace(undo_late=1)) == DONE
    unsticky = world(undo=ToolContract(sticky_failures=False))
    late = DONE._replace(undo_late=1)
    assert unsticky.after(Act.UNDO_SEND, late) == late
    assert (PLAIN.is_steady, UNSTICKY.is_steady, FORGETFUL.is_steady) == (True, False, False)
    assert not world(deadline=True).is_steady
    assert not world(retention_s=60.0).is_steady
    assert (PLAIN.is_undo_steady, unsticky.is_undo_steady) == (True, False)


@pytest.mark.parametrize("act", [Act.ACCEPT, Act.AMEND, Act.VOUCH])
def test_a_person_s_word_replaces_what_the_tools_remember(act: Act) -> None:
    said = PLAIN.after(act, EMPTY)
    assert said is not None
    assert PLAIN.after(Act.ARRIVE_LATE, said) is None
    assert PLAIN.after(Act.DO, said) == said
    assert PLAIN.after(Act.REFUSE, said) == said


def test_a_person_settles_amends_and_vouches() -> None:
    assert PLAIN.after(Act.ACCEPT, DONE) == Ledger(is_accepted=True)
    assert PLAIN.after(Act.AMEND, DONE) == Ledger(is_amended=True)
    assert PLAIN.after(Act.VOUCH, DONE) == DONE
    assert PLAIN.after(Act.VOUCH, EMPTY) == Ledger(is_vouched=True)
    assert PLAIN.after(Act.WITNESS, DONE) == DONE
    assert PLAIN.after(Act.WITNESS, EMPTY) is None, "nobody vouches for what is not there"
    assert PLAIN.after(Act.WITNESS, Ledger(late=1)) == DONE
    assert PLAIN.after(Act.WITNESS, Ledger(is_vouched=True)) == Ledger(is_vouched=True)


def test_a_read_leaves_nothing() -> None:
    (spec,) = make_program((READ_ONLY,)).steps
    reading = StepWorld(spec)
    assert reading.after(Act.DO, EMPTY) == EMPTY
    assert reading.after(Act.LOSE, EMPTY) == EMPTY
    assert reading.after(Act.ARRIVE_LATE, EMPTY) is None
    assert reading.after(Act.FIND_DONE, EMPTY) is None


@pytest.mark.parametrize(
    ("ledger", "word"),
    [
        (EMPTY, Word.NOTHING),
        (DONE, Word.TOOK_EFFECT),
        (DONE._replace(is_amended=True), Word.AMENDED),
        (DONE._replace(is_amended=True, is_accepted=True), Word.ACCEPTED),
    ],
)
def test_of_all_words_the_strongest_counts(ledger: Ledger, word: Word) -> None:
    assert ledger.word is word
