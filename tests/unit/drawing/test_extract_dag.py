from __future__ import annotations

import pytest

from fsm_saga.core.saga import StepState, UndoState
from fsm_saga.core.states import (
    DONE,
    FAILED,
    NEEDS_HUMAN,
    DoubtExit,
    Outcome,
    StepKind,
    StepStatus,
    compensating,
    executing,
)
from fsm_saga.drawing.extract_dag import (
    DOUBT_WORDS,
    QUESTION_MAX,
    UNDO_NODE_STEP_MAX,
    bits,
    dag_picture,
)
from fsm_saga.drawing.picture import EdgeRole, Flow, Node, NodeForm, NodeRole, Picture
from tests.unit.drawing.programs import Step, make_program, make_saga

TRIP = make_program(
    [
        Step(name="Book the flight", tool="book_flight", undo="cancel_flight"),
        Step(name="Book the hotel", tool="book_hotel", undo="cancel_hotel"),
        Step(name="Rent a car", tool="rent_car", undo="cancel_car"),
    ]
)
DIAMOND = make_program(
    [
        Step(name="a", tool="tool"),
        Step(name="b", needs=[0]),
        Step(name="c", needs=[0]),
        Step(name="d", needs=[1, 2, 0]),
    ]
)
PIVOT = make_program(
    [
        Step(name="Look", kind=StepKind.READ_ONLY),
        Step(name="Invite", semantic="apologise and offer a new date", approval=True),
        Step(name="Pay", kind=StepKind.PIVOT),
        Step(name="Issue", kind=StepKind.RETRIABLE, undo=None),
    ]
)


def node(picture: Picture, node_id: str) -> Node:
    (found,) = [each for each in picture.nodes if each.id == node_id]
    return found


def pairs(picture: Picture, *roles: EdgeRole) -> set[tuple[str, str]]:
    return {(edge.source, edge.target) for edge in picture.edges if edge.role in roles}


def undone_after(picture: Picture) -> dict[str, list[str]]:
    """Return, for each step, where the way back leads from it, through its undo call."""
    step_of = {e.target: e.source for e in picture.edges if e.target.startswith("undo-")}
    found: dict[str, list[str]] = {}
    for edge in picture.edges:
        if edge.is_backward and not edge.target.startswith("undo-"):
            found.setdefault(step_of.get(edge.source, edge.source), []).append(edge.target)
    return found


def test_a_straight_plan_is_a_line_from_start_to_done_and_back() -> None:
    picture = dag_picture(TRIP)
    forward = {("start", "step-0"), ("step-0", "step-1"), ("step-1", "step-2"), ("step-2", "done")}
    assert pairs(picture, EdgeRole.NEEDS) == forward
    back = {"step-2": ["step-1"], "step-1": ["step-0"], "step-0": ["failed"]}
    assert undone_after(picture) == back
    assert picture.title == "Trip to Beijing"


def test_a_step_shows_its_number_its_name_its_tool_and_its_undo() -> None:
    picture = dag_picture(TRIP)
    assert node(picture, "step-1").lines == ("2 · Book the hotel", "book_hotel")
    assert node(picture, "undo-1").lines == ("↩ cancel_hotel",)
    assert "undo cancel_hotel" in node(picture, "step-1").tooltip


def test_a_dependency_that_follows_from_others_is_not_drawn() -> None:
    inner = {e for e in pairs(dag_picture(DIAMOND), EdgeRole.NEEDS) if "d" not in e[1]}
    assert ("step-0", "step-3") not in inner
    assert {("step-0", "step-1"), ("step-0", "step-2")} <= inner


def test_the_way_back_from_a_join_forks_and_is_one_call() -> None:
    picture = dag_picture(DIAMOND)
    assert undone_after(picture) == {
        "step-0": ["failed"],
        "step-1": ["step-0"],
        "step-2": ["step-0"],
        "step-3": ["step-1", "step-2"],
    }
    assert sum(each.id.startswith("undo-") for each in picture.nodes) == 4


def test_what_has_nothing_to_undo_is_passed_over_on_the_way_back() -> None:
    plan = make_program([Step(name="a"), Step(name="b", kind=StepKind.READ_ONLY), Step(name="c")])
    assert undone_after(dag_picture(plan)) == {"step-0": ["failed"], "step-2": ["step-0"]}


def test_past_the_pivot_there_is_no_way_back_and_an_area_says_so() -> None:
    picture = dag_picture(PIVOT)
    (area,) = picture.clusters
    assert area.nodes == ("step-3", "done")
    assert "point of no return" in area.title
    assert undone_after(picture) == {"step-1": ["failed"]}


def test_the_last_step_can_be_the_pivot() -> None:
    plan = make_program([Step(name="a"), Step(name="Pay", kind=StepKind.PIVOT)])
    assert dag_picture(plan).clusters[0].nodes == ("done",)


