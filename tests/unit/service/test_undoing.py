"""The way back of a saga that is DONE, as data."""

from __future__ import annotations

import pytest

from fsm_saga.errors import CommandError
from fsm_saga.plan.fields import TASK_ID_CHARS_MAX
from fsm_saga.service.undoing import undo_id, undo_plan
from tests.support.play import Play


def done(text: str, tools: str = "", *, undoes: dict[str, str] | None = None) -> Play:
    play = Play(text, tools, undoes=undoes)
    for step in play.plan.steps:
        play.ok(step.step_id)
    assert play.state == "DONE"
    return play


def test_the_undo_of_a_diamond_is_the_diamond_turned_round() -> None:
    play = done("1 a / ua ; after=-\n2 b / ub ; after=1\n3 c / uc ; after=1\n4 d / ud ; after=2,3")
    found = undo_plan(play.saga, now=0.0)
    after = {step.step_id: set(step.depends_on or ()) for step in found.plan("s.undo").steps}
    assert after == {4: set(), 2: {4}, 3: {4}, 1: {2, 3, 4}}
    assert {step.kind for step in found.plan("s.undo").steps} == {"retriable"}
    assert list(found.undoes.values()) == [
        play.step(step.step_id).req_id for step in found.plan("s.undo").steps
    ]


def test_what_only_reads_is_not_undone_and_keeps_the_order_of_the_rest() -> None:
    play = done("1 a / ua\n2 look\n3 b / ub", "look read_only")
    found = undo_plan(play.saga, now=0.0)
    assert [step.step_id for step in found.steps] == [3, 1]
    assert found.plan("s.undo").steps[1].depends_on == (3,)


def test_params_that_look_like_references_stay_what_they_are() -> None:
    play = Play("1 a / ua id=$output.step_1.id")
    play.ok(1, {"id": "$output.step_9.secret"})
    plan = undo_plan(play.saga, now=0.0).plan("s.undo")
    assert plan.steps[0].params == {"id": "$input.undo_0_0"}
    assert plan.inputs == {"undo_0_0": "$output.step_9.secret"}


def test_a_partial_undo_leaves_out_what_has_an_obstacle_and_says_which() -> None:
    play = done('1 a / ua\n2 post / "say sorry"\n3 b / ub', "b retention=95")
    found = undo_plan(play.saga, now=61.0)
    assert {step.step_id: step.obstacle for step in found.steps} == {
        1: "",
        2: "making good for it has to be decided by a person",
        3: "the tool no longer remembers the call",
    }
    with pytest.raises(CommandError, match="step '3': the tool no longer remembers"):
        found.check_possible(is_partial=False)
    found.check_possible(is_partial=True)
    assert [step.step_id for step in found.plan("s.undo").steps] == [1]
    assert found.plan("s.undo").steps[0].depends_on == ()


def test_a_saga_of_which_nothing_can_be_undone_is_refused() -> None:
    found = undo_plan(done("1 pay ; kind=pivot").saga, now=0.0)
    with pytest.raises(CommandError, match="left nothing that could be undone"):
        found.check_possible(is_partial=True)
    found = undo_plan(done("1 look", "look read_only").saga, now=0.0)
    with pytest.raises(CommandError, match="left nothing that could be undone"):
        found.check_possible(is_partial=False)


def test_an_undo_is_not_undone() -> None:
    play = done("1 ua ; kind=retriable", undoes={"0": "r-original"})
    assert undo_plan(play.saga, now=0.0).steps[0].obstacle == "it is itself an undo"


def test_a_step_that_a_person_vouched_for_has_an_obstacle() -> None:
    play = Play("1 pay ; kind=pivot\n2 a / ua id=$output.step_2.id ; kind=retriable retry=1")
    play.ok(1)
    play.unknown(2)
    play.settle(2)
    steps = {step.step_id: step.obstacle for step in undo_plan(play.saga, now=0.0).steps}
    assert steps == {1: "it has no rollback", 2: "the rollback's parameters are not known"}


@pytest.mark.parametrize(
    ("act", "hint"),
    [
        ("rejected", "it has left nothing to undo"),
        ("unknown", "answer what it asks first"),
        ("resume", "cancel it instead"),
    ],
)
def test_only_a_saga_that_is_done_is_undone(act: str, hint: str) -> None:
    play = Play("1 a / ua ; retry=1")
    if act == "resume":
        play.resume()
    else:
        getattr(play, act)(1)
    with pytest.raises(CommandError, match=hint):
        undo_plan(play.saga, now=0.0)


def test_what_a_dry_run_prints_is_json() -> None:
    step = undo_plan(done("1 a / ua x=1").saga, now=0.0).steps[0]
    assert step.as_json() == {
        "step_id": 1,
        "name": "a",
        "tool": "ua",
        "params": {"x": 1},
        "undoes": step.req_id,
        "can_be_undone": True,
        "obstacle": "",
    }


def test_a_long_name_is_cut_and_still_its_own() -> None:
    """D-13: the id is fixed, so an undo happens once."""
    assert undo_id("trip-7") == "trip-7.undo"
    assert undo_id("trip-7", number=2) == "trip-7.undo2"
    longest = "x" * TASK_ID_CHARS_MAX
    other = "x" * (TASK_ID_CHARS_MAX - 1) + "y"
    ids = [
        undo_id(saga_id, number=number)
        for saga_id in ("x" * (TASK_ID_CHARS_MAX - 5), longest, other)
        for number in (1, 2, 11)
    ]
    assert all(len(found) <= TASK_ID_CHARS_MAX for found in ids)
    assert len(set(ids)) == len(ids)
    assert undo_id(longest) == undo_id(longest)
