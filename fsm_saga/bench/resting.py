"""What sagas cost that only wait: memory while they rest, and time when a store is opened."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from pathlib import Path
from typing import Any

from fsm_saga.bench.workloads import TOOLS, plan_body
from fsm_saga.core.invariants import check
from fsm_saga.core.saga import Saga
from fsm_saga.plan.model import Plan
from fsm_saga.service.engine import Engine

SUBMITTED_TOGETHER = 128
WARM_UP_SAGAS = 100
WAIT_S = 3_600.0
STATM = Path("/proc/self/statm")
MIB = 2**20


def memory_of_resting(url: str, kind: str, sagas: int) -> dict[str, float] | None:
    """Return the memory of sagas at rest, in MiB and per saga; meant for a process of its own.

    Args:
        url: Their store.
        kind: What they wait for: ``retry`` or ``approval``.
        sagas: How many.

    Returns:
        None where the system does not say how much memory a process has.
    """
    if not STATM.exists():
        return None
    grown = asyncio.run(_grown_bytes(url, kind, sagas))
    return {"mib": grown / MIB, "kib_per_saga": grown / sagas / 1024}


def open_ms(url: str) -> float:
    """Return how long it takes until a store is open and what is unfinished in it goes on."""

    async def measure() -> float:
        started = time.perf_counter()
        async with Engine.open(url, tools=TOOLS):
            return (time.perf_counter() - started) * 1e3

    return asyncio.run(measure())


async def _grown_bytes(url: str, kind: str, sagas: int) -> int:
    plan = Plan.of(_resting_body(kind))
    async with Engine.open(url, tools=TOOLS) as engine:
        await _submit(engine, plan, range(WARM_UP_SAGAS))
        before = _resident_bytes()
        await _submit(engine, plan, range(WARM_UP_SAGAS, WARM_UP_SAGAS + sagas))
        grown = _resident_bytes() - before
        check(engine.coordinator.active_count == WARM_UP_SAGAS + sagas, "some sagas do not wait")
        return grown


def _resting_body(kind: str) -> dict[str, Any]:
    body = plan_body("resting", ["make", "make", "make"])
    first = body["steps"][0]
    if kind == "approval":
        first["approval"] = {"expires_s": WAIT_S}
    else:
        first["tool"] = "refuse"
        first["retry"] = {"attempts": 2, "delay_s": WAIT_S, "delay_s_max": WAIT_S}
    return body


async def _submit(engine: Engine, plan: Plan, numbers: range) -> None:
    left = iter(numbers)

    async def work() -> None:
        for number in left:
            saga_id = await engine.submit(plan, task_id=f"resting-{number}")
            await engine.coordinator.wait_until(saga_id, _waits)

    async with asyncio.TaskGroup() as workers:
        for _ in range(SUBMITTED_TOGETHER):
            workers.create_task(work())


def _waits(saga: Saga) -> bool:
    return saga.steps[0].retry_at is not None or saga.steps[0].expires_at is not None


def _resident_bytes() -> int:
    gc.collect()
    pages = int(STATM.read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