def test_a_plan_that_can_always_be_undone_has_no_such_area() -> None:
    assert dag_picture(TRIP).clusters == ()


def test_each_kind_of_step_has_its_shape_and_its_word() -> None:
    picture = dag_picture(PIVOT)
    seen = {each.id: (each.form, " ".join(each.lines)) for each in picture.nodes}
    assert seen["step-0"][0] is NodeForm.BOX
    assert "read only" in seen["step-0"][1]
    assert "a person approves" in seen["step-1"][1]
    assert seen["step-2"][0] is NodeForm.OCTAGON
    assert "PIVOT" in seen["step-2"][1]
    assert "retried until done" in seen["step-3"][1]


def test_making_good_for_a_step_looks_like_no_undo() -> None:
    picture = dag_picture(PIVOT)
    undo = node(picture, "undo-1")
    assert undo.role is NodeRole.SEMANTIC
    assert " ".join(undo.lines) == "≈ make good: apologise and offer a new date"
    assert pairs(picture, EdgeRole.SEMANTIC) == {("step-1", "undo-1"), ("undo-1", "failed")}
    assert any("dotted" in line for line in picture.legend)


def test_a_step_without_a_way_back_says_so() -> None:
    plan = make_program([Step(name="a"), Step(name="b", undo=None)])
    assert "no way back" in node(dag_picture(plan), "step-1").lines


@pytest.mark.parametrize("doubt_exit", DoubtExit)
def test_the_exit_that_all_steps_share_is_said_once(doubt_exit: DoubtExit) -> None:
    plan = make_program([Step(name="a", exit=doubt_exit), Step(name="b", exit=doubt_exit)])
    picture = dag_picture(plan)
    assert not any("unknown" in line for each in picture.nodes for line in each.lines)
    said = any(DOUBT_WORDS[doubt_exit] in note for note in picture.notes)
    assert said or doubt_exit is DoubtExit.NO_EFFECT


@pytest.mark.parametrize("doubt_exit", [x for x in DoubtExit if x is not DoubtExit.RESEND])
def test_a_step_with_an_exit_of_its_own_says_which(doubt_exit: DoubtExit) -> None:
    plan = make_program([Step(name="a"), Step(name="b"), Step(name="c", exit=doubt_exit)])
    words = " ".join(node(dag_picture(plan), "step-2").lines)
    assert f"if unknown: {DOUBT_WORDS[doubt_exit]}" in words


def test_a_live_saga_shows_each_status_in_words() -> None:
    states: list[StepStatus | StepState] = [
        StepStatus.SUCCEEDED,
        StepState(status=StepStatus.RUNNING, attempts=2),
        StepStatus.AWAITING_APPROVAL,
    ]
    picture = dag_picture(TRIP, make_saga(TRIP, states, state=executing(2)))
    assert node(picture, "step-0").lines[-1] == "✓ SUCCEEDED"
    assert node(picture, "step-1").lines[-1] == "▶ RUNNING · attempt 2"
    assert node(picture, "step-2").lines[-1] == "◇ AWAITING APPROVAL"
    assert node(picture, "step-2").role is NodeRole.AWAITING_APPROVAL
    assert picture.title == "trip-7 is EXECUTING(2): Trip to Beijing"


@pytest.mark.parametrize("status", StepStatus)
def test_every_status_can_be_shown(status: StepStatus) -> None:
    picture = dag_picture(TRIP, make_saga(TRIP, [status], state=executing(1)))
    assert status.replace("_", " ") in node(picture, "step-0").lines[-1]


def test_a_live_saga_shows_which_ways_were_taken() -> None:
    undoing = StepState(status=StepStatus.COMPENSATING, attempts=1, undo=UndoState(attempts=3))
    states: list[StepStatus | StepState] = [StepStatus.SUCCEEDED, undoing, StepStatus.SKIPPED]
    picture = dag_picture(TRIP, make_saga(TRIP, states, state=compensating(2)))
    assert pairs(picture, EdgeRole.TAKEN) == {("start", "step-0"), ("step-0", "step-1")}
    assert pairs(picture, EdgeRole.UNDO_TAKEN) == {("step-1", "undo-1"), ("undo-1", "step-0")}
    assert node(picture, "undo-1").role is NodeRole.UNDO_TAKEN
    assert node(picture, "step-1").lines[-1] == "↩ COMPENSATING · attempt 3"


def test_making_good_that_is_under_way_is_drawn_strongly() -> None:
    states = [StepStatus.SUCCEEDED, StepStatus.STUCK]
    picture = dag_picture(PIVOT, make_saga(PIVOT, states, state=compensating(1)))
    assert node(picture, "undo-1").role is NodeRole.SEMANTIC_TAKEN


