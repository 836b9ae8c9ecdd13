"""Runs sagas where there is little room, then enough, then no right to write: started by a test.

    unshare --mount python -m tests.integration.mounted_child mounted DIRECTORY
    python -m tests.integration.mounted_child limited DIRECTORY

``mounted``: on a file system of its own, in a namespace of this process, so that it goes with it.
``limited``: in a directory, under the kernel's limit for the size of a file and as a user who is
not root, for whom modes count; that needs no right at all. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

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
SMALL, LARGE = 600 * 2**10, 8 * 2**20
NOBODY = 65_534

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


class Place(Protocol):
    """A directory whose room and rights can be changed."""

    def limit(self, size: int) -> None:
        """Leave room for so many bytes."""

    def close(self) -> None:
        """Take the right to write away."""


class MountedPlace:
    """A file system in memory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._is_mounted = False

    def limit(self, size: int) -> None:
        if self._is_mounted:
            self._mount("-o", f"remount,size={size}")
        else:
            self._mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs")
        self._is_mounted = True

    def close(self) -> None:
        self._mount("-o", "remount,ro")

    def _mount(self, *options: str) -> None:
        subprocess.run(["mount", *options, self._directory], check=True)


class LimitedPlace:
    """A directory in which no file may grow beyond a size."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        if os.geteuid() == 0:  # root may write everything, whatever the modes say
            os.chown(directory, NOBODY, NOBODY)
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)

    def limit(self, size: int) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))

    def close(self) -> None:
        for file in self._directory.iterdir():
            file.chmod(0o400)
        self._directory.chmod(0o500)


PLACES: dict[str, type[MountedPlace] | type[LimitedPlace]] = {
    "mounted": MountedPlace,
    "limited": LimitedPlace,
}


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


def facts(place: Place, directory: str) -> dict[str, Any]:
    """Return what happened without room, with enough of it, and without the right to write."""
    url = f"sqlite:///{directory}/sagas.db"
    place.limit(SMALL)
    full = asyncio.run(run(url))
    calls = len(arrived)
    unknown = arrived.keys() - asyncio.run(intents(url))
    again = asyncio.run(run(url))
    place.limit(LARGE)
    end = asyncio.run(run(url))
    place.close()
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
    kind, where = sys.argv[1:]
    sys.stdout.write(json.dumps(facts(PLACES[kind](where), where)) + "\n")
