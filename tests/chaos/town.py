"""A whole cluster on the loopback: three etcd members, coordinators, a shop, and what lies between.

Every connection goes through a fault proxy: from each coordinator to each etcd member, and to the
shop. Coordinators are ``fsm-saga serve`` itself.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import sys
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from fsm_saga.errors import StoreError
from fsm_saga.plan.model import Plan
from fsm_saga.ports import ClusterStore, Head
from fsm_saga.service.submitting import submission
from fsm_saga.stores.opening import open_cluster
from tests.chaos.shop import Shop
from tests.support.servers.etcd import EtcdCluster
from tests.support.servers.process import ServerProcess, free_port
from tests.support.servers.proxy import FaultProxy

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(__file__).with_name("tools.py")
PREFIX = "chaos"
SHARDS = 6
LEASE_TTL_S = 2.0
POLL_S = 0.1
LOOK_S = 0.03
REST_POLL_S = 0.5
SUBMIT_TRIES = 200


class Coordinator(ServerProcess):
    """One ``fsm-saga serve``, with proxies of its own to everything it talks to."""

    def __init__(
        self, directory: Path, name: str, etcd: Sequence[FaultProxy], shop: FaultProxy
    ) -> None:
        self.name = name
        self.etcd = tuple(etcd)
        self.shop = shop
        self.failpoint = ""
        super().__init__(directory)
        self.port = free_port()

    @property
    def command(self) -> Sequence[str]:
        """What starts it."""
        endpoints = ",".join(proxy.address for proxy in self.etcd)
        return [
            *("env", f"CHAOS_SHOP={self.shop.address}", f"CHAOS_NAME={self.name}"),
            *(f"FSM_SAGA_FAILPOINT={self.failpoint}", f"PYTHONPATH={ROOT}"),
            *(sys.executable, "-m", "fsm_saga", "serve"),
            *("--store", f"etcd://{endpoints}/{PREFIX}", "--shards", str(SHARDS)),
            *("--tools", str(TOOLS), "--name", self.name),
            *("--lease-ttl", f"{LEASE_TTL_S:g}", "--listen", f"127.0.0.1:{self.port}"),
        ]

    def is_ready(self) -> bool:
        """Return True once it is a member whose engines run."""
        try:
            with urllib.request.urlopen(f"http://{self.address}/readyz", timeout=2.0) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def writes_in_vain(self) -> int:
        """Return how many writes were refused or given up since it was started, by its figures."""
        with urllib.request.urlopen(f"http://{self.address}/metrics", timeout=2.0) as answer:
            text = answer.read().decode()
        found = re.findall(r'^fsm_saga_appends_total\{result="(\w+)"\} (\S+)$', text, re.MULTILINE)
        return sum(int(float(number)) for result, number in found if result != "ok")

    def said(self, words: str) -> int:
        """Return how often its log has some words."""
        return self.log_path.read_text(encoding="utf-8", errors="replace").count(words)

    @property
    def links(self) -> tuple[FaultProxy, ...]:
        """Its ways to etcd."""
        return self.etcd


class Strike(Struct, frozen=True, kw_only=True):
    """One fault, and what went on meanwhile.

    Attributes:
        fault: Its name.
        under_way: Sagas that had begun and not ended when it struck.
        ended: Sagas that came to their end from then until the next fault.
    """

    fault: str
    under_way: int
    ended: int


class Town:
    """Everything that runs, and the sagas that were asked of it.

    Attributes:
        begun: Every saga that was to be submitted, whether that has come through or not.
        asked: Those of which it is known that they were left in the store.
        strikes: The faults that have been.
        did: What the faults did, counted.
        took_ms: How long it took until all was well again, by what was waited for.
    """

    def __init__(
        self,
        etcd: EtcdCluster,
        shop: Shop,
        coordinators: Sequence[Coordinator],
        store: ClusterStore,
    ) -> None:
        self.etcd = etcd
        self.shop = shop
        self.coordinators = tuple(coordinators)
        self.store = store
        self.begun: list[str] = []
        self.asked: list[str] = []
        self.strikes: list[Strike] = []
        self.did: Counter[str] = Counter()
        self.took_ms: defaultdict[str, list[int]] = defaultdict(list)
        self._numbers = itertools.count()

    async def submit(self, count: int) -> None:
        """Leave so many sagas in the store, each of them until that is acknowledged."""
        for _ in range(count):
            number = next(self._numbers)
            plan = plan_of(f"trip-{number}", is_sold_out=number % 3 == 2)
            self.begun.append(plan.task_id)
            await self._post(plan)
            self.asked.append(plan.task_id)

    async def keep_submitting(self, *, every_s: float, until: asyncio.Event) -> None:
        """Submit one saga after the other until told to stop."""
        while not until.is_set():
            await self.submit(1)
            with suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await until.wait()

    async def _post(self, plan: Plan) -> None:
        for _ in range(SUBMIT_TRIES):
            try:
                await self.store.reader.post_command(submission(plan))
            except StoreError:
                # Whether it was left or not: to submit it again is to submit the same saga.
                await asyncio.sleep(POLL_S)
            else:
                return
        raise AssertionError(f"{plan.task_id} could not be submitted")

    async def heads(self, *, only_unfinished: bool = False) -> dict[str, Head]:
        """Return what the store says of its sagas."""
        while True:
            try:
                found = await self.store.reader.heads(only_unfinished=only_unfinished)
            except StoreError:
                await asyncio.sleep(POLL_S)
            else:
                return {head.saga_id: head for head in found}

    async def until_ended(self, sagas: Collection[str], *, within_s: float) -> None:
        """Return once none of some sagas is under way any more."""
        async with asyncio.timeout(within_s):
            while (await self.heads(only_unfinished=True)).keys() & set(sagas):  # noqa: ASYNC110
                await asyncio.sleep(POLL_S)

    async def rest(self, *, within_s: float) -> dict[str, Head]:
        """Return the heads once every saga that was asked for has ended or asks a person."""
        ends_at = time.monotonic() + within_s
        while time.monotonic() < ends_at:
            unfinished = (await self.heads(only_unfinished=True)).values()
            if all(head.waits_for == "person" for head in unfinished):
                heads = await self.heads()
                if all(saga_id in heads for saga_id in self.asked):
                    return heads
            await asyncio.sleep(REST_POLL_S)
        heads = await self.heads()
        going = [s for s in self.asked if s not in heads or not _rests(heads[s])]
        told = [f"{s}: {heads[s].state if s in heads else 'missing'}" for s in going[:10]]
        raise AssertionError(
            f"{len(going)} of {len(self.asked)} sagas did not come to rest within {within_s:g} s: "
            f"{', '.join(told)}\n{self.logs()}"
        )

    async def until(self, is_so: Callable[[], bool], *, what: str, within_s: float) -> None:
        """Return as soon as it is so.

        Raises:
            AssertionError: It was not so in time.
        """
        ends_at = time.monotonic() + within_s
        while not is_so():
            if time.monotonic() > ends_at:
                raise AssertionError(f"not within {within_s:g} s: {what}\n{self.logs()}")
            await asyncio.sleep(LOOK_S)

    async def until_led(
        self, *, by: int, within_s: float, without: Collection[str] = frozenset()
    ) -> None:
        """Return once every shard is led by so many members, none of them one of ``without``."""
        async with asyncio.timeout(within_s):
            while True:
                with suppress(StoreError):
                    leaders = (await self.store.roster()).leaders
                    members = {leader.member_id for leader in leaders.values()}
                    is_led = len(leaders) == SHARDS and members.isdisjoint(without)
                    if is_led and len(members) == by:
                        return
                await asyncio.sleep(LOOK_S)

    async def until_moved(self, *, within_s: float) -> None:
        """Return once the shop is asked something for a saga whose submission begins from now on.

        Such a saga was written, taken up and moved: everything works.
        """
        mark = len(self.begun)
        await self.until(
            lambda: self.has_moved(since=mark), what="a new saga moves", within_s=within_s
        )

    def has_moved(self, *, since: int) -> bool:
        """Return whether the shop knows a saga of those that were begun as that number or later."""
        return not self.shop.books.sagas.isdisjoint(self.begun[since:])

    async def leading_members(self) -> frozenset[str]:
        """Return the members that lead something."""
        leaders = (await self.store.roster()).leaders
        return frozenset(leader.member_id for leader in leaders.values())

    async def leads_most(self) -> Coordinator:
        """Return the coordinator that leads the most shards, at least one."""
        roster = await self.store.roster()
        names = [
            roster.members[leader.member_id].name
            for leader in roster.leaders.values()
            if leader.member_id in roster.members
        ]
        running = [c for c in self.coordinators if c.is_running and not c.is_paused]
        found = max(running, key=lambda coordinator: names.count(coordinator.name))
        assert found.name in names, f"{found.name} leads nothing: {names}"
        return found

    @contextmanager
    def timing(self, what: str) -> Iterator[None]:
        """Note how long the block takes."""
        started = time.monotonic()
        yield
        self.took_ms[what].append(round((time.monotonic() - started) * 1_000))

    def logs(self) -> str:
        """Return the ends of the coordinators' logs."""
        return "\n".join(coordinator.log_tail() for coordinator in self.coordinators)


