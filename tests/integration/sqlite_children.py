"""Processes that the SQLite tests start, one role each: ``python -m ...sqlite_children ROLE PATH``.

What a child has to say goes to its standard output, a line at a time and at once.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys

from fsm_saga.core.records import AttemptStarted
from fsm_saga.core.states import Direction
from fsm_saga.errors import StoreError, StoreUnavailableError
from fsm_saga.ports import Append, Head, Store
from fsm_saga.stores.opening import open_store

SAGAS = 16
NOBODY = 65_534


def say(text: str) -> None:
    """Write a line that is out before this returns."""
    os.write(1, f"{text}\n".encode())


def numbered_append(saga_id: str, position: int, *, count: int, padding: int = 0) -> Append:
    """Return records that tell their own position, so that a gap or a double shows."""
    records = tuple(
        AttemptStarted(at=0.0, step=position + index, direction=Direction.DO, attempt=1)
        for index in range(count)
    )
    head = Head(
        saga_id=saga_id,
        state="EXECUTING(1)",
        outcome=None,
        position=position + count,
        created_at=0.0,
        updated_at=0.0,
        goal="x" * padding,
    )
    return Append(saga_id=saga_id, position=position, records=records, head=head)


async def append_for_ever(store: Store, saga_id: str) -> None:
    """Append to a saga and say what was acknowledged, until somebody ends this process."""
    head = await store.head(saga_id)
    position = head.position if head else 0
    while True:
        count = 1 + position % 3
        await store.append(numbered_append(saga_id, position, count=count))
        position += count
        say(f"{saga_id} {position}")


async def write(path: str) -> None:
    """Be the writer, and append to many sagas at once."""
    async with open_store(f"sqlite:///{path}") as store:
        say(f"open {os.getpid()}")
        await asyncio.gather(*(append_for_ever(store, f"saga-{n}") for n in range(SAGAS)))


async def hold(path: str) -> None:
    """Be the writer, answer commands, and stop when the standard input ends."""
    async with open_store(f"sqlite:///{path}") as store:
        await store.append(numbered_append("saga-0", 0, count=2))
        say(f"open {os.getpid()}")
        end = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        while not end.done():
            for command in await store.pending_commands():
                await store.answer_command(command.number, {"ok": True, "pid": os.getpid()})
            await asyncio.sleep(0.01)


async def fill(path: str) -> None:
    """Write until no file may grow further, then be allowed to again, and go on."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with open_store(f"sqlite:///{path}") as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, limit[1]))
        position, failures = 0, 0
        while failures < 3:
            try:
                await store.append(numbered_append("saga-0", position, count=1, padding=9_000))
            except StoreUnavailableError as error:
                failures += 1
                say(f"failed {error.facts['reason']}")
            else:
                position += 1
                say(f"saga-0 {position}")
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        position = len(await store.load("saga-0") or ())
        for _ in range(20):
            await store.append(numbered_append("saga-0", position, count=1, padding=9_000))
            position += 1
        say(f"saga-0 {position}")


async def try_as_nobody(path: str) -> None:
    """Try to write, then to read, as a user who owns nothing."""
    if os.geteuid() == 0:  # root may write everything, whatever the modes say
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    try:
        async with open_store(f"sqlite:///{path}"):
            say("written")
    except StoreError as error:
        say(f"{type(error).__name__} {error.message}")
    try:
        async with open_store(f"sqlite:///{path}", mode="read") as store:
            say(f"read {len(await store.load('saga-0') or ())}")
            say(f"read {len(await store.heads())}")
    except StoreError as error:
        say(f"{type(error).__name__} {error.message}")


ROLES = {"write": write, "hold": hold, "fill": fill, "nobody": try_as_nobody}

if __name__ == "__main__":
    asyncio.run(ROLES[sys.argv[1]](sys.argv[2]))
