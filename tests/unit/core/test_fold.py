"""Records -> saga. ``Play`` folds every journal again; here is what it cannot meet."""

from __future__ import annotations

import pytest

from fsm_saga.core import fold as fold_module
from fsm_saga.core import records as r
from fsm_saga.core.draft import APPLY, Draft
from fsm_saga.core.fold import fold
from fsm_saga.core.states import Direction, StepStatus
from fsm_saga.errors import InvariantBrokenError
from tests.support.play import Play


def test_there_is_a_rule_for_every_type_of_record() -> None:
    assert set(APPLY) == set(r.RECORD_TYPES.values())


def test_a_rule_is_found_under_the_type_of_its_record() -> None:
    class Invented(r.Record, frozen=True, kw_only=True):
        pass

    def rule(draft: Draft, record: Invented) -> None:
        pass

    assert fold_module._folds(Invented)(rule) is rule
    assert APPLY.pop(Invented) is rule


def test_a_journal_without_a_beginning_is_none() -> None:
    program = Play("1 a / ua").saga.program
    with pytest.raises(InvariantBrokenError, match=r"^a journal has at least one record"):
        fold([], lambda _record: program)
    with pytest.raises(InvariantBrokenError, match=r"^a journal starts with SagaSubmitted"):
        fold([r.CancelRequested(at=0.0, by="ann")], lambda _record: program)


def test_only_records_that_carry_a_plan_are_compiled() -> None:
    play = Play("1 a / ua", is_open=True)
    play.grow("2 b / ub")
    play.ok(1)
    play.ok(2)
    play.close()
    compiled: list[str] = []

    def program_of(record: r.Record) -> object:
        compiled.append(type(record).__name__)
        return play.saga.program

    fold(play.journal, program_of)  # type: ignore[arg-type]
    assert compiled == ["SagaSubmitted", "StepsAppended", "PlanClosed"]


def test_an_undo_record_without_an_undo_is_a_bug() -> None:
    draft = Draft.of(Play("1 a / ua").saga)
    for record in (
        r.UndoSucceeded(at=0.0, step=0, call=0, is_last=True),
        r.AttemptStarted(at=0.0, step=0, direction=Direction.UNDO, attempt=2),
        r.CallInterrupted(at=0.0, step=0, direction=Direction.UNDO),
    ):
        with pytest.raises(InvariantBrokenError, match="has no undo under way"):
            draft.apply(record)


def test_a_rule_changes_the_draft_by_what_the_record_says_and_counts_it() -> None:
    draft = Draft.of(Play("1 a / ua").saga)
    before = draft.position
    draft.apply(r.ReplyIgnored(at=7.0, step=0, direction=Direction.DO, outcome="x", detail="y"))
    assert (draft.position, draft.updated_at) == (before + 1, 7.0)
    assert draft.steps[0].status is StepStatus.RUNNING


def test_the_first_reason_to_stop_stands() -> None:
    draft = Draft.of(Play("1 a / ua").saga)
    draft.apply(r.DeadlinePassed(at=0.0))
    draft.apply(r.CancelRequested(at=0.0, by="ann"))
    assert draft.stop == "deadline_passed"
    draft = Draft.of(Play("1 a / ua").saga)
    draft.apply(r.CancelRequested(at=0.0, by="ann"))
    draft.apply(r.DeadlinePassed(at=0.0))
    assert draft.stop == "cancelled"


def test_the_deadline_counts_from_the_start_and_not_from_a_return() -> None:
    play = Play("1 a / ua ; retry=1\n2 b / ub\ndeadline 100")
    assert play.saga.deadline_at == 100.0
    play.at = 50.0
    play.unknown(1)
    play.supply(1, {"id": "x"})
    assert (play.state, play.saga.deadline_at) == ("EXECUTING(2)", 100.0)


def test_the_module_says_nothing_else() -> None:
    public = [name for name in vars(fold_module) if not name.startswith("_")]
    assert "fold" in public
