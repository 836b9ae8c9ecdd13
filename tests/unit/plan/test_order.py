from __future__ import annotations

from typing import Any

import pytest

from fsm_saga.plan.order import CYCLE_SHOWN_MAX, input_problems, order_problems
from fsm_saga.plan.problems import Problems
from fsm_saga.plan.references import collect
from tests.unit.plan.builders import TEXT, chain, closed, plan, step, tool, tools


def look(*steps: dict[str, Any], **fields: Any) -> tuple[list[str], list[str], bool]:
    """Return codes, hints, and whether there is an order."""
    made = plan(*steps, **fields)
    problems = Problems()
    catalogue = tools(tool("book", output=closed(id=TEXT)))
    graph = order_problems(made, catalogue, collect(made), problems)
    found = problems.as_tuple()
    return [each.code for each in found], [each.hint for each in found], graph is not None


def test_a_sound_plan_has_an_order() -> None:
    assert look(*chain(3)) == ([], [], True)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("step_1", "Write the step_id as it is: '1'."),
        ("bok", "Did you mean 'book'?"),
        ("zzzzz", "The plan has the steps '1', 'book'."),
    ],
)
def test_an_unknown_step_gets_a_hint_in_both_places(wrong: str, hint: str) -> None:
    codes, hints, is_ordered = look(step(1), step("book", depends_on=[1, wrong]))
    assert (codes, hints, is_ordered) == (["unknown-dependency"], [hint], False)
    if wrong != "step_1":
        codes, hints, _ = look(step(1), step("book", params={"x": f"$output.step_{wrong}"}))
        assert (codes, hints) == (["unknown-step-reference"], [hint])


def test_where_names_are_unclear_no_order_is_judged() -> None:
    # Without the misspelled dependency step 2 would seem to run beside step 1.
    late = step(2, depends_on=["oen"], params={"x": "$output.step_1.id"})
    codes, _, is_ordered = look(step(1, "book"), late)
    assert codes == ["unknown-dependency"]
    assert not is_ordered


def test_an_unknown_input_gets_the_near_name() -> None:
    codes, hints, is_ordered = look(step(params={"x": "$input.mail"}), inputs={"e-mail": 1})
    assert codes == ["unknown-input"]
    assert hints == ["Did you mean 'e-mail'?"]
    assert is_ordered


def test_a_path_is_not_judged_where_the_step_or_its_tool_is_unknown() -> None:
    codes, _, _ = look(step(1, "other"), step(2, params={"x": "$output.step_1.anything"}))
    assert codes == []


def test_a_circle_is_named_with_the_reason_of_each_dependency() -> None:
    made = plan(
        step("a", depends_on=[]),
        step("b", params={"x": "$output.step_d.id"}),
        step("c", depends_on=[]),
        step("d", params={"x": "$output.step_b.id"}),
    )
    problems = Problems()
    assert order_problems(made, {}, collect(made), problems) is None
    (cycle,) = problems
    assert cycle.message == (
        "Steps wait for each other in a circle: 'b' -> 'd' -> 'b'. "
        "'b' uses the output of 'd'; 'd' uses the output of 'b'."
    )


def test_each_reason_is_found_among_others() -> None:
    made = plan(
        step("a", depends_on=[]),
        step("b", depends_on=["a", "c"], params={"x": "$output.step_a"}),
        step("c", params={"x": "$output.step_a", "y": "$output.step_d"}),
        step("d", depends_on=[]),
    )
    problems = Problems()
    assert order_problems(made, {}, collect(made), problems) is None
    (cycle,) = problems
    assert cycle.pointer == "/steps/1/depends_on/1"
    assert "'b' depends on 'c'; 'c' is listed after 'b'." in cycle.message


def test_a_long_circle_is_abridged() -> None:
    made = plan(step(1, depends_on=[100]), *chain(100)[1:])
    problems = Problems()
    order_problems(made, {}, collect(made), problems)
    (cycle,) = problems
    assert cycle.message.startswith("Steps wait for each other in a circle: 1 -> 100 -> 99 -> 98")
    assert " -> ... -> " in cycle.message
    assert cycle.message.count("->") == 2 * CYCLE_SHOWN_MAX
    assert "100 is listed after 99" in cycle.message


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([step(1, params={"x": "$output.step_1"})], "before there is one"),
        ([step(1, params={"x": "$output.step_2"}), step(2)], "comes after it"),
        (
            [step(1), step(2, depends_on=[], params={"x": "$output.step_1"})],
            "may run at the same time",
        ),
    ],
)
def test_a_reference_that_comes_too_early_says_how(
    steps: list[dict[str, Any]], message: str
) -> None:
    made = plan(*steps)
    problems = Problems()
    order_problems(made, {}, collect(made), problems)
    (problem,) = problems
    assert problem.code == "reference-not-before"
    assert message in problem.message


