"""Real coordinators over real etcd members, while both are killed, paused, cut off and filled up.

The judge is the shop's own books: DONE means each effect once, FAILED means none is left.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from tests.chaos import faults
from tests.chaos.judge import Verdict
from tests.chaos.playing import ENDED_MIN, UNDER_WAY_MIN, USEFUL_MIN, Fault, play
from tests.chaos.town import Town, open_town
from tests.support.counting import IS_LONG, Count

ROUNDS = 20 if IS_LONG else 1
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240 * ROUNDS)]

RUNS: dict[str, tuple[Fault, ...]] = {
    "crashes": (faults.kill_a_leader, faults.kill_all_coordinators, faults.hold_calls_to_the_shop),
    "pauses": (
        faults.pause_a_leader,
        faults.stop_a_leader_before_a_call,
        faults.stop_a_leader_before_a_write,
        faults.pause_a_member_of_etcd,
    ),
    "partitions": (
        faults.cut_a_leader_from_etcd,
        faults.lose_the_answers_of_etcd,
        faults.lose_the_requests_to_etcd,
    ),
    "a shop out of reach": (
        faults.lose_the_answers_of_the_shop,
        faults.lose_the_requests_to_the_shop,
        faults.lose_all_between_coordinators_and_shop,
        faults.cut_the_shop_off,
    ),
    "etcd": (
        faults.kill_the_leader_of_etcd,
        faults.compact_all_the_time,
        faults.lose_the_majority_of_etcd,
    ),
    "restarts": (faults.restart_one_after_the_other, faults.restart_etcd_one_after_the_other),
}


def check_round(town: Town, verdict: Verdict, strikes: int) -> None:
    """Hold one round of so many faults against what has to be true of every round."""
    told = f"{verdict}\n{town.strikes}\n{town.logs()}"
    assert not verdict.wrong, told
    assert verdict.states.get("NEEDS_HUMAN", 0) == 0, told
    done, undone = (verdict.states.get(state, 0) for state in ("DONE", "FAILED"))
    assert min(done, undone) > 0, told
    assert verdict.useful >= USEFUL_MIN, told
    for strike in town.strikes[-strikes:]:
        assert strike.under_way >= UNDER_WAY_MIN, f"{strike.fault} struck nothing: {told}"
        assert strike.ended >= ENDED_MIN, f"little went on after {strike.fault}: {told}"


def count(town: Town, verdicts: list[Verdict], record: Count) -> None:
    """Count what a town has seen; a list is of what may not be added up."""
    record("sagas", len(town.asked))
    for words, state in (("sagas done", "DONE"), ("sagas undone", "FAILED")):
        record(words, sum(verdict.states.get(state, 0) for verdict in verdicts))
    record("wrong", len(verdicts[-1].wrong))
    record("calls that came to the shop again", verdicts[-1].repeated)
    record("calls that came after their undo", verdicts[-1].refused_late)
    record("sagas that ended after the first fault of a round", [v.useful for v in verdicts])
    record("faults", len(town.strikes))
    record("sagas under way when a fault struck", [s.under_way for s in town.strikes])
    record("sagas that ended after a fault, before the next", [s.ended for s in town.strikes])
    for words, number in town.did.items():
        record(words, number)
    for words, times in town.took_ms.items():
        record(f"ms: {words}", times)
    late = sum(ms > faults.BOUNDS_MS[what] for what, times in town.took_ms.items() for ms in times)
    record("waits", sum(map(len, town.took_ms.values())))
    record("waits longer than their bound", late)


def check_times(town: Town) -> None:
    """Hold what was waited for against its bound."""
    for what, times in town.took_ms.items():
        assert max(times) <= faults.BOUNDS_MS[what], f"{what}: {times} ms"
    handovers = town.took_ms.get(faults.HANDOVER)
    if handovers:
        assert statistics.median(handovers) <= faults.HANDOVER_MEDIAN_MS, f"{handovers} ms"


async def hold(town: Town, *which: Fault, rounds: int, record: Count) -> None:
    """Play some faults so many times over, and hold each round against all that has to be true."""
    verdicts: list[Verdict] = []
    try:
        for _ in range(rounds):
            verdicts.append(await play(town, *which))
            check_round(town, verdicts[-1], len(which))
    finally:
        if verdicts:
            count(town, verdicts, record)
    check_times(town)


@pytest.mark.parametrize("name", RUNS)
async def test_every_saga_comes_to_a_true_end_in_spite_of(
    name: str, tmp_path: Path, record_property: Count
) -> None:
    async with open_town(tmp_path) as town:
        await hold(town, *RUNS[name], rounds=ROUNDS, record=record_property)


async def test_every_saga_comes_to_a_true_end_when_etcd_has_been_full(
    tmp_path: Path, record_property: Count
) -> None:
    options = ["--quota-backend-bytes", str(16 * 1024 * 1024)]
    async with open_town(tmp_path, etcd_options=options) as town:
        await hold(town, faults.fill_etcd, rounds=1, record=record_property)


async def test_a_thousand_sagas_at_once_all_come_to_an_end_though_a_leader_dies(
    tmp_path: Path, record_property: Count
) -> None:
    async with open_town(tmp_path) as town:
        await hold(town, faults.burst, rounds=1, record=record_property)
        assert len(town.asked) >= 1_000
