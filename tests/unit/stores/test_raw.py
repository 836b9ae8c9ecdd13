"""The yardstick measures something, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

from fsm_saga.stores.raw import measure_raw_commits


def test_a_short_measurement_gives_two_rates_and_leaves_no_file(tmp_path: Path) -> None:
    limit = measure_raw_commits(tmp_path, seconds=0.001, group_size=16, body_bytes=100)
    assert limit.commits_per_s > 0
    assert limit.grouped_appends_per_s > 0
    assert (limit.group_size, limit.body_bytes) == (16, 100)
    assert list(tmp_path.iterdir()) == []
