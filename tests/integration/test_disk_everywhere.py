"""The disk fails at every single read, write and sync of a whole run, once and from then on.

What fails once costs a moment at most. What goes on failing stops the engine with a word that says
why; no call is made whose intent is not durable; and when the disk is well again the next engine
comes to the end that it would have come to. ``python -m tests.evidence.counted disk`` says how many
faults that were.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fsm_saga.coordinator import driver
from fsm_saga.core.records import ActionStarted, UndoStarted
from fsm_saga.errors import FsmSagaError
from fsm_saga.service.engine import Engine
from fsm_saga.stores.opening import open_store
from fsm_saga.tools.context import CallContext
from fsm_saga.tools.python import Tool, tool
from tests.support.counting import Count
from tests.support.faulty_disk import BAD_READ, BAD_SYNC, BAD_WRITE, FULL, Fault, FaultyDisk
from tests.support.kill_grid import open_fast_directory
from tests.support.plans import plan_of

SAGA_ID = "trip"
PLAN = plan_of(
    SAGA_ID,
    """
    1 book / cancel id=$output.step_1.id
    2 book / cancel id=$output.step_2.id
    3 refuse / cancel id=x
    """,
)
FAULTS_MIN = {FULL: 40, BAD_WRITE: 40, BAD_SYNC: 12, BAD_READ: 20}


class World:
    """What the tools did, and which calls came."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.undid: list[str] = []
        self.arrived: set[str] = set()


world = World()


@tool
def book(ctx: CallContext) -> dict[str, str]:
    world.arrived.add(ctx.req_id)
    if ctx.req_id not in world.did:
        world.did.append(ctx.req_id)
    return {"id": ctx.req_id}


@tool
def refuse(ctx: CallContext) -> None:
    world.arrived.add(ctx.req_id)
    raise ValueError("nothing left")


@tool
def cancel(id: str, ctx: CallContext) -> None:
    world.arrived.add(ctx.req_id)
    if id not in world.undid:
        world.undid.append(id)


TOOLS: list[Tool[..., Any]] = [book, refuse, cancel]


@pytest.fixture
def base() -> Iterator[Path]:
    with open_fast_directory() as directory:
        yield directory


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    made = FaultyDisk()
    yield made
    made.unregister()


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(driver, "APPEND_PATIENCE_S", (0.0, 0.001, 0.001))
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


async def run(url: str) -> str:
    async with Engine.open(url, tools=TOOLS) as engine:
        view = await engine.run(PLAN)
    return f"{view.state} {view.outcome}"


async def intents(url: str) -> set[str]:
    """Return the ids of all calls that were written down before they were made."""
    async with open_store(url) as store:
        journal = await store.load(SAGA_ID) or ()
    return {r.req_id for r in journal if isinstance(r, ActionStarted | UndoStarted)}


async def meet(url: str, disk: FaultyDisk, fault: Fault, nth: int, *, is_for_ever: bool) -> str:
    """Meet one fault, get well, come to the end; return how the fault was met, "" if never."""
    world.__init__()  # type: ignore[misc]
    disk.arm(fault, nth, is_for_ever=is_for_ever)
    said = fault.words
    try:
        met = await run(url)
    except FsmSagaError as error:
        met, said = type(error).__name__, str(error)
    assert fault.words in said
    happened = disk.happened
    disk.heal()
    assert world.arrived <= await intents(url), "a call was made that was not written down"
    assert await run(url) == "FAILED compensated"
    assert len(world.did) == 2
    assert world.undid == world.did[::-1]
    return met if happened else ""


@pytest.mark.parametrize("is_for_ever", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("fault", FAULTS_MIN, ids=lambda fault: fault.words)
def test_a_disk_that_fails_anywhere_loses_nothing_and_does_nothing_twice(
    fault: Fault, is_for_ever: bool, base: Path, disk: FaultyDisk, record_property: Count
) -> None:
    met: Counter[str] = Counter()
    for nth in itertools.count(1):
        url = f"sqlite:///{base}/{nth}.db"
        how = asyncio.run(meet(url, disk, fault, nth, is_for_ever=is_for_ever))
        if not how:
            break
        met[how] += 1
        for file in base.iterdir():
            file.unlink()
    record_property("disk faults", met.total())
    record_property(f"disk faults: {fault.words}", met.total())
    record_property("disk faults that cost a moment", met["FAILED compensated"])
    record_property("disk faults that stopped the engine", met["StoreUnavailableError"])
    others = met.total() - met["FAILED compensated"] - met["StoreUnavailableError"]
    record_property("disk faults refused when the store was opened", others)
    assert met.total() >= FAULTS_MIN[fault]
    assert met["FAILED compensated"], "some faults cost nothing but a moment"
    if is_for_ever:
        assert met["StoreUnavailableError"] > met.total() / 3
