"""Journals are input: whatever is wrong with one is said of that one, and of no other."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fsm_saga.coordinator.reading import read_saga, read_saga_at
from fsm_saga.core.records import ActionSucceeded, Record, SagaSubmitted, StepsAppended
from fsm_saga.errors import CorruptRecordError
from tests.support.play import Play


def journal() -> list[Record]:
    play = Play("1 a / ua\n2 b / ub")
    play.ok(1)
    play.ok(2)
    return play.journal


def test_a_saga_can_be_read_as_it_was_at_each_position() -> None:
    records = journal()
    states = [str(read_saga_at(records, position).state) for position in range(1, len(records) + 1)]
    assert states[0] == "PENDING"
    assert states[-1] == "DONE"
    assert states == sorted(states, key=["PENDING", "EXECUTING(1)", "EXECUTING(2)", "DONE"].index)


@pytest.mark.parametrize("position", [0, -1, 100])
def test_a_position_outside_of_the_journal_is_refused(position: int) -> None:
    with pytest.raises(ValueError, match=rf"position {position} is outside 1\.\."):
        read_saga_at(journal(), position)


def test_a_journal_with_a_hole_or_without_a_beginning_is_corrupt() -> None:
    records = journal()
    with pytest.raises(CorruptRecordError, match="cannot take succeeded in WAITING"):
        read_saga([records[0], records[1], *records[3:]])
    with pytest.raises(CorruptRecordError, match="starts with SagaSubmitted"):
        read_saga(records[1:])
    with pytest.raises(CorruptRecordError, match="at least one record"):
        read_saga([])


def test_a_plan_that_is_not_the_one_of_its_hash_is_corrupt() -> None:
    first = journal()[0]
    assert isinstance(first, SagaSubmitted)
    other = replace(first, plan={**first.plan, "goal": "another"})
    with pytest.raises(CorruptRecordError, match="does not match its hash"):
        read_saga([other])
    with pytest.raises(CorruptRecordError, match="no longer has the form of a plan"):
        read_saga([replace(first, plan={"steps": 5})])


def test_a_grown_plan_is_read_with_its_growth_and_a_closed_one_with_its_end() -> None:
    play = Play("1 a / ua", is_open=True)
    play.grow("2 b / ub")
    assert any(isinstance(record, StepsAppended) for record in play.journal)
    saga, reader = read_saga(play.journal)
    assert saga.program.is_open
    assert reader.plan is not None
    assert len(reader.plan.steps) == len(saga.steps) == 2
    play.ok(1)
    play.ok(2)
    play.close()
    assert not read_saga(play.journal)[0].program.is_open


def test_the_fold_takes_any_iterable() -> None:
    saga, _reader = read_saga(iter(journal()))
    assert str(saga.state) == "DONE"
    assert sum(isinstance(record, ActionSucceeded) for record in journal()) == 2
