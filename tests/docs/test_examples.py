"""Every example runs, as its reader would run it, and leaves the world as it says."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from examples.travel import demo
from examples.travel.process import HOST, Agency, open_agency
from tests.support.typist import CAN_FORK, Typist

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="the typist's processes are forks")

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
PLANS = sorted(path.parent.name for path in EXAMPLES.glob("*/plan.json"))
LINES_MAX = 60
COMMAND_TIMEOUT_S = 90


def run_module(
    module: str, *arguments: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m module`` from the root of the checkout and return how it ended."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONUTF8": "1"} | (env or {}),
        capture_output=True,
        encoding="utf-8",
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )


@pytest.fixture(scope="module")
def typist() -> Iterator[Typist]:
    with Typist() as typist:
        yield typist


class Desk:
    """The command line, for one example with its tools and with a store of its own."""

    def __init__(self, typist: Typist, example: str, directory: Path, **env: str) -> None:
        self.typist = typist
        self.example = example
        self.store = f"sqlite:///{directory / 'sagas.db'}"
        self.tools = str(EXAMPLES / example / "tools.py")
        self.env = env

    def command(self, *arguments: str, exit_code: int) -> str:
        """Run a command on this store, expect its exit code, and return its stdout."""
        ended = self.typist.type(*arguments, "--store", self.store, env=self.env)
        assert ended.returncode == exit_code, f"{arguments}: {ended.stdout}\n{ended.stderr}"
        return ended.stdout

    def run(self, plan: Path | None = None, *, exit_code: int) -> dict[str, Any]:
        plan = plan or EXAMPLES / self.example / "plan.json"
        said = self.command("run", str(plan), "--tools", self.tools, "--json", exit_code=exit_code)
        saga: dict[str, Any] = json.loads(said)
        return saga

    def show(self, saga_id: str) -> dict[str, Any]:
        saga: dict[str, Any] = json.loads(self.command("show", saga_id, "--json", exit_code=0))
        return saga


def statuses(saga: Mapping[str, Any]) -> dict[str, str]:
    return {str(step["step_id"]): step["status"] for step in saga["steps"]}


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


# Travel: the demo.


def test_the_demo_undoes_the_first_trip_and_keeps_the_second(tmp_path: Path) -> None:
    kept, pictures = tmp_path / "kept", tmp_path / "pictures"

    ended = run_module("examples.travel.demo", "--keep", str(kept), "--output", str(pictures))

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    assert len(ended.stdout.splitlines()) < LINES_MAX
    for said in (
        "state FAILED, outcome compensated, exit code 1",
        "no room free: 和平饭店 on 2026-02-01",
        "The flight was cancelled by its own order id, FL-1002.",
        "state DONE, outcome committed, exit code 0",
        "Everything came out as promised.",
    ):
        assert said in ended.stdout
    assert "\x1b" not in ended.stdout, "plain text only"
    books = kept / "books.db"
    assert rows(books, "SELECT kind, traveller, state FROM orders ORDER BY number") == [
        ("hotels", "Li Na", "cancelled"),
        ("flights", "王小明", "cancelled"),
        ("flights", "王小明", "booked"),
        ("hotels", "王小明", "booked"),
        ("transfers", "王小明", "booked"),
    ]
    assert dict(rows(books, "SELECT name, balance_cents FROM accounts")) == {
        "王小明": 800_000 - 128_000 - 290_000 - 18_000,
        "airline": 128_000,
        "hotel": 290_000,
        "car service": 18_000,
        "Li Na": 800_000,
        "Poor Poet": 5_000,
    }
    check_pictures(pictures)
    check_nothing_listens(kept)


def check_pictures(directory: Path) -> None:
    names = ["1-plan", "2-saga", "3-machine", "4-timeline"]
    written = sorted(path.name for path in directory.iterdir())
    assert written == sorted(f"{name}.{ending}" for name in names for ending in ("png", "svg"))
    for name in names:
        drawn = ET.parse(directory / f"{name}.svg").getroot()  # noqa: S314  # we drew it ourselves
        assert drawn.tag.endswith("svg")
        assert (directory / f"{name}.png").read_bytes().startswith(b"\x89PNG\r\n")
    for name in ("1-plan", "2-saga"):
        text = "".join(ET.parse(directory / f"{name}.svg").getroot().itertext())  # noqa: S314
        assert "和平饭店" in text


def check_nothing_listens(kept: Path) -> None:
    port = int((kept / "service.out").read_text())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port), timeout=5)


@pytest.mark.parametrize(
    ("sent", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_the_demo_stops_its_service_when_it_is_interrupted(
    tmp_path: Path, sent: signal.Signals, exit_code: int
) -> None:
    kept = tmp_path / "kept"
    command = [sys.executable, "-m", "examples.travel.demo", "--keep", str(kept)]
    command += ["--output", str(tmp_path / "pictures")]
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said)
    try:
        give_up_at = time.monotonic() + 30
        said_port = kept / "service.out"
        while not (said_port.exists() and said_port.read_text().endswith("\n")):
            assert time.monotonic() < give_up_at, (tmp_path / "said").read_text()
            assert process.poll() is None, (tmp_path / "said").read_text()
            time.sleep(0.05)
        process.send_signal(sent)
        assert process.wait(30) == exit_code
    finally:
        process.kill()
        process.wait()

    assert "Traceback" not in (tmp_path / "said").read_text()
    check_nothing_listens(kept)


def test_the_demo_leaves_a_directory_alone_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "diary").write_text("mine")

    ended = run_module(
        "examples.travel.demo", "--keep", str(tmp_path), "--output", str(tmp_path / "pictures")
    )

    assert ended.returncode == 1
    assert "is not empty" in ended.stderr
    assert not (tmp_path / "books.db").exists()


def test_the_demo_says_what_differs_from_its_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong promise, one cent off, is found by the comparison of the books."""
    monkeypatch.setattr(demo, "FLIGHT_CENTS", demo.FLIGHT_CENTS + 1)
    before = signal.getsignal(signal.SIGTERM)
    try:
        code = demo.main(["--keep", str(tmp_path / "kept"), "--output", str(tmp_path / "out")])
    finally:
        signal.signal(signal.SIGTERM, before)

    assert code == 1
    assert "Expected the refund to be 128001, found 128000." in capsys.readouterr().err
    check_nothing_listens(tmp_path / "kept")


