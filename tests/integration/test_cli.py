"""The command line as its users meet it: real processes, real signals, a real terminal.

The tools write each effect to a file, so what happened can be counted from outside. A tool that
is told to wait does so until a file called ``gate`` is there.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 60.0
POLL_S = 0.02

TOOLS = """
import os
import resource
import subprocess
import time
from pathlib import Path

from fsm_saga import CallContext, tool

PLACE = Path(os.environ["PLACE"])


def note(what: str, ctx: CallContext) -> None:
    path = PLACE / f"{ctx.req_id}.effect"
    if not path.exists():
        path.write_text(f"{ctx.direction} {what}")


@tool(undo="give_back", dedupe=True, sticky_failures=True)
def take(what: str, ctx: CallContext) -> dict:
    if not what.startswith("thing"):
        print("take says", what)
    if what == "nothing":
        raise ValueError("there is nothing to take")
    if what == "slow":
        (PLACE / "reached").touch()
        while not (PLACE / "gate").exists():
            time.sleep(0.01)
    if what == "full" and not (PLACE / "filled").exists():
        (PLACE / "filled").touch()
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        return {"id": what}
    if what == "chatty":
        for _ in range(3):
            print("x" * 100_000, flush=True)
    if what == "loud":
        subprocess.run(["echo", "a child says so"], check=True)
    note(what, ctx)
    return {"id": what}


@tool(dedupe=True, sticky_failures=True)
def give_back(id: str, ctx: CallContext) -> None:
    if id == "glue":
        raise ValueError("it sticks")
    note(id, ctx)
