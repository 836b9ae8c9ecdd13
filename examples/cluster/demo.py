"""Three coordinators, one is killed, nothing is lost: ``python -m examples.cluster.demo``.

Three members of etcd and three ``fsm-saga serve`` run on the loopback. Trips are submitted; in the
middle of the run the coordinator that leads most gets a ``kill -9``. The others take over, every
trip comes to its end, and the sagas are held against the travel agency's own ledger. Any
difference ends the demo with a message and exit code 1.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from io import TextIOWrapper
from pathlib import Path
from types import FrameType

from examples.cluster.binaries import Binary, ServerMissingError, etcd_binary
from examples.cluster.ledger import KINDS, Ledger
from examples.cluster.processes import (
    ROOT,
    Process,
    ProcessFailedError,
    open_etcd,
    start_coordinator,
)
from examples.cluster.tools import NO_CARS
from fsm_saga.errors import FsmSagaError, StoreError
from fsm_saga.plan.model import Plan
from fsm_saga.ports import ClusterStore, Head, Roster
from fsm_saga.service.submitting import submission
from fsm_saga.stores.opening import open_cluster
from fsm_saga.stores.sharding import shard_of

MEMBERS = ("etcd-1", "etcd-2", "etcd-3")
COORDINATORS = ("ada", "ben", "cleo")
CITIES = ("Shanghai", "Lisbon", NO_CARS)
SHARDS = 6
LEASE_TTL_S = 3.0
TRIPS = 48
POLL_S = 0.05
LED_S_MAX = 60.0
SUBMIT_TRIES = 100
BOOKED_S_MAX = 60.0
HAND_OVER_S_MAX = 60.0
END_S_MAX = 180.0
ANNOUNCED_S_MAX = 10.0
COMMAND_S_MAX = 60.0


class UnexpectedError(Exception):
    """Something came out otherwise than this demo promises."""


class Story:
    """The running cluster, and what is told of it."""

    def __init__(
        self,
        store: ClusterStore,
        coordinators: Sequence[Process],
        ledger: Ledger,
        trips: int,
    ) -> None:
        """Take what runs; ``trips`` are to be made."""
        self.store = store
        self.coordinators = {process.name: process for process in coordinators}
        self.ledger = ledger
        self.cities = {f"trip-{n + 1}": CITIES[n % len(CITIES)] for n in range(trips)}

    @property
    def possible(self) -> Mapping[str, bool]:
        """For each trip, whether it can be booked as a whole."""
        return {trip: city != NO_CARS for trip, city in self.cities.items()}

    async def tell(self) -> None:
        """Tell the story from the first trip to the last.

        Raises:
            UnexpectedError: If anything differs from what this demo promises.
        """
        roster = await self._until_led(by=len(self.coordinators), within_s=LED_S_MAX)
        print(f"They share {SHARDS} shards:  {told(leads(roster))}\n")
        await self._submit()
        impossible = list(self.possible.values()).count(False)
        print(f"{len(self.cities)} trips are submitted: a flight, a hotel, a car each.")
        print(f"There are no cars in {NO_CARS}, so {impossible} of them have to be undone.\n")
        await self._wait(
            lambda: self.ledger.count() >= len(self.cities), BOOKED_S_MAX, "the first bookings"
        )
        await self._kill_one()
        heads = await self._until_ended()
        self._check(heads)
        await self._wait_announced()

    async def _submit(self) -> None:
        """Leave every trip in the store, for whoever leads its shard."""
        for trip, city in self.cities.items():
            for _ in range(SUBMIT_TRIES):
                if await self._is_left(trip, city):
                    break
                await asyncio.sleep(POLL_S)
            else:
                raise UnexpectedError(f"{trip} could not be submitted.")

    async def _is_left(self, trip: str, city: str) -> bool:
        try:
            await self.store.reader.post_command(submission(plan_of(trip, city)))
        except StoreError:  # to submit it again is to submit the same saga
            return False
        return True

    async def _kill_one(self) -> None:
        """Kill the coordinator that leads most, and tell who goes on with its shards."""
        before = await self.store.roster()
        led = leads(before)
        open_sagas = await self.store.reader.heads(only_unfinished=True)
        name = max(led, key=lambda each: len(led[each]))
        under_way = sum(shard_of(head.saga_id, SHARDS) in led[name] for head in open_sagas)
        victim = self.coordinators.pop(name)
        print(f"$ kill -9 {victim.pid}   # {name}, with {under_way} trips under way")
        killed_at = time.monotonic()
        victim.kill()
        took_s: dict[int, float] = {}
        after = before
        async with asyncio.timeout(HAND_OVER_S_MAX):
            while len(took_s) < len(led[name]):
                await asyncio.sleep(POLL_S)
                after = await self._roster() or after
                for shard in set(led[name]) - took_s.keys():
                    leader = after.leaders.get(shard)
                    if leader is not None and leader.epoch != before.leaders[shard].epoch:
                        took_s[shard] = time.monotonic() - killed_at
        print(f"  {'shard':>5}  {'led by':<6} {'epoch':>6}    {'now by':<6} {'epoch':>6}    after")
        for shard in led[name]:
            old, new = before.leaders[shard], after.leaders[shard]
            print(
                f"  {shard:>5}  {name:<6} {old.epoch:>6}    {name_of(after, shard):<6} "
                f"{new.epoch:>6}    {took_s[shard]:.1f} s"
            )
        print(f"  The others noticed by the end of its lease of {LEASE_TTL_S:g} s.\n")

    async def _until_ended(self) -> Mapping[str, Head]:
        """Return the heads once every trip has ended.

        Raises:
            UnexpectedError: Not in time, or a person is asked.
        """
        give_up_at = time.monotonic() + END_S_MAX
        while time.monotonic() < give_up_at:
            self._check_running()
            try:
                heads = {head.saga_id: head for head in await self.store.reader.heads()}
            except StoreError:
                heads = {}
            asking = [head.saga_id for head in heads.values() if head.waits_for]
            if asking:
                raise UnexpectedError(f"A person is asked: {', '.join(sorted(asking))}.")
            if all(trip in heads and heads[trip].is_final for trip in self.cities):
                return heads
            await asyncio.sleep(4 * POLL_S)
        raise UnexpectedError(f"Not every trip has ended within {END_S_MAX:g} s.")

    def _check(self, heads: Mapping[str, Head]) -> None:
        """Hold what the sagas say against the agency's ledger."""
        states = [heads[trip].state for trip in self.cities]
        done, failed = states.count("DONE"), states.count("FAILED")
        print(f"All {len(states)} trips have ended: {done} DONE, {failed} FAILED and undone.")
        wrong = self.ledger.differences(heads, self.possible)
        if wrong:
            raise UnexpectedError(f"The ledger differs: {'; '.join(wrong)}.")
        booked = sum(len(kinds) for kinds in self.ledger.bookings().values())
        print(f"The agency's ledger has {booked} bookings: {len(KINDS)} for each trip that is DONE")
        print("and none for any other.")
        again = self.ledger.made_again()
        if again:
            print(f"{again} calls were under way in the coordinator that died. Its heirs made them")
            print("again under the same req_id, and each was carried out once.")
        print()

    async def _wait_announced(self) -> None:
        """Return when the members have told each other that nothing is under way, or soon."""
        for _ in range(round(ANNOUNCED_S_MAX / POLL_S)):
            roster = await self._roster()
            members = () if roster is None else tuple(roster.members.values())
            if members and not any(each.facts.get("sagas_under_way") for each in members):
                return
            await asyncio.sleep(POLL_S)

    async def _until_led(self, *, by: int, within_s: float) -> Roster:
        async with asyncio.timeout(within_s):
            while True:
                self._check_running()
                roster = await self._roster()
                if (
                    roster is not None
                    and len(roster.leaders) == SHARDS
                    and len(leads(roster)) == by
                ):
                    return roster
                await asyncio.sleep(POLL_S)

    async def _roster(self) -> Roster | None:
        try:
            return await self.store.roster()
        except StoreError:
            return None

    async def _wait(self, is_so: Callable[[], bool], within_s: float, what: str) -> None:
        give_up_at = time.monotonic() + within_s
        while not is_so():
            self._check_running()
            if time.monotonic() > give_up_at:
                raise UnexpectedError(f"Not within {within_s:g} s: {what}.")
            await asyncio.sleep(POLL_S)

    def _check_running(self) -> None:
        for process in self.coordinators.values():
            process.check_running()


