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

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

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


def check(town: Town, verdict: Verdict) -> None:
    told = f"{verdict}\n{town.logs()}"
    assert not verdict.wrong, told
    assert verdict.states.get("NEEDS_HUMAN", 0) == 0, told
    assert verdict.states["DONE"] + verdict.states["FAILED"] >= faults.USEFUL_MIN, told
    assert all(took <= faults.TAKEOVER_S_MAX for took in town.takeovers_s), town.takeovers_s


@pytest.mark.parametrize("name", RUNS)
async def test_every_saga_comes_to_a_true_end_in_spite_of(name: str, tmp_path: Path) -> None:
    async with open_town(tmp_path) as town:
        check(town, await play(town, *RUNS[name]))


async def test_every_saga_comes_to_a_true_end_when_etcd_has_been_full(tmp_path: Path) -> None:
    options = ["--quota-backend-bytes", str(16 * 1024 * 1024)]
    async with open_town(tmp_path, etcd_options=options) as town:
        check(town, await play(town, faults.fill_etcd))


async def test_a_thousand_sagas_at_once_all_come_to_an_end_though_a_leader_dies(
    tmp_path: Path,
) -> None:
    async with open_town(tmp_path) as town:
        check(town, await play(town, faults.burst))
        assert len(town.asked) >= 1_000
