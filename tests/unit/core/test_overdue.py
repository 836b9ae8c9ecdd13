"""What is overdue when a saga is looked at again is settled before anything is sent."""

from __future__ import annotations

import pytest

from fsm_saga.core import events as e
from fsm_saga.core.decide import decide
from fsm_saga.core.effects import CallTool
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Direction, StepStatus
from fsm_saga.core.work import Decision
from fsm_saga.errors import EventRefusedError
from fsm_saga.machine.compile import compile_plan
from fsm_saga.plan.model import Plan

DECLARED: dict[str, object] = {"contracts": {}, "rollbacks": {}}


def begun(*steps: dict[str, object], deadline_s: float | None = None) -> Saga:
    body: dict[str, object] = {"task_id": "trip", "steps": list(steps)}
    if deadline_s is not None:
        body["deadline_s"] = deadline_s
    saga = Saga("trip", compile_plan(Plan.of(body), DECLARED))
    return decide(saga, e.Submitted(at=0.0, plan=body, tools=DECLARED)).saga


def answered(saga: Saga, step: int, *, at: float) -> Decision:
    rid = saga.steps[step].req_id or ""
    event = e.CallSucceeded(at=at, step=step, direction=Direction.DO, req_id=rid, output={})
    return decide(saga, event)


def called(decision: Decision) -> list[str]:
    return [effect.tool for effect in decision.effects if isinstance(effect, CallTool)]


def with_undo(number: int, **more: object) -> dict[str, object]:
    return {
        "step_id": number,
        "tool": f"do{number}",
        "rollback": {"tool": f"undo{number}"},
        **more,
    }


def test_an_approval_after_the_deadline_is_refused_and_the_saga_goes_back() -> None:
    pivot = {"step_id": 2, "tool": "pay", "kind": "pivot", "approval": True}
    saga = answered(begun(with_undo(1), pivot, deadline_s=2.0), 0, at=1.0).saga
    assert saga.steps[1].status is StepStatus.AWAITING_APPROVAL
    late = e.ApprovalAnswered(at=3.0, step=1, is_granted=True, by="ann")
    with pytest.raises(EventRefusedError, match="deadline has passed"):
        decide(saga, late)
    resumed = decide(saga, e.Resumed(at=3.0))
    assert (str(resumed.saga.state), called(resumed)) == ("COMPENSATING(1)", ["undo1"])


def test_a_resumed_saga_past_its_deadline_does_not_send_a_due_retry_first() -> None:
    pivot = {"step_id": 2, "tool": "pay", "kind": "pivot", "retry": {"attempts": 5}}
    saga = answered(begun(with_undo(1), pivot, deadline_s=2.0), 0, at=0.5).saga
    rid = saga.steps[1].req_id or ""
    refused = e.CallRejected(
        at=1.0, step=1, direction=Direction.DO, req_id=rid, error="busy", jitter=0.0
    )
    saga = decide(saga, refused).saga
    for event in (e.Resumed(at=9.0), e.TimePassed(at=9.0)):
        decision = decide(saga, event)
        assert called(decision) == ["undo1"]
        assert str(decision.saga.state) == "COMPENSATING(1)"


def test_an_approval_that_expired_while_nobody_looked_is_denied_on_resume() -> None:
    asked = with_undo(2, approval={"expires_s": 1})
    saga = answered(begun(with_undo(1), asked), 0, at=0.0).saga
    decision = decide(saga, e.Resumed(at=5.0))
    assert decision.saga.steps[1].status is StepStatus.REJECTED
    assert called(decision) == ["undo1"]


def test_a_call_that_never_left_is_not_tried_again_and_leaves_no_doubt() -> None:
    saga = answered(begun(with_undo(1), with_undo(2, retry={"attempts": 3})), 0, at=0.0).saga
    rid = saga.steps[1].req_id or ""
    misfit = e.CallRejected(
        at=1.0,
        step=1,
        direction=Direction.DO,
        req_id=rid,
        error="the params do not fit",
        jitter=0.0,
        was_sent=False,
    )
    decision = decide(saga, misfit)
    assert decision.saga.steps[1].status is StepStatus.REJECTED
    assert called(decision) == ["undo1"]


def test_two_runs_of_one_task_id_share_no_req_id() -> None:
    body = {"task_id": "trip", "steps": [with_undo(1)]}
    program = compile_plan(Plan.of(body), DECLARED)
    rids = set()
    for key in ("", "a", "b"):
        event = e.Submitted(at=0.0, plan=body, tools=DECLARED, run_key=key)
        rids.add(decide(Saga("trip", program), event).saga.steps[0].req_id)
    assert len(rids) == 3
