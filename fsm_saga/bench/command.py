"""``run_bench``: everything in one run, so that the numbers can be compared with each other.

A round takes each measurement of the bare store and of the engine once, one right after the
other. Other programs on the machine then disturb both alike, and the ratios stay true.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from fsm_saga.bench.bare_store import bare_appends_per_s, bare_saga_ms, write_finished
from fsm_saga.bench.child import in_child
from fsm_saga.bench.deciding import measure_decisions
from fsm_saga.bench.machine_facts import machine_facts
from fsm_saga.bench.measuring import FULL, QUICK, Samples, Sizes, bench_place, emptied, fsync_ms
from fsm_saga.bench.resting import open_ms
from fsm_saga.bench.sagas import run_in_memory, run_on_disk
from fsm_saga.bench.table import render_table
from fsm_saga.bench.verifying import measure_verifying
from fsm_saga.bench.workloads import WORKLOADS, Moment, moments_of, workload_plan
from fsm_saga.stores.opening import is_shared

__all__ = ["render_table", "run_bench"]

REPEATS_MIN = 1
Say = Callable[[str], None]


def run_bench(
    store_url: str | None, *, quick: bool, repeats: int = 3, as_json: bool
) -> dict[str, Any]:
    """Return what this machine reaches, as JSON; ``render_table`` makes a text of it.

    Must not be called on an event loop.

    Args:
        store_url: Of the store on whose disk or server to measure; it is not opened. None stands
            for the current directory. With ``memory://`` nothing is written.
        quick: Measure less: seconds instead of minutes, and wider spreads.
        repeats: How often each measurement is taken.
        as_json: Say nothing on the way; else a line for each part goes to stderr.

    Raises:
        StoreError: If the URL names no place, or nothing can be written there.
        ValueError: If ``repeats`` is below 1.
    """
    if repeats < REPEATS_MIN:
        raise ValueError(f"repeats is {repeats}, it has to be {REPEATS_MIN} or more")
    sizes, say = QUICK if quick else FULL, _silent if as_json else _say
    if store_url is not None and is_shared(store_url):
        # It imports the client of the server, whose packages are an extra.
        server = import_module("fsm_saga.bench.on_server")
        found: dict[str, Any] = server.measure_server(store_url, sizes, repeats=repeats, say=say)
        return found
    with bench_place(store_url) as place:
        return measure(place, sizes, repeats=repeats, say=say)


def measure(place: Path | None, sizes: Sizes, *, repeats: int, say: Say) -> dict[str, Any]:
    """Return the measurements of these sizes; without a place, those that need no disk."""
    facts = machine_facts()
    samples = Samples()
    for round_number in range(1, repeats + 1):
        say(f"round {round_number} of {repeats}: decisions, compiling, verifying, sagas")
        measure_decisions(samples, times=sizes.decisions)
        _measure_compiling(samples, sizes)
        measure_verifying(samples, sizes.verify_plans)
        for workload in WORKLOADS:
            _measure_sagas(samples, place, workload, sizes)
        _measure_resting(samples, place, sizes)
    found: dict[str, Any] = {}
    if place is not None and sizes.finished_sagas:
        say(f"making a store with {sizes.finished_sagas} finished sagas")
        found["finished_sagas"] = _measure_opening(samples, place, sizes, repeats)
    return {
        "machine": facts,
        "settings": {"repeats": repeats, "is_on_disk": place is not None, **found},
        **samples.as_json(),
    }


def _measure_sagas(samples: Samples, place: Path | None, workload: str, sizes: Sizes) -> None:
    moments = moments_of(workload_plan(workload))
    for in_flight, sagas in sizes.sagas.items():
        if place is not None:
            _measure_on_disk(samples, place, workload, moments, in_flight, sizes)
        run = run_in_memory(workload, in_flight=in_flight, sagas=sagas)
        for name in ("sagas_per_s", "p50_ms", "p99_ms"):
            samples.add(f"memory.{workload}.{in_flight}.{name}", getattr(run, name))


def _measure_on_disk(
    samples: Samples,
    place: Path,
    workload: str,
    moments: list[Moment],
    in_flight: int,
    sizes: Sizes,
) -> None:
    """Take the bare store and then the engine, and compare them within this round."""
    bare, appends = f"bare.{workload}.{in_flight}", len(moments)
    if in_flight == 1:
        samples.add("disk.fsync_ms", fsync_ms(place, sizes.fsyncs))
        bare_ms = bare_saga_ms(place, moments, sagas=sizes.bare_sagas)
        samples.add(f"{bare}.commit_ms", bare_ms / appends)
        samples.add(f"{bare}.commits_of_a_saga_ms", bare_ms)
        bare_sagas_per_s = 1e3 / bare_ms
    else:
        rate = bare_appends_per_s(place, moments, group=in_flight, rounds=sizes.bare_rounds)
        samples.add(f"{bare}.appends_per_s", rate)
        bare_sagas_per_s = rate / appends
    samples.add(f"{bare}.sagas_per_s", bare_sagas_per_s)
    run = run_on_disk(place, workload, in_flight=in_flight, sagas=sizes.sagas[in_flight])
    for name in ("sagas_per_s", "p50_ms", "p99_ms"):
        samples.add(f"sqlite.{workload}.{in_flight}.{name}", getattr(run, name))
    if in_flight == 1:
        samples.add(f"sqlite.{workload}.1.times_of_bare", run.p50_ms / bare_ms)
    share = run.sagas_per_s / bare_sagas_per_s
    samples.add(f"sqlite.{workload}.{in_flight}.share_of_bare", share)


def _measure_compiling(samples: Samples, sizes: Sizes) -> None:
    for steps, times in in_child("compile", *sizes.plan_steps).items():
        for name, value in times.items():
            samples.add(f"compile.{steps}.{name}", value)


def _measure_resting(samples: Samples, place: Path | None, sizes: Sizes) -> None:
    for kind in ("retry", "approval"):
        if place is None:
            found = in_child("rest", "memory://", kind, sizes.resting_sagas)
        else:
            with emptied(place) as own:
                url = f"sqlite:///{own / 'resting.db'}"
                found = in_child("rest", url, kind, sizes.resting_sagas)
        for name, value in (found or {}).items():
            samples.add(f"resting.{kind}.{sizes.resting_sagas}.{name}", value)


def _measure_opening(samples: Samples, place: Path, sizes: Sizes, repeats: int) -> int:
    """Open a large store and an empty one in turn; return how many sagas the large one has."""
    moments = moments_of(workload_plan("w1"))
    with emptied(place) as own:
        large = own / "large.db"
        made = write_finished(
            large, moments, sagas=sizes.finished_sagas, seconds_max=sizes.finished_s_max
        )
        write_finished(own / "empty.db", moments, sagas=0, seconds_max=0.0)
        for _ in range(repeats):
            samples.add("open.empty_ms", open_ms(f"sqlite:///{own / 'empty.db'}"))
            samples.add("open.large_ms", open_ms(f"sqlite:///{large}"))
    return made


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _silent(_line: str) -> None:
    """Say nothing."""
