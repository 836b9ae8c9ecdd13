"""What a reader is told of a verification."""

from __future__ import annotations

from typing import Any

import pytest

from fsm_saga.machine.facts import StepFacts
from fsm_saga.machine.properties import PROPERTIES
from fsm_saga.machine.search import PathStep
from fsm_saga.machine.verify import Verification, Violation, verify_program
from tests.unit.machine.test_verify import BOOK, LOOK, PAY, SORRY, TELL, forgetful, program_of

BROKEN_TEXT = """\
Broken: 2 of 21 properties do not hold.
  searched 25 configurations, 54 moves, 8 deep: all there are
C2: FAILED means that no effect is left but what a person settled or made good
  but step 2: it is called rejected, and its effect is there (in 1 places), for example so:
     1. submitted -> EXECUTING(1)
     2. step 1 (Look): done -> EXECUTING(2)
     3. step 2 (Book): no answer -> FAILED
     4. step 2 (Book): a late copy arrives and takes effect -> FAILED
OUTCOME: the outcome says what is left in the world
  but the outcome of FAILED is called nothing_happened (in 1 places), for example so:
     1. submitted -> EXECUTING(1)
     2. step 1 (Look): done -> EXECUTING(2)
     3. step 2 (Book): no answer -> FAILED
     4. step 2 (Book): a late copy arrives and takes effect -> FAILED
Ends:
  DONE, committed (1 configurations)
  FAILED, amended (1 configurations)
  FAILED, compensated (1 configurations)
  FAILED, nothing_happened (3 configurations)
  FAILED, partly_compensated (1 configurations)
  NEEDS_HUMAN, unknown (4 configurations)
Ways back of the steps with an effect: 100 % mechanical, 0 % semantic, 0 % none.
  step 1 (Look): read_only, way back: not_needed
  step 2 (Book): compensatable, way back: mechanical
In doubt:
  step 1 (Look): it only reads, so there is nothing to settle
  step 2 (Book): it is undone at once, and its tool keeps a late copy out
A person may be asked:
  step 2 (Book): its undo was refused, or was never answered: retry, settled, calls"""

STEPS_TEXT = """\
Ways back of the steps with an effect: 25 % mechanical, 25 % semantic, 50 % none.
  step 1 (Look): read_only, way back: not_needed
  step 2 (Book): compensatable, way back: mechanical
  step 3 (Mail): compensatable, way back: semantic
  step 4 (Pay): pivot, way back: none, point of no return, needs approval
  step 5 (Tell): retriable, way back: none, point of no return
In doubt:
  step 1 (Look): it only reads, so there is nothing to settle
  step 2 (Book): it is undone at once, and its tool keeps a late copy out
  steps 3 (Mail), 4 (Pay), 5 (Tell): it is sent again under its req_id until its tool answers, \
else a person
A person may be asked:
"""


@pytest.fixture(scope="module")
def proven() -> Verification:
    return verify_program(program_of(LOOK, BOOK, SORRY, PAY, TELL))


@pytest.fixture(scope="module")
def broken() -> Verification:
    return verify_program(program_of(LOOK, BOOK), decider=forgetful)


def fact(step_id: int, **more: Any) -> StepFacts:
    said: dict[str, Any] = {
        "step_id": step_id,
        "name": f"n{step_id}",
        "kind": "compensatable",
        "way_back": "mechanical",
        "is_point_of_no_return": False,
        "is_after_no_return": False,
        "exit": "resend",
        "exit_words": "sent again",
        "needs_approval": False,
    }
    return StepFacts(**said | more)


def result(**more: Any) -> Verification:
    said: dict[str, Any] = {
        "is_exhaustive": True,
        "configurations": 1234,
        "unvisited": 0,
        "transitions": 5678,
        "depth": 9,
        "walks": 0,
        "walked": 0,
        "walk_depth": 0,
        "seed": 3,
        "violations": (),
        "ends": (("DONE", "committed", 1000),),
        "by_person_only": 0,
        "questions": (),
        "steps": (fact(1),),
        "coverage": {"mechanical": 100, "semantic": 0},
    }
    return Verification(**said | more)


def test_the_text_of_a_broken_plan_is_this(broken: Verification) -> None:
    assert broken.as_text() == BROKEN_TEXT


def test_the_steps_that_share_what_is_said_of_them_share_a_line(proven: Verification) -> None:
    assert STEPS_TEXT in proven.as_text()


def test_the_text_of_a_plan_of_which_nothing_is_asked_is_this() -> None:
    assert result().as_text().splitlines() == [
        "Proven: all 21 properties hold in every history.",
        "  searched 1,234 configurations, 5,678 moves, 9 deep: all there are",
        "Ends:",
        "  DONE, committed (1,000 configurations)",
        "Ways back of the steps with an effect: 100 % mechanical, 0 % semantic.",
        "  step 1 (n1): compensatable, way back: mechanical",
        "In doubt:",
        "  step 1 (n1): sent again",
    ]


def test_the_text_of_a_plan_that_was_sampled_is_this() -> None:
    sampled = result(
        is_exhaustive=False, unvisited=4321, walks=2000, walked=3000, walk_depth=1500
    ).as_text()
    assert sampled.splitlines()[:6] == [
        "Sampled, not proven: the plan is too large to be searched whole.",
        "  No property was found broken in what was seen of it.",
        "  searched 1,234 configurations, 5,678 moves: all within 9 moves of the start",
        "  left 4,321 more that were reached, and all that lies behind them",
        "  walked 2,000 ways at random (seed 3), up to 1,500 moves long, through 3,000 "
        "configurations",
        "Ends:",
    ]


