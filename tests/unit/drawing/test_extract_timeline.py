from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import fields

from fsm_saga.core import records as rec
from fsm_saga.core.records import RECORD_TYPES, Record
from fsm_saga.core.states import Direction
from fsm_saga.drawing.extract_timeline import MARKS, timeline_picture
from fsm_saga.drawing.picture import Node, NodeRole, Picture
from tests.unit.drawing.geometry import faults
from tests.unit.drawing.programs import Step, make_program

TRIP = make_program(
    [
        Step(name="Book the flight", tool="book_flight", undo="cancel_flight"),
        Step(name="Book the hotel", tool="book_hotel", undo="cancel_hotel"),
        Step(name="Rent a car", tool="rent_car", undo="cancel_car"),
    ]
)
NOON = 1_769_947_200.0

VALUES: Mapping[str, Any] = {
    "at": NOON,
    "saga_id": "trip-7",
    "plan_hash": "0",
    "plan": {},
    "tools": {},
    "event": "start",
    "state": "EXECUTING(1)",
    "step": 1,
    "params": {},
    "digest": "d",
    "expires_at": NOON,
    "by": "ann",
    "note": "why",
    "req_id": "r",
    "revision": 0,
    "direction": Direction.DO,
    "attempt": 2,
    "interruption": 1,
    "outcome": "unknown",
    "error": "lost",
    "retry_at": NOON,
    "output": {},
    "undo_params": None,
    "undo_error": None,
    "until": NOON,
    "call": 0,
    "tool": "cancel_hotel",
    "is_last": True,
    "reason": "rejected",
    "as_done": True,
    "calls": (),
    "detail": "late",
}


def make(kind: type[Record], **facts: Any) -> Record:
    """Return a record of this type; what is not said is taken from ``VALUES``."""
    required = {field.name: VALUES[field.name] for field in fields(kind) if field.required}
    return kind(**(required | facts))


def begun(*records: Record) -> Picture:
    return timeline_picture(TRIP, [make(rec.SagaSubmitted), *records])


def boxes(picture: Picture, lane: str) -> list[Node]:
    """Return the boxes of a lane from left to right, its heading left out."""
    return [n for n in picture.nodes if n.id.startswith(f"{lane}-") and n.id != f"{lane}-lane"]


def words(picture: Picture, lane: str) -> list[str]:
    return [" ".join(node.lines) for node in boxes(picture, lane)]


JOURNAL = [
    make(rec.SagaSubmitted),
    make(rec.SagaMoved),
    make(rec.ActionStarted, step=0),
    make(rec.ActionSucceeded, at=NOON + 0.8, step=0),
    make(rec.SagaMoved, at=NOON + 0.8, event="step_succeeded", state="EXECUTING(2)"),
    make(rec.ActionStarted, at=NOON + 0.8),
    make(rec.AttemptFailed, at=NOON + 30.8, attempt=1),
    make(rec.AttemptStarted, at=NOON + 31.8),
    make(rec.ActionRejected, at=NOON + 32),
    make(rec.SagaMoved, at=NOON + 32, event="step_failed", state="COMPENSATING(1)", cause="full"),
    make(rec.UndoStarted, at=NOON + 32, step=0, tool="cancel_flight"),
    make(rec.UndoSucceeded, at=NOON + 33, step=0),
    make(
        rec.SagaMoved, at=NOON + 33, event="effect_cleared", state="FAILED", outcome="compensated"
    ),
]


def test_a_journal_shows_states_calls_and_outcomes_in_their_lanes() -> None:
    picture = timeline_picture(TRIP, JOURNAL)
    assert words(picture, "saga") == [
        "PENDING",
        "EXECUTING(1)",
        "EXECUTING(2)",
        "COMPENSATING(1)",
        "FAILED ✗ compensated",
    ]
    assert words(picture, "step-0") == ["book_flight ✓ succeeded", "cancel_flight ↩ undone"]
    assert words(picture, "step-1") == ["book_hotel ? unknown", "book_hotel ✗ rejected"]
    assert "Steps that were never reached, and are not shown: 1." in picture.notes
    assert picture.title == "What happened in trip-7: Trip to Beijing"


def test_details_are_in_the_tooltips() -> None:
    picture = timeline_picture(TRIP, JOURNAL)
    tips = {node.id: node.tooltip for node in picture.nodes}
    assert tips["saga-3"] == "COMPENSATING(1): step_failed; full"
    assert tips["step-1-1"] == "book_hotel: rejected: lost"
    assert tips["step-0-0"] == "book_flight: succeeded: req_id r"


