"""The list of what must happen sometimes is whole, and is held against every large set of runs."""

from __future__ import annotations

from collections import Counter

from fsm_saga.core.program import Shape
from fsm_saga.machine.flatten import saga_table
from fsm_saga.simulation.many import Tally
from fsm_saga.simulation.sometimes import (
    EDGES,
    ENOUGH_SEEDS,
    ENOUGH_SEEDS_OF_CLUSTERS,
    SOMETIMES,
    SOMETIMES_OF_CLUSTERS,
    never_happened,
)

# A row that several answers of people share: these two never lead there, since a retry sends a
# call and a call that is offered begins an undo.
UNREACHED = {
    "NEEDS_HUMAN human_retries -> DONE",
    "NEEDS_HUMAN human_retries -> FAILED",
    "NEEDS_HUMAN human_supplies_output -> FAILED",
}


def edges_of_the_tables() -> set[str]:
    found: set[str] = set()
    for is_open in (False, True):
        table = saga_table(Shape(3, 2, 0, is_open))
        for (state, event), rows in table.rows.items():
            found |= {
                f"{state.phase} {event} -> {row.target.phase}"
                for row in rows
                if row.target != state
            }
    return found


def test_every_edge_of_the_saga_machine_is_on_the_list() -> None:
    assert edges_of_the_tables() - UNREACHED == set(EDGES)


def test_nothing_is_on_the_list_twice() -> None:
    assert [name for name, count in Counter(SOMETIMES).items() if count > 1] == []


def test_a_large_set_that_leaves_one_at_zero_fails() -> None:
    counts = Counter(dict.fromkeys(SOMETIMES, 1))
    assert Tally(seeds=ENOUGH_SEEDS, counts=counts).is_sound
    del counts["late action fenced"]
    tally = Tally(seeds=ENOUGH_SEEDS, counts=counts)
    assert tally.missing == ("late action fenced",)
    assert not tally.is_sound


def test_runs_of_a_cluster_have_a_list_of_their_own() -> None:
    counts = Counter(dict.fromkeys(SOMETIMES_OF_CLUSTERS, 1))
    tally = Tally(seeds=ENOUGH_SEEDS_OF_CLUSTERS, counts=counts, is_cluster=True)
    assert tally.is_sound
    del counts["two serve one shard"]
    assert tally.missing == ("two serve one shard",)
    assert Counter(SOMETIMES_OF_CLUSTERS).most_common(1)[0][1] == 1


def test_a_small_set_is_not_held_to_the_list() -> None:
    assert never_happened({}, seeds=ENOUGH_SEEDS - 1) == ()
