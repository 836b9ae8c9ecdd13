from __future__ import annotations

import pytest

from fsm_saga.core.invariants import broken, check
from fsm_saga.errors import InvariantBrokenError


def test_what_holds_is_passed_over_in_silence() -> None:
    check(True, "never shown")


def test_what_cannot_be_stops_always() -> None:
    with pytest.raises(InvariantBrokenError, match="the sea is dry"):
        broken("the sea is dry")


def test_what_does_not_hold_stops_with_its_words() -> None:
    with pytest.raises(InvariantBrokenError, match="the sky is green"):
        check(False, "the sky is green")
