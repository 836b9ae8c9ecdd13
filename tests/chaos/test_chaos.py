"""Real coordinators over real etcd members, while both are killed, paused, cut off and filled up.

The judge is the shop's own books: DONE means each effect once, FAILED means none is left.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import faults
from tests.chaos.faults import Fault, play
from tests.chaos.judge import Verdict
from tests.chaos.town import Town, open_town
from tests.support.counting import IS_LONG, Count

ROUNDS = 20 if IS_LONG else 1
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240 * ROUNDS)]

RUNS: dict[str, tuple[Fault, ...]] = {
    "crashes": (faults.kill_a_leader, faults.kill_all_coordinators, faults.hold_calls_to_the_shop),
    "pauses": (
        faults.pause_a_leader,
        faults.stop_a_leader_before_a_call,
        faults.pause_a_member_of_etcd,
    ),
    "partitions": (
        faults.cut_a_leader_from_etcd,
        faults.lose_the_answers_of_etcd,
        faults.lose_the_answers_of_the_shop,
        faults.cut_the_shop_off,
    ),
    "etcd": (
        faults.kill_the_leader_of_etcd,
        faults.compact_all_the_time,
        faults.lose_the_majority_of_etcd,
    ),
    "restarts": (faults.restart_one_after_the_other, faults.restart_etcd_one_after_the_other),
}


def check(town: Town, verdict: Verdict, record: Count) -> None:
    """Hold a run against what has to be true of every run, and count what it saw."""
    late = sum(took > faults.TAKEOVER_S_MAX for took in town.takeovers_s)
    record("sagas", len(town.asked))
    record("sagas done", verdict.states.get("DONE", 0))
    record("sagas undone", verdict.states.get("FAILED", 0))
    record("wrong", len(verdict.wrong))
    record("calls that came to the shop again", verdict.repeated)
    record("calls that came after their undo", verdict.refused_late)
    record("takeovers", len(town.takeovers_s))
    record("takeovers later than lease + 2 s", late)
    told = f"{verdict}\n{town.logs()}"
    assert not verdict.wrong, told
    assert verdict.states.get("NEEDS_HUMAN", 0) == 0, told
    assert verdict.states["DONE"] + verdict.states["FAILED"] >= faults.USEFUL_MIN, told
    assert late == 0, town.takeovers_s


@pytest.mark.parametrize("name", RUNS)
async def test_every_saga_comes_to_a_true_end_in_spite_of(
    name: str, tmp_path: Path, record_property: Count
) -> None:
    async with open_town(tmp_path) as town:
        for _ in range(ROUNDS):
            check(town, await play(town, *RUNS[name]), record_property)
    record_property("faults", ROUNDS * len(RUNS[name]))


async def test_every_saga_comes_to_a_true_end_when_etcd_has_been_full(
    tmp_path: Path, record_property: Count
) -> None:
    options = ["--quota-backend-bytes", str(16 * 1024 * 1024)]
    async with open_town(tmp_path, etcd_options=options) as town:
        check(town, await play(town, faults.fill_etcd), record_property)
    record_property("faults", 1)


async def test_a_thousand_sagas_at_once_all_come_to_an_end_though_a_leader_dies(
    tmp_path: Path, record_property: Count
) -> None:
    async with open_town(tmp_path) as town:
        check(town, await play(town, faults.burst), record_property)
        assert len(town.asked) >= 1_000
