"""What the log says of the sagas that a host leaves alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fsm_saga.cluster import hosting
from fsm_saga.cluster.hosting import Host
from fsm_saga.coordinator.clock import SystemClock
from fsm_saga.plan.model import Plan
from fsm_saga.ports import Member
from fsm_saga.service.engine import Engine
from fsm_saga.stores.memory_cluster import MemoryCluster
from fsm_saga.tools.python import Tool, tool
from fsm_saga.tools.registry import Registry
from fsm_saga.tools.runner import PythonRunner

PATIENCE_S = 20.0


@tool(read_only=True)
async def look() -> int:
    return 1


@tool(read_only=True)
async def other() -> int:
    return 1


def host_of(cluster: MemoryCluster, only: Tool[[], Any], name: str) -> Host:
    member = Member(member_id=name, name=name, started_at=0.0)
    return Host(cluster, PythonRunner(Registry([only])), member)


async def test_a_saga_whose_tools_are_missing_is_named_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosting, "TELL_S", 0.001)
    cluster = MemoryCluster(shards=1)
    seat = await cluster.join(Member(member_id="x", name="x", started_at=0.0), ttl_s=5.0)
    term = await seat.campaign(0)
    assert term is not None
    step = {"step_id": 1, "name": "look", "tool": "look", "params": {}, "approval": True}
    async with Engine.over(seat.store(term), PythonRunner(Registry([look]))) as engine:
        await engine.submit(Plan.of({"task_id": "trip", "steps": [step]}))
    await seat.leave()
    host = host_of(cluster, other, "a")
    task = asyncio.create_task(host.node.run())
    async with asyncio.timeout(PATIENCE_S):
        while "left alone" not in caplog.text:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    host.node.stop()
    await task

    assert caplog.text.count("'trip' is left alone") == 1
    assert "look" in caplog.text


async def test_engines_of_all_shards_share_what_is_known_of_plans() -> None:
    cluster = MemoryCluster(shards=2)
    host = host_of(cluster, look, "a")
    task = asyncio.create_task(host.node.run())
    async with asyncio.timeout(PATIENCE_S):
        while sum(led.engine is not None for led in host.node.led.values()) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    first, second = (led.engine for led in host.node.led.values())
    assert first is not None
    assert second is not None
    assert first._preparer is second._preparer
    host.node.stop()
    await task


async def test_the_engines_go_by_the_clock_that_the_host_was_given() -> None:
    class Clock(SystemClock):
        """Asked by the engine alone."""

    clock = Clock()
    cluster = MemoryCluster(shards=2)
    member = Member(member_id="a", name="a", started_at=0.0)
    host = Host(cluster, PythonRunner(Registry([look])), member, clock=clock)
    seen: list[Engine] = []
    host.node.attach = lambda term, engine: seen.append(engine)
    task = asyncio.create_task(host.node.run())
    async with asyncio.timeout(PATIENCE_S):
        while len(seen) < 2:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.001)
    host.node.stop()
    await task
    assert all(engine.clock is clock for engine in seen)
