"""What is said of a server before a store is written on it."""

from __future__ import annotations

import pytest

from fsm_saga.stores.redis_checks import RedisServerFacts


def facts(**changed: object) -> RedisServerFacts:
    sound = {
        "version": "7.0.15",
        "is_replica": False,
        "is_cluster": False,
        "has_journal": True,
        "sync": "always",
        "eviction": "noeviction",
    }
    return RedisServerFacts(**{**sound, **changed})  # type: ignore[arg-type]


def test_a_server_that_keeps_its_word_is_neither_refused_nor_warned_of() -> None:
    assert facts().refusal(is_relaxed=False) == facts().warning() == ""
    assert facts(version="6.2.0").refusal(is_relaxed=False) == ""
    assert facts(version=None, eviction=None).refusal(is_relaxed=False) == ""


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"version": "6.0.16"}, "Redis 6.0.16"),
        ({"is_cluster": True}, "Redis Cluster"),
        ({"is_replica": True}, "replica"),
        ({"eviction": "allkeys-lfu"}, "allkeys-lfu"),
    ],
)
def test_what_no_durability_excuses_is_refused_in_any_case(
    changed: dict[str, object], said: str
) -> None:
    for is_relaxed in (False, True):
        assert said in facts(**changed).refusal(is_relaxed=is_relaxed)


@pytest.mark.parametrize("has_journal", [False, None])
def test_a_missing_journal_is_refused_unless_losses_are_allowed(has_journal: bool | None) -> None:
    found = facts(has_journal=has_journal)
    assert "durability=relaxed" in found.refusal(is_relaxed=False)
    assert found.refusal(is_relaxed=True) == ""
    assert "no journal" in found.warning()


@pytest.mark.parametrize("sync", ["everysec", "no", None])
def test_a_journal_that_is_not_synced_at_each_write_is_warned_of(sync: str | None) -> None:
    assert "appendfsync" in facts(sync=sync).warning()
    assert facts(sync=sync).refusal(is_relaxed=False) == ""