def plan_of(trip: str, city: str) -> Plan:
    """Return the plan of a trip: three bookings, one after the other, each with its undo."""
    steps = [
        {
            "step_id": number,
            "name": f"{kind} {city}",
            "tool": "book",
            "params": {"kind": kind, "city": city},
            "rollback": {"tool": "cancel"},
            "timeout_s": 30.0,
            "retry": {"attempts": 20, "delay_s": 0.1, "delay_s_max": 1.0},
        }
        for number, kind in enumerate(KINDS, start=1)
    ]
    return Plan.of({"task_id": trip, "goal": f"Go to {city}.", "steps": steps})


def leads(roster: Roster) -> dict[str, list[int]]:
    """Return the shards that each member leads, by its name."""
    found: dict[str, list[int]] = {}
    for shard in sorted(roster.leaders):
        found.setdefault(name_of(roster, shard), []).append(shard)
    return dict(sorted(found.items()))


def name_of(roster: Roster, shard: int) -> str:
    """Return the name of a shard's leader."""
    member = roster.members.get(roster.leaders[shard].member_id)
    return "?" if member is None else member.name


def told(led: Mapping[str, Sequence[int]]) -> str:
    """Return who leads what, in one line."""
    return ",  ".join(
        f"{name} leads {' and '.join(map(str, shards))}" for name, shards in led.items()
    )


