"""How long ``fsm-saga serve`` takes to go on after a crash or a stop, and what it costs at rest."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fsm_saga.errors import StoreError
from fsm_saga.ports import Roster
from fsm_saga.stores.opening import open_cluster

LEASE_TTL_S = 5.0
PATIENCE_S = 60.0
LOOK_S = 0.01
SETTLE_S = 2.0
TOOLS = "fsm_saga.bench.workloads"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failover:
    """One round with two coordinators.

    Attributes:
        cpu_percent_idle: Of one core, for one coordinator that leads half of the shards.
        crash_s: From kill -9 of one until the other leads every shard.
        stop_s: The same from SIGTERM.
        lease_s: The lease that the crash waits for.
    """

    cpu_percent_idle: float
    crash_s: float
    stop_s: float
    lease_s: float = LEASE_TTL_S


def measure_failover(url: str, *, idle_s: float) -> Failover:
    """Start two coordinators, let them rest, kill one, start it again, and stop it.

    Raises:
        StoreError: If they do not come to share the shards.
    """
    with _serving(url, "one") as one:
        _wait_until(url, lambda roster, shards: len(roster.leaders) == shards)
        with _serving(url, "two") as two:
            _wait_until(url, _is_shared)
            time.sleep(SETTLE_S)
            idle = _cpu_percent(one, idle_s)
            crash_s = _seconds_until_led(url, two, signal.SIGKILL)
        with _serving(url, "three") as three:
            _wait_until(url, _is_shared)
            time.sleep(SETTLE_S)
            stop_s = _seconds_until_led(url, three, signal.SIGTERM)
    return Failover(cpu_percent_idle=idle, crash_s=crash_s, stop_s=stop_s)


def _seconds_until_led(url: str, process: subprocess.Popen[bytes], number: int) -> float:
    """Return how long it takes after the signal until one coordinator leads every shard."""
    process.send_signal(number)
    started = time.perf_counter()
    _wait_until(url, lambda roster, shards: _loads(roster) == [shards])
    return time.perf_counter() - started


def _is_shared(roster: Roster, shards: int) -> bool:
    return len(_loads(roster)) > 1 and len(roster.leaders) == shards


def _loads(roster: Roster) -> list[int]:
    """Return how many shards each leader has; one who is not there any more counts too."""
    leaders = [leader.member_id for leader in roster.leaders.values()]
    return [leaders.count(member_id) for member_id in sorted(set(leaders))]


def _wait_until(url: str, is_so: Callable[[Roster, int], bool]) -> None:
    async def wait() -> None:
        async with open_cluster(url) as cluster, asyncio.timeout(PATIENCE_S):
            while not is_so(await cluster.roster(), cluster.shards):  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)

    try:
        asyncio.run(wait())
    except TimeoutError as error:
        raise StoreError(
            f"The coordinators of the measurement did not come to lead what they should within "
            f"{PATIENCE_S:g} s."
        ) from error


def _cpu_percent(process: subprocess.Popen[bytes], seconds: float) -> float:
    before = _cpu_s(process.pid)
    time.sleep(seconds)
    return 100.0 * (_cpu_s(process.pid) - before) / seconds


def _cpu_s(pid: int) -> float:
    """Return the processor time that a process has taken, as Linux tells it."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _serving(url: str, name: str) -> Iterator[subprocess.Popen[bytes]]:
    given = ("serve", "--store", url, "--tools", TOOLS, "--name", name)
    command = [sys.executable, "-m", "fsm_saga", *given, "--lease-ttl", f"{LEASE_TTL_S:g}"]
    process = subprocess.Popen(  # noqa: S603  # our own command, by our own interpreter
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
