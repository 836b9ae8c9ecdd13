"""The process that is killed: sagas in a store, with tools that write a ledger of their own.

    python -m tests.support.kill_target DIRECTORY PLAN

It opens the store of the directory (see ``store_of``), submits the plan's sagas if the store has
not got them, and ends when all of them rest. It may be killed at any instant and is then simply
started again.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from fsm_saga.plan.model import Plan
from fsm_saga.service.engine import Engine
from fsm_saga.tools.context import CallContext
from fsm_saga.tools.python import Tool, tool
from tests.support.plans import plan_of
from tests.support.tool_ledger import ToolLedger

PLANS = {
    # Three in a row, the third of which is refused.
    "chain": """
        1 book x=1 / cancel id=$output.step_1.id
        2 book x=$output.step_1.id / cancel id=$output.step_2.id
        3 refuse x=$output.step_2.id / cancel id=$output.step_3.id
        """,
    # Two branches side by side, one of them longer, which meet in a step that is refused.
    "diamond": """
        1 book x=1 / cancel id=$output.step_1.id ; after=-
        2 book_slowly x=$output.step_1.id / cancel_slowly id=$output.step_2.id ; after=1
        3 book x=$output.step_1.id / cancel id=$output.step_3.id ; after=1
        4 book_slowly x=$output.step_3.id / cancel id=$output.step_4.id ; after=3
        5 refuse x=1 / cancel id=$output.step_5.id ; after=2,4
        """,
    # The same branches, and all goes well.
    "done": """
        1 book x=1 / cancel id=$output.step_1.id ; after=-
        2 book_slowly x=$output.step_1.id / cancel_slowly id=$output.step_2.id ; after=1
        3 book x=$output.step_1.id / cancel id=$output.step_3.id ; after=1
        4 book x=$output.step_3.id / cancel id=$output.step_4.id ; after=2,3
        """,
}
NEEDS = {
    "chain": {"2": {"1"}, "3": {"2"}},
    "diamond": {"2": {"1"}, "3": {"1"}, "4": {"3"}, "5": {"2", "4"}},
    "done": {"2": {"1"}, "3": {"1"}, "4": {"2", "3"}},
}
FLEET = 6

_ledger = ToolLedger("")


def sagas_of(name: str) -> list[Plan]:
    """Return the plans of a name; a fleet has one saga of each kind, several times."""
    if name != "fleet":
        return [plan_of(name, PLANS[name])]
    kinds = list(PLANS)
    return [
        plan_of(f"{kinds[at % len(kinds)]}-{at}", PLANS[kinds[at % len(kinds)]])
        for at in range(FLEET)
    ]


def store_of(directory: Path) -> str:
    """Return the URL of a directory's store: what ``store.url`` says there, else a SQLite file."""
    told = directory / "store.url"
    return told.read_text() if told.exists() else f"sqlite:///{directory}/sagas.db"


def _act(name: str, context: CallContext, refusal: str | None = None, **params: object) -> str:
    answer = _ledger.act(
        name,
        context.req_id,
        dict(params),
        saga=context.saga_id,
        step=str(context.step_id),
        undoes=context.undoes,
        refusal=refusal,
    )
    return str(answer["id"])


@tool
def book(x: int | str, ctx: CallContext) -> dict[str, str]:
    return {"id": _act("book", ctx, x=x)}


@tool
async def book_slowly(x: int | str, ctx: CallContext) -> dict[str, str]:
    await asyncio.sleep(0.004)
    found = _act("book_slowly", ctx, x=x)
    await asyncio.sleep(0.004)
    return {"id": found}


@tool
def refuse(x: int | str, ctx: CallContext) -> dict[str, str]:
    return {"id": _act("refuse", ctx, refusal="nothing left", x=x)}


@tool
def cancel(id: str, ctx: CallContext) -> None:
    _act("cancel", ctx, id=id)


@tool
def cancel_slowly(id: str, ctx: CallContext) -> None:
    time.sleep(0.004)
    _act("cancel_slowly", ctx, id=id)
    time.sleep(0.004)


TOOLS: list[Tool[..., Any]] = [book, book_slowly, refuse, cancel, cancel_slowly]


def run(directory: str, name: str) -> None:
    """Run a name's sagas in the directory until all rest."""
    _ledger.path = str(Path(directory, "tools.db"))
    asyncio.run(_run(directory, name))


async def _run(directory: str, name: str) -> None:
    plans = sagas_of(name)
    url = store_of(Path(directory))
    async with Engine.open(url, tools=TOOLS) as engine, asyncio.TaskGroup() as tasks:
        for plan in plans:
            tasks.create_task(engine.run(plan))


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2])
