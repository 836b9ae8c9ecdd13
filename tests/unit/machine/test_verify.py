from __future__ import annotations

import dataclasses
import gc
import json
from typing import Any

import pytest

from fsm_saga.core import events as e
from fsm_saga.core.contract import ToolContract, ToolFacts
from fsm_saga.core.decide import Decision, decide
from fsm_saga.core.program import Program
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Direction
from fsm_saga.machine.compile import compile_plan, declare
from fsm_saga.machine.properties import PROPERTIES
from fsm_saga.machine.verify import ASSUMPTIONS, Verification, bounded, verify_program
from fsm_saga.plan.model import Plan

FENCED = ToolContract(fenced_compensation=True)
TOOLS = {
    facts.name: facts
    for facts in (
        ToolFacts(name="book", contract=FENCED),
        ToolFacts(name="cancel"),
        ToolFacts(name="look", contract=ToolContract(read_only=True)),
        ToolFacts(name="pay"),
        ToolFacts(name="tell"),
    )
}
LOOK: dict[str, Any] = {"step_id": 1, "name": "Look", "tool": "look", "params": {}}
BOOK: dict[str, Any] = {
    "step_id": 2,
    "name": "Book",
    "tool": "book",
    "params": {"room": "$output.step_1.rooms.0"},
    "rollback": {"tool": "cancel", "params": {}},
}
SORRY: dict[str, Any] = {
    "step_id": 3,
    "name": "Mail",
    "tool": "tell",
    "params": {},
    "rollback": {"semantic": "say sorry"},
}
PAY: dict[str, Any] = {
    "step_id": 4,
    "name": "Pay",
    "tool": "pay",
    "params": {},
    "kind": "pivot",
    "approval": True,
}
TELL: dict[str, Any] = {
    "step_id": 5,
    "name": "Tell",
    "tool": "tell",
    "params": {},
    "kind": "retriable",
}


def program_of(*steps: dict[str, Any]) -> Program:
    plan = Plan.of({"task_id": "trip", "steps": list(steps)})
    return compile_plan(plan, declare(plan, TOOLS))


def forgetful(saga: Saga, event: e.Event) -> Decision:
    """Decide as an engine would that takes a lost answer for a refusal."""
    if isinstance(event, e.CallUnknown) and event.direction is Direction.DO:
        event = e.CallRejected(
            at=event.at,
            step=event.step,
            direction=event.direction,
            req_id=event.req_id,
            error="lost",
            jitter=0.0,
        )
    return decide(saga, event)


@pytest.fixture(scope="module")
def proven() -> Verification:
    return verify_program(program_of(LOOK, BOOK, SORRY, PAY, TELL))


@pytest.fixture(scope="module")
def broken() -> Verification:
    return verify_program(program_of(LOOK, BOOK), decider=forgetful)


def test_a_sound_plan_is_proven_to_the_last_configuration(proven: Verification) -> None:
    assert proven.is_proven
    assert proven.is_sound
    assert proven.is_exhaustive
    assert (proven.walks, proven.walked) == (0, 0)
    assert proven.configurations > 100
    assert proven.transitions > proven.configurations
    assert proven.depth > 5


def test_every_end_that_can_be_reached_is_told(proven: Verification) -> None:
    assert {end[:2] for end in proven.ends} == {
        ("DONE", "committed"),
        ("FAILED", "amended"),
        ("FAILED", "compensated"),
        ("FAILED", "nothing_happened"),
        ("FAILED", "partly_compensated"),
        ("NEEDS_HUMAN", "unknown"),
    }
    assert all(count > 0 for *_, count in proven.ends)
    assert 0 < proven.by_person_only < proven.configurations


def test_the_facts_say_where_there_is_no_way_back(proven: Verification) -> None:
    said = [
        (step.step_id, step.way_back, step.is_point_of_no_return, step.is_after_no_return)
        for step in proven.steps
    ]
    assert said == [
        (1, "not_needed", False, False),
        (2, "mechanical", False, False),
        (3, "semantic", False, False),
        (4, "none", True, False),
        (5, "none", True, True),
    ]
    assert [step.exit for step in proven.steps] == [
        "no_effect",
        "compensate_now",
        "resend",
        "resend",
        "resend",
    ]
    assert [step.needs_approval for step in proven.steps] == [False, False, False, True, False]
    assert proven.coverage == {"mechanical": 25, "semantic": 25, "none": 50}


def test_a_plan_that_only_reads_is_covered_in_full() -> None:
    assert verify_program(program_of(LOOK)).coverage["mechanical"] == 100


def test_what_a_person_may_be_asked_is_told_once_each(proven: Verification) -> None:
    assert len(set(proven.questions)) == len(proven.questions)
    asked = {(q.step_id, q.why, q.answers) for q in proven.questions}
    semantic = "it has to be made good for, and how is decided late"
    assert (3, semantic, ("settled", "calls")) in asked
    refused = "it was refused after the point of no return"
    assert (5, refused, ("retry", "output", "settled")) in asked
    assert not any(step_id == 1 for step_id, _, _ in asked)


def test_a_broken_property_comes_with_a_shortest_history(broken: Verification) -> None:
    assert not broken.is_sound
    assert not broken.is_proven
    violation = next(each for each in broken.violations if each.code == "C2")
    assert violation.title == PROPERTIES["C2"]
    assert violation.message == "step 2: it is called rejected, and its effect is there"
    assert violation.count >= 1
    assert [(step.event, str(step.saga.state)) for step in violation.path] == [
        ("submitted", "EXECUTING(1)"),
        ("step 1 (Look): done", "EXECUTING(2)"),
        ("step 2 (Book): no answer", "FAILED"),
        ("step 2 (Book): a late copy arrives and takes effect", "FAILED"),
    ]


