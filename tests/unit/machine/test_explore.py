from __future__ import annotations

import dataclasses

import pytest

from fsm_saga.core.contract import ToolContract
from fsm_saga.machine.explore import Space
from fsm_saga.machine.ledger import EMPTY, Ledger, Memory
from fsm_saga.machine.moves import Move
from tests.modelcheck.programs import COMPENSATABLE, READ_ONLY, TIMED, Step, make_program

DONE = Ledger(memory=Memory.DONE, effects=1)
THREE = make_program((COMPENSATABLE, COMPENSATABLE, COMPENSATABLE))


def first_moves(space: Space) -> dict[str, Move]:
    node = space.node(space.initial())
    return {arc.what: arc.move for arc in space.arcs_of(node)}


def test_a_configuration_has_the_ledger_of_each_step() -> None:
    space = Space(THREE)
    start = space.initial()
    assert space.ledgers_of(start) == (EMPTY, EMPTY, EMPTY)
    (done,) = (end for made, end in space.successors(start) if made.what == "done")
    assert space.ledgers_of(done) == (DONE, EMPTY, EMPTY)


@pytest.mark.parametrize(("skew_s", "is_tried"), [(0.0, False), (0.001, False), (0.002, True)])
def test_a_tool_may_accept_what_is_late_by_our_clock_only_if_its_own_is_behind(
    skew_s: float, is_tried: bool
) -> None:
    program = dataclasses.replace(make_program((TIMED,)), clock_skew_s=skew_s)
    assert ("no answer in time, by our clock" in first_moves(Space(program))) is is_tried


def test_a_tool_without_a_deadline_of_its_own_has_no_clock() -> None:
    ours = make_program((Step(deadline_s=60.0, contract=ToolContract()),))
    words = set(first_moves(Space(ours)))
    assert "no answer in time" in words
    assert "no answer in time, by our clock" not in words


def test_a_move_is_possible_that_leaves_nothing_at_the_tool() -> None:
    space = Space(make_program((READ_ONLY,)))
    start = space.initial()
    arcs = {arc.what: arc for arc in space.arcs_of(space.node(start))}
    assert space.is_possible(start, arcs["done"])
    after = space.make(start, arcs["done"])
    assert after is not None
    assert space.ledgers_of(after) == (EMPTY,)
    plain = Space(make_program((COMPENSATABLE,)))
    refused = next(end for made, end in plain.successors(plain.initial()) if made.what == "refused")
    done = next(arc for arc in plain.arcs_of(plain.node(plain.initial())) if arc.what == "done")
    # The tool answers every copy alike, so it cannot be done after it was refused.
    assert not plain.is_possible((plain.initial()[0], refused[1], refused[2]), done)
