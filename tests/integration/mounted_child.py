"""Runs sagas on a file system of its own, small and then read-only: started by a test.

    unshare --mount python -m tests.integration.mounted_child DIRECTORY

The mount is in a namespace of this process, so that it goes with it. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

from fsm_saga.coordinator import driver
from fsm_saga.core.records import ActionStarted, UndoStarted
from fsm_saga.errors import FsmSagaError
from fsm_saga.service.engine import Engine
from fsm_saga.stores.opening import open_store
from fsm_saga.tools.context import CallContext
from fsm_saga.tools.python import Tool, tool
from tests.support.plans import plan_of

STEPS = 12
OUTPUT_BYTES = 60_000
SMALL, LARGE = "600k", "8m"

arrived: dict[str, int] = {}
did: set[str] = set()


@tool
def write_much(ctx: CallContext) -> dict[str, str]:
    arrived[ctx.req_id] = arrived.get(ctx.req_id, 0) + 1
    did.add(ctx.req_id)
    return {"text": "x" * OUTPUT_BYTES}


@tool
def take_back(ctx: CallContext) -> None:
    arrived[ctx.req_id] = arrived.get(ctx.req_id, 0) + 1


TOOLS: list[Tool[..., Any]] = [write_much, take_back]
PLAN = plan_of("much", "\n".join(f"{n} write_much / take_back" for n in range(1, STEPS + 1)))


def mount(*options: str) -> None:
    subprocess.run(["mount", *options], check=True)


async def run(url: str) -> str:
    """Return how the saga ended, or what stopped the engine."""
    try:
        async with Engine.open(url, tools=TOOLS) as engine:
            return (await engine.run(PLAN)).state
    except FsmSagaError as error:
        return f"{type(error).__name__}: {error}"


async def intents(url: str) -> set[str]:
    async with open_store(url, mode="read") as store:
        journal = await store.load("much") or ()
    return {record.req_id for record in journal if isinstance(record, ActionStarted | UndoStarted)}


def facts(directory: str) -> dict[str, Any]:
    """Return what happened on the full disk, on the larger one, and on the read-only one."""
    url = f"sqlite:///{directory}/sagas.db"
    mount("-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", directory)
    full = asyncio.run(run(url))
    calls = len(arrived)
    unknown = arrived.keys() - asyncio.run(intents(url))
    again = asyncio.run(run(url))
    mount("-o", f"remount,size={LARGE}", directory)
    end = asyncio.run(run(url))
    mount("-o", "remount,ro", directory)
    before = {file.name: file.read_bytes() for file in Path(directory).iterdir()}
    refused = asyncio.run(run(url))
    read = len(asyncio.run(intents(url)))
    after = {file.name: file.read_bytes() for file in Path(directory).iterdir()}
    return {
        "full": full,
        "again": again,
        "calls_until_full": calls,
        "not_written_down": len(unknown),
        "end": end,
        "did": len(did),
        "arrived_often": max(arrived.values()),
        "read_only": refused,
        "read": read,
        "is_unchanged": before == after,
    }


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    driver.APPEND_PATIENCE_S = (0.01, 0.01, 0.01, 0.01, 0.01)
    sys.stdout.write(json.dumps(facts(sys.argv[1])) + "\n")
