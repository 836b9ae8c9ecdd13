"""``fsm-saga serve`` as its operators meet it: real processes on one file, killed and told to stop.

The tools write each effect to a file of its own. A tool that is told to wait does so until a file
called ``gate`` is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 90.0
POLL_S = 0.02
# Handing over takes less than 0.1 s on a quiet machine; this one may be at its limit.
HAND_OVER_S = 10.0

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

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = f"sqlite:///{folder / 'sagas.db'}"
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


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    for process in site.started:
        if process.poll() is None:
            process.kill()
        process.wait(TIMEOUT_S)
        for pipe in (process.stdout, process.stderr):
            with contextlib.suppress(ValueError, OSError):
                if pipe is not None:
                    pipe.close()


def test_who_stands_by_goes_on_when_the_leader_is_killed(site: Site) -> None:
    first = site.serve("--name", "first")
    first.wait_for("leads")
    second = site.serve("--name", "second")
    second.wait_for("stands-by")
    running = site.start("run", site.plan("a", "slow"), "--json")
    wait_until(lambda: site.reached(first))
    first.process.kill()
    second.wait_for("leads")
    wait_until(lambda: site.reached(second))
    (site.folder / "gate").touch()
    out, err = running.communicate(timeout=TIMEOUT_S)

    assert running.returncode == 0, err
    assert json.loads(out)["state"] == "DONE"
    assert site.effects() == ["do a", "do slow"]


def test_a_leader_that_is_told_to_stop_hands_over_at_once(site: Site) -> None:
    first = site.serve("--name", "first")
    first.wait_for("leads")
    second = site.serve("--name", "second")
    second.wait_for("stands-by")
    running = site.start("run", site.plan("a", "slow"), "--json")
    wait_until(lambda: site.reached(first))
    told_at = time.monotonic()
    first.process.send_signal(signal.SIGTERM)
    took_s = second.wait_for("leads") - told_at
    (site.folder / "gate").touch()
    out, _err = running.communicate(timeout=TIMEOUT_S)

    assert took_s < HAND_OVER_S
    assert first.process.wait(TIMEOUT_S) == 0
    assert json.loads(out)["state"] == "DONE"
    assert site.effects() == ["do a", "do slow"]


def test_others_submit_undo_and_decide_through_the_leader(site: Site) -> None:
    site.serve().wait_for("leads")
    done = site.type("run", site.plan("a", "b"), "--json")
    failed = site.type("run", site.plan("a", "nothing", name="lost"))
    refused = site.type("run", site.plan("a", name="odd", tool="tkae"), "--json")
    undone = site.type("undo", "trip", "--json")
    twice = site.type("undo", "lost", "--json")

    codes = [each[0] for each in (done, failed, refused, undone, twice)]
    assert codes == [0, 1, 2, 0, 2], (done, failed, refused, undone, twice)
    assert json.loads(refused[1])["problems"][0]["code"] == "unknown-tool"
    assert json.loads(undone[1])["saga_id"] == "trip.undo"
    assert "step 2 was refused" in failed[1] or "there is nothing to take" in failed[1]
    assert site.effects() == ["do a", "do a", "do b", "undo a", "undo a", "undo b"]


def test_a_running_saga_is_cancelled_through_the_leader(site: Site) -> None:
    serving = site.serve()
    serving.wait_for("leads")
    running = site.start("run", site.plan("a", "slow"))
    wait_until(lambda: site.reached(serving))
    code, out, err = site.type("cancel", "trip", "--by", "Ann", "--json")
    (site.folder / "gate").touch()
    running.communicate(timeout=TIMEOUT_S)

    assert code == 0, err
    assert json.loads(out)["decision"] == "carried out"
    assert running.returncode == 1
    assert site.effects() == ["do a", "do slow", "undo a", "undo slow"]


def test_it_says_over_http_whether_it_is_ready_and_what_it_has_done(site: Site) -> None:
    serving = site.serve("--listen", "0")
    serving.wait_for("leads")
    site.type("run", site.plan("a"))

    assert serving.url.startswith("http://127.0.0.1:")
    assert get(f"{serving.url}/healthz")[0] == 200
    wait_until(lambda: get(f"{serving.url}/readyz")[0] == 200)
    figures = get(f"{serving.url}/metrics")[1]
    assert 'fsm_saga_sagas_ended_total{outcome="committed",state="DONE"} 1.0' in figures
    assert 'fsm_saga_calls_total{direction="do",result="ok",tool="take"} 1.0' in figures
    assert "fsm_saga_shards_led 1.0" in figures


def test_the_state_of_the_cluster_is_told(site: Site) -> None:
    serving = site.serve()
    serving.wait_for("leads")
    code, out, _err = site.type("cluster", "--json")
    healthy = json.loads(out)
    running = site.start("run", site.plan("slow"))
    wait_until(lambda: site.reached(serving))
    serving.process.kill()
    serving.process.wait(TIMEOUT_S)
    unserved = site.type("cluster")
    running.kill()

    assert (code, healthy["healthy"]) == (0, True)
    assert healthy["members"][0]["leads"] == [0]
    assert unserved[0] == 1
    assert "Nobody serves this store: 1 unfinished saga waits" in unserved[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--store", "sqlite:///tools.py"), "not a SQLite database"),
        (("--store", "sqlite:///missing/sagas.db"), "there is no directory"),
        (("--store", "sqlite:///sagas.db", "--shards", "4"), "one shard"),
        (("--store", "nothing://x"), "no backend 'nothing'"),
        (("--listen", "nowhere"), "cannot be listened on"),
        (("--certificates", "missing"), "missing"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_starts(
    site: Site, words: tuple[str, ...], said: str
) -> None:
    code, out, err = site.type("serve", "--tools", "tools.py", *words)

    assert (code, out) == (2, ""), err
    assert said in err
    assert "Traceback" not in err
    assert not (site.folder / "sagas.db").exists()


def test_without_tools_nothing_is_started(site: Site) -> None:
    code, _out, err = site.type("serve")

    assert code == 2
    assert "--tools" in err
