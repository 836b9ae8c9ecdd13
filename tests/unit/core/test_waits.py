"""How long a saga waits before it tries again, and when it is too late to."""

from __future__ import annotations

from fsm_saga.core.contract import ToolContract
from fsm_saga.core.effects import WakeAt
from fsm_saga.core.forward import margin_s
from tests.support.play import CHECK, UNDO, Play


def test_a_check_is_asked_again_after_its_own_wait() -> None:
    play = Play("1 a / ua id=$output.step_1.id ; retry=1", "a check=ask")
    play.unknown(1)
    play.unknown(1, direction=CHECK)
    check = play.saga.program.steps[0].check
    assert check is not None
    (wake,) = play.last.effects
    assert isinstance(wake, WakeAt)
    assert wake.wait_s_max == check.retry.delay_s_max == 30.0


def test_a_tool_that_forgets_nothing_is_asked_up_to_the_last() -> None:
    play = Play("1 a / ua")
    program = play.saga.program
    call = program.steps[0].action
    assert margin_s(program, call, ToolContract()) == 0.0
    assert margin_s(program, call, ToolContract(retention_s=50.0)) == 25.0
    assert margin_s(program, call, ToolContract(retention_s=500.0)) == 35.0


def test_an_undo_is_tried_again_after_its_own_wait() -> None:
    for tail, wait_s_max in (("", 30.0), (" ; undo-retry=2*10..20", 20.0)):
        play = Play(f"1 a / ua{tail}\n2 b")
        play.ok(1)
        play.rejected(2)
        play.rejected(1, direction=UNDO)
        (wake,) = play.last.effects
        assert isinstance(wake, WakeAt)
        assert wake.wait_s_max == wait_s_max


def test_an_approval_is_waited_for_until_it_expires() -> None:
    play = Play("1 a / ua ; approval=60")
    assert list(play.last.effects) == [WakeAt(at=60.0, wait_s_max=60.0)]