# Travel: the tools, on a bad line and with a bad agency.


class BadLine(BaseHTTPRequestHandler):
    """Hands a request on to the agency, and loses the first answer of each path."""

    agency_port: int
    lost: ClassVar[set[str]] = set()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with closing(HTTPConnection(HOST, self.agency_port, timeout=10)) as agency:
            key = self.headers["Idempotency-Key"]
            agency.request("POST", self.path, body, {"Idempotency-Key": key})
            answer = agency.getresponse()
            reply = answer.read()
        if self.path not in self.lost:
            self.lost.add(self.path)
            self.close_connection = True
            return
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve in a thread of this process and yield the URL."""
    with ThreadingHTTPServer((HOST, 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def bad_line_to(agency: Agency) -> Iterator[str]:
    handler = type("BadLineToAgency", (BadLine,), {"agency_port": agency.port, "lost": set()})
    with serving(handler) as url:
        yield url


def test_lost_answers_book_nothing_twice(typist: Typist, tmp_path: Path) -> None:
    with open_agency(tmp_path) as agency, bad_line_to(agency) as url:
        saga = Desk(typist, "travel", tmp_path, TRAVEL_URL=url).run(exit_code=0)

        assert (saga["state"], saga["outcome"]) == ("DONE", "committed")
        assert [call["arrivals"] for call in agency.calls()] == [2, 2, 2]
        ledger = agency.ledger()
        assert len(ledger["orders"]) == 3
        assert ledger["accounts_cents"]["王小明"] == 800_000 - 128_000 - 290_000 - 18_000


def test_lost_answers_undo_nothing_twice(typist: Typist, tmp_path: Path) -> None:
    with open_agency(tmp_path, hotel_rooms=0) as agency, bad_line_to(agency) as url:
        before = agency.ledger()
        saga = Desk(typist, "travel", tmp_path, TRAVEL_URL=url).run(exit_code=1)

        assert (saga["state"], saga["outcome"]) == ("FAILED", "compensated")
        after = agency.ledger()
        assert [order["state"] for order in after["orders"]] == ["cancelled"]
        assert after["accounts_cents"] == before["accounts_cents"]
        assert after["free"] == before["free"]


class AlwaysAnswers(BaseHTTPRequestHandler):
    """Counts requests and gives one answer to all of them."""

    status: int
    reply: bytes
    seen: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append(self.headers["Idempotency-Key"])
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.reply)))
        self.end_headers()
        self.wfile.write(self.reply)

    def log_message(self, format: str, *args: object) -> None:
        pass


def one_booking(directory: Path, *, attempts: int) -> Path:
    """Write a plan that only books the flight."""
    plan = json.loads((EXAMPLES / "travel" / "plan.json").read_text(encoding="utf-8"))
    plan["steps"] = plan["steps"][:1]
    plan["steps"][0]["retry"] = {"attempts": attempts, "delay_s": 0.01, "delay_s_max": 0.01}
    path = directory / "one-booking.json"
    path.write_text(json.dumps(plan), encoding="utf-8")
    return path


@pytest.mark.parametrize("status", [400, 402, 404, 409, 410, 422])
def test_a_refusal_of_the_agency_ends_the_saga_with_its_words(
    typist: Typist, tmp_path: Path, status: int
) -> None:
    answers = {"status": status, "reply": b'{"error": "not on a Sunday"}', "seen": []}
    with serving(type("Refuses", (AlwaysAnswers,), answers)) as url:
        desk = Desk(typist, "travel", tmp_path, TRAVEL_URL=url)
        saga = desk.run(one_booking(tmp_path, attempts=1), exit_code=1)

    assert (saga["state"], saga["outcome"]) == ("FAILED", "nothing_happened")
    assert "not on a Sunday" in saga["steps"][0]["error"]


@pytest.mark.parametrize(
    ("status", "reply"),
    [
        (500, b'{"error": "oops"}'),
        (503, b""),
        (302, b""),
        (429, b'{"error": "too fast"}'),
        (200, b"<html>hello</html>"),
        (200, b'{"order_id": 7}'),
        (200, b""),
    ],
)
def test_an_answer_that_says_nothing_certain_is_never_taken_for_a_refusal(
    typist: Typist, tmp_path: Path, status: int, reply: bytes
) -> None:
    """The undo meets the same agency, so the saga cannot clear the doubt: a person is asked."""
    seen: list[str] = []
    answers = {"status": status, "reply": reply, "seen": seen}
    with serving(type("Mumbles", (AlwaysAnswers,), answers)) as url:
        desk = Desk(typist, "travel", tmp_path, TRAVEL_URL=url)
        saga = desk.run(one_booking(tmp_path, attempts=2), exit_code=3)

    assert (saga["state"], saga["outcome"]) == ("NEEDS_HUMAN", "unknown")
    assert saga["steps"][0]["status"] in {"DOUBTFUL", "STUCK"}
    assert len(seen) >= 2
    assert set(seen[:2]) == {saga["steps"][0]["req_id"]}, "a retry is the same request"


# The other examples.


def test_the_growing_agent_gives_up_one_trip_and_keeps_the_other() -> None:
    ended = run_module("examples.growing.agent")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    assert ended.stdout.splitlines() == [
        "A trip with a grand hotel (5000 in the purse)",
        "  booked MU5102-1 for 990, the cheapest of 3",
        "  booked grand hotel-2 for 1400; 2610 left",
        "  the agent gave up: 2390 is more than the 2000 that this trip may cost",
        "  undone: 5000 in the purse again, orders {}",
        "A trip with a hostel",
        "  booked MU5102-5 for 990, the cheapest of 3",
        "  booked hostel-6 for 420; 3590 left",
        "  kept: the trip costs 1410, 3590 in the purse, orders {'MU5102-5': 990, 'hostel-6': 420}",
    ]


@pytest.fixture
def shop(typist: Typist, tmp_path: Path) -> tuple[Desk, Path]:
    books = tmp_path / "shop.db"
    return Desk(typist, "approval", tmp_path, SHOP_DB=str(books)), books


DEEDS = "SELECT deed, what, amount_cents FROM deeds ORDER BY number"
RESERVED = ("reserved", "40 x desk", 996_000)


def test_a_payment_waits_for_its_approval_and_is_made_once(shop: tuple[Desk, Path]) -> None:
    desk, books = shop
    waiting = desk.run(exit_code=3)
    assert waiting["state"] == "EXECUTING(2)"
    assert statuses(waiting)["pay"] == "AWAITING_APPROVAL"
    assert rows(books, DEEDS) == [RESERVED]

    approve = ("approve", "order-desks", "--step", "pay", "--by", "Ada", "--tools", desk.tools)
    desk.command(*approve, exit_code=0)
    desk.command("resume", "--tools", desk.tools, exit_code=0)

    done = desk.show("order-desks")
    assert (done["state"], done["outcome"]) == ("DONE", "committed")
    assert set(statuses(done).values()) == {"SUCCEEDED"}
    assert [step["attempts"] for step in done["steps"]] == [1, 1, 2, 2]
    deeds = rows(books, DEEDS)
    assert deeds[:2] == [RESERVED, ("paid", "Nordic Desks", 996_000)]
    assert sorted(deeds[2:]) == [
        ("told", "Nordic Desks about payment-2", 0),
        ("told", "office about reservation-1", 0),
    ]


def test_a_payment_that_is_refused_approval_releases_the_goods(shop: tuple[Desk, Path]) -> None:
    desk, books = shop
    desk.run(exit_code=3)

    reject = ("reject", "order-desks", "--step", "pay", "--by", "Ada", "--tools", desk.tools)
    desk.command(*reject, exit_code=0)
    desk.command("resume", "--tools", desk.tools, exit_code=0)

    failed = desk.show("order-desks")
    assert (failed["state"], failed["outcome"]) == ("FAILED", "compensated")
    assert rows(books, DEEDS) == [RESERVED, ("released", "reservation-1", 0)]


def test_a_post_is_made_good_by_a_person_and_the_saga_ends_amended(
    typist: Typist, tmp_path: Path
) -> None:
    board = tmp_path / "board.db"
    desk = Desk(typist, "semantic", tmp_path, BOARD_DB=str(board))
    posts = "SELECT text, reply_to FROM notes WHERE page = 'posts' ORDER BY number"

    asking = desk.run(exit_code=3)
    assert asking["state"] == "NEEDS_HUMAN"
    assert statuses(asking)["2"] == "STUCK"
    assert "licensed for 200 guests" in asking["steps"][2]["error"]
    assert len(rows(board, posts)) == 1

    answer = ("--by", "Grace", "--note", "said sorry in public", "--tools", desk.tools)
    calls = str(EXAMPLES / "semantic" / "calls.json")
    resolve = ("resolve", "launch-party", "--step", "2", "--calls", calls, *answer)
    desk.command(*resolve, exit_code=0)
    desk.command("resume", "--tools", desk.tools, exit_code=0)

    ended = desk.show("launch-party")
    assert (ended["state"], ended["outcome"]) == ("FAILED", "amended")
    assert statuses(ended) == {"1": "COMPENSATED", "2": "COMPENSATED", "3": "REJECTED"}
    assert rows(board, posts)[1] == (
        "Correction: the launch party on 8 May does not take place. We are sorry.",
        "post-1",
    )
    assert len(rows(board, posts)) == 2
    assert rows(board, "SELECT text FROM notes WHERE page = 'releases'") == [("hold-1",)]
    history = desk.command("history", "launch-party", "--json", exit_code=0)
    assert "Grace" in history
    assert "said sorry in public" in history


def test_a_refusal_in_one_branch_undoes_both_in_their_own_order(
    typist: Typist, tmp_path: Path
) -> None:
    books = tmp_path / "festival.db"
    saga = Desk(typist, "parallel", tmp_path, FESTIVAL_DB=str(books)).run(exit_code=1)

    assert (saga["state"], saga["outcome"]) == ("FAILED", "compensated")
    ended_as = statuses(saga)
    assert ended_as.pop("cook") == "REJECTED"
    assert ended_as.pop("programme") == "SKIPPED"
    # On a slow machine the cook may refuse before the speakers are asked for.
    assert ended_as.pop("speakers") in {"COMPENSATED", "SKIPPED"}
    assert set(ended_as.values()) == {"COMPENSATED"}

    assert rows(books, "SELECT * FROM engagements WHERE state <> 'dismissed'") == []
    order = [what for (what,) in rows(books, "SELECT what FROM engagements ORDER BY ended")]
    assert order[-1] == "square"
    assert set(order) >= {"square", "band", "kitchen"}
    if "speakers" in order:
        assert order.index("speakers") < order.index("band")


@pytest.mark.parametrize("example", PLANS)
def test_the_plan_of_each_example_is_proven(example: str, typist: Typist) -> None:
    plan, tools = EXAMPLES / example / "plan.json", EXAMPLES / example / "tools.py"

    ended = typist.type("verify", str(plan), "--tools", str(tools), env={})

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_each_example_has_its_paragraph() -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"^\*\*(\w+)\*\*", text, re.MULTILINE)
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()} - {"__pycache__"}

    assert set(named) == folders
    assert len(named) == len(folders)
