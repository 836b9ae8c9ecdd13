"""Each test of this folder runs on each backend."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fsm_saga.ports import Store
from tests.conformance.backends import BACKENDS, Backend


@pytest.fixture(params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Give a place for stores that is empty so far."""
    place = BACKENDS[request.param](tmp_path)
    yield place
    place.forget()


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[Store]:
    """Give an empty store, open for writing."""
    async with backend.writer() as opened:
        yield opened
