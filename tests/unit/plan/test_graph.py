from __future__ import annotations

import itertools
import random

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm_saga.plan.graph import EXACT_WIDTH_STEP_MAX, Needs, build_graph, graph_of, indexes
from tests.unit.plan.builders import chain, plan, step


def random_needs(count: int, *, seed: int, density: float) -> Needs:
    """Return the needs of a random plan without cycles, in a random listing order."""
    draw = random.Random(seed)
    place = draw.sample(range(count), count)
    needs: list[tuple[int, ...]] = [()] * count
    for step_at in range(count):
        before = [place[other] for other in range(step_at) if draw.random() < density]
        needs[place[step_at]] = tuple(sorted(before))
    return tuple(needs)


NEEDS = st.builds(
    random_needs,
    st.integers(0, 9),
    seed=st.integers(0, 2**32),
    density=st.sampled_from([0.0, 0.1, 0.3, 0.6, 1.0]),
)


def as_networkx(needs: Needs) -> nx.DiGraph[int]:
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(needs)))
    graph.add_edges_from((before, at) for at, each in enumerate(needs) for before in each)
    return graph


def largest_antichain(needs: Needs) -> int:
    """Try every set of steps."""
    graph = as_networkx(needs)
    before = {at: nx.ancestors(graph, at) for at in graph}
    return max(
        size
        for size in range(len(needs) + 1)
        for chosen in itertools.combinations(range(len(needs)), size)
        if not any(one in before[other] for one in chosen for other in chosen)
    )


@given(NEEDS)
def test_the_order_is_the_lowest_that_there_is(needs: Needs) -> None:
    listed = tuple(tuple(one for one in each if one < at) for at, each in enumerate(needs))
    for each in (needs, listed):
        lowest = nx.lexicographical_topological_sort(as_networkx(each))
        assert graph_of(each).order == tuple(lowest)
    assert graph_of(listed).order == tuple(range(len(needs)))


def test_a_plan_without_dependencies_is_a_chain() -> None:
    graph = build_graph(plan(*chain(4)))
    assert graph.needs == ((), (0,), (1,), (2,))
    assert graph.order == (0, 1, 2, 3)
    assert graph.ancestors == (0, 0b1, 0b11, 0b111)
    assert graph.descendants == (0b1110, 0b1100, 0b1000, 0)
    assert graph.width == 1


def test_a_plan_without_steps_has_an_empty_graph() -> None:
    graph = build_graph(plan())
    assert (graph.needs, graph.order, graph.width) == ((), (), 0)


def test_an_empty_list_makes_a_root_and_names_are_compared_as_text() -> None:
    made = plan(step(1), step(2, depends_on=[]), step("c", depends_on=["1", 2]))
    graph = build_graph(made)
    assert graph.needs == ((), (), (0, 1))
    assert graph.width == 2
    assert graph.is_parallel(0, 1)
    assert not graph.is_parallel(0, 0)
    assert graph.is_before(0, 2)
    assert not graph.is_before(2, 0)


def test_a_reference_is_a_dependency_in_the_action_and_in_the_rollback() -> None:
    made = plan(
        step(1, depends_on=[]),
        step(2, depends_on=[]),
        step(3, depends_on=[]),
        step(4, depends_on=[2], params={"x": ["$output.step_1.id"]}),
        step(
            5,
            depends_on=[],
            rollback={"tool": "x", "params": {"a": "$output.step_5.id", "b": "$output.step_3"}},
        ),
    )
    assert build_graph(made).needs == ((), (), (), (0, 1), (2,))


def test_names_that_no_step_has_are_left_out() -> None:
    made = plan(step(1), step(2, depends_on=[9, 2, 1], params={"x": "$output.step_8"}))
    assert build_graph(made).needs == ((), (0,))


def test_a_circle_is_reported_shortest_first_step_first() -> None:
    # 0 and 1 wait for each other; so do 2, 3 and 4, with a longer way round through 5.
    graph = graph_of(((1,), (0,), (3,), (4,), (2, 5), (3, 2)))
    assert graph.cycles == ((0, 1), (2, 3, 4))
    assert (graph.order, graph.width) == ((), 0)
    for cycle in graph.cycles:
        for waiting, awaited in zip(cycle, (*cycle[1:], cycle[0]), strict=True):
            assert awaited in graph.needs[waiting]


