from __future__ import annotations

import io
import time
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console

from fsm_saga.cli.output import QuietConsole
from fsm_saga.cli.planning import AssumedTools
from fsm_saga.cli.progress import Lines, Picture, Silence, open_progress
from fsm_saga.core import records as r
from fsm_saga.core.saga import Saga, StepState, UndoState
from fsm_saga.core.states import FAILED, StepStatus, executing
from fsm_saga.machine.compile import compile_plan, declare
from fsm_saga.plan.model import Plan

LINES = 12


def saga_of(*step_statuses: StepStatus, **fields: Any) -> Saga:
    call = {"tool": "book", "rollback": {"tool": "cancel"}}
    steps = [
        {"step_id": index, "name": f"Step number {index}", **call}
        for index in range(len(step_statuses))
    ]
    plan = Plan.of({"task_id": "t", "steps": steps})
    program = compile_plan(plan, declare(plan, AssumedTools()))
    states = tuple(
        StepState(status=status, started_at=0.0 if status is StepStatus.WAITING else 100.0)
        for status in step_statuses
    )
    defaults = {"state": executing(1), "created_at": 100.0, "updated_at": 107.0}
    return Saga(**{"saga_id": "t", "program": program, "steps": states, **defaults, **fields})


def drawn(picture: Picture) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=120).print(picture.draw())
    return text.getvalue().splitlines()


@pytest.fixture
def picture() -> Picture:
    return Picture(QuietConsole(file=io.StringIO(), width=120, height=LINES))


def test_the_picture_has_a_line_for_each_step(picture: Picture) -> None:
    done, running, waiting = StepStatus.SUCCEEDED, StepStatus.RUNNING, StepStatus.WAITING
    picture.show(saga_of(done, running, waiting, state=FAILED), ())
    lines = drawn(picture)

    assert lines[0].split() == ["t", "FAILED", "7.0s"]
    assert [line.split()[1] for line in lines[1:]] == ["SUCCEEDED", "RUNNING", "WAITING"]
    assert "7.0s" in lines[1], "it took from its start until the saga changed"


def test_the_clock_of_a_step_stops_when_it_ends(picture: Picture) -> None:
    now = time.time()
    running = saga_of(StepStatus.RUNNING, updated_at=now)
    picture.show(running, ())
    assert "7.0s" not in drawn(picture)[1]
    picture.show(saga_of(StepStatus.SUCCEEDED), ())
    picture.show(saga_of(StepStatus.SUCCEEDED, updated_at=120.0), ())

    assert "7.0s" in drawn(picture)[1]


def test_of_a_long_plan_the_steps_that_move_are_shown_and_the_rest_is_counted(
    picture: Picture,
) -> None:
    statuses = [StepStatus.SUCCEEDED] * 60 + [StepStatus.RUNNING] + [StepStatus.WAITING] * 60
    picture.show(saga_of(*statuses), ())
    lines = drawn(picture)

    assert len(lines) <= LINES
    assert any("RUNNING" in line and "Step number 60" in line for line in lines)
    assert lines[-1].split(maxsplit=1)[0] == "and"
    shown = len(lines) - 2
    counted = sum(int(word) for word in lines[-1].split() if word.isdigit())
    assert shown + counted == len(statuses)


def test_an_undo_that_is_tried_again_shows_its_own_attempts(picture: Picture) -> None:
    saga = saga_of(StepStatus.COMPENSATING)
    step = replace(saga.steps[0], attempts=1, undo=UndoState(attempts=3))
    picture.show(replace(saga, steps=(step,)), ())

    assert "attempt 3" in drawn(picture)[1]


def test_several_sagas_have_a_line_each_and_those_that_ended_come_last(picture: Picture) -> None:
    assert drawn(picture)[0].strip() == "no saga is under way"
    for number in range(LINES + 3):
        state = FAILED if number < 3 else executing(1)
        picture.show(saga_of(StepStatus.RUNNING, saga_id=f"saga-{number}", state=state), ())
    lines = drawn(picture)

    assert len(lines) <= LINES
    assert "EXECUTING(1)" in lines[0]
    assert "more sagas" in lines[-1]


def test_lines_come_in_order_and_are_all_there_when_it_is_closed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    saga = saga_of(StepStatus.RUNNING, position=5)
    lines = Lines()
    for _ in range(20):
        lines.show(saga, (r.DeadlinePassed(at=0.0), r.PlanClosed(at=0.0)))
    lines.close()
    said = capsys.readouterr().out.splitlines()

    assert len(said) == 40
    assert all("deadline has passed" in line for line in said[::2])
    assert all(line.endswith("t  the plan is closed") for line in said[1::2])


def test_a_saga_without_a_change_is_a_line_with_its_state(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with open_progress(as_json=False) as progress:
        progress.show(saga_of(StepStatus.RUNNING), ())
    assert capsys.readouterr().out.endswith("  t  EXECUTING(1)\n")


def test_with_json_and_no_terminal_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with open_progress(as_json=True) as progress:
        assert isinstance(progress, Silence)
        progress.show(saga_of(StepStatus.RUNNING), (r.PlanClosed(at=0.0),))
    assert capsys.readouterr() == ("", "")


def test_in_a_pipe_lines_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with open_progress(as_json=False) as progress:
        progress.show(saga_of(StepStatus.RUNNING), (r.PlanClosed(at=0.0),))
    assert "the plan is closed" in capsys.readouterr().out