@pytest.mark.parametrize("said", [{}, {"depends_on": []}], ids=["listed", "no order"])
@pytest.mark.parametrize("needs", [(2, 1), (3, 1, 2), (4, 1, 2, 3)], ids=["two", "three", "four"])
def test_steps_that_need_each_others_outputs_are_a_circle(
    needs: tuple[int, ...], said: dict[str, Any]
) -> None:
    steps = [
        step(number, params={"x": f"$output.step_{other}"}, **said)
        for number, other in enumerate(needs, start=1)
    ]
    made = plan(*steps)
    problems = Problems()
    assert order_problems(made, {}, collect(made), problems) is not None
    (problem,) = problems
    assert (problem.code, problem.pointer) == ("cycle", "/steps/0/params/x")
    assert f"1 uses the output of {needs[0]}" in problem.message


def test_beside_a_circle_of_references_an_early_one_is_told_by_itself() -> None:
    made = plan(
        step(1, params={"x": "$output.step_2", "y": "$output.step_3"}),
        step(2, params={"x": "$output.step_1"}),
        step(3),
        step(4, params={"x": "$output.step_4"}),
    )
    problems = Problems()
    order_problems(made, {}, collect(made), problems)
    assert [(p.code, p.pointer) for p in problems] == [
        ("cycle", "/steps/0/params/x"),
        ("reference-not-before", "/steps/0/params/y"),
        ("reference-not-before", "/steps/3/params/x"),
    ]


def test_a_rollback_that_uses_a_later_output_is_no_circle() -> None:
    made = plan(
        step(1, rollback={"tool": "undo", "params": {"x": "$output.step_2"}}),
        step(2, params={"x": "$output.step_1"}),
    )
    problems = Problems()
    order_problems(made, {}, collect(made), problems)
    assert [p.code for p in problems] == ["reference-not-before"]


def test_the_returned_graph_has_the_order_that_references_imply() -> None:
    made = plan(
        step(1, depends_on=[]), step(2, depends_on=[]), step(3, params={"x": "$output.step_1"})
    )
    graph = order_problems(made, {}, collect(made), Problems())
    assert graph is not None
    assert graph.needs[2] == (0, 1)


def test_the_rules_that_depend_on_the_inputs_can_be_asked_alone() -> None:
    steps = [step(params={"x": "$input.who.name", "y": "$output.step_9"})]
    made = plan(*steps, inputs={"who": {"name": "Ada"}})
    uses = collect(made).of_inputs
    assert [use.text for use in uses] == ["$input.who.name"]
    assert input_problems(made, uses) == ()
    (problem,) = input_problems(plan(*steps, inputs={"who": "Ada"}), uses)
    assert (problem.code, problem.pointer) == ("unknown-path", "/steps/0/params/x")
    assert "in the input 'who': 'Ada' has no 'name'" in problem.message
    (problem,) = input_problems(plan(*steps), uses)
    assert problem.code == "unknown-input"


def test_a_circle_of_references_is_told_once_whatever_else_is_wrong() -> None:
    """Of the two chains each waits for the other; the last step uses what runs beside it."""
    codes, _, is_ordered = look(
        step(0, depends_on=[]),
        step(1, params={"x": "$output.step_3"}),
        step(2, depends_on=[]),
        step(3, params={"x": "$output.step_1"}),
        step(4, depends_on=[], params={"x": "$output.step_0"}),
    )
    assert codes == ["cycle", "reference-not-before"]
    assert not is_ordered


def test_an_input_may_be_called_like_a_step() -> None:
    made = plan(
        step(1, "book", depends_on=[]),
        step(2, "book", depends_on=[], params={"x": "$input.1.zzz"}),
        inputs={"1": {"id": 7}},
    )
    problems = Problems()
    catalogue = tools(tool("book", output=closed(id=TEXT)))
    graph = order_problems(made, catalogue, collect(made), problems)
    (found,) = problems.as_tuple()
    assert found.message == "'$input.1.zzz' leads nowhere in the input '1': an object has no 'zzz'."
    assert graph is not None
    assert graph.needs == ((), ())


def test_of_two_circles_each_is_told_and_nothing_else() -> None:
    pairs = ((1, 2), (2, 1), (3, 4), (4, 3))
    steps = [
        step(one, depends_on=[], params={"x": f"$output.step_{other}"}) for one, other in pairs
    ]
    assert look(*steps)[0] == ["cycle", "cycle"]


def test_where_ids_are_unclear_no_order_is_judged() -> None:
    codes, _, is_ordered = look(step(1), step("1"))
    assert (codes, is_ordered) == (["duplicate-id"], False)
