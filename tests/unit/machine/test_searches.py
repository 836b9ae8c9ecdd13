from __future__ import annotations

import json

import pytest

from tests.unit.machine.searches import PROGRAMS, RECORDED, search

SEEN = json.loads(RECORDED.read_bytes())


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_search_sees_what_it_saw(name: str) -> None:
    """If it should see something else, ``python -m tests.unit.machine.searches`` records it."""
    assert search(name) == SEEN[name]