def test_indexes_of_a_mask_ascend() -> None:
    assert list(indexes(0b101001)) == [0, 3, 5]
    assert list(indexes(0)) == []


@given(NEEDS)
def test_the_graph_agrees_with_networkx_and_its_order_is_sound(needs: Needs) -> None:
    graph, oracle = graph_of(needs), as_networkx(needs)
    assert sorted(graph.order) == list(range(len(needs)))
    for at in range(len(needs)):
        assert set(indexes(graph.ancestors[at])) == nx.ancestors(oracle, at)
        assert set(indexes(graph.descendants[at])) == nx.descendants(oracle, at)
        for before in needs[at]:
            assert graph.order.index(before) < graph.order.index(at)


@given(NEEDS)
def test_the_width_is_the_size_of_the_largest_antichain(needs: Needs) -> None:
    assert graph_of(needs).width == largest_antichain(needs)


def test_neither_bound_alone_would_give_the_width() -> None:
    # A greedy cover needs a third chain for the last step; two are enough.
    needs: Needs = ((), (), (0, 1), (0,))
    assert graph_of(needs).width == largest_antichain(needs) == 2
    assert type(graph_of(needs).width) is int
    # The two levels have one step each beside a chain that is longer than both.
    needs = ((), (0,), (), (2,), (3,), (1, 4), (1,), (4,))
    assert graph_of(needs).width == largest_antichain(needs)


@pytest.mark.parametrize("seed", range(5))
def test_above_the_exact_size_the_width_is_never_too_low(seed: int) -> None:
    count = EXACT_WIDTH_STEP_MAX + 30
    needs = random_needs(count, seed=seed, density=0.05)
    closure = nx.transitive_closure_dag(as_networkx(needs))
    pairs: nx.Graph[tuple[str, int]] = nx.Graph()
    pairs.add_nodes_from(("before", at) for at in range(count))
    pairs.add_edges_from((("before", a), ("after", b)) for a, b in closure.edges)
    tops = [("before", at) for at in range(count)]
    exact = count - len(nx.bipartite.hopcroft_karp_matching(pairs, tops)) // 2
    assert exact <= graph_of(needs).width <= count


def test_the_order_does_not_depend_on_how_edges_are_listed() -> None:
    needs = random_needs(40, seed=1, density=0.2)
    assert graph_of(needs).order == graph_of(tuple(needs)).order
    smallest_first = list(nx.lexicographical_topological_sort(as_networkx(needs)))
    assert list(graph_of(needs).order) == smallest_first


def test_of_several_circles_in_a_knot_a_shortest_is_told() -> None:
    # From 0 there are circles over 1, 2 and 3, and over 4; the listing begins with the long one.
    needs = ((3, 4), (0,), (1,), (2,), (0,))
    assert graph_of(needs).cycles == ((0, 4),)


def test_a_knot_whose_steps_are_listed_late_is_told_from_its_lowest_step() -> None:
    needs = ((), (), (4,), (2,), (3,))
    assert graph_of(needs).cycles == ((2, 4, 3),)


def test_a_plan_too_long_for_the_exact_width_is_as_wide_as_its_chains() -> None:
    size = EXACT_WIDTH_STEP_MAX + 2
    line = tuple((at - 1,) if at else () for at in range(size))
    assert graph_of(line).width == 1
    two_lines = tuple((at - 2,) if at > 1 else () for at in range(size))
    assert graph_of(two_lines).width == 2


def test_a_bound_that_is_no_bound_is_not_taken_for_the_width() -> None:
    """Three chains cover these steps greedily, and no three of them may run at once."""
    needs: Needs = ((), (), (0,), (1, 2), (2,))
    assert graph_of(needs).width == largest_antichain(needs) == 2


@pytest.mark.parametrize(("more", "width"), [(0, 2), (1, 3)])
def test_of_a_large_plan_a_bound_of_the_width_is_enough(more: int, width: int) -> None:
    first: Needs = ((), (), (0,), (1, 2), (2,), (3, 4))
    count = EXACT_WIDTH_STEP_MAX + more
    needs = (*first, *((step_at - 1,) for step_at in range(len(first), count)))
    assert graph_of(needs).width == width