def test_a_saga_that_ended_says_how_where_its_way_ended() -> None:
    done = make_saga(TRIP, [StepStatus.SUCCEEDED] * 3, state=DONE, outcome=Outcome.COMMITTED)
    assert node(dag_picture(TRIP, done), "done").lines == ("✓ DONE · committed",)
    states = [StepStatus.COMPENSATED, StepStatus.REJECTED]
    failed = make_saga(TRIP, states, state=FAILED, outcome=Outcome.COMPENSATED)
    end = node(dag_picture(TRIP, failed), "failed")
    assert (end.lines, end.role) == (("✗ FAILED · compensated",), NodeRole.FAILED)


def test_a_plan_with_nothing_to_undo_shows_failure_only_once_it_has_failed() -> None:
    plan = make_program([Step(name="a", kind=StepKind.READ_ONLY)])
    assert "failed" not in dag_picture(plan).ids
    outcome = Outcome.NOTHING_HAPPENED
    saga = make_saga(plan, [StepStatus.REJECTED], state=FAILED, outcome=outcome)
    assert "failed" in dag_picture(plan, saga).ids


def test_the_cause_is_written_below() -> None:
    saga = make_saga(TRIP, [StepStatus.REJECTED], state=FAILED, cause="step 1 was rejected: full")
    assert dag_picture(TRIP, saga).notes[0] == "step 1 was rejected: full"


def test_an_open_plan_ends_openly() -> None:
    picture = dag_picture(make_program([Step(name="a")], is_open=True))
    assert node(picture, "done").lines == ("open:", "steps may follow")


def test_a_plan_without_steps_or_goal_can_be_drawn() -> None:
    picture = dag_picture(make_program([], goal=None))
    assert [each.id for each in picture.nodes] == ["start", "done"]
    assert picture.title == "The plan"


@pytest.mark.parametrize(("count", "flow"), [(3, Flow.RIGHT), (4, Flow.DOWN)])
def test_a_long_plan_reads_downwards(count: int, flow: Flow) -> None:
    assert dag_picture(make_program([Step(name=f"s{i}") for i in range(count)])).flow is flow


def test_in_a_large_plan_the_undo_is_a_line_of_its_step() -> None:
    steps = [Step(name=f"s{i}") for i in range(UNDO_NODE_STEP_MAX)]
    small = dag_picture(make_program(steps))
    assert "undo-0" in small.ids
    large = dag_picture(make_program([*steps, Step(name="x"), Step(name="y", semantic="sorry")]))
    assert not any(each.startswith("undo-") for each in large.ids)
    assert "↩ cancel_s0" in node(large, "step-0").lines
    assert "≈ make good:" in node(large, f"step-{UNDO_NODE_STEP_MAX + 1}").lines
    assert ("step-1", "step-0") in pairs(large, EdgeRole.UNDO)


@pytest.mark.parametrize(
    ("name", "step_id", "lines"),
    [
        ("", 7, ("7",)),
        ("7", "7", ("7",)),
        ("\x00", "pay", ("pay",)),
        ("Pay", "pay", ("pay · Pay",)),
        ("Book a room with a view of the lake", 1, ("1 · Book a room with a view", "of the lake")),
    ],
)
def test_the_first_lines_are_number_and_name(
    name: str, step_id: int | str, lines: tuple[str, ...]
) -> None:
    plan = make_program([Step(name=name, step_id=step_id, tool="tool")])
    assert node(dag_picture(plan), "step-0").lines[: len(lines) + 1] == (*lines, "tool")


def test_a_name_that_is_the_tool_is_written_once() -> None:
    plan = make_program([Step(name="book_flight", tool="book_flight")])
    assert node(dag_picture(plan), "step-0").lines == ("1 · book_flight",)


def test_the_ones_of_a_mask_are_counted_from_the_lowest() -> None:
    assert list(bits(0b101001)) == [0, 3, 5]
    assert list(bits(0)) == []


def test_what_a_person_is_asked_is_written_below() -> None:
    doubtful = [StepStatus.SUCCEEDED, StepStatus.DOUBTFUL]
    saga = make_saga(TRIP, doubtful, state=NEEDS_HUMAN)

    (note,) = (note for note in dag_picture(TRIP, saga).notes if "person decides" in note)
    assert note.startswith("A person decides about step ")
    assert "settled" in note


def test_of_many_questions_some_are_written_below_and_the_others_counted() -> None:
    program = make_program([Step(name=f"s{number}", needs=[]) for number in range(6)])
    saga = make_saga(program, [StepStatus.DOUBTFUL] * 6, state=NEEDS_HUMAN)
    notes = [note for note in dag_picture(program, saga).notes if "person decides" in note]

    assert len(notes) == QUESTION_MAX + 1
    assert notes[-1] == "A person decides about 3 more steps."