def test_a_path_is_told_of_the_steps_where_they_stand_however_alike_they_are() -> None:
    """Mirror images are searched once, but a history is told of one saga from start to end."""
    twins = [{**BOOK, "step_id": n, "params": {}, "depends_on": []} for n in (1, 2, 3)]
    found = verify_program(program_of(*twins), decider=forgetful)
    for violation in found.violations:
        for before, after in zip(violation.path, violation.path[1:], strict=False):
            changed = [
                str(number + 1)
                for number, (old, new) in enumerate(
                    zip(before.saga.steps, after.saga.steps, strict=True)
                )
                if old is not new and old.req_id is not None and old.status != new.status
            ]
            named = after.event.removeprefix("step ").split(" ")[0]
            assert not changed or not after.event.startswith("step") or named in changed


def test_the_json_is_json_and_leaves_nothing_out(broken: Verification) -> None:
    told = json.loads(json.dumps(broken.as_json()))
    assert told["properties"] == dict(PROPERTIES)
    assert told["assumptions"] == list(ASSUMPTIONS)
    fields = {field.name for field in dataclasses.fields(Verification)}
    also = {"verdict", "is_proven", "is_sound", "properties", "assumptions"}
    assert fields | also == set(told)
    assert told["verdict"] == "broken"
    violation = told["violations"][0]
    assert set(violation) == {"code", "title", "message", "count", "path"}
    assert set(violation["path"][0]) == {"event", "state", "steps"}
    assert told["ends"][0].keys() == {"state", "outcome", "configurations"}
    assert told["steps"][0]["step_id"] == 1
    assert told["questions"][0]["answers"]


def test_the_text_says_first_whether_the_plan_is_proven(
    proven: Verification, broken: Verification
) -> None:
    lines = proven.as_text().splitlines()
    assert lines[0] == f"Proven: all {len(PROPERTIES)} properties hold in every history."
    assert len(lines) <= 40
    assert "  step 4 (Pay): pivot, way back: none, point of no return, needs approval" in lines
    text = broken.as_text()
    assert text.startswith(f"Broken: {len(broken.violations)} of {len(PROPERTIES)} properties")
    assert "     3. step 2 (Book): no answer -> FAILED" in text


def long_plan(size: int) -> Program:
    steps = [
        {**BOOK, "step_id": n, "params": {}, "depends_on": [n - 2] if n > 2 else []}
        for n in range(1, size + 1)
    ]
    return program_of(*steps)


def test_above_the_bound_the_rest_is_walked_at_random_and_the_seed_decides() -> None:
    program = long_plan(8)
    found = verify_program(program, configuration_max=50, seed=7)
    assert not found.is_exhaustive
    assert found.is_sound
    assert not found.is_proven
    assert found.walks > 100
    assert found.walked > 500
    assert found == verify_program(program, configuration_max=50, seed=7)
    assert found.walked != verify_program(program, configuration_max=50, seed=8).walked
    # The walks get where the search did not.
    assert ("DONE", "committed") in {end[:2] for end in found.ends}
    text = found.as_text()
    assert text.startswith("Sampled, not proven: the plan is too large to be searched whole.")
    assert f"searched {found.configurations} configurations" in text
    assert f"all within {found.depth} moves of the start" in text
    assert f"left {found.unvisited} more that were reached" in text
    assert f"walked {found.walks:,} ways at random (seed 7), up to {found.walk_depth} moves" in text
    assert 0 < found.configurations <= 50 < found.configurations + found.unvisited
    assert found.walk_depth > found.depth
    assert found.as_json()["verdict"] == "sampled"
    assert len(text.splitlines()) <= 40


def test_a_walk_finds_what_the_bound_kept_the_search_from() -> None:
    found = verify_program(long_plan(8), configuration_max=10, decider=forgetful)
    violation = next(each for each in found.violations if each.code in ("C2", "C3"))
    assert violation.path[0].event == "submitted"
    assert len(violation.path) > 2


def timers_ignored(saga: Saga, event: e.Event) -> Decision:
    """Decide as an engine would that is never woken."""
    return Decision(saga, (), ()) if isinstance(event, e.TimePassed) else decide(saga, event)


def test_a_walk_that_cannot_be_brought_to_an_end_is_told() -> None:
    found = verify_program(long_plan(8), configuration_max=10, decider=timers_ignored)
    assert "END" in {violation.code for violation in found.violations}


def test_retry_budgets_are_cut_to_two_and_nothing_else_is_changed() -> None:
    patient = {**BOOK, "params": {}, "retry": {"attempts": 9, "delay_s": 1.0}}
    program = program_of(patient)
    cut = bounded(program)
    assert program.steps[0].action.retry.attempt_max == 9
    assert cut.steps[0].action.retry.attempt_max == 2
    assert cut.steps[0].undo is not None
    assert cut.steps[0].undo.retry.doubt_attempt_max == 2
    assert cut.steps[0].action.contract is program.steps[0].action.contract
    assert cut.table is program.table


def test_the_collector_is_left_as_it_was_found() -> None:
    program = program_of(LOOK)
    assert gc.isenabled()
    verify_program(program)
    assert gc.isenabled()
    gc.disable()
    try:
        verify_program(program)
        assert not gc.isenabled()
    finally:
        gc.enable()
