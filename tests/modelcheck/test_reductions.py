"""What the search leaves out makes no difference: tried by leaving it in."""

from __future__ import annotations

import pytest

from fsm_saga.core.program import Program
from fsm_saga.machine.canonical import Reduction
from fsm_saga.machine.explore import Decide, Space
from fsm_saga.machine.ledger import StepWorld
from fsm_saga.machine.nodes import Config
from fsm_saga.machine.search import Search
from fsm_saga.machine.verify import verify_program
from tests.modelcheck.mixes import BACKWARD
from tests.modelcheck.programs import (
    APPROVED,
    CHECKED,
    COMPENSATABLE,
    FENCED,
    FENCING_CHECK,
    PIVOT,
    READ_ONLY,
    RETRIABLE,
    SEMANTIC,
    make_program,
)
from tests.modelcheck.zoo import DECIDERS
from tests.support.counting import Count

BESIDE = ((), ())
MIRRORED = {
    "twins": make_program((COMPENSATABLE,) * 2, BESIDE),
    "fenced twins, then one": make_program((FENCED, FENCED, SEMANTIC), ((), (), (0, 1))),
    "two chains": make_program((SEMANTIC,) * 4, ((), (), (0,), (1,))),
    "a square": make_program((SEMANTIC,) * 4, ((), (), (0, 1), (0, 1))),
    "approved twins": make_program((APPROVED, APPROVED), BESIDE),
    "unlike steps": make_program((COMPENSATABLE, FENCED), BESIDE),
}


def everything(space: Space) -> set[Config]:
    """Return every configuration that can be reached, mirror images and all."""
    seen = {space.initial()}
    front = list(seen)
    while front:
        for _made, after in space.successors(front.pop(), is_mirrored=False):
            if after not in seen:
                seen.add(after)
                front.append(after)
    return seen


@pytest.mark.parametrize("name", MIRRORED)
def test_a_search_of_one_mirror_image_sees_all(name: str, record_property: Count) -> None:
    """What is reached without mirrors is, mirrored, just what is reached with them."""
    record_property("programs compared", 1)
    space = Space(MIRRORED[name], reduction=Reduction.MIRRORS)
    search = Search(space, configuration_max=100_000)
    found = search.run()
    raw = everything(space)
    assert found.is_exhaustive
    assert {space.canonical(config)[0] for config in raw} == set(search.configs)
    assert (len(raw) > found.configurations) == (name != "unlike steps")


MERGED = {
    **MIRRORED,
    "plain": make_program((COMPENSATABLE,) * 3),
    "checked, undone before one": make_program((FENCING_CHECK, CHECKED)),
    "beside a read": make_program((COMPENSATABLE, READ_ONLY, COMPENSATABLE), ((), (), (0, 1))),
    "to a pivot": make_program((COMPENSATABLE, PIVOT, RETRIABLE, RETRIABLE)),
    "beside a pivot": make_program((PIVOT, COMPENSATABLE), BESIDE, deadline_s=60.0),
    "semantic": make_program((SEMANTIC, COMPENSATABLE), BESIDE),
    "forgotten": make_program((BACKWARD["retention"],) * 3),
    "forgotten, and fenced": make_program((BACKWARD["retention, fenced"],) * 3),
    "forgotten beside": make_program(
        (BACKWARD["retention, fenced"], COMPENSATABLE, COMPENSATABLE), ((), (0,), (0,))
    ),
    **{name: make_program((step, COMPENSATABLE)) for name, step in BACKWARD.items()},
}


@pytest.mark.parametrize("name", MERGED)
def test_a_search_of_merged_steps_sees_what_a_search_of_all_sees(
    name: str, record_property: Count
) -> None:
    """What is reached with nothing left out is, merged, just what is reached merged."""
    record_property("programs compared", 1)
    space = Space(MERGED[name], reduction=Reduction.MIRRORS | Reduction.MERGES)
    search = Search(space, configuration_max=100_000)
    assert search.run().is_exhaustive
    raw = everything(space)
    assert {space.canonical(config)[0] for config in raw} == set(search.configs)
    assert len(raw) > len(search.configs)


STEADY = {
    "plain": make_program((COMPENSATABLE, COMPENSATABLE)),
    "fenced": make_program((FENCED, COMPENSATABLE), BESIDE),
    "checked": make_program((CHECKED, FENCING_CHECK)),
    "to a pivot": make_program((COMPENSATABLE, PIVOT, RETRIABLE)),
    "undo needs output": make_program((BACKWARD["undo needs output"],)),
}
SPOILT = ("time-out is a failure", "lost undo is done", "absent is refused", "id per attempt")


@pytest.fixture
def unsteady(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let late copies arrive at any moment, whoever looks."""
    honest = StepWorld.__init__

    def init(self: StepWorld, *args: object, **kwargs: object) -> None:
        honest(self, *args, **kwargs)  # type: ignore[arg-type]
        self.is_steady = self.is_undo_steady = False

    monkeypatch.setattr(StepWorld, "__init__", init)
    return monkeypatch


def told(program: Program, decider: Decide | None) -> tuple[set[tuple[str, str]], set[str]]:
    found = verify_program(program) if decider is None else verify_program(program, decider=decider)
    ends = {(state, outcome) for state, outcome, _ in found.ends}
    return ends, {violation.code for violation in found.violations}


@pytest.mark.parametrize("name", STEADY)
@pytest.mark.parametrize("spoilt", [None, *SPOILT])
def test_when_a_late_copy_arrives_that_nobody_looks_at_makes_no_difference(
    name: str, spoilt: str | None, unsteady: pytest.MonkeyPatch
) -> None:
    decider = None if spoilt is None else DECIDERS[spoilt]
    explicit = told(STEADY[name], decider)
    unsteady.undo()
    assert told(STEADY[name], decider) == explicit
