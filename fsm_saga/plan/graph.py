"""The order of a plan's steps as a graph: who waits for whom, and how many can run together.

A step waits for what its ``depends_on`` names; without one, for the step listed before it; and in
either case for every step whose output it uses, in its action or in its rollback. The first two
are what the planner declared; the last is what the plan implies. Both are kept, because a
reference to a step that the declaration leaves in parallel is a slip worth telling.

Sets of steps are integers used as bitmasks: bit i stands for the step at index i.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import networkx as nx

from fsm_saga.core.references import name_key
from fsm_saga.plan.model import Plan
from fsm_saga.plan.references import Use, Uses, collect

# Above this many steps an exact width costs more than the check of everything else.
EXACT_WIDTH_STEP_MAX = 60

Needs = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanGraph:
    """Who waits for whom.

    Attributes:
        needs: For each step the indexes of the steps that it waits for directly, ascending.
        ancestors: For each step the bitmask of all steps that are certainly done before it.
        descendants: For each step the bitmask of all steps that wait for it, at any distance.
        order: All indexes, each after everything that it waits for; empty if there is a cycle.
        width: The largest number of steps that can be in flight together. Exact up to 60
            steps, never too low above; 0 if there is a cycle.
        cycles: For each knot of steps that wait for each other one shortest circle: each waits
            for the next, the last for the first.
    """

    needs: Needs
    ancestors: tuple[int, ...]
    descendants: tuple[int, ...]
    order: tuple[int, ...]
    width: int
    cycles: tuple[tuple[int, ...], ...] = ()

    def is_before(self, first: int, second: int) -> bool:
        """Return whether step ``first`` is certainly done before step ``second`` starts."""
        return bool(self.ancestors[second] >> first & 1)

    def is_parallel(self, one: int, other: int) -> bool:
        """Return whether two different steps may be in flight at the same time."""
        return one != other and not self.is_before(one, other) and not self.is_before(other, one)


def build_graph(plan: Plan, *, uses: Uses | None = None) -> PlanGraph:
    """Return the graph of a plan; names that no step has are left out of it.

    Args:
        plan: The plan, linted or not.
        uses: Its references, if they were collected already.
    """
    found = collect(plan) if uses is None else uses
    return graph_of(with_references(declared_needs(plan, found), found, found.all))


def declared_needs(plan: Plan, uses: Uses) -> Needs:
    """Return what each step waits for by ``depends_on``, or by its place in the list."""
    needs: list[tuple[int, ...]] = []
    for position, step in enumerate(plan.steps):
        if step.depends_on is None:
            needs.append((position - 1,) if position else ())
            continue
        named = {uses.by_id.get(name_key(name), position) for name in step.depends_on}
        needs.append(tuple(sorted(named - {position})))
    return tuple(needs)


def with_references(needs: Needs, uses: Uses, found: Iterable[Use]) -> Needs:
    """Return the needs with a further one for each of these references to an output."""
    merged = [set(each) for each in needs]
    for use in found:
        source = uses.source(use)
        if source is not None and source != use.step:
            merged[use.step].add(source)
    return tuple(tuple(sorted(each)) for each in merged)


def graph_of(needs: Needs) -> PlanGraph:
    """Return the graph in which step i waits for the steps ``needs[i]``."""
    if all(max(each, default=-1) < step for step, each in enumerate(needs)):
        # The steps of almost every plan are listed in an order in which they can run.
        return _ordered(needs, tuple(range(len(needs))))
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(needs)))
    graph.add_edges_from((before, step) for step, each in enumerate(needs) for before in each)
    try:
        return _ordered(needs, tuple(nx.lexicographical_topological_sort(graph)))
    except nx.NetworkXUnfeasible:
        blank = (0,) * len(needs)
        return PlanGraph(
            needs=needs,
            ancestors=blank,
            descendants=blank,
            order=(),
            width=0,
            cycles=tuple(_cycles(graph)),
        )


def _ordered(needs: Needs, order: tuple[int, ...]) -> PlanGraph:
    """Return the graph of steps that have an order, given the lowest of their orders."""
    ancestors = [0] * len(needs)
    for step in order:
        for before in needs[step]:
            ancestors[step] |= ancestors[before] | 1 << before
    descendants = [0] * len(needs)
    for step in reversed(order):
        for before in needs[step]:
            descendants[before] |= descendants[step] | 1 << step
    return PlanGraph(
        needs=needs,
        ancestors=tuple(ancestors),
        descendants=tuple(descendants),
        order=order,
        width=_width(needs, ancestors, order),
    )


def indexes(mask: int) -> Iterable[int]:
    """Yield the indexes of the bits that are set in a mask, ascending."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _cycles(graph: nx.DiGraph[int]) -> Iterable[tuple[int, ...]]:
    """Yield one shortest circle for each knot, starting at its lowest step."""
    knots = sorted(
        sorted(knot) for knot in nx.strongly_connected_components(graph) if len(knot) > 1
    )
    for knot in knots:
        waits = graph.subgraph(knot).reverse()
        start = knot[0]
        back = min(
            (nx.shortest_path(waits, after, start) for after in sorted(waits[start])), key=len
        )
        yield (start, *back[:-1])


def _width(needs: Needs, ancestors: list[int], order: tuple[int, ...]) -> int:
    """Return the size of the largest set of steps of which none is before another.

    Steps of one level are never ordered, so the largest level is a lower bound; the number of
    chains that cover all steps is an upper one (Dilworth). Mostly the two meet.
    """
    level = [0] * len(needs)
    for step in order:
        level[step] = 1 + max((level[before] for before in needs[step]), default=0)
    lower = max(Counter(level).values(), default=0)
    upper = _chain_count(ancestors, order)
    if lower == upper or len(needs) > EXACT_WIDTH_STEP_MAX:
        return upper
    return len(needs) - _matching_size(ancestors)


def _chain_count(ancestors: list[int], order: tuple[int, ...]) -> int:
    """Return how many chains a greedy cover needs; at least the width."""
    ends: list[int] = []
    for step in order:
        for chain, end in enumerate(ends):
            if ancestors[step] >> end & 1:
                ends[chain] = step
                break
        else:
            ends.append(step)
    return len(ends)


def _matching_size(ancestors: list[int]) -> int:
    """Return the largest number of steps that can each be followed by a step of their own.

    Dilworth by König: the fewest chains that cover N steps number N minus this matching.
    """
    steps = range(len(ancestors))
    graph: nx.Graph[tuple[str, int]] = nx.Graph()
    graph.add_nodes_from(("before", step) for step in steps)
    graph.add_edges_from(
        (("before", before), ("after", step))
        for step in steps
        for before in indexes(ancestors[step])
    )
    befores = [("before", step) for step in steps]
    return len(nx.bipartite.hopcroft_karp_matching(graph, top_nodes=befores)) // 2
