"""One saga on the real coordinator, store and codec, with a fault at chosen points of its I/O.

Every append, every load and every call is a point, counted from the start and across restarts. At
a point one of four things can go wrong:

``die_before``  the process dies, and what it was about to do is not done
``die_after``   it is done, and the process dies before it knows
``lost``        it is not done, and nobody says so: the store is unavailable, the call times out
``done``        it is done, and the same is heard

Whatever of a call was still on its way when its process died, or timed out, arrives at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

import orjson

from fsm_saga.coordinator.coordinator import Coordinator
from fsm_saga.core import events as e
from fsm_saga.core.contract import ToolFacts
from fsm_saga.core.effects import CallTool
from fsm_saga.core.program import Program
from fsm_saga.core.records import Record
from fsm_saga.errors import StoreUnavailableError
from fsm_saga.machine.compile import Declared, compile_plan, declare
from fsm_saga.ports import Append, CallOutcome, OutcomeKind
from fsm_saga.stores.memory import Memory, MemoryStore
from tests.crashpoints.ledger import REFUSING, Ledger, judge
from tests.support.plans import catalogue_of, plan_of
from tests.support.virtual_time import VirtualClock

APPEND, LOAD, CALL = "append", "load", "call"
FAULTS: Mapping[str, tuple[str, ...]] = {
    APPEND: ("die_before", "die_after", "lost", "done"),
    # What was read and not heard is read again, like what was not read.
    LOAD: ("die_before", "die_after", "lost"),
    CALL: ("die_before", "die_after", "lost", "done"),
}
SAGA_ID = "trip"
LIVES_MAX = 8
LATENCY_S = 0.25
PATIENCE_S = 86_400.0

Needs = tuple[tuple[int, ...], ...]


class Trap(NamedTuple):
    """A fault at the nth point."""

    nth: int
    fault: str


class Case(NamedTuple):
    """A plan: what each step needs, which step refuses (-1: none), and whether undo fences."""

    needs: Needs
    refusing: int
    is_fenced: bool

    def __str__(self) -> str:
        fails = "none fails" if self.refusing < 0 else f"{self.refusing} fails"
        return f"{self.needs}, {fails}, {'fenced' if self.is_fenced else 'plain'}"


@dataclass(frozen=True, kw_only=True)
class Run:
    """What came of one run.

    Attributes:
        points: What each point of its I/O was.
        wrong: What does not hold.
        end: The state in which it rested.
        lives: How many processes it took.
    """

    points: tuple[str, ...]
    wrong: tuple[str, ...]
    end: str
    lives: int


class Prepared(NamedTuple):
    """A case that was compiled."""

    case: Case
    program: Program
    plan: dict[str, object]
    declared: Declared
    catalogue: Mapping[str, ToolFacts]


def prepare(case: Case) -> Prepared:
    """Return the case as a coordinator takes it."""
    lines = []
    for step, needs in enumerate(case.needs):
        after = ",".join(str(need) for need in needs) or "-"
        tool = REFUSING if step == case.refusing else "act"
        undo = "take_back" if case.is_fenced else f"take_back id=$output.step_{step}.id"
        # A fenced tool is tried once, so that a lost answer leads to the undo of the unknown.
        retry = " retry=1" if case.is_fenced else ""
        lines.append(f"{step} {tool} / {undo} ; after={after}{retry}")
    plan = plan_of(SAGA_ID, "\n".join(lines))
    promises = "fenced" if case.is_fenced else ""
    catalogue = catalogue_of(f"act {promises}\n{REFUSING} {promises}", [plan])
    declared = declare(plan, catalogue)
    program = compile_plan(plan, declared)
    return Prepared(case, program, orjson.loads(plan.canonical_json()), declared, catalogue)


class Lab:
    """One run: a memory that outlives processes, tools, and the traps that are left."""

    def __init__(self, prepared: Prepared, traps: Sequence[Trap]) -> None:
        self.prepared = prepared
        self.ledger = Ledger(is_fenced=prepared.case.is_fenced)
        self.memory = Memory()
        self.clock = VirtualClock()
        self.points: list[str] = []
        self.on_the_way: list[CallTool] = []
        self._faults = dict(traps)
        self._died = asyncio.get_running_loop().create_future()

    async def run(self) -> Run:
        """Return what comes of the saga, however many processes it takes."""
        lives, end = 0, ""
        while lives < LIVES_MAX and not end:
            lives += 1
            end = await self._live()
        for call in self.on_the_way:
            self.ledger.arrive(call)
        case = self.prepared.case
        wrong = judge(self.ledger, end, case.needs, may_be_done=case.refusing < 0)
        if end in ("DONE", "FAILED"):
            wrong += self._expected(end)
        return Run(points=tuple(self.points), wrong=tuple(wrong), end=end, lives=lives)

    def _expected(self, end: str) -> list[str]:
        """Return what is wrong with an end that is true, and that nothing led to."""
        case = self.prepared.case
        if end == "FAILED" and case.refusing < 0 and not case.is_fenced:
            return ["FAILED, although nothing refused and every doubt can be settled"]
        return []

    async def _live(self) -> str:
        """Run one process until its saga rests or it dies; return how the saga rests, or ""."""
        self._died = died = asyncio.get_running_loop().create_future()
        self.memory.epoch += 1
        end = ""
        client: asyncio.Future[str] | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                store, runner = LabStore(self), LabRunner(self)
                coordinator = Coordinator(store, runner, self.clock, tasks, active_max=8)
                client = asyncio.ensure_future(self._ask(coordinator))
                await asyncio.wait(
                    (client, died), timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED
                )
                if not died.done():
                    end = client.result() if client.done() else "STUCK"
                coordinator.close()
        except ExceptionGroup as bugs:
            self.ledger.broken.append(f"the engine broke: {bugs.exceptions[0]}")
            end = "BROKEN"
        finally:
            if client is not None:
                client.cancel()  # its connection is gone
                await asyncio.gather(client, return_exceptions=True)
        return end

    async def _ask(self, coordinator: Coordinator) -> str:
        """Return how the saga rests; like any client, ask again as long as the store fails."""
        while True:
            try:
                await self._begin(coordinator)
                saga = await coordinator.wait_for_rest(SAGA_ID)
            except StoreUnavailableError:
                await self.clock.sleep(1.0)
            else:
                return saga.state.phase.name

    async def _begin(self, coordinator: Coordinator) -> None:
        """Take the saga up; submit it if the one who did so before was never told."""
        if SAGA_ID in self.memory.sagas:
            await coordinator.take_up(SAGA_ID)
            return
        prepared = self.prepared
        event = e.Submitted(
            at=self.clock.now(),
            plan=prepared.plan,
            tools=prepared.declared,
            run_key=self.clock.token(),
        )
        await coordinator.submit(SAGA_ID, prepared.program, event)

    async def pass_point(self, what: str) -> str:
        """Return which fault happens at the next point, or ""; a dead process never returns."""
        if self._died.done():
            await never()
        self.points.append(what)
        fault = self._faults.pop(len(self.points), "")
        if fault == "die_before":
            await self.die()
        return fault

    async def die(self) -> NoReturn:
        """End the process; nothing of it goes on."""
        if not self._died.done():  # another branch was to die of the same
            self._died.set_result(None)
        await never()

    def is_written_down(self, req_id: str) -> bool:
        """Return whether an intent of this id is in the durable journal (W1)."""
        saga = self.memory.sagas.get(SAGA_ID)
        wanted = req_id.encode()
        return saga is not None and any(wanted in body for _position, body in saga.entries)


async def never() -> NoReturn:
    """Wait until cancelled."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError("what never comes came")


