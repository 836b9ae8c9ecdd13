"""Kills processes that run sagas, lets others finish, and judges by what the tools saw."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from fsm_saga.core.records import ActionStarted, UndoStarted
from fsm_saga.stores.opening import open_store
from tests.support.kill_target import NEEDS, sagas_of, store_of
from tests.support.tool_ledger import Effect, ToolLedger

ROOT = Path(__file__).resolve().parents[2]


class Killing:
    """A server of processes, each of which runs one plan's sagas in one directory."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.support.kill_server"]
        self._server = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        try:
            self._server.wait(10)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        assert self._server.stdout is not None
        self._server.stdout.close()

    def start(self, directory: Path, plan: str, failpoint: str = "") -> int:
        """Start a process and return its pid."""
        return self._ask(directory=str(directory), plan=plan, failpoint=failpoint)

    def wait(self, pid: int) -> int:
        """Return how a process ended: 0, its own failure, or minus the signal."""
        return self._ask(wait=pid)

    def run(self, directory: Path, plan: str, failpoint: str = "") -> int:
        """Run a process to its end, which may be that of a failpoint."""
        return self.wait(self.start(directory, plan, failpoint))

    def kill_after(self, directory: Path, plan: str, delay_s: float) -> int:
        """Start a process, kill it after a while, and return how it ended."""
        pid = self.start(directory, plan)
        time.sleep(delay_s)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return self.wait(pid)

    def _ask(self, **order: object) -> int:
        stdin, stdout = self._server.stdin, self._server.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(order) + "\n")
        stdin.flush()
        answer = stdout.readline()
        assert answer, "the server has ended"
        return int(json.loads(answer))


def judge(directory: Path, plan: str) -> list[str]:
    """Hold every saga of the plan against the ledger; return how they ended.

    Raises:
        AssertionError: If what the engine says is not what the tools did.
    """
    ledger = ToolLedger(directory / "tools.db")
    ends, intents = asyncio.run(_ends(directory, plan))
    # INV-1: nothing arrived at a tool that was not written down before.
    assert ledger.req_ids() <= intents
    for saga_id, end in ends.items():
        judge_saga(saga_id, end, ledger.effects(saga_id))
    return list(ends.values())


async def _ends(directory: Path, plan: str) -> tuple[dict[str, str], set[str]]:
    ends: dict[str, str] = {}
    intents: set[str] = set()
    async with open_store(store_of(directory), mode="read") as store:
        for each in sagas_of(plan):
            head = await store.head(each.task_id)
            journal = await store.load(each.task_id)
            assert head is not None
            assert journal is not None
            ends[each.task_id] = f"{head.state} {head.outcome}"
            intents |= {
                record.req_id
                for record in journal
                if isinstance(record, ActionStarted | UndoStarted)
            }
    return ends, intents


def judge_saga(saga_id: str, end: str, effects: list[Effect]) -> None:
    """Hold one saga's end against what the tools did for it."""
    needs = NEEDS[saga_id.partition("-")[0]]
    did = [effect.step for effect in effects if effect.what == "did"]
    undid = [effect.step for effect in effects if effect.what == "undid"]
    assert len(set(did)) == len(did), f"done twice: {effects}"
    assert len(set(undid)) == len(undid), f"undone twice: {effects}"
    for at, step in enumerate(did):
        assert needs.get(step, set()) <= set(did[:at]), f"{step} was too early: {effects}"
    if end == "DONE committed":
        assert set(did) == {"1", *needs}, f"not all was done: {effects}"
        assert not undid, f"done and undone: {effects}"
        return
    assert end == "FAILED compensated", f"{saga_id} ended {end}"
    assert set(did) == set(undid), f"not all was undone: {effects}"
    for effect in effects:
        if effect.what == "undid":
            (original,) = (each for each in effects if each.req_id == effect.undoes)
            assert original.step == effect.step
    for at, step in enumerate(undid):
        later = {other for other in did if step in needs.get(other, set())}
        assert later <= set(undid[:at]), f"{step} was undone before {later}: {effects}"
