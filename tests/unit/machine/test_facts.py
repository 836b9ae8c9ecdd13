from __future__ import annotations

from fsm_saga.machine.facts import EXIT_WORDS, StepFacts, coverage_of, facts_of, way_back_of
from tests.modelcheck.programs import (
    APPROVED,
    CHECKED,
    COMPENSATABLE,
    PIVOT,
    READ_ONLY,
    RETRIABLE,
    SEMANTIC,
    TIMED,
    make_program,
)


def test_the_facts_of_a_step_are_these_as_json() -> None:
    (first, second) = facts_of(make_program((APPROVED, PIVOT)))
    assert first.as_json() == {
        "step_id": 0,
        "name": "do",
        "kind": "compensatable",
        "way_back": "mechanical",
        "is_point_of_no_return": False,
        "is_after_no_return": False,
        "exit": "resend",
        "exit_words": "it is sent again under its req_id until its tool answers, else a person",
        "needs_approval": True,
    }
    assert second.as_json() == first.as_json() | {
        "step_id": 1,
        "kind": "pivot",
        "way_back": "none",
        "is_point_of_no_return": True,
        "needs_approval": False,
    }


def test_a_step_is_after_the_point_of_no_return_if_it_waits_for_one() -> None:
    steps = (COMPENSATABLE, PIVOT, RETRIABLE, COMPENSATABLE, COMPENSATABLE)
    program = make_program(steps, ((), (0,), (1,), (2,), ()))
    found = facts_of(program)
    assert [fact.is_after_no_return for fact in found] == [False, False, True, True, False]
    assert [fact.is_point_of_no_return for fact in found] == [False, True, True, False, False]


def test_each_way_back_has_a_word() -> None:
    program = make_program((COMPENSATABLE, SEMANTIC, PIVOT, READ_ONLY))
    assert [way_back_of(spec) for spec in program.steps] == [
        "mechanical",
        "semantic",
        "none",
        "not_needed",
    ]


def test_each_exit_is_told_in_words() -> None:
    for step in (CHECKED, TIMED, READ_ONLY, PIVOT):
        (fact,) = facts_of(make_program((step,)))
        assert fact.exit_words == next(
            words for exit_, words in EXIT_WORDS.items() if exit_.value == fact.exit
        )


def facts(*ways: str) -> tuple[StepFacts, ...]:
    return tuple(
        StepFacts(
            step_id=number,
            name="do",
            kind="compensatable",
            way_back=way,
            is_point_of_no_return=False,
            is_after_no_return=False,
            exit="resend",
            exit_words="",
            needs_approval=False,
        )
        for number, way in enumerate(ways)
    )


def test_the_coverage_is_of_the_steps_with_an_effect() -> None:
    assert coverage_of(facts("mechanical", "semantic", "none", "not_needed")) == {
        "mechanical": 33,
        "semantic": 33,
        "none": 33,
    }
    assert coverage_of(facts("mechanical", "mechanical", "none", "not_needed")) == {
        "mechanical": 67,
        "semantic": 0,
        "none": 33,
    }
    plain = {"mechanical": 100, "semantic": 0, "none": 0}
    assert coverage_of(()) == coverage_of(facts("not_needed")) == plain