@pytest.mark.parametrize(
    ("count", "line"),
    [
        (1, "  step 1 (n1): sent again"),
        (2, "  steps 1 (n1), 2 (n2): sent again"),
        (6, "  steps 1 (n1), 2 (n2), 3 (n3), 4 (n4), 5 (n5), 6 (n6): sent again"),
        (7, "  steps 1 (n1), 2 (n2), 3 (n3), 4 (n4), 5 (n5), 6 (n6) and 1 more: sent again"),
        (9, "  steps 1 (n1), 2 (n2), 3 (n3), 4 (n4), 5 (n5), 6 (n6) and 3 more: sent again"),
    ],
)
def test_six_steps_are_named_and_the_others_counted(count: int, line: str) -> None:
    steps = tuple(fact(number) for number in range(1, count + 1))
    assert result(steps=steps).as_text().splitlines()[-1] == line


@pytest.mark.parametrize(
    ("count", "end"), [(8, []), (9, ["  and 1 more kinds"]), (11, ["  and 3 more kinds"])]
)
def test_eight_kinds_are_told_and_the_others_counted(count: int, end: list[str]) -> None:
    steps = tuple(fact(number, exit_words=f"way {number}") for number in range(1, count + 1))
    lines = result(steps=steps).as_text().splitlines()
    told = lines[lines.index("In doubt:") + 1 :]
    assert told == [f"  step {n} (n{n}): way {n}" for n in range(1, 9)] + end


def test_a_step_is_marked_as_what_it_is_to_the_way_back() -> None:
    said = [
        (fact(1, is_point_of_no_return=True, is_after_no_return=True), "point of no return"),
        (fact(1, is_after_no_return=True), "after the point of no return"),
        (fact(1, needs_approval=True), "needs approval"),
    ]
    for step, words in said:
        marks = f"  step 1 (n1): compensatable, way back: mechanical, {words}"
        assert marks in result(steps=(step,)).as_text().splitlines()


@pytest.mark.parametrize(("length", "shown"), [(20, 20), (21, 20), (25, 20)])
def test_of_a_long_history_the_end_is_told(length: int, shown: int, broken: Verification) -> None:
    saga = broken.violations[0].path[0].saga
    path = tuple(PathStep(f"e{number}", saga) for number in range(1, length + 1))
    violation = Violation(
        code="C9", title="all is well", message="it is not", count=1200, path=path
    )
    lines = result(violations=(violation,)).as_text().splitlines()
    before = [] if length == shown else [f"    ... {length - shown} events before"]
    assert lines[2 : lines.index("Ends:")] == [
        "C9: all is well",
        "  but it is not (in 1,200 places), for example so:",
        *before,
        *(f"    {n:2}. e{n} -> EXECUTING(1)" for n in range(length - shown + 1, length + 1)),
    ]


def test_the_json_of_a_violation_has_the_saga_after_each_event(broken: Verification) -> None:
    assert broken.violations[0].as_json() == {
        "code": "C2",
        "title": PROPERTIES["C2"],
        "message": "step 2: it is called rejected, and its effect is there",
        "count": 1,
        "path": [
            {"event": "submitted", "state": "EXECUTING(1)", "steps": ["RUNNING", "WAITING"]},
            {
                "event": "step 1 (Look): done",
                "state": "EXECUTING(2)",
                "steps": ["SUCCEEDED", "RUNNING"],
            },
            {
                "event": "step 2 (Book): no answer",
                "state": "FAILED",
                "steps": ["SUCCEEDED", "REJECTED"],
            },
            {
                "event": "step 2 (Book): a late copy arrives and takes effect",
                "state": "FAILED",
                "steps": ["SUCCEEDED", "REJECTED"],
            },
        ],
    }


def test_the_json_of_a_question_is_this(broken: Verification) -> None:
    assert [question.as_json() for question in broken.questions] == [
        {
            "step_id": 2,
            "name": "Book",
            "status": "STUCK",
            "why": "its undo was refused, or was never answered",
            "answers": ["retry", "settled", "calls"],
        }
    ]


def test_the_json_of_a_verification_has_its_numbers() -> None:
    said = result(
        is_exhaustive=False, unvisited=11, walks=12, walked=13, walk_depth=14, by_person_only=15
    ).as_json()
    numbers = {name: said[name] for name in said if isinstance(said[name], int | str)}
    assert numbers == {
        "verdict": "sampled",
        "is_proven": False,
        "is_sound": True,
        "is_exhaustive": False,
        "configurations": 1234,
        "unvisited": 11,
        "transitions": 5678,
        "depth": 9,
        "walks": 12,
        "walked": 13,
        "walk_depth": 14,
        "seed": 3,
        "by_person_only": 15,
    }
    assert said["ends"] == [{"state": "DONE", "outcome": "committed", "configurations": 1000}]
    assert said["coverage"] == {"mechanical": 100, "semantic": 0}
    assert said["violations"] == said["questions"] == []
    assert said["steps"] == [fact(1).as_json()]
