from __future__ import annotations

from typing import Any

import pytest

from fsm_saga.core.contract import ToolContract, ToolFacts
from fsm_saga.core.program import Program, RetryRule, Shape, StepSpec
from fsm_saga.core.states import DoubtExit, StepKind
from fsm_saga.machine.compile import (
    choose_exit,
    compile_plan,
    compile_shared,
    contract_as_json,
    declare,
    program_of,
    structure_of,
)
from fsm_saga.plan.model import Plan

OBJECT = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
TOOLS = {
    facts.name: facts
    for facts in (
        ToolFacts(name="book", undo="cancel", output_schema=OBJECT),
        ToolFacts(name="cancel", params_schema=OBJECT),
        ToolFacts(
            name="pay", contract=ToolContract(check="look", deadline=True, sticky_failures=False)
        ),
        ToolFacts(name="refund", contract=ToolContract(retention_s=60.0)),
        ToolFacts(name="look", contract=ToolContract(read_only=True)),
    )
}
BOOK: dict[str, Any] = {"step_id": 1, "name": "Book", "tool": "book", "params": {}}
PAY: dict[str, Any] = {
    "step_id": "p",
    "tool": "pay",
    "params": {"room": "$output.step_1.id"},
    "rollback": {"tool": "refund", "params": {"payment": "$output.step_p.id"}},
}


def plan_of(*steps: dict[str, Any], **more: Any) -> Plan:
    return Plan.of({"task_id": "trip", "steps": list(steps), **more})


def compiled(*steps: dict[str, Any], **more: Any) -> Program:
    plan = plan_of(*steps, **more)
    return compile_plan(plan, declare(plan, TOOLS))


def only(step: dict[str, Any]) -> StepSpec:
    (spec,) = compiled(step).steps
    return spec


def look(**more: Any) -> dict[str, Any]:
    return {"step_id": 1, "name": "Look", "tool": "look", "params": {}, **more}


# --- what tools declare ---------------------------------------------------------------------------


def test_of_each_tool_that_a_plan_can_call_what_it_promises_is_declared() -> None:
    plan = plan_of({**BOOK, "rollback": {"tool": "refund", "params": {}}}, PAY)
    declared = declare(plan, TOOLS)
    assert declared == {
        "contracts": {
            "book": {},
            "look": {"read_only": True},
            "pay": {"check": "look", "deadline": True, "sticky_failures": False},
            "refund": {"retention_s": 60.0},
        },
        "rollbacks": {},
    }
    assert list(declared["contracts"]) == ["book", "look", "pay", "refund"]


@pytest.mark.parametrize("kind", [None, "compensatable", "retriable"])
def test_an_undo_that_a_tool_declares_is_written_down_for_a_plan_that_has_none(
    kind: str | None,
) -> None:
    declared = declare(plan_of({**BOOK, "kind": kind}), TOOLS)
    assert declared["rollbacks"] == {"0": {"tool": "cancel", "params": {"id": "$output.step_1.id"}}}
    assert set(declared["contracts"]) == {"book", "cancel"}


@pytest.mark.parametrize(
    "more", [{"kind": "pivot"}, {"kind": "read_only"}, {"rollback": {"semantic": "say sorry"}}]
)
def test_no_undo_is_written_down_where_none_will_be_called(more: dict[str, Any]) -> None:
    declared = declare(plan_of({**BOOK, **more}), TOOLS)
    assert declared == {"contracts": {"book": {}}, "rollbacks": {}}


def test_an_undo_whose_params_cannot_be_had_is_not_written_down() -> None:
    wanting = ToolFacts(name="cancel", params_schema={**OBJECT, "required": ["id", "reason"]})
    declared = declare(plan_of(BOOK), {**TOOLS, "cancel": wanting})
    assert declared == {"contracts": {"book": {}}, "rollbacks": {}}


def test_what_was_declared_stays_though_the_plan_is_changed_by_whoever_holds_it() -> None:
    unread = {**TOOLS, "cancel": ToolFacts(name="cancel", params_schema={"required": ["rooms"]})}
    plan = plan_of({**BOOK, "params": {"rooms": ["a"]}})
    declared = declare(plan, unread)
    plan.steps[0].params["rooms"].append("b")
    assert declared["rollbacks"] == {"0": {"tool": "cancel", "params": {"rooms": ["a"]}}}


def test_an_undeclared_tool_is_declared_by_nothing() -> None:
    assert contract_as_json(ToolContract()) == {}
    assert contract_as_json(ToolContract(dedupe=False)) == {"dedupe": False}


