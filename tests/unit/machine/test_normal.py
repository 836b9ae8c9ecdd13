from __future__ import annotations

from fsm_saga.core.states import Direction
from fsm_saga.machine.normal import Normaliser, permuted, plain_req_id
from tests.support.play import UNDO, Play

TWINS = "1 a / ua ; after=- undo-retry=1\n2 b / ub ; after=- undo-retry=1\n3 c ; after=-"

MASKS = ("running", "succeeded", "uncleared", "undoing", "awaiting", "stuck", "failing")


def stuck(*offered: str) -> Play:
    """Return a saga whose first two steps could not be undone; a person supplies the calls."""
    play = Play(TWINS)
    play.ok(1)
    play.ok(2)
    play.rejected(3)
    play.rejected(1, direction=UNDO)
    play.rejected(2, direction=UNDO)
    play.offer(1, *offered)
    return play


def test_a_step_that_changes_its_place_is_called_by_the_id_of_its_new_one() -> None:
    play = stuck("x", "y")
    play.ok(1, direction=UNDO)
    names = Normaliser()
    normal, key = names.normal(play.saga)
    moved, moved_key = permuted(normal, key, (1, 0, 2), names)
    undo = moved.steps[1].undo
    assert undo is not None
    assert (undo.call, len(undo.calls)) == (1, 2)
    assert undo.req_id == plain_req_id(1, Direction.UNDO, 1)
    assert moved.steps[1].req_id == plain_req_id(1, Direction.DO)
    assert moved_key.steps == (key.steps[1], key.steps[0], key.steps[2])
    back = permuted(moved, moved_key, (1, 0, 2), names)
    assert back == (normal, key)


def test_every_mask_changes_places_with_the_steps() -> None:
    """In turn: running, awaiting approval, succeeded, and on the way back the others."""
    plan = "1 a / ua ; after=-\n2 b / ub ; after=- approval=yes\n3 c / uc ; after=-\n4 d ; after=-"
    forward, back = Play(plan), Play(plan)
    forward.ok(1)
    back.ok(1)
    back.ok(3)
    back.rejected(4)
    pending = stuck("x")
    failing = Play("1 a / ua ; after=-\n2 b / ub ; after=-")
    failing.rejected(1)
    order = (1, 0)
    for play in (forward, back, pending, failing):
        names = Normaliser()
        normal, key = names.normal(play.saga)
        full = (*order, *range(2, len(normal.steps)))
        moved, _key = permuted(normal, key, full, names)
        for name in (
            "running",
            "succeeded",
            "uncleared",
            "undoing",
            "awaiting",
            "stuck",
            "failing",
        ):
            was, now = getattr(normal, name), getattr(moved, name)
            assert [now >> new & 1 for new in range(len(full))] == [
                was >> old & 1 for old in full
            ], name
