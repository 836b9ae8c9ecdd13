"""Each test of this folder runs on each backend."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fsm_saga.ports import Store
from tests.conformance.backends import BACKENDS, LOCAL_BACKENDS, Backend


@pytest.fixture(params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Give a place for stores that is empty so far."""
    with BACKENDS[request.param](request, tmp_path) as place:
        yield place


@pytest.fixture(params=sorted(LOCAL_BACKENDS))
def local_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Give a place on this machine for stores, where nothing was made so far."""
    with LOCAL_BACKENDS[request.param](request, tmp_path) as place:
        yield place


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[Store]:
    """Give an empty store, open for writing."""
    async with backend.writer() as opened:
        yield opened
