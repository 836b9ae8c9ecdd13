"""A thousand kills: of recoveries from kills, in loops, and in the middle of SQLite's writes.

``test_kill_recovery.py`` kills once at every pass of every failpoint. Here each place that such a
kill left behind is taken up again and killed again, at every pass of every failpoint of the
recovery; and a process is killed at every single write, sync, truncation and deletion that SQLite
does, a write being cut in half. The tools' own ledger judges every run (C1, C2, C6, X1, W1).

``python -m tests.evidence.counted kills`` says how many kills that were; with ``--long``, as `make
nightly` runs it, every recovery of the branches is killed everywhere as well.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from fsm_saga.coordinator.failpoints import FAILPOINTS
from tests.support.counting import IS_LONG, Count
from tests.support.kill_grid import Grid, open_grid, order_of
from tests.support.killing import Killing

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the server of processes forks"),
    pytest.mark.timeout(7_200 if IS_LONG else 300),
]

UNDONE, DONE = ["FAILED compensated"], ["DONE committed"]
# More passes than any place has; a kill that does not come is not counted.
PASSES_MAX = 12
# One less than what makes a coordinator suspect the call itself.
LOOP = 4

KILLS_MIN = {"chain": 500, "diamond": 240, "done": 50, "disk": 170, "loop": 70}

Job = Callable[[Killing], int]


@pytest.fixture(scope="module")
def grid() -> Iterator[Grid]:
    with open_grid() as opened:
        yield opened


def say(count: Count, name: str, kills: int) -> None:
    count("kills", kills)
    count(f"kills: {name}", kills)
    assert kills >= KILLS_MIN[name]


def test_these_are_more_than_a_thousand_kills() -> None:
    assert sum(KILLS_MIN.values()) >= 1_000


def twice(grid: Grid, plan: str, first: str, ends: list[str]) -> Job:
    return lambda server: grid.kill_twice(server, plan, first, FAILPOINTS, ends)


def test_each_recovery_from_each_kill_of_a_chain_is_killed_everywhere_too(
    grid: Grid, record_property: Count
) -> None:
    firsts = [order_of(name, nth) for name in FAILPOINTS for nth in range(1, PASSES_MAX)]
    say(
        record_property, "chain", grid.each(twice(grid, "chain", first, UNDONE) for first in firsts)
    )


@pytest.mark.parametrize(("plan", "ends"), [("diamond", UNDONE), ("done", DONE)])
def test_some_recoveries_of_branches_are_killed_everywhere_too(
    plan: str, ends: list[str], grid: Grid, record_property: Count
) -> None:
    """Every place twice, each time at another pass: all of them are several thousand kills."""
    firsts = [order_of(name, 2 + 2 * at) for at, name in enumerate(FAILPOINTS)]
    firsts += [order_of(name, 7 - at) for at, name in enumerate(FAILPOINTS)]
    if IS_LONG:
        firsts = [order_of(name, nth) for name in FAILPOINTS for nth in range(1, 2 * PASSES_MAX)]
    say(record_property, plan, grid.each(twice(grid, plan, first, ends) for first in firsts))


def test_a_kill_in_the_middle_of_any_write_of_sqlite_loses_nothing(
    grid: Grid, record_property: Count
) -> None:
    def recovery(server: Killing) -> int:
        """Kill a recovery at every action, which opens a log that was left half done."""
        with grid.place() as left:
            assert server.run(left, "chain", order_of("after_call", 5)) != 0
            return 1 + grid.kill_at_each(server, "chain", "disk", UNDONE, start=left)

    jobs: list[Job] = [
        lambda server: grid.kill_at_each(server, "chain", "disk", UNDONE),
        lambda server: grid.kill_at_each(server, "done", "disk", DONE),
        recovery,
    ]
    say(record_property, "disk", grid.each(jobs))


def test_a_loop_of_kills_at_any_place_ends_as_one_run_would(
    grid: Grid, record_property: Count
) -> None:
    def loop(order: str) -> Job:
        return lambda server: grid.kill_in_a_loop(server, "diamond", order, LOOP, UNDONE)

    orders = [order_of(name, nth) for name in FAILPOINTS for nth in (1, 2, 3, 5)]
    orders += [order_of("disk", nth) for nth in (1, 9, 17, 25)]
    say(record_property, "loop", grid.each(loop(order) for order in orders))