# --- one step -------------------------------------------------------------------------------------


def test_a_step_of_which_the_plan_says_little_gets_the_defaults() -> None:
    spec = only({**BOOK, "name": None})
    assert (spec.name, spec.kind, spec.step_id) == ("book", StepKind.COMPENSATABLE, 1)
    assert spec.action.timeout_s == 30.0
    assert spec.action.retry == RetryRule(
        attempt_max=1, doubt_attempt_max=3, delay_s=0.5, delay_s_max=30.0
    )
    assert spec.undo is not None
    assert (spec.undo.tool, spec.undo.timeout_s) == ("cancel", 30.0)
    assert spec.undo_needs_output
    assert spec.is_effectful
    assert not spec.is_irrevocable
    assert (spec.approval_expires_s, spec.deadline_s, spec.semantic) == (None, None, None)
    assert (spec.check, spec.undoes, spec.output_is_used) == (None, None, False)
    assert spec.exit is DoubtExit.RESEND


def test_a_retriable_step_is_tried_ten_times_unless_the_plan_says_otherwise() -> None:
    assert only({**BOOK, "kind": "retriable"}).action.retry == RetryRule(
        attempt_max=10, doubt_attempt_max=10, delay_s=0.5, delay_s_max=30.0
    )


def test_what_the_plan_says_of_attempts_counts_for_refusals_and_doubt() -> None:
    retry = {"attempts": 7, "delay_s": 2.0, "delay_s_max": 9.0}
    said = RetryRule(attempt_max=7, doubt_attempt_max=7, delay_s=2.0, delay_s_max=9.0)
    spec = only({**BOOK, "retry": retry, "timeout_s": 4.0})
    assert spec.action.retry == said
    assert spec.action.timeout_s == 4.0
    assert spec.undo is not None
    assert spec.undo.retry.attempt_max == spec.undo.retry.doubt_attempt_max
    assert spec.undo.retry.attempt_max >= 7
    assert (spec.undo.retry.delay_s, spec.undo.retry.delay_s_max) == (2.0, 9.0)


def test_an_undo_is_tried_more_often_than_a_plan_tries_its_action() -> None:
    default = only(BOOK).undo
    patient = only({**BOOK, "retry": {"attempts": 2, "delay_s": 2.0}}).undo
    assert default is not None
    assert patient is not None
    assert patient.retry.attempt_max == default.retry.attempt_max > 2


def test_a_rollback_of_the_plan_has_its_own_attempts_and_time() -> None:
    rollback = {
        "tool": "refund",
        "params": {},
        "retry": {"attempts": 3, "delay_s": 1.0, "delay_s_max": 5.0},
        "timeout_s": 2.5,
    }
    undo = only({**BOOK, "rollback": rollback, "retry": {"attempts": 99, "delay_s": 3.0}}).undo
    assert undo is not None
    assert undo.tool == "refund"
    assert undo.retry == RetryRule(attempt_max=3, doubt_attempt_max=3, delay_s=1.0, delay_s_max=5.0)
    assert undo.timeout_s == 2.5
    assert undo.contract == ToolContract(retention_s=60.0)


@pytest.mark.parametrize(
    ("said", "expires_s"),
    [(None, None), (False, None), (True, 86_400.0), ({"expires_s": 5.0}, 5.0)],
)
def test_an_approval_expires_after_a_day_or_when_the_plan_says(
    said: object, expires_s: float | None
) -> None:
    assert only({**BOOK, "approval": said}).approval_expires_s == expires_s


def test_a_tool_with_a_deadline_gets_the_time_of_one_attempt_unless_the_plan_says_more() -> None:
    plain = {**PAY, "params": {}}
    assert only(plain).deadline_s == 30.0
    assert only({**plain, "timeout_s": 3.0}).deadline_s == 3.0
    assert only({**plain, "deadline_s": 90.0}).deadline_s == 90.0
    assert only({**BOOK, "deadline_s": 90.0}).deadline_s == 90.0


def test_a_check_is_asked_with_the_time_of_the_action_and_no_params() -> None:
    spec = only({**PAY, "params": {}, "timeout_s": 3.0})
    assert spec.check is not None
    assert (spec.check.tool, spec.check.timeout_s) == ("look", 3.0)
    assert spec.check.params.resolve(lambda _: None, {}) == {}
    assert spec.check.contract.read_only
    assert spec.check.retry == only({**BOOK}).undo.retry  # type: ignore[union-attr]


