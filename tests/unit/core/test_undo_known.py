"""When the params of an undo are known, and in which order undos start."""

from __future__ import annotations

from types import MappingProxyType

from fsm_saga.core import records as r
from fsm_saga.core.references import Template
from tests.support.play import UNDO, Play


def succeeded(play: Play, step: int) -> r.ActionSucceeded:
    found = [each for each in play.journal if isinstance(each, r.ActionSucceeded)]
    return next(each for each in found if each.step == step - 1)


def test_params_of_an_undo_that_are_known_before_are_written_with_the_intent_alone() -> None:
    play = Play("1 a / ua who=Ann\n2 b / ub id=$output.step_2.id")
    started = next(each for each in play.journal if isinstance(each, r.ActionStarted))
    assert started.undo_params == {"who": "Ann"}
    play.ok(1)
    play.ok(2)
    assert succeeded(play, 1).undo_params is None
    assert succeeded(play, 2).undo_params == {"id": "out-2"}


def test_a_stuck_undo_holds_up_what_it_depends_on_and_no_branch_beside_it() -> None:
    play = Play(
        "1 a / ua ; after=-\n2 b / ub ; after=1 undo-retry=1\n"
        "3 c / uc ; after=-\n4 d ; after=2,3 kind=pivot"
    )
    for step in (1, 3, 2):
        play.ok(step)
    play.rejected(4)
    play.rejected(2, direction=UNDO)
    assert [play.step(step).status for step in (1, 2, 3)] == ["SUCCEEDED", "STUCK", "COMPENSATING"]
    play.ok(3, direction=UNDO)
    assert [play.step(step).status for step in (1, 2, 3)] == ["SUCCEEDED", "STUCK", "COMPENSATED"]
    assert play.state == "NEEDS_HUMAN"


def test_a_value_is_looked_up_in_any_mapping() -> None:
    template = Template.compile({"who": "$input.guest.name"}, {})
    inputs = MappingProxyType({"guest": MappingProxyType({"name": "Ann"})})
    assert template.resolve(lambda _: None, inputs) == {"who": "Ann"}
