"""W1 and W2 through the whole engine, with 1, 32 and 128 sagas in flight."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass
from pathlib import Path

from fsm_saga.bench.measuring import emptied, percentile
from fsm_saga.bench.workloads import TOOLS, WORKLOADS, workload_plan
from fsm_saga.core.invariants import check
from fsm_saga.service.engine import Engine

WARM_UP_SAGAS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of many sagas."""

    sagas_per_s: float
    p50_ms: float
    p99_ms: float


def run_on_disk(place: Path, workload: str, *, in_flight: int, sagas: int) -> Run:
    """Return a run on a new store in ``place``."""
    with emptied(place) as own:
        url = f"sqlite:///{own / 'sagas.db'}"
        return asyncio.run(_run(url, workload, in_flight=in_flight, sagas=sagas))


def run_in_memory(workload: str, *, in_flight: int, sagas: int) -> Run:
    """Return a run on a store that takes no time: what the engine itself costs."""
    return asyncio.run(_run("memory://", workload, in_flight=in_flight, sagas=sagas))


def run_on(url: str, workload: str, *, in_flight: int, sagas: int) -> Run:
    """Return a run on the store at ``url``, which is made if need be."""
    return asyncio.run(_run(url, workload, in_flight=in_flight, sagas=sagas))


async def _run(url: str, workload: str, *, in_flight: int, sagas: int) -> Run:
    plan, end = workload_plan(workload), WORKLOADS[workload]
    numbers = itertools.count()
    taken: list[float] = []

    async def work(engine: Engine, until: int) -> None:
        while (number := next(numbers)) < until:
            started = time.perf_counter()
            saga = await engine.run(plan, task_id=f"{workload}-{number}")
            taken.append(time.perf_counter() - started)
            check(saga.state == end, f"{saga.saga_id!r} ended {saga.state}, not {end}")

    async with Engine.open(url, tools=TOOLS, recover=False) as engine:
        await work(engine, WARM_UP_SAGAS)
        taken.clear()
        numbers = itertools.count(WARM_UP_SAGAS)
        started = time.perf_counter()
        async with asyncio.TaskGroup() as workers:
            for _ in range(in_flight):
                workers.create_task(work(engine, WARM_UP_SAGAS + sagas))
        spent = time.perf_counter() - started
    return Run(
        sagas_per_s=len(taken) / spent,
        p50_ms=percentile(taken, 0.50) * 1e3,
        p99_ms=percentile(taken, 0.99) * 1e3,
    )