def test_a_tool_of_which_nothing_is_declared_promises_nothing() -> None:
    plan = plan_of({**BOOK, "rollback": {"tool": "refund", "params": {}}}, {**PAY, "params": {}})
    declared = {"contracts": {"pay": {"check": "look"}}, "rollbacks": {}}
    book, pay = compile_plan(plan, declared).steps
    assert book.undo is not None
    assert pay.check is not None
    assert book.action.contract == book.undo.contract == pay.check.contract == ToolContract()


def test_a_step_that_only_reads_has_no_undo_whoever_says_so() -> None:
    undo = {"tool": "refund", "params": {}}
    declared = {"contracts": {"book": {}}, "rollbacks": {"0": undo}}
    for step in ({**BOOK, "kind": "read_only"}, {**BOOK, "kind": "read_only", "rollback": undo}):
        assert compile_plan(plan_of(step), declared).steps[0].undo is None


def test_a_step_that_only_reads_leaves_nothing_to_settle() -> None:
    for spec in (only(look()), only({**BOOK, "kind": "read_only"})):
        assert spec.kind is StepKind.READ_ONLY
        assert spec.exit is DoubtExit.NO_EFFECT
        assert spec.undo is None
        assert not spec.is_effectful
        assert not spec.is_irrevocable


def test_there_is_no_way_back_from_a_pivot_or_from_an_effect_without_a_rollback() -> None:
    assert only({**BOOK, "kind": "pivot"}).is_irrevocable
    assert only({**BOOK, "tool": "cancel", "kind": "retriable"}).is_irrevocable
    sorry = only({**BOOK, "rollback": {"semantic": "say sorry"}})
    assert not sorry.is_irrevocable
    assert (sorry.semantic, sorry.undo) == ("say sorry", None)
    pivot = only({**PAY, "params": {}, "kind": "pivot", "rollback": None})
    assert (pivot.is_irrevocable, pivot.undo) == (True, None)


PROMISES = {
    "fenced_compensation": DoubtExit.COMPENSATE_NOW,
    "check": DoubtExit.CHECK,
    "deadline": DoubtExit.WAIT_DEADLINE,
    "dedupe": DoubtExit.RESEND,
}


def promising(*names: str) -> ToolContract:
    said: dict[str, Any] = {"dedupe": False}
    said |= {name: "look" if name == "check" else True for name in names}
    return ToolContract(**said)


@pytest.mark.parametrize("name", PROMISES)
def test_doubt_is_settled_by_what_the_tool_promises(name: str) -> None:
    exit_ = choose_exit(promising(name), is_effectful=True, can_undo_blind=True)
    assert exit_ is PROMISES[name]


def test_of_several_promises_the_one_is_taken_that_settles_soonest() -> None:
    names = list(PROMISES)
    for place, name in enumerate(names):
        contract = promising(*names[place:])
        assert choose_exit(contract, is_effectful=True, can_undo_blind=True) is PROMISES[name]


def test_an_undo_that_needs_the_output_cannot_be_sent_blind() -> None:
    for name in ("fenced_compensation", "deadline"):
        contract = promising(name)
        assert choose_exit(contract, is_effectful=True, can_undo_blind=False) is DoubtExit.PERSON
    both = promising("fenced_compensation", "check")
    assert choose_exit(both, is_effectful=True, can_undo_blind=False) is DoubtExit.CHECK


def test_without_a_promise_a_person_settles_it_and_a_read_needs_nothing() -> None:
    assert choose_exit(promising(), is_effectful=True, can_undo_blind=True) is DoubtExit.PERSON
    for contract in (promising(), promising(*PROMISES)):
        assert choose_exit(contract, is_effectful=False, can_undo_blind=True) is DoubtExit.NO_EFFECT


@pytest.mark.parametrize(
    ("rollback", "exit_"),
    [
        ({"tool": "refund", "params": {}}, DoubtExit.COMPENSATE_NOW),
        ({"tool": "refund", "params": {"id": "$output.step_1.id"}}, DoubtExit.RESEND),
        ({"semantic": "say sorry"}, DoubtExit.RESEND),
    ],
)
def test_the_exit_of_a_step_goes_by_its_undo(rollback: dict[str, Any], exit_: DoubtExit) -> None:
    plan = plan_of({**BOOK, "tool": "fenced", "rollback": rollback})
    fenced = ToolFacts(name="fenced", contract=ToolContract(fenced_compensation=True))
    program = compile_plan(plan, declare(plan, {**TOOLS, "fenced": fenced}))
    assert program.steps[0].exit is exit_


