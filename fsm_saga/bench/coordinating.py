"""Several coordinators on one store, each a process of its own that leads its share of the shards.

``python -m fsm_saga.bench.coordinating URL INDEX COUNT WORKLOAD IN_FLIGHT SAGAS`` is one of them:
it says ``ready``, waits for a line on its standard input, so that all begin together, and prints
one JSON document.
"""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, Any

import orjson

from fsm_saga.bench.workloads import TOOLS, WORKLOADS, workload_plan
from fsm_saga.core.invariants import check
from fsm_saga.errors import InvariantBrokenError
from fsm_saga.ports import Store, Term
from fsm_saga.service.engine import Engine
from fsm_saga.stores.opening import open_cluster, this_member
from fsm_saga.stores.sharding import shard_of
from fsm_saga.tools.registry import Registry
from fsm_saga.tools.runner import PythonRunner

LEASE_TTL_S = 10.0
WARM_UP_SAGAS = 10
CHILD_S_MAX = 300.0


def sagas_per_s(url: str, workload: str, *, coordinators: int, in_flight: int, sagas: int) -> float:
    """Return the rate of all coordinators together, each with its share of the sagas in flight.

    Raises:
        RuntimeError: If one of them failed.
    """
    share = max(in_flight // coordinators, 1)
    with ExitStack() as running:
        children = [
            running.enter_context(_child(url, index, coordinators, workload, share, sagas))
            for index in range(coordinators)
        ]
        for child in children:
            _piped(child.stdout).readline()
        for child in children:
            _piped(child.stdin).write(b"go\n")
            _piped(child.stdin).flush()
        said = [child.communicate(timeout=CHILD_S_MAX)[0] for child in children]
    failed = [child.returncode for child in children if child.returncode]
    if failed:
        raise RuntimeError(f"a coordinator of the measurement ended with {failed[0]}")
    # The slowest tells when the whole was done.
    took = max(orjson.loads(text)["seconds"] for text in said)
    return coordinators * (sagas // coordinators) / float(took)


def _piped(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise InvariantBrokenError("A child of the measurement was started without pipes.")
    return pipe


def _child(
    url: str, index: int, count: int, workload: str, in_flight: int, sagas: int
) -> subprocess.Popen[bytes]:
    given = (url, index, count, workload, in_flight, sagas // count)
    return subprocess.Popen(  # noqa: S603  # our own module, by our own interpreter
        [sys.executable, "-m", "fsm_saga.bench.coordinating", *map(str, given)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


async def _coordinate(
    url: str, index: int, count: int, workload: str, in_flight: int, sagas: int
) -> dict[str, Any]:
    async with open_cluster(url) as cluster:
        seat = await cluster.join(this_member(is_ready=False), ttl_s=LEASE_TTL_S)
        own = range(index, cluster.shards, count)
        terms = [term for shard in own if (term := await seat.campaign(shard)) is not None]
        names = _names(workload, terms, cluster.shards)
        return await _run(seat.store(*terms), names, workload, in_flight=in_flight, sagas=sagas)


def _names(workload: str, terms: list[Term], shards: int) -> Iterator[str]:
    """Yield ids of sagas that belong to the shards that are led."""
    led = {term.shard for term in terms}
    for number in itertools.count():
        name = f"{workload}-{number}"
        if shard_of(name, shards) in led:
            yield name


async def _run(
    store: Store, names: Iterator[str], workload: str, *, in_flight: int, sagas: int
) -> dict[str, Any]:
    plan, end = workload_plan(workload), WORKLOADS[workload]

    async def work(engine: Engine, own: Iterator[str]) -> None:
        for name in own:
            saga = await engine.run(plan, task_id=name)
            check(saga.state == end, f"{saga.saga_id!r} ended {saga.state}, not {end}")

    async with Engine.over(store, PythonRunner(Registry(TOOLS)), recover=False) as engine:
        await work(engine, itertools.islice(names, WARM_UP_SAGAS))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        own = itertools.islice(names, sagas)
        started = time.perf_counter()
        async with asyncio.TaskGroup() as workers:
            for _ in range(in_flight):
                workers.create_task(work(engine, own))
        return {"seconds": time.perf_counter() - started}


def main(arguments: list[str]) -> None:
    """Be one coordinator."""
    url, index, count, workload, in_flight, sagas = arguments
    found = asyncio.run(
        _coordinate(url, int(index), int(count), workload, int(in_flight), int(sagas))
    )
    sys.stdout.buffer.write(orjson.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
