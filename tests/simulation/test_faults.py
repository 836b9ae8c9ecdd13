"""Faults are drawn by name: leaving one out shifts no other."""

from __future__ import annotations

from fsm_saga.simulation.chance import Chance
from fsm_saga.simulation.faults import RATES, Faults
from fsm_saga.simulation.run import run_seed


def test_numbers_hang_on_their_name_alone() -> None:
    one, other = Chance(5), Chance(5)
    one.draw("first")
    assert one.draw("x") == other.draw("x")
    assert one.draw("x") != one.draw("y")
    assert one.draw("x") != Chance(6).draw("x")
    assert all(0.0 <= number < 1.0 for number in one.draw("x"))


def test_names_count_up() -> None:
    chance = Chance(1)
    assert [chance.next_name("a"), chance.next_name("a"), chance.next_name("b")] == [
        "a#0",
        "a#1",
        "b#0",
    ]


def test_each_kind_is_off_in_some_seeds_and_on_in_others() -> None:
    rates = [Faults(Chance(seed)) for seed in range(200)]
    for kind in ("pause", "request-lost", "store-reply-lost", "refuses"):
        found = [faults.rate(kind) for faults in rates]
        assert 0.0 in found
        assert 0.0 < max(found) <= RATES[kind]


def test_only_the_faults_that_may_happen_do() -> None:
    faults = Faults(Chance(0), frozenset({"pause@here"}))
    faults._rates["pause"] = 1.0
    assert faults.happens("pause", "here", 0.5, at=1.0)
    assert not faults.happens("pause", "there", 0.5, at=2.0)
    assert faults.happened == {"pause@here": 1.0}


def test_nothing_new_goes_wrong_once_the_world_is_healed() -> None:
    faults = Faults(Chance(0))
    faults._rates["pause"] = 1.0
    faults.end()
    assert not faults.happens("pause", "here", 0.0, at=1.0)


def test_a_run_without_faults_ends_well_and_has_none() -> None:
    for seed in range(20):
        verdict = run_seed(seed, only=frozenset())
        assert verdict.is_sound
        assert verdict.faults == {}


def test_a_run_with_all_its_faults_named_is_the_same_run() -> None:
    for seed in range(20):
        verdict = run_seed(seed)
        again = run_seed(seed, only=frozenset(verdict.faults))
        assert again.trace_hash == verdict.trace_hash


def test_leaving_a_fault_out_leaves_what_came_before_it_as_it_was() -> None:
    verdict = next(v for v in map(run_seed, range(50)) if len(v.faults) > 5)
    *kept, last = verdict.faults
    at = verdict.faults[last]
    again = run_seed(verdict.seed, only=frozenset(kept))
    before = [entry for entry in verdict.trace if entry.at < at]
    assert [entry for entry in again.trace if entry.at < at] == before
    assert last not in again.faults