def run(etcd: Binary, folder: Path, trips: int) -> None:
    """Start everything, tell the story, show the cluster; stop everything on the way out.

    Raises:
        UnexpectedError: If anything differs from what this demo promises.
    """
    ledger = Ledger(folder / "ledger.db")
    with _stopped_in_peace() as running:
        endpoints = running.enter_context(open_etcd(etcd.path, folder, MEMBERS))
        version = ".".join(map(str, etcd.version))
        print(f"Three members of etcd {version} run on {', '.join(endpoints)}.")
        store = f"etcd://{','.join(endpoints)}/trips"
        coordinators: list[Process] = []
        for name in COORDINATORS:
            process = start_coordinator(
                *(name, folder),
                store=store,
                shards=SHARDS,
                lease_ttl_s=LEASE_TTL_S,
                ledger=ledger.path,
            )
            running.callback(process.stop)
            coordinators.append(process)
        # The last in is the first out: all are told before one is waited for.
        running.callback(_ask_to_stop, coordinators)
        pids = ", ".join(f"{process.name} (pid {process.pid})" for process in coordinators)
        print(f"Three coordinators serve it: {pids}.")
        try:
            asyncio.run(_tell(store, coordinators, ledger, trips))
            show_cluster(store)
        except (UnexpectedError, ProcessFailedError, FsmSagaError, TimeoutError) as error:
            logs = "\n".join(process.log() for process in coordinators)
            raise UnexpectedError(f"{error or 'It took too long.'}\n{logs}") from error
    print("Everything came out as promised, and everything that was started is stopped.")


def _ask_to_stop(processes: Sequence[Process]) -> None:
    for process in processes:
        process.ask_to_stop()


@contextmanager
def _stopped_in_peace() -> Iterator[ExitStack]:
    """Give a stack of what has to be stopped; a second Ctrl-C does not cut the stopping short."""
    running = ExitStack()
    try:
        yield running
    finally:
        ignored = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
        try:
            running.close()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


async def _tell(store: str, coordinators: Sequence[Process], ledger: Ledger, trips: int) -> None:
    async with open_cluster(store, shards=SHARDS) as opened:
        await Story(opened, coordinators, ledger, trips).tell()


def show_cluster(store: str) -> None:
    """Print what ``fsm-saga cluster`` says, which has to be that all is well.

    Raises:
        UnexpectedError: It says something else.
    """
    print("$ fsm-saga cluster")
    ended = subprocess.run(  # noqa: S603  # our own module, arguments from this file
        [sys.executable, "-m", "fsm_saga", "cluster", "--store", store],
        cwd=ROOT,
        env=os.environ | {"PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=COMMAND_S_MAX,
        check=False,
    )
    print(ended.stdout)
    if ended.returncode != 0:
        raise UnexpectedError(
            f"`fsm-saga cluster` ended with exit code {ended.returncode}: {ended.stderr}"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return 0 if everything came out as promised."""
    parser = argparse.ArgumentParser(prog="examples.cluster.demo", description=__doc__)
    parser.add_argument("--trips", type=int, default=TRIPS, help=f"how many; {TRIPS} if not said")
    options = parser.parse_args(arguments)
    if not 3 <= options.trips <= 1_000:
        parser.error("--trips has to be between 3 and 1000")
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # It takes a while: a pipe is to see it live.
    # What goes on inside is told by the coordinators' logs; here it would be noise.
    logging.getLogger("fsm_saga").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        etcd = etcd_binary()
        with tempfile.TemporaryDirectory(prefix="fsm-saga-cluster-") as name:
            run(etcd, Path(name).resolve(), options.trips)
    except KeyboardInterrupt:
        print("\nInterrupted; everything that was started is stopped.", file=sys.stderr)
        return 130
    except (UnexpectedError, ProcessFailedError, ServerMissingError, OSError) as error:
        print(f"\nThe demo did not come out as promised. {error}", file=sys.stderr)
        return 1
    except subprocess.TimeoutExpired as error:
        print(f"\nThe demo did not come out as promised: {error}", file=sys.stderr)
        return 1
    return 0


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    """Take SIGTERM for Ctrl-C: both stop everything."""
    del number, frame
    signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
