"""Which shard a saga belongs to: every process of every version has to say the same."""

from __future__ import annotations

from collections import Counter

from fsm_saga.stores.sharding import shard_of


def test_the_shard_of_a_saga_never_changes() -> None:
    """These numbers stand in stores: another rule would make their sagas vanish."""
    found = [shard_of(name, 256) for name in ("trip-7", "trip-8", "行程-7", "")]
    assert found == [73, 246, 230, 180]
    assert [shard_of("trip-7", shards) for shards in (1, 5, 7, 31, 255)] == [0, 1, 3, 0, 226]


def test_every_shard_gets_its_share() -> None:
    counts = Counter(shard_of(f"trip-{number}", 8) for number in range(4000))
    assert sorted(counts) == list(range(8))
    assert min(counts.values()) > 400
