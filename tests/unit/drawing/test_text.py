from __future__ import annotations

from fsm_saga.core.program import Shape
from fsm_saga.core.saga import StepState
from fsm_saga.core.states import StepKind, StepStatus, executing
from fsm_saga.drawing.extract_dag import dag_picture
from fsm_saga.drawing.extract_machine import saga_machine_picture
from fsm_saga.drawing.extract_timeline import timeline_picture
from fsm_saga.drawing.picture import Picture
from fsm_saga.drawing.text import render_text
from fsm_saga.machine.flatten import saga_table
from tests.unit.drawing.programs import Step, make_program, make_saga
from tests.unit.drawing.test_extract_timeline import JOURNAL, TRIP


def test_a_plan_reads_as_a_list_with_what_undoes_each_step() -> None:
    plan = make_program(
        [
            Step(name="Reserve", tool="reserve"),
            Step(name="Charge", tool="charge", needs=[0]),
            Step(name="Courier", tool="courier", needs=[0]),
            Step(name="Confirm", tool="confirm", kind=StepKind.PIVOT, needs=[1, 2]),
        ],
        goal="An order",
    )
    assert (
        render_text(dag_picture(plan))
        == """\
An order
========

  1 · Reserve  reserve
      ↩ cancel_reserve, then back to FAILED
  2 · Charge   charge  (after 1)
      ↩ cancel_charge, then back to 1 · Reserve
  3 · Courier  courier  (after 1)
      ↩ cancel_courier, then back to 1 · Reserve
  4 · Confirm  confirm | ◆ PIVOT  (after 2, 3)
--- past the point of no return: only forward ---
  DONE           (after 4)
  FAILED       nothing is left

If it stays unknown whether a call took effect: resend the same id, else a person.
"""
    )


def test_a_live_saga_reads_with_its_statuses() -> None:
    plan = make_program([Step(name="Book", tool="book"), Step(name="Pay", tool="pay")])
    running = StepState(status=StepStatus.RUNNING, attempts=2)
    saga = make_saga(plan, [StepStatus.SUCCEEDED, running], state=executing(2))
    text = render_text(dag_picture(plan, saga))
    assert "  1 · Book  book | ✓ SUCCEEDED\n" in text
    assert "  2 · Pay   pay | ▶ RUNNING · attempt 2  (after 1)\n" in text


def test_a_machine_reads_with_its_arrows_and_where_the_saga_is() -> None:
    rows = saga_table(Shape(2, 1, 0, is_open=False))
    text = render_text(saga_machine_picture(rows, executing(2)))
    assert "> ▶ EXECUTING(2)   1 succeeded\n" in text
    assert "      -> FAILED: cancelled\n" in text
    assert "--- going back, from any state ---\n      -> NEEDS_HUMAN: nothing_left_to_try" in text


def test_a_timeline_reads_lane_by_lane() -> None:
    text = render_text(timeline_picture(TRIP, JOURNAL))
    assert "\n1 · Book the flight\n  book_flight          ✓ succeeded\n" in text
    assert "tick" not in text
    assert "+30 s" not in text


def test_wide_characters_keep_the_columns() -> None:
    plan = make_program([Step(name="预订", tool="a"), Step(name="Book", tool="b")])
    lines = render_text(dag_picture(plan)).splitlines()
    assert "  1 · 预订  a" in lines
    assert "  2 · Book  b  (after 1)" in lines


def test_a_picture_of_nothing_is_a_title() -> None:
    assert render_text(Picture(title="Nothing", nodes=())) == "Nothing\n=======\n"


def test_a_name_of_two_lines_is_one_here() -> None:
    plan = make_program([Step(name="Tell the supplier where to deliver", tool="tell")])
    assert "  1 · Tell the supplier where to deliver  tell\n" in render_text(dag_picture(plan))
