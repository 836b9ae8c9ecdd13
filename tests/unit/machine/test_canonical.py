from __future__ import annotations

import pytest

from fsm_saga.core.program import Program
from fsm_saga.machine.canonical import Reduction
from fsm_saga.machine.explore import Space
from fsm_saga.machine.merge import Merger
from fsm_saga.machine.nodes import Config
from tests.modelcheck.programs import COMPENSATABLE, PIVOT, make_program

TWINS = make_program((COMPENSATABLE, COMPENSATABLE), ((), ()))
CHAINS = make_program((COMPENSATABLE,) * 4, ((), (), (0,), (1,)))


def space_of(program: Program, reduction: Reduction = Reduction.MIRRORS) -> Space:
    return Space(program, reduction=reduction)


def after(space: Space, *moves: tuple[int, str]) -> Config:
    """Return what these moves lead to, not yet put in order."""
    config = space.initial()
    for step, what in moves:
        found = space.successors(config, is_mirrored=False, step=step)
        (config,) = (end for made, end in found if made.what == what)
    return config


@pytest.mark.parametrize("program", [TWINS, CHAINS])
def test_what_is_in_order_already_stands_for_itself(program: Program) -> None:
    space = space_of(program)
    assert space.canonical(space.initial()) == (space.initial(), None)


def test_of_two_twins_it_is_one_and_the_same_which_was_done_first() -> None:
    space = space_of(TWINS)
    ways = [after(space, (step, "done")) for step in (0, 1)]
    (one, order), (other, other_order) = map(space.canonical, ways)
    assert one == other
    assert {order, other_order} == {None, (1, 0)}


def test_two_chains_change_places_as_a_whole() -> None:
    space = space_of(CHAINS)
    ways = [after(space, (step, "done"), (step + 2, "no answer")) for step in (0, 1)]
    (one, order), (other, other_order) = map(space.canonical, ways)
    assert one == other
    assert {order, other_order} == {None, (1, 0, 3, 2)}


def test_what_is_done_for_good_is_looked_at_once_for_each_way_it_was_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    honest = Merger.done

    def counted(self: Merger, index: int, ledger: object) -> object:
        asked.append(index)
        return honest(self, index, ledger)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(Merger, "done", counted)
    space = space_of(make_program((PIVOT, PIVOT, PIVOT)), Reduction.MERGES)
    done = after(space, (0, "done"), (1, "done"))
    first = space.canonical(done)
    assert asked == [0, 1]
    assert space.canonical(done) == first
    assert asked == [0, 1]
