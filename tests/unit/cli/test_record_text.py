from __future__ import annotations

import json
from typing import Any

import pytest

from fsm_saga.cli.planning import AssumedTools
from fsm_saga.cli.record_text import TEXT_COLUMNS, SagaRecord
from fsm_saga.core import records as r
from fsm_saga.core.program import Program
from fsm_saga.core.states import Direction
from fsm_saga.machine.compile import compile_plan, declare
from fsm_saga.plan.model import Plan

HOSTILE = "\x1b]0;title\x07it broke\nforged: DONE \u202e"
CALLS = ({"tool": "refund", "params": {}}, {"tool": "tell", "params": {}})


@pytest.fixture(scope="module")
def program() -> Program:
    call = {"tool": "book", "params": {}, "rollback": {"tool": "cancel"}}
    steps = [{"step_id": "a", "name": "Book it", **call}, {"step_id": "b", **call}]
    plan = Plan.of({"task_id": "t", "steps": steps})
    return compile_plan(plan, declare(plan, AssumedTools()))


def records() -> list[r.Record]:
    """Return a record of each type, and those that have two ways to be told."""
    by: dict[str, Any] = {"at": 0.0, "step": 0, "by": "Ann", "note": "because"}
    step: dict[str, Any] = {"at": 0.0, "step": 0}
    plan: dict[str, Any] = {"at": 0.0, "plan_hash": "h", "plan": {"steps": [1]}, "tools": {}}
    do, undo = Direction.DO, Direction.UNDO
    failed: dict[str, Any] = {"attempt": 1, "outcome": "unknown", "error": HOSTILE, "retry_at": 1.0}
    supplied: dict[str, Any] = {"output": {"x": 1}, "undo_params": None, "undo_error": None}
    sent: dict[str, Any] = {"req_id": "r1", "params": {"p": 1}}
    return [
        r.SagaSubmitted(saga_id="t", **plan),
        r.SagaSubmitted(saga_id="t", undo_of="s", is_open=True, **plan),
        r.SagaMoved(at=0.0, event="start", state="EXECUTING(1)"),
        r.SagaMoved(at=0.0, event="x", state="FAILED", outcome="compensated", cause=HOSTILE),
        r.StepsAppended(**plan),
        r.PlanClosed(at=0.0),
        r.ApprovalRequested(**step, params={}, digest="d", expires_at=9.0),
        r.ApprovalGiven(**by, digest="d"),
        r.ApprovalDenied(**by),
        r.ActionStarted(**step, **sent, revision=0),
        r.ActionStarted(**step, **sent, revision=1),
        r.AttemptFailed(**step, direction=do, **failed),
        r.AttemptFailed(**step, direction=undo, **failed),
        r.AttemptStarted(**step, direction=Direction.CHECK, attempt=2),
        r.CallInterrupted(**step, direction=do),
        r.CallResent(**step, direction=do, interruption=1),
        r.CallResent(**step, direction=undo, interruption=2),
        r.ActionSucceeded(**step, output={"o": 1}),
        r.ActionSucceeded(**step, output=None, undo_error="no such field"),
        r.ActionSucceededBadly(**step, error=HOSTILE),
        r.ActionRejected(**step, error=HOSTILE),
        r.ActionRejected(**step, error=HOSTILE, was_sent=False),
        r.ActionDoubted(**step, error=HOSTILE),
        r.CheckStarted(**step, attempt=1),
        r.WaitStarted(**step, until=5.0, error=HOSTILE),
        r.CancelRequested(at=0.0, by="Ann", note=HOSTILE),
        r.CancelRequested(at=0.0, by="Ann"),
        r.DeadlinePassed(at=0.0),
        r.UndoStarted(**step, call=0, **sent, revision=0, tool="cancel"),
        r.UndoStarted(**step, call=1, **sent, revision=0, tool="cancel"),
        r.UndoSucceeded(**step, call=0, is_last=False),
        r.UndoSucceeded(**step, call=1, is_last=True),
        r.UndoStuck(**step, reason="rejected", error=HOSTILE),
        r.HumanRetried(**by),
        r.HumanSettled(**by, as_done=True),
        r.HumanSettled(**by, as_done=False),
        r.HumanSuppliedOutput(**by, **supplied),
        r.CallsSupplied(**by, calls=CALLS, tools={}),
        r.ReplyIgnored(**step, direction=do, outcome="ok", detail=HOSTILE),
    ]


def test_the_samples_have_every_type_of_record() -> None:
    assert {type(record) for record in records()} == set(r.RECORD_TYPES.values())


@pytest.mark.parametrize("record", records(), ids=lambda record: type(record).__name__)
def test_each_record_is_one_harmless_line_that_says_who_and_what(
    record: r.Record, program: Program
) -> None:
    text = SagaRecord(3, record, program).text

    assert text.isprintable()
    assert 0 < len(text) <= TEXT_COLUMNS
    assert "forged: DONE" not in text or "it broke forged" in text
    if hasattr(record, "step"):
        assert "step a (Book it)" in text
    if getattr(record, "by", ""):
        assert "by Ann" in text


@pytest.mark.parametrize("record", records(), ids=lambda record: type(record).__name__)
def test_as_json_a_record_has_its_place_its_words_and_all_its_fields(
    record: r.Record, program: Program
) -> None:
    shown = json.loads(json.dumps(SagaRecord(3, record, program).as_json()))

    assert (shown["position"], shown["type"]) == (3, type(record).__name__)
    assert (shown["at"], shown["time"]) == (0.0, "1970-01-01T00:00:00.000Z")
    assert shown["record"].keys() == set(record.__struct_fields__)


def test_a_step_whose_name_is_its_tool_is_told_with_both(program: Program) -> None:
    record = r.CheckStarted(at=0.0, step=1, attempt=1)

    assert SagaRecord(0, record, program).text.startswith("step b (book): ")
