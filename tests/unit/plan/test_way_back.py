"""Tests of kinds, undo calls and pivots; the rules' codes and pointers are in the corpus."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm_saga.core.contract import ToolFacts
from fsm_saga.core.states import StepKind
from fsm_saga.plan.graph import PlanGraph, build_graph
from fsm_saga.plan.lint import lint
from fsm_saga.plan.model import Plan
from fsm_saga.plan.way_back import (
    derive_undo,
    derived_undo,
    effective_kind,
    find_pivot,
    is_irrevocable,
)
from tests.unit.plan.builders import TEXT, TOOLS, closed, plan, step, tool, tools

OPEN = {"type": "object", "properties": {"id": TEXT}}


def undo_of(
    params: dict[str, Any] | None = None,
    *,
    output: dict[str, Any] | None = None,
    needs: dict[str, Any],
    step_id: int | str = 7,
) -> dict[str, Any] | None:
    """Return the derived undo of a step with these params, of a tool with this output."""
    made = plan(step(step_id, "act", params=params or {})).steps[0]
    facts = tool("act", output=output, undo="back")
    return derive_undo(made, facts, tool("back", params=needs))


def test_the_kind_is_the_plans_or_the_tools_or_the_default() -> None:
    made = plan(step(1, "read"), step(2, "read", kind="retriable"), step(3, "any"), step(4, "?"))
    kinds = [effective_kind(each, TOOLS.get(each.tool)) for each in made.steps]
    assert kinds == [
        StepKind.READ_ONLY,
        StepKind.RETRIABLE,
        StepKind.COMPENSATABLE,
        StepKind.COMPENSATABLE,
    ]


def test_an_undo_is_filled_from_the_output_first_and_then_from_the_parameters() -> None:
    found = undo_of(
        {"id": "mine", "date": "$input.date"},
        output=closed(id=TEXT),
        needs=closed(id=TEXT, date=TEXT),
    )
    assert found == {"id": "$output.step_7.id", "date": "$input.date"}


def test_a_single_value_fills_the_one_parameter_that_is_left() -> None:
    assert undo_of(output=TEXT, needs=closed(id=TEXT)) == {"id": "$output.step_7"}
    filled = undo_of({"a": "x"}, output=TEXT, needs=closed(a=TEXT, id=TEXT))
    assert filled == {"a": "x", "id": "$output.step_7"}


def test_what_is_left_is_looked_for_by_name_where_the_output_is_not_declared() -> None:
    assert undo_of(needs=closed(id=TEXT)) == {"id": "$output.step_7.id"}
    assert undo_of(output={"type": "object"}, needs=closed(id=TEXT)) == {"id": "$output.step_7.id"}
    assert undo_of(needs=closed(a=TEXT, b=TEXT)) == {
        "a": "$output.step_7.a",
        "b": "$output.step_7.b",
    }


def test_an_optional_parameter_is_filled_from_a_declared_source() -> None:
    optional = {"properties": {"id": TEXT, "why": TEXT}}
    assert undo_of(output=closed(id=TEXT), needs=optional) == {"id": "$output.step_7.id"}
    assert undo_of({"why": "x"}, needs=optional) == {"why": "x"}


def test_the_step_is_named_as_references_name_it() -> None:
    assert undo_of(step_id="step_1", needs=closed(id=TEXT)) == {"id": "$output.step_step_1.id"}


def test_an_undo_that_needs_nothing_is_given_nothing() -> None:
    assert undo_of({"a": 1}, needs={}) == {}
    assert undo_of({"b": 1}, needs={"properties": {"a": TEXT}}) == {}


@pytest.mark.parametrize(
    ("params", "output", "needs"),
    [
        ({}, TEXT, closed(a=TEXT, b=TEXT)),
        ({}, closed(other=TEXT), closed(id=TEXT)),
        ({}, OPEN, closed(booking=TEXT)),
        ({"id": 7}, None, closed(id=TEXT)),
    ],
)
def test_an_undo_that_cannot_be_filled_is_none(
    params: dict[str, Any], output: dict[str, Any] | None, needs: dict[str, Any]
) -> None:
    assert undo_of(params, output=output, needs=needs) is None


def test_a_declared_undo_counts_where_the_plan_says_nothing_else() -> None:
    made = plan(
        step(1, "do", params={"x": "a"}),
        step(2, "do", params={"x": "a"}, rollback={"tool": "undo", "params": {"id": "b"}}),
        step(3, "do", params={"x": "a"}, rollback={"semantic": "x"}),
        step(4, "do", params={"x": "a"}, kind="pivot"),
        step(5, "do", params={"x": "a"}, kind="read_only"),
        step(6, "do", params={"x": "a"}, kind="retriable"),
        step(7, "any"),
        step(8, "?"),
    )
    found = [derived_undo(each, TOOLS) for each in made.steps]
    expected: list[Any] = [None] * 8
    expected[0] = {"id": "$output.step_1.id"}
    expected[5] = {"id": "$output.step_6.id"}
    assert found == expected
    irrevocable = [is_irrevocable(each, TOOLS) for each in made.steps]
    assert irrevocable == [False, False, False, True, False, False, True, True]


def test_an_undo_tool_that_is_missing_derives_nothing() -> None:
    made = plan(step(1, "do", params={"x": "a"}))
    assert derived_undo(made.steps[0], {"do": TOOLS["do"]}) is None


def test_the_pivot_is_the_one_written_or_the_one_implied() -> None:
    undone = step(1, "do", params={"x": "a"})
    assert find_pivot(plan(undone), TOOLS) is None
    assert find_pivot(plan(undone, step(2, "any")), TOOLS) == 1
    assert find_pivot(plan(undone, step(2, "do", params={"x": "a"}, kind="pivot")), TOOLS) == 1
    assert find_pivot(plan(undone, step(2, "any", kind="retriable")), TOOLS) is None


# --- the rules against a slow, obvious twin ------------------------------------------------------

KINDS = st.sampled_from([None, None, "compensatable", "pivot", "retriable", "read_only"])
TOOL_NAMES = st.sampled_from(["read", "do", "any", "any"])


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    steps: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 5))):
        name = draw(TOOL_NAMES)
        fields: dict[str, Any] = {"params": {"x": "a"}} if name == "do" else {}
        if draw(st.booleans()):
            fields["rollback"] = {"tool": "any"}
        if draw(st.booleans()):
            named = st.lists(st.sampled_from(range(number)), unique=True) if number else st.just([])
            fields["depends_on"] = draw(named)
        steps.append(step(number, name, kind=draw(KINDS), **fields))
    return plan(*steps)


def is_stranded(made: Plan, graph: PlanGraph, catalogue: dict[str, ToolFacts]) -> bool:
    """Return whether some step can fail for good while one without a way back is done.

    Every set of steps that may be done when a step fails is tried: those before it are done,
    and of those beside it any.
    """
    count = len(made.steps)
    for failing in range(count):
        if effective_kind(made.steps[failing], catalogue[made.steps[failing].tool]) == "retriable":
            continue
        for other in range(count):
            may_be_done = other != failing and not graph.is_before(failing, other)
            if may_be_done and is_irrevocable(made.steps[other], catalogue):
                return True
    return False


@given(plans())
def test_no_accepted_plan_can_be_stranded(made: Plan) -> None:
    # P4: whatever fails, everything that may be done by then can be undone.
    graph = build_graph(made)
    problems = lint(made, TOOLS)
    if not problems:
        assert not is_stranded(made, graph, TOOLS)
        pivot = find_pivot(made, TOOLS)
        if pivot is not None:
            assert not any(graph.is_parallel(pivot, each) for each in range(len(made.steps)))


ORDER_CODES = {
    "no-way-back",
    "pivot-in-parallel",
    "after-pivot-must-be-retriable",
    "two-pivots",
}


@given(plans())
def test_a_plan_is_refused_for_its_order_only_if_there_is_a_reason(made: Plan) -> None:
    graph = build_graph(made)
    codes = {problem.code for problem in lint(made, TOOLS)}
    if codes & {"no-way-back", "after-pivot-must-be-retriable"}:
        assert is_stranded(made, graph, TOOLS)
    if not codes & ORDER_CODES:
        assert not is_stranded(made, graph, TOOLS)


def test_a_tool_that_undoes_itself_may_declare_it() -> None:
    toggle = tool("toggle", params=closed(on={"type": "boolean"}), undo="toggle")
    made = plan(step(1, "toggle", params={"on": True}), step(2, "read"))
    assert lint(made, tools(toggle, TOOLS["read"])) == ()


def test_a_pair_of_tools_may_undo_each_other() -> None:
    add = tool("add", params=closed(id=TEXT), undo="remove")
    remove = tool("remove", params=closed(id=TEXT), undo="add")
    back = {"tool": "remove", "params": {"id": "a"}}
    made = plan(step(1, "add", params={"id": "a"}, rollback=back), step(2, "read"))
    assert lint(made, tools(add, remove, TOOLS["read"])) == ()


def test_a_retriable_step_may_do_without_an_undo_that_cannot_be_filled() -> None:
    rent = tool("rent", undo="bring")
    bring = tool("bring", params=closed(car=TEXT, key=TEXT))
    made = plan(step(1, "rent", kind="retriable"))
    assert lint(made, tools(rent, bring)) == ()


def test_an_undo_by_what_was_known_before_the_call_needs_no_answer() -> None:
    # U2: the tool neither repeats its answer nor can be asked, and the undo does not mind.
    wire = tool("wire", params=closed(ref=TEXT), dedupe=False)
    recall = tool("recall", params=closed(ref=TEXT, by=TEXT))
    params = {"ref": "$input.ref", "by": "$output.step_0.name"}
    back = {"tool": "recall", "params": params}
    made = plan(
        step(0, "read"),
        step(1, "wire", params={"ref": "$input.ref"}, rollback=back),
        inputs={"ref": "r"},
    )
    assert lint(made, tools(wire, recall, TOOLS["read"])) == ()


def test_a_retriable_step_may_follow_a_step_without_way_back_wherever_it_is_listed() -> None:
    after = step(1, "any", kind="retriable", depends_on=[2])
    last = step(2, "send", params={"text": "x"}, depends_on=[])
    for steps in ((after, last), (last, after)):
        assert lint(plan(*steps), TOOLS) == ()


def test_what_an_undo_needs_may_come_from_both_and_need_not_be_described() -> None:
    needs = {"type": "object", "required": ["a", "b"]}
    assert undo_of({"a": "x"}, needs=needs) == {"a": "x", "b": "$output.step_7.b"}


def test_a_reference_fills_a_parameter_of_any_type() -> None:
    number = {"type": "integer"}
    filled = undo_of(output=closed(id=number), needs=closed(id=number))
    assert filled == {"id": "$output.step_7.id"}


def test_an_undo_that_needs_what_it_refuses_is_none() -> None:
    needs = {"properties": {}, "required": ["a"], "additionalProperties": False}
    assert undo_of({"a": "x"}, needs=needs) is None


def test_what_comes_after_a_written_pivot_is_told_in_its_name_alone() -> None:
    made = plan(
        step(1, "any", kind="pivot"),
        step(2, "send", params={"text": "x"}),
        step(3, "any"),
    )
    assert [(problem.code, problem.pointer) for problem in lint(made, TOOLS)] == [
        ("after-pivot-must-be-retriable", "/steps/1"),
        ("after-pivot-must-be-retriable", "/steps/2"),
    ]


def test_steps_that_are_tried_until_they_succeed_may_run_beside_each_other() -> None:
    text = {"params": {"text": "x"}, "kind": "retriable", "depends_on": []}
    assert lint(plan(step(1, "send", **text), step(2, "send", **text)), TOOLS) == ()


def test_beside_what_was_told_in_the_name_of_a_pivot_nothing_more_is_told() -> None:
    made = plan(
        step(1, "any", kind="pivot"),
        step(2, "send", params={"text": "x"}, depends_on=[1]),
        step(3, "any", kind="retriable", depends_on=[1]),
    )
    assert [(problem.code, problem.pointer) for problem in lint(made, TOOLS)] == [
        ("after-pivot-must-be-retriable", "/steps/1")
    ]


def test_what_only_reads_has_no_undo_though_its_tool_declares_one() -> None:
    peek = tool("peek", undo="any", read_only=True)
    made = plan(step(1, "peek"), step(2, "peek", kind="compensatable"))
    found = [derived_undo(each, TOOLS | tools(peek)) for each in made.steps]
    assert found == [None, {}]
