from __future__ import annotations

from tests.support.play import Play


def test_a_step_is_found_by_its_name_however_it_is_written() -> None:
    program = Play("1 a / ua\ncar b / ub").saga.program
    assert [program.step_named(name) for name in (1, "1")] == [program.steps[0]] * 2
    assert program.step_named("car") is program.steps[1]


def test_a_name_that_no_step_has_finds_nothing() -> None:
    program = Play("1 a / ua").saga.program
    assert program.step_named(2) is None
    assert program.step_named("") is None
