"""A memory that is bounded, keeps what is asked for, and can be told to forget."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from fsm_saga.machine.kept import Kept


def test_what_was_not_asked_for_longest_is_forgotten_first() -> None:
    kept: Kept[str, int] = Kept(2)
    kept.put("a", 1)
    kept.put("b", 2)
    assert kept.get("a") == 1
    kept.put("c", 3)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (1, None, 3)
    assert len(kept) == 2


def test_a_value_that_comes_again_takes_no_further_place() -> None:
    kept: Kept[str, int] = Kept(2)
    for value in range(5):
        kept.put("a", value)
    kept.put("b", 7)
    assert (kept.get("a"), kept.get("b"), len(kept)) == (4, 7, 2)


def test_a_key_can_be_dropped_though_it_is_not_known() -> None:
    kept: Kept[str, int] = Kept(2)
    kept.put("a", 1)
    kept.drop("a")
    kept.drop("a")
    assert kept.get("a") is None


class Vanishing(OrderedDict[str, int]):
    """Values that are dropped as soon as they were found, as when their object dies just then."""

    def get(self, key: str, default: Any = None) -> Any:
        return self.pop(key, default)


def test_a_key_may_be_dropped_while_it_is_looked_for() -> None:
    kept: Kept[str, int] = Kept(2)
    kept._values = Vanishing(a=1)
    assert kept.get("a") == 1
    assert len(kept) == 0
