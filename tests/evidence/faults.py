"""The faults that this project set out to survive, row by row: what tries each, and what does not.

A holder is ``file::test``, ``simulation:KIND`` for a kind of fault of the simulation,
``sometimes:WORDS`` for a moment that its runs must have come to, or ``chaos:NAME`` for what is done
to real coordinators, an etcd and a shop of real processes. A test looks whether they exist.
What is ``missing`` is said even where much is tried. `python -m tests.evidence --render` writes the
page, docs/faults.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from fsm_saga.simulation.faults import RATES
from fsm_saga.simulation.sometimes import SOMETIMES
from tests.corpus.holders import ROOT, tests_in

YES, IN_PART, NO = "yes", "in part", "**no**"
CHAOS = "tests/chaos"
INTEGRATION, UNIT = "tests/integration/test_", "tests/unit/"
CRASH_POINTS = (
    "tests/crashpoints/test_crash_points.py::"
    "test_no_single_fault_and_no_pair_of_them_leaves_anything_wrong_in_the_world"
)
TRUTH_TABLE = "tests/truthtable/test_truth_table.py::test_a_row_is_as_safe_as_it_is_listed"
GRID = INTEGRATION + "kill_grid.py::"
RECOVERY = INTEGRATION + "kill_recovery.py::"
POWER = INTEGRATION + "power_loss.py::"
FLIPS = INTEGRATION + "disk_bit_flips.py::"
MOUNTED = INTEGRATION + "disk_mounted.py::"
SQLITE = INTEGRATION + "sqlite_faults.py::"
FENCE_RACES = INTEGRATION + "fence_races.py::"
DISK = (
    INTEGRATION + "disk_everywhere.py::"
    "test_a_disk_that_fails_anywhere_loses_nothing_and_does_nothing_twice"
)
LOOP = GRID + "test_a_loop_of_kills_at_any_place_ends_as_one_run_would"

ETCD_UNIT = "tests/unit/etcd/test_"
REDIS = "tests/integration/redis_store/test_faults.py::"
NOT_OURS = "What comes over a tool's own network is the tool's to judge."


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One row.

    Attributes:
        number: Its number in the list that this project started from.
        what: The fault, in words.
        holders: What tries it.
        missing: What nothing tries.
    """

    number: int
    what: str
    holders: tuple[str, ...] = ()
    missing: str = ""

    @property
    def verdict(self) -> str:
        """Whether it is tried: yes, in part, or no."""
        if not self.holders:
            return NO
        return IN_PART if self.missing else YES


def row(number: int, what: str, *holders: str, missing: str = "") -> Fault:
    """Return a row."""
    return Fault(number=number, what=what, holders=holders, missing=missing)


def exists(holder: str) -> bool:
    """Return whether a test, a kind of simulated fault, or a moment is there.

    Example:
        >>> exists("simulation:pause"), exists("simulation:earthquake")
        (True, False)
    """
    place, _colon, name = holder.partition(":")
    if place == "simulation":
        return name in RATES
    if place == "sometimes":
        return name in SOMETIMES
    if place == "chaos":
        is_played = f"faults.{name}" in (ROOT / CHAOS / "test_chaos.py").read_text("utf-8")
        return is_played and name in tests_in(f"{CHAOS}/faults.py")
    file, _colons, test = holder.partition("::")
    return test in tests_in(file)
