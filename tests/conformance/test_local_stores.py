"""What only stores on this machine promise: no server stands between, with limits of its own."""

from __future__ import annotations

import pytest

from fsm_saga.errors import StoreError
from tests.conformance.backends import Backend
from tests.conformance.samples import append_of, submitted, succeeded


async def test_reading_what_nobody_has_made_is_refused(local_backend: Backend) -> None:
    with pytest.raises(StoreError, match="not opened for reading"):
        async with local_backend.reader():
            pass


async def test_a_body_of_many_megabytes_comes_back_whole(local_backend: Backend) -> None:
    output = {"report": "é" * 2_000_000, "rows": list(range(50_000))}
    async with local_backend.writer() as store:
        await store.append(append_of("big", 0, submitted("big"), succeeded(output=output)))
        assert await store.load("big") == (submitted("big"), succeeded(output=output))