"""


class Office:
    """A folder with tools, plans and a store, and the processes that are started in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = os.environ | {
            "PLACE": str(folder),
            "FSM_SAGA_STORE": f"sqlite:///{folder / 'sagas.db'}",
            "PYTHONPATH": str(ROOT),
            "PYTHONUTF8": "1",
        }
        (folder / "tools.py").write_text(TOOLS, encoding="utf-8")
        self.started: list[subprocess.Popen[str]] = []

    def plan(self, *things: str, name: str = "trip", **step_2: Any) -> str:
        """Write a plan that takes these things in order; ``step_2`` goes into its second step."""
        steps = []
        for number, thing in enumerate(things, start=1):
            undo = {
                "tool": "give_back",
                "params": {"id": f"$output.step_{number}.id"},
                "retry": {"attempts": 2, "delay_s": 0.01},
            }
            step = {"step_id": number, "tool": "take", "params": {"what": thing}, "rollback": undo}
            steps.append(step | (step_2 if number == 2 else {}))
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps({"task_id": name, "steps": steps}))
        return str(path)

    @staticmethod
    def command(*words: str, has_tools: bool = True) -> list[str]:
        tools = ["--tools", "tools.py"] if has_tools else []
        return [sys.executable, "-m", "fsm_saga", *words, *tools]

    def type(self, *words: str, has_tools: bool = True) -> subprocess.CompletedProcess[str]:
        """Return how the command ended."""
        return subprocess.run(
            self.command(*words, has_tools=has_tools),
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT_S,
            check=False,
        )

    def start(self, *words: str, has_tools: bool = True, **options: Any) -> subprocess.Popen[str]:
        """Start a command and return its process."""
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(
            self.command(*words, has_tools=has_tools),
            cwd=self.folder,
            env=self.env,
            encoding="utf-8",
            **(pipes | options),
        )
        self.started.append(process)
        return process

    def start_slow(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command whose saga then waits in the tool ``slow``."""
        process = self.start(*words, **options)
        wait_until(lambda: (self.folder / "reached").exists(), process)
        return process

    def open_gate(self) -> None:
        (self.folder / "gate").touch()

    def show(self, saga_id: str = "trip") -> Any:
        return json.loads(self.type("show", saga_id, "--json", has_tools=False).stdout)

    def effects(self) -> list[str]:
        """Return what the tools did, in words, sorted."""
        return sorted(path.read_text() for path in self.folder.glob("*.effect"))


def wait_until(is_true: Any, process: subprocess.Popen[str] | None = None) -> None:
    """Return when it is true."""
    give_up_at = time.monotonic() + TIMEOUT_S
    while not is_true():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < give_up_at, "it did not happen in time"
        time.sleep(POLL_S)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    for process in office.started:
        if process.poll() is None:
            process.kill()
        with contextlib.suppress(ValueError):
            process.communicate(timeout=TIMEOUT_S)


def test_the_four_exit_codes_of_run(office: Office) -> None:
    done = office.type("run", office.plan("a", "b", name="done"))
    failed = office.type("run", office.plan("a", "nothing", name="failed"))
    asked = office.type("run", office.plan("glue", "nothing", name="asked"))
    refused = office.type("run", office.plan("a", "b", name="refused", tool="tkae"))

    codes = [each.returncode for each in (done, failed, asked, refused)]
    assert codes == [0, 1, 3, 2]
    assert "\x1b" not in done.stdout + failed.stdout + asked.stdout
    assert refused.stdout == ""
    assert "Did you mean 'take'?" in refused.stderr
    assert office.effects() == ["do a", "do a", "do b", "do glue", "undo a"]


@pytest.mark.parametrize(
    ("redirection", "second", "code", "said"),
    [
        (">/dev/full", "nothing", 74, "No space left on device"),
        ("--json >/dev/full", "b", 74, "No space left on device"),
        (">&-", "b", 74, "standard output is closed"),
        ("--json >&-", "nothing", 74, "standard output is closed"),
        ("| head -c 1 >/dev/null", "b", 0, ""),
        ("--json 2>&- | true", "nothing", 1, ""),
        ("2>/dev/full >/dev/null", "b", 0, ""),
    ],
)
def test_a_saga_runs_to_its_end_whatever_becomes_of_its_output(
    office: Office, redirection: str, second: str, code: int, said: str
) -> None:
    words = office.command("run", office.plan("chatty", second))
    ended = subprocess.run(
        ["bash", "-c", f'set -o pipefail; "$@" {redirection}', "bash", *words],
        cwd=office.folder,
        env=office.env,
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=False,
    )

    assert ended.returncode == code, ended.stderr
    assert office.show()["state"] == ("DONE" if second == "b" else "FAILED")
    last = "do b" if second == "b" else "undo chatty"
    assert office.effects() == sorted(["do chatty", last])
    assert "Traceback" not in ended.stderr
    assert ended.stderr.count("The output was not written") == (1 if said else 0)
    assert said in ended.stderr


@pytest.mark.slow
def test_a_disk_that_fills_up_under_way_ends_with_75_and_resume_goes_on(office: Office) -> None:
    stopped = office.type("run", office.plan("a", "full", "b"), "--json")
    before = office.show()["state"]
    resumed = office.type("resume")

    assert (stopped.returncode, resumed.returncode) == (75, 0), stopped.stderr + resumed.stderr
    assert json.loads(stopped.stdout)["error"]["code"] == "store-unavailable"
    assert "fsm-saga resume" in json.loads(stopped.stdout)["error"]["message"]
    assert "Traceback" not in stopped.stderr
    assert before == "EXECUTING(2)"
    assert office.show()["state"] == "DONE"
    assert office.effects() == ["do a", "do b", "do full"]


def test_a_person_settles_what_is_stuck(office: Office) -> None:
    office.type("run", office.plan("glue", "nothing"))
    answer = ("--by", "Ann", "--note", "scraped it off", "--json")
    settled = office.type("resolve", "trip", "--step", "1", "--settled", *answer)

    assert settled.returncode == 0
    saga = json.loads(settled.stdout)
    assert (saga["state"], saga["outcome"]) == ("FAILED", "partly_compensated")


def test_a_step_is_approved_from_another_process_while_a_branch_still_runs(
    office: Office,
) -> None:
    plan = office.plan("slow", "b", approval=True, depends_on=[])
    running = office.start_slow("run", plan, "--json")
    approved = office.type("approve", "trip", "--step", "2", "--by", "Ann", has_tools=False)
    wait_until(lambda: "do b" in office.effects(), running)
    office.open_gate()
    out, err = running.communicate(timeout=TIMEOUT_S)

    assert (approved.returncode, running.returncode) == (0, 0), approved.stderr
    assert err == "take says slow\ntake says b\n"
    assert json.loads(out)["state"] == "DONE"
    assert office.effects() == ["do b", "do slow"]


def test_a_running_saga_is_cancelled_from_another_process(office: Office) -> None:
    running = office.start_slow("run", office.plan("a", "slow", "c"))
    cancelled = office.type("cancel", "trip", "--by", "Ann", "--json", has_tools=False)
    office.open_gate()
    out, _ = running.communicate(timeout=TIMEOUT_S)

    assert cancelled.returncode == 0, cancelled.stdout
    assert json.loads(cancelled.stdout)["decision"] == "carried out"
    assert running.returncode == 1
    assert "cancelled by Ann" in out
    assert "trip  FAILED  compensated" in out
    assert office.effects() == ["do a", "do slow", "undo a", "undo slow"]


def test_after_kill_9_the_saga_is_resumed_and_every_effect_is_there_once(office: Office) -> None:
    running = office.start_slow("run", office.plan("a", "slow", "c"))
    running.send_signal(signal.SIGKILL)
    running.wait(TIMEOUT_S)
    office.open_gate()
    resumed = office.type("resume", "--json")

    assert resumed.returncode == 0, resumed.stderr
    assert [head["state"] for head in json.loads(resumed.stdout)["resumed"]] == ["DONE"]
    assert office.effects() == ["do a", "do c", "do slow"]


def test_the_same_plan_after_kill_9_goes_on_with_its_saga(office: Office) -> None:
    running = office.start_slow("run", office.plan("a", "slow"))
    running.send_signal(signal.SIGKILL)
    running.wait(TIMEOUT_S)
    office.open_gate()
    again = office.type("run", office.plan("a", "slow"), "--json")

    assert again.returncode == 0
    assert json.loads(again.stdout)["state"] == "DONE"
    assert office.effects() == ["do a", "do slow"]


def test_plans_from_other_processes_go_to_the_one_that_writes(office: Office) -> None:
    plan = office.plan("a", "slow")
    first = office.start_slow("run", plan, "--json")
    second = office.start("run", plan, "--json")
    other = office.type("run", office.plan("b", name="other"), "--json")
    office.open_gate()
    outs = [json.loads(each.communicate(timeout=TIMEOUT_S)[0]) for each in (first, second)]

    assert (first.returncode, second.returncode) == (0, 0)
    assert outs[0]["position"] == outs[1]["position"]
    assert other.returncode == 0
    assert json.loads(other.stdout)["state"] == "DONE"
    assert office.effects() == ["do a", "do b", "do slow"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_stops_at_once_and_says_how_to_go_on(
    office: Office, number: int, code: int
) -> None:
    running = office.start_slow("run", office.plan("a", "slow"))
    running.send_signal(number)
    _, err = running.communicate(timeout=TIMEOUT_S)

    assert running.returncode == code
    assert "safe in the store" in err
    assert "`fsm-saga resume --tools tools.py`" in err
    assert "Traceback" not in err
    assert office.show()["state"] == "EXECUTING(2)"
    office.open_gate()
    assert office.type("resume").returncode == 0
    assert office.effects() == ["do a", "do slow"]


def test_an_interrupted_run_with_json_prints_one_document(office: Office) -> None:
    running = office.start_slow("run", office.plan("slow"), "--json")
    running.send_signal(signal.SIGTERM)
    out, _ = running.communicate(timeout=TIMEOUT_S)

    assert running.returncode == 143
    assert json.loads(out)["error"]["code"] == "interrupted"


def test_nothing_but_json_is_on_stdout_whatever_tools_and_their_children_print(
    office: Office,
) -> None:
    ended = office.type("run", office.plan("loud"), "--json")

    assert json.loads(ended.stdout)["state"] == "DONE"
    assert "take says loud" in ended.stderr
    assert "a child says so" in ended.stderr


def test_a_reader_that_leaves_does_not_stop_the_saga(office: Office) -> None:
    running = office.start_slow("run", office.plan("slow", "b", "c"))
    assert running.stdout is not None
    running.stdout.readline()
    running.stdout.close()
    office.open_gate()
    assert running.wait(TIMEOUT_S) == 0
    assert running.stderr is not None
    assert running.stderr.read() == ""
    assert office.show()["state"] == "DONE"


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="only Linux has small pipes")
def test_a_reader_that_does_not_read_does_not_hold_the_saga_up(office: Office) -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    plan = office.plan(*(f"thing-{number}" for number in range(40)))
    running = office.start("run", plan, stdout=writing)
    os.close(writing)
    wait_until(lambda: len(office.effects()) == 40, running)
    wait_until(lambda: office.show()["state"] == "DONE", running)
    assert running.poll() is None, "it still has lines to say"
    with os.fdopen(reading, encoding="utf-8") as lines:
        assert "trip  DONE  committed" in lines.read()
    assert running.wait(TIMEOUT_S) == 0


def test_watch_follows_a_saga_that_another_process_runs(office: Office) -> None:
    running = office.start_slow("run", office.plan("slow", "b"))
    watching = office.start("watch", "trip", has_tools=False)
    assert watching.stdout is not None
    assert "trip  EXECUTING(1)" in watching.stdout.readline()
    office.open_gate()
    out, err = watching.communicate(timeout=TIMEOUT_S)
    running.communicate(timeout=TIMEOUT_S)

    assert (watching.returncode, err) == (0, "")
    assert "step 2 (take) succeeded" in out
    assert "trip  DONE  committed" in out


def on_terminal(office: Office, *words: str) -> tuple[int, str]:
    """Return the exit code of a command on a terminal, and everything that was written there."""
    outer, inner = pty.openpty()
    process = office.start(*words, stdin=inner, stdout=inner, stderr=inner)
    os.close(inner)
    written = b""
    with contextlib.suppress(OSError):  # the terminal is gone when its last process is
        while chunk := os.read(outer, 4096):
            written += chunk
    os.close(outer)
    return process.wait(TIMEOUT_S), written.decode()


def test_a_terminal_gets_a_live_picture_and_then_the_whole_saga(office: Office) -> None:
    office.open_gate()
    office.env |= {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    code, written = on_terminal(office, "run", office.plan("slow", "b"))

    assert code == 0
    assert "\x1b[?25l" in written, "the cursor is hidden while the picture lives"
    assert written.rindex("\x1b[?25h") < written.rindex("output"), "and shown again afterwards"
    assert "✓ SUCCEEDED" in written
    assert "submitted: plan of" not in written, "a picture, not lines"


def test_a_dumb_terminal_gets_lines(office: Office) -> None:
    office.env |= {"TERM": "dumb"}
    code, written = on_terminal(office, "run", office.plan("a"))

    assert code == 0
    assert "\x1b" not in written
    assert "submitted: plan of 1 step" in written


def test_json_on_a_terminal_is_one_document_without_colours(office: Office) -> None:
    office.env |= {"TERM": "xterm-256color"}
    code, written = on_terminal(office, "run", office.plan("a"), "--json")

    assert code == 0
    document = written[written.index("{") :]
    assert json.loads(document)["state"] == "DONE"
    assert "\x1b" not in document


def test_bench_measures_and_prints_one_document(office: Office) -> None:
    words = ("bench", "--quick", "--repeats", "1", "--store", "memory://")
    as_json = office.type(*words, "--json", has_tools=False)
    text = office.type(*words, has_tools=False)

    assert (as_json.returncode, text.returncode) == (0, 0)
    assert json.loads(as_json.stdout)["settings"]["repeats"] == 1
    assert as_json.stderr == ""
    assert "round 1 of 1" in text.stderr
    assert "(" in text.stdout


def test_help_does_not_wait_for_what_it_does_not_need(office: Office) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "fsm_saga", "--help"]
    ended = subprocess.run(
        command, cwd=office.folder, env=office.env, capture_output=True, text=True, check=True
    )
    imported = {line.rsplit("|", 1)[-1].strip() for line in ended.stderr.splitlines()}

    assert "typer" in imported
    assert not imported & {"networkx", "statemachine", "pydantic", "apsw"}
