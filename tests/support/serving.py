"""Processes that serve, and what others type beside them: a folder, its tools, its store.

The tools write each effect to a file of its own. A tool that is told to wait does so until a file
called ``gate`` is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 90.0
POLL_S = 0.02
TOOLS = """
import asyncio
import os
from pathlib import Path

from fsm_saga import CallContext, tool

PLACE = Path(os.environ["PLACE"])


@tool(undo="give_back", dedupe=True, sticky_failures=True)
async def take(what: str, ctx: CallContext) -> dict:
    if what == "nothing":
        raise ValueError("there is nothing to take")
    if what == "slow":
        (PLACE / f"reached-{os.getpid()}").touch()
        while not (PLACE / "gate").exists():
            await asyncio.sleep(0.01)
    path = PLACE / f"{ctx.req_id}.effect"
    if not path.exists():
        path.write_text(f"{ctx.direction} {what}")
    return {"id": what}


@tool(dedupe=True, sticky_failures=True)
async def give_back(id: str, ctx: CallContext) -> None:
    (PLACE / f"{ctx.req_id}.effect").write_text(f"{ctx.direction} {id}")
"""


class Serving:
    """A process that serves, and what it has logged so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self.seen_at: list[float] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.seen_at.append(time.monotonic())
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.lines.append({"event": "", "message": line})

    def wait_for(self, event: str) -> float:
        """Return when it logged the event, in monotonic time."""
        found: list[float] = []

        def is_there() -> bool:
            events = [line.get("event") for line in self.lines]
            found.extend(self.seen_at[i] for i, each in enumerate(events) if each == event)
            return bool(found)

        wait_until(is_there, lambda: f"{event}: {self.lines}, {self.process.poll()}")
        return found[0]

    @property
    def url(self) -> str:
        (said,) = [line["message"] for line in self.lines if line.get("event") == "started"]
        return str(said.rpartition("figures on ")[2].removesuffix("/metrics"))


class Site:
    """A folder with tools, plans and a store, and the processes that are started in it."""

    def __init__(self, folder: Path, store: str = "") -> None:
        self.folder = folder
        self.store = store or f"sqlite:///{folder / 'sagas.db'}"
        self.env = os.environ | {
            "PLACE": str(folder),
            "FSM_SAGA_STORE": self.store,
            "PYTHONPATH": str(ROOT),
            "PYTHONUTF8": "1",
        }
        (folder / "tools.py").write_text(TOOLS, encoding="utf-8")
        self.started: list[subprocess.Popen[str]] = []

    def plan(self, *things: str, name: str = "trip", tool: str = "take") -> str:
        steps = []
        for number, thing in enumerate(things, start=1):
            undo = {"tool": "give_back", "params": {"id": f"$output.step_{number}.id"}}
            steps.append(
                {"step_id": number, "tool": tool, "params": {"what": thing}, "rollback": undo}
            )
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps({"task_id": name, "steps": steps}))
        return str(path)

    def serve(self, *words: str) -> Serving:
        return Serving(self.start("serve", "--tools", "tools.py", "--log-json", *words))

    def start(self, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "fsm_saga", *words],
            cwd=self.folder,
            env=self.env,
            encoding="utf-8",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.started.append(process)
        return process

    def type(self, *words: str) -> tuple[int, str, str]:
        process = self.start(*words)
        out, err = process.communicate(timeout=TIMEOUT_S)
        return process.returncode, out, err

    def reached(self, serving: Serving) -> bool:
        return (self.folder / f"reached-{serving.process.pid}").exists()

    def effects(self) -> list[str]:
        return sorted(path.read_text() for path in self.folder.glob("*.effect"))


def wait_until(is_true: Callable[[], bool], about: Callable[[], str] = str) -> None:
    give_up_at = time.monotonic() + TIMEOUT_S
    while not is_true():
        assert time.monotonic() < give_up_at, f"it did not happen in time: {about()}"
        time.sleep(POLL_S)


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310  # our own
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@contextmanager
def open_site(folder: Path, store: str = "") -> Iterator[Site]:
    """Give a site whose processes end with the block."""
    site = Site(folder, store)
    try:
        yield site
    finally:
        for process in site.started:
            if process.poll() is None:
                process.kill()
            process.wait(TIMEOUT_S)
            for pipe in (process.stdout, process.stderr):
                with contextlib.suppress(ValueError, OSError):
                    if pipe is not None:
                        pipe.close()
