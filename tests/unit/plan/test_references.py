from __future__ import annotations

from fsm_saga.core.limits import LIMITS
from fsm_saga.core.references import ReferenceText
from fsm_saga.plan.references import collect, index_by_id, index_of, references_in
from tests.unit.plan.builders import plan, step


def test_references_are_found_in_order_with_their_places() -> None:
    made = plan(
        step(1, params={"a": ["x", {"b/c": "$input.who.name"}]}),
        step(
            2,
            params={"a": "$output.step_1"},
            rollback={"tool": "undo", "params": {"id": "$output.step_2.id"}},
        ),
    )
    uses = collect(made)
    assert [(use.text, use.at, use.names) for use in uses.all] == [
        (
            "$input.who.name",
            ("steps", 0, "params", "a", 1, "b/c"),
            ReferenceText("input", "who", ("name",)),
        ),
        ("$output.step_1", ("steps", 1, "params", "a"), ReferenceText("output", "1", ())),
        (
            "$output.step_2.id",
            ("steps", 1, "rollback", "params", "id"),
            ReferenceText("output", "2", ("id",)),
        ),
    ]
    assert [uses.source(use) for use in uses.all] == [None, 0, 1]


def test_refused_texts_are_problems_and_places_alike() -> None:
    made = plan(step(1, params={"a": "$env.X", "$output.step_1": 1, "b": "$5"}))
    (found,) = collect(made).steps
    assert found.found == ()
    assert found.params_places == (("a",), ("$output.step_1",))
    assert [(problem.code, problem.pointer) for problem in found.problems] == [
        ("unknown-namespace", "/steps/0/params/a"),
        ("reference-in-key", "/steps/0/params/$output.step_1"),
    ]


def test_inputs_and_a_semantic_rollback_are_not_searched() -> None:
    made = plan(step(rollback={"semantic": "$env.X"}), inputs={"a": "$env.X"}, goal="$env.X")
    assert collect(made).steps[0].problems == ()


def test_the_search_stops_when_there_are_more_problems_than_are_listed() -> None:
    made = plan(step(params={"a": ["$env.X"] * (LIMITS.problem_max * 3)}))
    assert len(collect(made).steps[0].problems) == LIMITS.problem_max + 1


def test_a_step_answers_to_its_id_and_without_its_prefix() -> None:
    made = plan(step(1), step("step_2"), step("e\u0301"))
    assert index_of(made) == {"1": 0, "step_2": 1, "2": 1, "é": 2}
    assert index_by_id(made) == {"1": 0, "step_2": 1, "é": 2}


def test_of_two_steps_with_one_name_the_first_is_meant() -> None:
    made = plan(step(1), step("1"), step("step_1"))
    assert index_of(made) == {"1": 0, "step_1": 2}


def test_a_key_with_the_sign_of_money_is_no_reference() -> None:
    assert list(references_in({"price in $": 5, "a$b": ["x"]})) == []
    assert [path for path, _, _ in references_in({"$output.step_1": 5})] == [("$output.step_1",)]
