"""Many sagas at once: one that is stuck is nobody else's business (V2)."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fsm_saga.plan.model import Plan
from fsm_saga.service.engine import Engine
from fsm_saga.tools.context import CallContext
from fsm_saga.tools.python import Tool, tool

SAGAS = 200
PATIENCE_S = 60.0

released = threading.Event()
done: Counter[tuple[str, str]] = Counter()


@tool
async def book(ctx: CallContext) -> dict[str, str]:
    done[ctx.saga_id, str(ctx.step_id)] += 1
    await asyncio.sleep(0)
    return {"id": ctx.req_id}


@tool
def book_in_thread(ctx: CallContext) -> dict[str, str]:
    done[ctx.saga_id, str(ctx.step_id)] += 1
    return {"id": ctx.req_id}


@tool
def stuck(ctx: CallContext) -> None:
    released.wait(PATIENCE_S)


@tool
async def cancel(id: str) -> None: ...


TOOLS: list[Tool[..., Any]] = [book, book_in_thread, stuck, cancel]


@pytest.fixture(autouse=True)
def world() -> Iterator[None]:
    released.clear()
    done.clear()
    yield
    released.set()


def plan_of_tools(task_id: str, *names: str) -> Plan:
    return Plan.of(
        {
            "task_id": task_id,
            "steps": [
                {
                    "step_id": number,
                    "tool": name,
                    "timeout_s": PATIENCE_S,
                    "rollback": {"tool": "cancel", "params": {"id": f"$output.step_{number}.id"}},
                }
                for number, name in enumerate(names, 1)
            ],
        }
    )


async def test_two_hundred_sagas_finish_while_one_hangs_in_its_tool(tmp_path: Path) -> None:
    async with Engine.open(f"sqlite:///{tmp_path}/sagas.db", tools=TOOLS) as engine:
        await engine.submit(plan_of_tools("stuck", "book", "stuck"))
        plan = plan_of_tools("-", "book", "book_in_thread", "book")
        started = time.monotonic()
        views = await asyncio.wait_for(
            asyncio.gather(*(engine.run(plan, task_id=f"saga-{n}") for n in range(SAGAS))),
            PATIENCE_S / 2,
        )
        assert time.monotonic() - started < PATIENCE_S / 2
        assert {view.state for view in views} == {"DONE"}
        hanging = await engine.get("stuck")
        assert (hanging.state, hanging.step(2).status) == ("EXECUTING(2)", "RUNNING")
        unfinished = [head.saga_id for head in await engine.list(only_unfinished=True)]
        assert unfinished == ["stuck"]
        released.set()
        # What it returns in the end is nothing that its undo could use.
        assert (await engine.wait("stuck")).state == "NEEDS_HUMAN"
    assert set(done.values()) == {1}
    assert len(done) == 3 * SAGAS + 1


async def test_a_hundred_identical_submits_at_once_are_one_saga(tmp_path: Path) -> None:
    async with Engine.open(f"sqlite:///{tmp_path}/sagas.db", tools=TOOLS) as engine:
        plan = plan_of_tools("one", "book", "book_in_thread")
        views = await asyncio.gather(*(engine.run(plan) for _ in range(100)))
        assert {(view.saga_id, view.state) for view in views} == {("one", "DONE")}
        assert len(await engine.list()) == 1
    assert set(done.values()) == {1}


async def test_sagas_that_were_left_in_the_middle_are_all_resumed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sagas.db"
    plan = plan_of_tools("-", "stuck", "book")
    names = [f"saga-{number}" for number in range(20)]
    async with Engine.open(url, tools=TOOLS) as engine:
        for name in names:
            await engine.submit(plan, task_id=name)
    released.set()
    async with Engine.open(url, tools=TOOLS) as engine:
        await asyncio.gather(*(engine.wait(name) for name in names))
        states = Counter(head.state for head in await engine.list())
    # `stuck` returns nothing that its undo could use, so all of them ask a person.
    assert states == {"NEEDS_HUMAN": 20}
