from __future__ import annotations

from fsm_saga.core.program import Shape
from fsm_saga.core.states import Direction
from fsm_saga.machine.moves import closed, is_out, sample_output, step_words
from tests.modelcheck.programs import COMPENSATABLE, Step, make_program
from tests.support.play import UNDO, Play


def test_a_plan_that_is_closed_has_the_shape_and_the_table_of_a_closed_one() -> None:
    opened = make_program((COMPENSATABLE, COMPENSATABLE), is_open=True)
    shut = make_program((COMPENSATABLE, COMPENSATABLE))
    found = closed(opened)
    assert (found.is_open, found.shape) == (False, Shape(2, 1, 0, is_open=False))
    assert found.table is shut.table
    assert found.steps is opened.steps


def test_a_made_up_output_has_what_the_program_refers_to() -> None:
    program = make_program(
        (
            COMPENSATABLE,
            Step(params={"a": "$output.step_0.rooms.first", "b": "$output.step_0.rooms.last"}),
            Step(undo_needs_output=True),
        )
    )
    assert sample_output(program, 0) == {
        "rooms": {"first": "output.rooms.first", "last": "output.rooms.last"}
    }
    assert sample_output(program, 1) == "output"
    assert sample_output(program, 2) == {"id": "output.id"}


def test_a_step_is_called_by_its_id_and_name() -> None:
    program = make_program((COMPENSATABLE, COMPENSATABLE))
    assert step_words(program, 1) == "step 1 (do)"


def test_a_call_is_out_while_it_is_awaited_and_not_while_it_waits_to_be_tried_again() -> None:
    play = Play("1 a / ua ; retry=2*1 undo-retry=2*1\n2 b")
    out = [(index, way) for index in (0, 1) for way in Direction]

    def are_out() -> list[tuple[int, Direction]]:
        return [(index, way) for index, way in out if is_out(play.saga.steps[index], way)]

    assert are_out() == [(0, Direction.DO)]
    play.rejected(1)
    assert are_out() == []
    play.tick()
    play.ok(1)
    assert are_out() == [(1, Direction.DO)]
    play.rejected(2)
    assert are_out() == [(0, Direction.UNDO)]
    play.rejected(1, direction=UNDO)
    assert are_out() == []
