from __future__ import annotations

import dataclasses
from typing import Any

from fsm_saga.core.contract import ToolContract, ToolFacts
from fsm_saga.core.program import Program
from fsm_saga.machine.compile import compile_plan, declare
from fsm_saga.machine.symmetry import anonymous, mirrors
from fsm_saga.plan.model import Plan
from tests.modelcheck.programs import CHECKED, NEVER, ONCE, READ_ONLY, TWICE, Step, make_program

FORGETFUL = ToolContract(sticky_failures=False)


def step(step_id: int, *needs: int, **more: Any) -> dict[str, Any]:  # a JSON value
    """Return a step with a tool and values of its own."""
    return {
        "step_id": step_id,
        "name": f"Step {step_id}",
        "tool": f"do_{step_id}",
        "params": {"value": step_id},
        "depends_on": list(needs),
        "rollback": {"tool": f"undo_{step_id}", "params": {"id": f"$output.step_{step_id}.id"}},
        **more,
    }


def program_of(*steps: dict[str, Any], forgetful: str = "") -> Program:
    plan = Plan.of({"task_id": "trip", "steps": list(steps)})
    names = {name for each in steps for name in (each["tool"], each["rollback"]["tool"])}
    tools = {
        name: ToolFacts(name=name, contract=FORGETFUL if name == forgetful else ToolContract())
        for name in names
    }
    return anonymous(compile_plan(plan, declare(plan, tools)))


def test_nothing_is_left_of_tools_and_values_but_what_refers_to_an_output() -> None:
    params = {"value": 7, "of": {"deep": ["$output.step_1.rooms.0"]}}
    first, second = program_of(step(1), step(2, 1, params=params)).steps
    assert (first.action.tool, first.undo and first.undo.tool) == ("action", "undo")
    assert first.action.params.value == {}
    assert second.action.params.value == {"0": "$output.step_0.rooms.0"}
    assert second.action.params.steps == {0}
    assert second.undo is not None
    assert second.undo.params.steps == {1}


def test_steps_that_differ_in_tools_and_values_only_are_twins() -> None:
    assert mirrors(program_of(step(1), step(2), step(3))) == ([(0, 1, 2)], [])


def test_a_promise_tells_steps_apart() -> None:
    assert mirrors(program_of(step(1), step(2), step(3), forgetful="do_2")) == ([(0, 2)], [])


def test_branches_that_use_the_same_output_and_are_used_alike_are_twins() -> None:
    uses = {"params": {"of": "$output.step_1.id"}}
    joined = {"a": "$output.step_2.id", "b": "$output.step_3.id"}
    branches = (step(1), step(2, 1, **uses), step(3, 1, **uses))
    assert mirrors(program_of(*branches, step(4, 2, 3, params=joined))) == ([(1, 2)], [])


def test_branches_of_which_one_is_used_in_another_way_are_no_twins() -> None:
    joined = {"a": "$output.step_1.id", "b": "$output.step_2.name"}
    assert mirrors(program_of(step(1), step(2), step(3, 1, 2, params=joined))) == ([], [])


def test_a_branch_that_uses_an_output_is_no_twin_of_one_that_does_not() -> None:
    uses = {"params": {"of": "$output.step_1.id"}}
    assert mirrors(program_of(step(1), step(2, 1, **uses), step(3, 1))) == ([], [])


def test_two_chains_are_mirror_images_as_a_whole() -> None:
    use = [{"params": {"of": f"$output.step_{number}.id"}} for number in (1, 2)]
    chains = (step(1), step(2), step(3, 1, **use[0]), step(4, 2, **use[1]))
    assert mirrors(program_of(*chains)) == ([], [(1, 0, 3, 2)])


def test_chains_whose_outputs_cross_over_are_mirror_images_too() -> None:
    use = [{"params": {"of": f"$output.step_{number}.id"}} for number in (2, 1)]
    crossed = (step(1), step(2), step(3, 1, 2, **use[0]), step(4, 1, 2, **use[1]))
    _twins, orders = mirrors(program_of(*crossed))
    assert orders == [(1, 0, 3, 2)]


def test_what_uses_an_input_may_change_places_with_what_uses_it_alike() -> None:
    ends = [{"params": {"of": f"$output.step_{number}.id"}} for number in (1, 2)]

    def chains(one: str, other: str) -> list[tuple[int, ...]]:
        inputs = [{"params": {"for": f"$input.{name}"}} for name in (one, other)]
        steps = (
            step(1, **inputs[0]),
            step(2, **inputs[1]),
            step(3, 1, **ends[0]),
            step(4, 2, **ends[1]),
        )
        return mirrors(program_of(*steps))[1]

    assert chains("who", "who") == [(1, 0, 3, 2)]
    assert chains("who", "what") == []


def test_a_check_has_no_name_left_and_what_is_not_there_stays_away() -> None:
    checked, read = anonymous(make_program((CHECKED, READ_ONLY))).steps
    assert checked.check is not None
    assert (checked.check.tool, checked.check.params.value) == ("check", {})
    assert (read.undo, read.check) == (None, None)


def test_of_six_steps_all_orders_are_tried() -> None:
    ends = [{"params": {"of": f"$output.step_{number}.id"}} for number in range(1, 5)]
    steps = [step(1), step(2)]
    steps += [step(number, number - 2, **ends[number - 3]) for number in range(3, 7)]
    assert mirrors(program_of(*steps)) == ([], [(1, 0, 3, 2, 5, 4)])


def test_a_call_is_known_by_its_attempts_and_by_whether_it_is_forgotten() -> None:
    def twins(one: Step, other: Step) -> bool:
        return mirrors(anonymous(make_program((one, other), ((), ())))) == ([(0, 1)], [])

    soon, late = (Step(contract=ToolContract(retention_s=kept_s)) for kept_s in (1.0, 9.0))
    assert twins(soon, late)
    assert not twins(soon, Step())
    assert not twins(Step(retry=TWICE), Step(retry=ONCE))
    assert not twins(Step(undo_retry=NEVER), Step(undo_retry=ONCE))
    assert twins(CHECKED, Step(contract=ToolContract(check="peek")))
    assert not twins(CHECKED, Step())
    slow = dataclasses.replace(TWICE, delay_s=7.0)
    assert twins(Step(retry=TWICE), Step(retry=slow))
    assert not twins(Step(), Step(has_undo=False))
    assert not twins(Step(has_undo=False, semantic="sorry"), Step(has_undo=False))
    assert not twins(Step(approval=True), Step())
    assert not twins(Step(deadline_s=5.0), Step())
    assert not twins(Step(output_is_used=True), Step())


def test_values_that_were_not_taken_out_tell_steps_apart() -> None:
    def twins(one: int, other: int) -> bool:
        steps = (Step(params={"a": one}), Step(params={"a": other}))
        return mirrors(make_program(steps, ((), ()))) == ([(0, 1)], [])

    assert twins(1, 1)
    assert not twins(1, 2)