class LabStore(MemoryStore):
    """The memory store, with points before and after what it does."""

    def __init__(self, lab: Lab) -> None:
        super().__init__("memory://", lab.memory, epoch=lab.memory.epoch)
        self._lab = lab

    async def append(self, append: Append) -> None:
        """See ``Store.append``."""
        fault = await self._lab.pass_point(APPEND)
        if fault != "lost":
            await super().append(append)
        await self._after(fault)

    async def load(self, saga_id: str) -> tuple[Record, ...] | None:
        """See ``Store.load``."""
        fault = await self._lab.pass_point(LOAD)
        found = await super().load(saga_id)
        await self._after(fault)
        return found

    async def _after(self, fault: str) -> None:
        if fault == "die_after":
            await self._lab.die()
        if fault:
            raise StoreUnavailableError("nobody knows", reason="a trap")


class LabRunner:
    """The ``ToolRunner`` port over the ledger: each call takes its time, there and back."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    @property
    def catalogue(self) -> Mapping[str, ToolFacts]:
        """See ``ToolRunner``."""
        return self._lab.prepared.catalogue

    async def call(self, request: CallTool, *, saga_id: str, step_id: int | str) -> CallOutcome:
        """See ``ToolRunner``."""
        lab = self._lab
        lab.ledger.note_send(request)
        if not lab.is_written_down(request.req_id):
            lab.ledger.broken.append(f"W1: step {request.step} was called before its intent")
        fault = await lab.pass_point(CALL)
        if fault == "lost":
            lab.on_the_way.append(request)
            return await self._timed_out(request)
        try:
            # Not all branches alike, so that the orders in which they end differ.
            await lab.clock.sleep(LATENCY_S + request.step / 100)
        except asyncio.CancelledError:
            lab.on_the_way.append(request)
            raise
        outcome = lab.ledger.arrive(request)
        if fault == "die_after":
            await lab.die()
        if fault == "done":
            return await self._timed_out(request)
        await lab.clock.sleep(LATENCY_S)
        return outcome

    async def _timed_out(self, request: CallTool) -> CallOutcome:
        await self._lab.clock.sleep(request.timeout_s)
        return CallOutcome(OutcomeKind.UNKNOWN, error="no answer in time")


async def run_case(prepared: Prepared, traps: Sequence[Trap] = ()) -> Run:
    """Return what comes of a case with these traps, in the loop that runs."""
    return await Lab(prepared, traps).run()
