from __future__ import annotations

import pytest

from tests.unit.machine.made import lines, names, recorded

RECORDED = recorded()


@pytest.mark.parametrize("name", names())
def test_what_can_happen_is_what_could_happen(name: str) -> None:
    """If it should be something else, ``python -m tests.unit.machine.made`` records it."""
    assert lines(name) == RECORDED[name]
