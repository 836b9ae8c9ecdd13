"""What it costs to look through many finished sagas in a real etcd: time, memory, and the others.

    python -m tests.support.archive_at_scale --sagas 100000

prints one JSON object. It starts an etcd of its own in a temporary directory, fills a store with
sagas that have ended, and looks at them as an archivist does whose time has not come: all shards
at once, as after a start. Meanwhile a saga appends every so often, as one under way would. For
comparison it asks for all heads at once. Then some of them are archived.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from fsm_saga.coordinator.clock import SystemClock
from fsm_saga.core.records import ActionStarted, ActionSucceeded, Record, SagaMoved, SagaSubmitted
from fsm_saga.etcd.data import EndpointStatus
from fsm_saga.ports import Append, ClusterStore, Head, Member, Store, Term
from fsm_saga.service.archive import Archive
from fsm_saga.service.archiving import Archivist, archive_finished
from fsm_saga.stores.etcd_cluster import open_etcd_cluster
from tests.support.servers.etcd import EtcdServer

SHARDS = 8
WRITERS = 256
PROBE_EVERY_S = 0.02
MONTH_S = 30 * 86_400.0
ARCHIVED_MAX = 2_000
QUOTA_BYTES = 4 * 2**30
STEPS = 3


def main(words: Sequence[str]) -> int:
    """Measure, print what was found, and return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sagas", type=int, default=100_000)
    asked = parser.parse_args(words)
    with TemporaryDirectory() as place:
        server = EtcdServer(Path(place) / "etcd", quota_bytes=QUOTA_BYTES)
        server.start()
        try:
            found = asyncio.run(_measure(server, asked.sagas, Path(place) / "archive"))
        finally:
            server.stop()
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0


async def _measure(server: EtcdServer, sagas: int, folder: Path) -> dict[str, Any]:
    cluster = await open_etcd_cluster(f"etcd://{server.address}/sagas", shards=SHARDS)
    try:
        seat = await cluster.join(Member(member_id="a", name="a", started_at=0.0), ttl_s=10.0)
        terms = [term for shard in range(SHARDS) if (term := await seat.campaign(shard))]
        store = seat.store(*terms)
        filled_s = await _fill(store, sagas)
        archivist = Archivist(Archive(folder), older_than_s=MONTH_S, shards=SHARDS)

        async def look() -> int:
            views = [(term, seat.store(term)) for term in terms]
            looks = [archivist._look(term, view, SystemClock()) for term, view in views]
            return sum(len(waiting.ended) for waiting in await asyncio.gather(*looks))

        async def list_all() -> int:
            return len(await cluster.reader.heads())

        async def archive_some() -> int:
            now = time.time() + MONTH_S
            done = await archive_finished(
                store, folder, older_than_s=0.0, limit=ARCHIVED_MAX, now=now
            )
            return len(done.heads)

        (status,) = await cluster.link.transport.statuses()
        return {
            "sagas": sagas,
            "filled_s": round(filled_s, 1),
            "etcd": {"version": status.version, "megabytes": _mb(status)},
            "nothing": await _beside(server, cluster, terms, _idle),
            "look by pages": await _beside(server, cluster, terms, look),
            "all heads at once": await _beside(server, cluster, terms, list_all),
            "archive": await _beside(server, cluster, terms, archive_some),
        }
    finally:
        await cluster.close()


async def _idle() -> int:
    await asyncio.sleep(5.0)
    return 0


def _mb(status: EndpointStatus) -> int:
    return status.db_size // 2**20


async def _fill(store: Store, sagas: int) -> float:
    began, numbers = time.perf_counter(), iter(range(sagas))

    async def write() -> None:
        for number in numbers:
            await store.append(ended_saga(f"trip-{number:08}", at=time.time()))

    await asyncio.gather(*(write() for _ in range(WRITERS)))
    return time.perf_counter() - began


def ended_saga(saga_id: str, *, at: float) -> Append:
    """Return a saga of a few steps that is done, as one append of about two kilobytes."""
    params = {"place": "Łódź", "nights": 3, "guest": "x" * 40}
    plan = {
        "task_id": saga_id,
        "goal": "A trip with three bookings",
        "steps": [{"step_id": n, "tool": "book", "params": params} for n in range(STEPS)],
    }
    records: list[Record] = [
        SagaSubmitted(at=at, saga_id=saga_id, plan_hash="ab" * 32, plan=plan, tools={})
    ]
    for step in range(STEPS):
        req_id = f"{step:064}"
        records.append(ActionStarted(at=at, step=step, req_id=req_id, revision=1, params=params))
        records.append(ActionSucceeded(at=at, step=step, output={"booking": "b" * 60}))
    records.append(SagaMoved(at=at, event="done", state="DONE", cause="", outcome="committed"))
    head = Head(
        saga_id=saga_id,
        state="DONE",
        outcome="committed",
        position=len(records),
        created_at=at,
        updated_at=at,
        goal="A trip with three bookings",
        is_final=True,
    )
    return Append(saga_id=saga_id, position=0, records=tuple(records), head=head)


async def _beside(
    server: EtcdServer,
    cluster: ClusterStore,
    terms: Sequence[Term],
    work: Callable[[], Awaitable[int]],
) -> dict[str, Any]:
    """Return what some work costs, and what appends beside it meet, from another connection."""
    other = await open_etcd_cluster(f"etcd://{server.address}/other", shards=1)
    try:
        seat = await other.join(Member(member_id="b", name="b", started_at=0.0), ttl_s=10.0)
        store = seat.store(cast(Term, await seat.campaign(0)))
        waits_ms: list[float] = []
        probing = asyncio.create_task(_probe(store, waits_ms))
        _forget_peak()
        rss, cpu, etcd_cpu = _rss_mb("VmRSS"), time.process_time(), _cpu_s(server.pid)
        began = time.perf_counter()
        count = await work()
        took_s = time.perf_counter() - began
        found: dict[str, Any] = {
            "sagas": count,
            "seconds": round(took_s, 1),
            "memory_mb": round(_rss_mb("VmHWM") - rss),
            "cpu_s": round(time.process_time() - cpu, 1),
            "etcd_cpu_s": round(_cpu_s(server.pid) - etcd_cpu, 1),
        }
        probing.cancel()
        await asyncio.wait((probing,))
        steps = statistics.quantiles(waits_ms, n=100)
        found["append_ms"] = {
            "median": round(steps[49], 1),
            "99 %": round(steps[98], 1),
            "most": round(max(waits_ms), 1),
        }
        return found
    finally:
        await other.close()


async def _probe(store: Store, waits_ms: list[float]) -> None:
    name = f"probe-{time.time_ns()}"
    head = ended_saga(name, at=0.0)
    number = 0
    while True:
        began = time.perf_counter()
        await store.append(ended_saga(f"{name}-{number}", at=head.head.created_at))
        waits_ms.append((time.perf_counter() - began) * 1_000)
        number += 1
        await asyncio.sleep(PROBE_EVERY_S)


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _rss_mb(name: str) -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"the kernel tells no {name}")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