def plan_of(task_id: str, *, is_sold_out: bool) -> Plan:
    """Return a plan of three steps; of some the last one is refused."""
    # A refused call is repeated by the same rule as a lost one, so what is sold out has no rule; an
    # undo has one always, or a shop that is gone for long would leave the saga to a person.
    patience = {"retry": {"attempts": 100, "delay_s": 0.1, "delay_s_max": 1.0}}
    steps = [
        {
            "step_id": number,
            "tool": "reserve",
            "params": {"item": f"item-{number}", "is_sold_out": is_sold_out and number == 3},
            "rollback": {"tool": "release", "params": {"item": f"item-{number}"}, **patience},
            "timeout_s": 5.0,
            **({} if is_sold_out and number == 3 else patience),
        }
        for number in (1, 2, 3)
    ]
    return Plan.of({"task_id": task_id, "steps": steps})


def _rests(head: Head) -> bool:
    return head.is_final or head.waits_for == "person"


@asynccontextmanager
async def open_town(
    directory: Path, *, coordinators: int = 3, etcd_options: Sequence[str] = ()
) -> AsyncIterator[Town]:
    """Start a town; stop all of it at the end."""
    with ExitStack() as running:
        etcd = running.enter_context(EtcdCluster(directory / "etcd", options=etcd_options))
        shop = running.enter_context(Shop())
        started = [
            Coordinator(
                directory / f"coordinator-{number}",
                f"coordinator-{number}",
                [running.enter_context(FaultProxy(m.port)) for m in etcd.members],
                running.enter_context(FaultProxy(shop.port)),
            )
            for number in range(1, coordinators + 1)
        ]
        for coordinator in started:
            running.callback(coordinator.stop)
            coordinator.start(wait=False)
        url = f"etcd://{','.join(etcd.endpoints)}/{PREFIX}"
        async with open_cluster(url, shards=SHARDS) as store:
            town = Town(etcd, shop, started, store)
            await town.until_led(by=coordinators, within_s=30.0)
            yield town