def test_the_time_between_two_columns_is_written_where_they_meet() -> None:
    picture = timeline_picture(TRIP, JOURNAL)
    ticks = [node.lines[0] for node in picture.nodes if node.id.startswith("tick-")]
    assert ticks == ["+800 ms", "+30 s", "+1 s", "+200 ms", "+1 s"]
    assert (
        "Began 2026-02-01 12:00:00 UTC; from the first record to the last: 33 s." in picture.notes
    )


@pytest.mark.parametrize("kind", RECORD_TYPES.values(), ids=RECORD_TYPES.keys())
def test_every_type_of_record_is_shown(kind: type[Record]) -> None:
    assert kind in MARKS or kind in (rec.SagaSubmitted, rec.SagaMoved)
    before = len(begun().nodes)
    assert len(begun(make(kind, at=NOON + 1)).nodes) > before


@pytest.mark.parametrize("kind", MARKS, ids=lambda kind: kind.__name__)
def test_every_type_of_record_can_follow_an_open_call(kind: type[Record]) -> None:
    """Within the same moment too, and the next call can still begin."""
    picture = begun(
        make(rec.ActionStarted), make(kind), make(rec.AttemptStarted), make(kind, at=NOON + 9)
    )
    assert list(faults(picture)) == []


def test_boxes_of_a_lane_follow_each_other() -> None:
    picture = timeline_picture(TRIP, JOURNAL)
    for lane in ("saga", "step-0", "step-1"):
        frames = [frame for node in boxes(picture, lane) if (frame := node.frame)]
        assert all(before.right < after.left for before, after in pairwise(frames))
        assert all(frame.width > 0 for frame in frames)
    assert list(faults(picture)) == []


def test_what_is_still_open_reaches_to_the_right_end() -> None:
    picture = begun(make(rec.ActionStarted), make(rec.CancelRequested, at=NOON + 5))
    (call,) = boxes(picture, "step-1")
    (asked,) = boxes(picture, "asked")
    assert call.frame is not None
    assert asked.frame is not None
    assert call.frame.right == asked.frame.right
    assert call.role is NodeRole.RUNNING


def test_what_a_person_does_in_between_does_not_end_the_call() -> None:
    picture = begun(
        make(rec.ActionStarted),
        make(rec.ReplyIgnored, at=NOON + 1),
        make(rec.ActionSucceeded, at=NOON + 2),
    )
    assert words(picture, "step-1") == [
        "book_hotel ▶ sent",
        "late reply",
        "book_hotel ✓ succeeded",
    ]


def test_an_answer_without_a_question_stands_alone() -> None:
    picture = begun(make(rec.ActionRejected, at=NOON + 1, was_sent=False))
    assert words(picture, "step-1") == ["✗ rejected"]


@pytest.mark.parametrize(
    ("direction", "tool"),
    [
        (Direction.DO, "book_hotel"),
        (Direction.UNDO, "cancel_hotel"),
        (Direction.CHECK, "book_hotel"),
    ],
)
def test_an_attempt_names_the_tool_of_its_direction(direction: Direction, tool: str) -> None:
    picture = begun(make(rec.AttemptStarted, at=NOON + 1, direction=direction))
    assert boxes(picture, "step-1")[0].lines[0] == tool


def test_a_settled_step_says_in_whose_words() -> None:
    gone = begun(make(rec.HumanSettled, at=NOON + 1, as_done=False))
    assert words(gone, "step-1") == ["a person it is gone"]
    assert boxes(gone, "step-1")[0].tooltip == "a person: it is gone: ann: why"


def test_a_journal_longer_than_the_program_can_be_drawn() -> None:
    picture = begun(make(rec.ActionStarted, at=NOON + 1, step=9))
    heading = next(node for node in picture.nodes if node.id == "step-9-lane")
    assert heading.lines == ("step 10",)


def test_a_journal_that_is_empty_can_be_drawn() -> None:
    picture = timeline_picture(TRIP, [])
    assert "Steps that were never reached, and are not shown: 3." in picture.notes


def test_an_approval_that_nobody_gave_ends_when_the_saga_goes_back() -> None:
    picture = begun(
        make(rec.ApprovalRequested),
        make(rec.CancelRequested, at=NOON + 5),
        make(rec.SagaMoved, at=NOON + 5, event="cancelled", state="FAILED"),
    )
    (box,) = boxes(picture, "step-1")

    assert " ".join(box.lines) == "approval » withdrawn"
    assert box.role is NodeRole.SKIPPED
