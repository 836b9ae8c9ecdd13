"""Journals are input: whatever is wrong with one is said of that one, and of no other."""

from __future__ import annotations

import datetime
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from msgspec.structs import replace
from pydantic import ValidationError

from fsm_saga.coordinator.reading import read_saga, read_saga_at
from fsm_saga.core.records import ActionSucceeded, Record, SagaSubmitted, StepsAppended
from fsm_saga.errors import CorruptRecordError
from fsm_saga.plan.model import Plan
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


def test_a_plan_that_was_read_before_is_held_against_its_own_hash_again() -> None:
    first = journal()[0]
    assert isinstance(first, SagaSubmitted)
    read_saga([first])
    with pytest.raises(CorruptRecordError, match="does not match its hash"):
        read_saga([replace(first, plan_hash="0" * 64)])
    read_saga([first])


@pytest.mark.parametrize(
    ("sound", "unsound"),
    [
        (None, float("nan")),
        (1, True),
        (1, 1.0),
        ("2026-01-01", datetime.date(2026, 1, 1)),
        ([1], (1,)),
        ({}, MappingProxyType({})),
    ],
)
def test_only_exactly_the_same_plan_was_read_before(sound: Any, unsound: Any) -> None:
    """What JSON would write alike, or Python holds for equal, is checked for itself."""
    play = Play("1 a / ua")
    first = play.journal[0]
    assert isinstance(first, SagaSubmitted)

    def with_input(value: Any) -> SagaSubmitted:
        plan = {**first.plan, "inputs": {"it": value}}
        known = Plan.model_validate({**first.plan, "inputs": {"it": sound}})
        return replace(first, plan=plan, plan_hash=known.content_hash())

    read_saga([with_input(sound)])
    try:
        expected = Plan.model_validate(with_input(unsound).plan).content_hash()
    except ValidationError:
        expected = "refused"
    if expected == with_input(sound).plan_hash:
        read_saga([with_input(unsound)])
    else:
        with pytest.raises(CorruptRecordError):
            read_saga([with_input(unsound)])


def test_who_changes_the_inputs_of_a_saga_changes_no_other_reading_of_its_plan() -> None:
    play = Play("1 a / ua")
    first = play.journal[0]
    assert isinstance(first, SagaSubmitted)
    plan = Plan.model_validate({**first.plan, "inputs": {"who": {"name": "Ann"}}})
    body = orjson.loads(plan.canonical_json())
    record = replace(first, plan=body, plan_hash=plan.content_hash())
    for _reading in range(3):
        saga = read_saga([record])[0]
        assert saga.program.inputs == {"who": {"name": "Ann"}}
        saga.program.inputs["who"]["name"] = "Bob"
        saga.program.inputs.update(more=1)  # type: ignore[attr-defined]  # as somebody might
    assert body["inputs"] == {"who": {"name": "Ann"}}


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
