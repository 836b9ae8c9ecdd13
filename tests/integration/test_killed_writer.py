"""A store on a server whose writer was killed: refused with the reason, until its lease ends."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fsm_saga.errors import StoreLockedError
from fsm_saga.ports import Store
from fsm_saga.stores.opening import LEASE_TTL_S, open_store

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import asyncio, sys
from fsm_saga.stores.opening import open_store
async def hold():
    async with open_store(sys.argv[1]):
        print("held", flush=True)
        await asyncio.sleep(60)
asyncio.run(hold())
"""


def held_and_killed(url: str) -> int:
    """Return the number of a process that had the store open for writing and was killed."""
    command = [sys.executable, "-c", HOLD, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
        finally:
            holder.kill()
        return holder.pid


async def epoch_of(url: str) -> int:
    store: Store
    async with open_store(url) as store:
        return store.epoch


@pytest.mark.parametrize("kind", ["etcd", "redis"])
async def test_who_comes_after_a_writer_that_was_killed_learns_who_has_it_and_for_how_long(
    kind: str, request: pytest.FixtureRequest, server_prefix: str
) -> None:
    server: Any = request.getfixturevalue(kind)
    url = f"{server.url}?prefix={server_prefix}"
    if kind == "etcd":
        url = f"etcd://{server.address}/{server_prefix}"
    before = await epoch_of(url)
    pid = await asyncio.to_thread(held_and_killed, url)
    with pytest.raises(StoreLockedError) as caught:
        await epoch_of(url)
    message = caught.value.message
    assert f"member '{socket.gethostname()}:{pid}' leads shard 0" in message
    assert f"until its lease ends, {LEASE_TTL_S:g} s after its last sign of life" in message
    assert "then try again" in message

    async with asyncio.timeout(6 * LEASE_TTL_S):
        while True:
            try:
                assert await epoch_of(url) > before
            except StoreLockedError:
                await asyncio.sleep(0.2)
            else:
                return
