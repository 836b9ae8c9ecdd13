"""A store on a server, measured from one coordinator and from several that share it.

Each run has a store of its own below a prefix beside the given one, removed afterwards. The bare
server is measured in the same round, so that the ratios stay true whatever else the machine does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

from fsm_saga.bench.bare_etcd import bare_appends_per_s, bare_saga_ms, remove_store
from fsm_saga.bench.coordinating import sagas_per_s
from fsm_saga.bench.failover import measure_failover
from fsm_saga.bench.machine_facts import machine_facts
from fsm_saga.bench.measuring import Samples, Sizes
from fsm_saga.bench.sagas import run_on
from fsm_saga.bench.workloads import WORKLOADS, moments_of, workload_plan
from fsm_saga.errors import StoreError

PLACE_PREFIX = "fsm-saga-bench"


def measure_server(
    store_url: str, sizes: Sizes, *, repeats: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Return the measurements of a store on a server, as JSON.

    Raises:
        StoreError: If the server cannot be used, or is none that is measured.
    """
    if urlsplit(store_url).scheme != "etcd":
        raise StoreError(
            "Nothing was measured: of stores on servers, those in etcd are. Without --store, the "
            "engine is measured on SQLite."
        )
    samples = Samples()
    for round_number in range(1, repeats + 1):
        for workload in WORKLOADS:
            say(f"round {round_number} of {repeats}: {workload}, bare and through the engine")
            _measure_engine(samples, store_url, workload, sizes)
        say(f"round {round_number} of {repeats}: coordinators that share a store")
        _measure_coordinators(samples, store_url, sizes)
        say(f"round {round_number} of {repeats}: a crash and a stop")
        with _store_beside(store_url) as url:
            found = measure_failover(url, idle_s=sizes.idle_s)
        for name in ("cpu_percent_idle", "crash_s", "stop_s", "lease_s"):
            samples.add(f"failover.{name}", getattr(found, name))
    return {
        "machine": machine_facts(),
        "settings": {"repeats": repeats, "server": urlsplit(store_url).scheme},
        **samples.as_json(),
    }


def _measure_engine(samples: Samples, store_url: str, workload: str, sizes: Sizes) -> None:
    moments = moments_of(workload_plan(workload))
    for in_flight, sagas in sizes.sagas.items():
        with _store_beside(store_url) as url:
            bare = f"bare.{workload}.{in_flight}"
            bare_ms = 0.0
            if in_flight == 1:
                bare_ms = bare_saga_ms(url, moments, sagas=sizes.bare_sagas)
                samples.add(f"{bare}.transactions_of_a_saga_ms", bare_ms)
                bare_sagas_per_s = 1e3 / bare_ms
            else:
                rate = bare_appends_per_s(url, moments, rounds=sizes.bare_rounds)
                samples.add(f"{bare}.appends_per_s", rate)
                bare_sagas_per_s = rate / len(moments)
        samples.add(f"{bare}.sagas_per_s", bare_sagas_per_s)
        with _store_beside(store_url) as url:
            run = run_on(url, workload, in_flight=in_flight, sagas=sagas)
        for name in ("sagas_per_s", "p50_ms", "p99_ms"):
            samples.add(f"server.{workload}.{in_flight}.{name}", getattr(run, name))
        if bare_ms:
            samples.add(f"server.{workload}.1.times_of_bare", run.p50_ms / bare_ms)
        share = run.sagas_per_s / bare_sagas_per_s
        samples.add(f"server.{workload}.{in_flight}.share_of_bare", share)


def _measure_coordinators(samples: Samples, store_url: str, sizes: Sizes) -> None:
    in_flight = max(sizes.sagas)
    rates = {}
    for count in sizes.coordinators:
        with _store_beside(store_url) as url:
            rates[count] = sagas_per_s(
                url, "w1", coordinators=count, in_flight=in_flight, sagas=sizes.sagas[in_flight]
            )
        samples.add(f"coordinators.{count}.sagas_per_s", rates[count])
    fewest, most = min(rates), max(rates)
    samples.add(f"coordinators.{most}.times_of_{fewest}", rates[most] / rates[fewest])


@contextmanager
def _store_beside(store_url: str) -> Iterator[str]:
    """Give the URL of a store on the same server, removed afterwards."""
    parts = urlsplit(store_url)
    path = f"{parts.path.rstrip('/') or ''}-{PLACE_PREFIX}-{uuid4().hex[:12]}"
    url = urlunsplit(parts._replace(path=f"/{path.lstrip('/')}"))
    try:
        yield url
    finally:
        remove_store(url)