# --- the whole ------------------------------------------------------------------------------------


def test_steps_know_what_they_need_and_who_needs_them() -> None:
    diamond = [
        look(step_id=1),
        look(step_id=2, depends_on=[1]),
        {**BOOK, "step_id": 3, "depends_on": [1]},
        {**BOOK, "step_id": 4, "kind": "pivot", "depends_on": [2, 3]},
    ]
    program = compiled(*diamond, deadline_s=90.0)
    assert [spec.index for spec in program.steps] == [0, 1, 2, 3]
    assert [spec.needs for spec in program.steps] == [0b0000, 0b0001, 0b0001, 0b0110]
    assert [spec.followers for spec in program.steps] == [(1, 2), (3,), (3,), ()]
    assert [spec.descendants for spec in program.steps] == [0b1110, 0b1000, 0b1000, 0]
    assert program.undo_order == (3, 2, 1, 0)
    assert program.shape == Shape(step_count=4, width=2, read_only_count=2, is_open=False)
    assert (program.effectful, program.irrevocable) == (0b1100, 0b1000)
    assert (program.deadline_s, program.clock_skew_s, program.is_open) == (90.0, 5.0, False)


def test_a_step_knows_whether_its_output_is_used() -> None:
    program = compiled(BOOK, PAY)
    assert [spec.output_is_used for spec in program.steps] == [True, False]
    # The room is looked up under the step's own id, as is the payment for its undo.
    outputs = {0: {"id": "r-1"}, 1: {"id": "p-1"}}
    pay = program.steps[1]
    assert pay.undo is not None
    assert pay.action.params.resolve(outputs.__getitem__, {}) == {"room": "r-1"}
    assert pay.undo.params.resolve(outputs.__getitem__, {}) == {"payment": "p-1"}


def test_the_goal_the_inputs_and_the_hash_are_the_plan_s_own() -> None:
    one = plan_of(BOOK, goal="go north", inputs={"a": 1})
    two = plan_of(BOOK, goal="go south", inputs={"a": 2})
    first, second = (compile_plan(plan, declare(plan, TOOLS)) for plan in (one, two))
    assert (first.goal, first.inputs, first.plan_hash) == ("go north", {"a": 1}, one.content_hash())
    assert (second.goal, second.inputs) == ("go south", {"a": 2})
    assert second.plan_hash == two.content_hash() != first.plan_hash


def test_plans_of_one_structure_share_their_steps() -> None:
    one, two = plan_of(BOOK, inputs={"a": 1}), plan_of(BOOK, goal="elsewhere")
    declared = declare(one, TOOLS)
    first, second = compile_plan(one, declared), compile_plan(two, declared)
    assert first.steps is second.steps
    shared = compile_shared(one, declared)
    assert shared is compile_shared(two, declared)
    assert (shared.goal, shared.inputs, shared.plan_hash) == (None, {}, "")
    assert program_of(shared, two).goal == "elsewhere"


def test_what_makes_a_program_another_one_is_not_shared() -> None:
    plan = plan_of(BOOK)
    declared = declare(plan, TOOLS)
    plain = compile_shared(plan, declared)
    opened = compile_shared(plan, declared, is_open=True)
    undoing = compile_shared(plan, declared, undoes={"0": "r-9"})
    other = compile_shared(plan, {"contracts": {"book": {"dedupe": False}}, "rollbacks": {}})
    renamed = compile_shared(plan_of({**BOOK, "name": "Reserve"}), declared)
    assert len({id(each) for each in (plain, opened, undoing, other, renamed)}) == 5
    assert (opened.is_open, opened.shape.is_open) == (True, True)
    assert [each.steps[0].undoes for each in (plain, undoing)] == [None, "r-9"]
    assert not other.steps[0].action.contract.dedupe
    assert other.steps[0].undo is None


def test_the_structure_of_a_plan_leaves_out_its_task_goal_and_inputs() -> None:
    body = {"task_id": "trip", "goal": "go", "inputs": {"a": 1}, "steps": [], "deadline_s": 5}
    assert structure_of(body) == b'{"deadline_s":5,"steps":[],"task_id":"-"}'


def test_a_program_is_not_changed_by_whoever_holds_the_plan() -> None:
    plan = plan_of({**BOOK, "params": {"id": ["a"]}})
    program = compile_plan(plan, declare(plan, TOOLS))
    plan.steps[0].params["id"].append("b")
    assert program.steps[0].action.params.resolve(lambda _: None, {}) == {"id": ["a"]}
