"""Whatever the program, a search that leaves things out comes to what a search of everything does.

The programs are drawn, so that kinds, promises and orders meet that nobody thought of: a dozen
each time, and hundreds at night.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, assume, given, settings

from fsm_saga.core.program import Program
from fsm_saga.machine.canonical import Reduction
from fsm_saga.machine.explore import Space
from fsm_saga.machine.nodes import Config
from fsm_saga.machine.search import Search
from fsm_saga.machine.verify import bounded
from tests.property.histories import Recipe, recipes
from tests.support.counting import IS_LONG

CONFIGURATION_MAX = 6_000
MERGES = Reduction.MIRRORS | Reduction.MERGES
FEW = settings(
    max_examples=400 if IS_LONG else 12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def search_of(program: Program, reduction: Reduction) -> Search:
    """Return a search that has come to its end; programs that are too large are passed over."""
    space = Space(program, reduction=reduction)
    search = Search(space, configuration_max=CONFIGURATION_MAX)
    assume(search.run().is_exhaustive)
    return search


@pytest.mark.slow
@pytest.mark.timeout(7_200 if IS_LONG else 300)
@FEW
@given(recipes())
def test_the_same_is_broken_and_the_same_ends_are_reached(recipe: Recipe) -> None:
    program = bounded(recipe.program())
    everything = search_of(program, Reduction.NONE).found
    reduced = search_of(program, Reduction.ALL).found
    assert set(reduced.ends) == set(everything.ends)
    assert set(reduced.breaches) == set(everything.breaches)
    assert reduced.configurations <= everything.configurations


@pytest.mark.slow
@pytest.mark.timeout(7_200 if IS_LONG else 300)
@FEW
@given(recipes())
def test_what_is_merged_is_what_can_be_reached_merged(recipe: Recipe) -> None:
    space = Space(bounded(recipe.program()), reduction=MERGES)
    merged = Search(space, configuration_max=CONFIGURATION_MAX)
    assume(merged.run().is_exhaustive)
    assert set(merged.configs) == all_canonical(space)


def all_canonical(space: Space) -> set[Config]:
    """Return what stands for each configuration that can be reached with nothing left out."""
    seen = {space.initial()}
    front = list(seen)
    while front:
        assume(len(seen) <= 4 * CONFIGURATION_MAX)
        for _made, after in space.successors(front.pop(), is_mirrored=False):
            if after not in seen:
                seen.add(after)
                front.append(after)
    return {space.canonical(config)[0] for config in seen}
