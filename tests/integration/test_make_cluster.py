"""The cluster example as its reader runs it: to its end, interrupted, and on a bad day."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from examples.cluster import demo
from examples.cluster.binaries import ServerMissingError
from examples.cluster.ledger import KINDS, Ledger
from fsm_saga.ports import Head

ROOT = Path(__file__).resolve().parents[2]
DEMO = [sys.executable, "-m", "examples.cluster.demo"]
RUN_S_MAX = 200.0
LINES_MAX = 50

slow = [pytest.mark.slow, pytest.mark.timeout(240)]


def environment(tmp_path: Path) -> dict[str, str]:
    return os.environ | {"TMPDIR": str(tmp_path), "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}


def pids_in(text: str) -> list[int]:
    return [int(pid) for pid in re.findall(r"\(pid (\d+)\)", text)]


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def listens(port: int) -> bool:
    """Return whether something answers on the loopback."""
    with socket.socket() as sock:
        return bool(sock.connect_ex(("127.0.0.1", port)) == 0)


def check_all_is_stopped(said: str, tmp_path: Path) -> None:
    pids, ports = pids_in(said), [int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", said)]
    assert len(pids) == 3, said
    assert len(ports) >= 3, said
    assert not [pid for pid in pids if is_there(pid)]
    assert not [port for port in ports if listens(port)]
    assert list(tmp_path.glob("fsm-saga-cluster-*")) == []


class TestTheDemo:
    pytestmark = slow

    def test_it_shows_a_hand_over_and_that_nothing_is_lost(self, tmp_path: Path) -> None:
        ended = subprocess.run(
            [*DEMO, "--trips", "24"],
            cwd=ROOT,
            env=environment(tmp_path),
            capture_output=True,
            encoding="utf-8",
            timeout=RUN_S_MAX,
            check=False,
        )

        said = ended.stdout
        assert (ended.returncode, ended.stderr) == (0, ""), said + ended.stderr
        assert "All 24 trips have ended: 16 DONE, 8 FAILED and undone." in said
        assert "The agency's ledger has 48 bookings" in said
        assert "6 of 6 shards are led; 0 unfinished sagas" in said
        assert "Everything came out as promised" in said
        assert len(said.splitlines()) < LINES_MAX
        assert "\x1b" not in said
        check_hand_over(said)
        check_all_is_stopped(said, tmp_path)

    @pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
    def test_interrupted_it_stops_everything(self, tmp_path: Path, sent: signal.Signals) -> None:
        out = tmp_path / "said"
        with out.open("wb") as said:
            process = subprocess.Popen(
                DEMO, cwd=ROOT, env=environment(tmp_path), stdout=said, stderr=said
            )
        try:
            give_up_at = time.monotonic() + RUN_S_MAX / 2
            while len(pids_in(out.read_text())) < 3:
                assert process.poll() is None, out.read_text()
                assert time.monotonic() < give_up_at, out.read_text()
                time.sleep(0.05)
            process.send_signal(sent)
            assert process.wait(RUN_S_MAX / 2) == 130
        finally:
            process.kill()
            process.wait()

        assert "everything that was started is stopped" in out.read_text()
        assert "Traceback" not in out.read_text()
        check_all_is_stopped(out.read_text(), tmp_path)


def check_hand_over(said: str) -> None:
    """Each shard of the one that was killed is led by another, in a higher epoch."""
    moved = re.findall(r"^ +\d+  (\w+) +(\d+) +(\w+) +(\d+) +[\d.]+ s$", said, re.MULTILINE)
    assert len(moved) >= 2, said
    for old, old_epoch, new, new_epoch in moved:
        assert old != new
        assert int(old_epoch) < int(new_epoch)


def test_it_says_what_is_missing_where_there_is_no_etcd(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none() -> None:
        raise ServerMissingError("There is no etcd server. Install etcd.")

    monkeypatch.setattr(demo, "etcd_binary", none)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert demo.main([]) == 1
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "Install etcd." in capsys.readouterr().err


# The judge: it has to notice what must not be.

HEAD = Head(saga_id="", state="DONE", outcome=None, position=9, created_at=1.0, updated_at=2.0)


def ledger_with(path: Path, *bookings: tuple[str, str, str]) -> Ledger:
    ledger = Ledger(path / "ledger.db")
    with closing(sqlite3.connect(ledger.path, isolation_level=None)) as db:
        db.executemany("INSERT INTO bookings (trip, kind, state) VALUES (?, ?, ?)", bookings)
    return ledger


WHOLE = [("a", kind, "booked") for kind in KINDS]
UNDONE = ("b", "flight", "cancelled")


@pytest.mark.parametrize(
    ("bookings", "states", "said"),
    [
        ([*WHOLE, UNDONE], {"a": "DONE", "b": "FAILED"}, ""),
        ([*WHOLE[:2], UNDONE], {"a": "DONE", "b": "FAILED"}, "a is DONE and has booked"),
        ([*WHOLE, WHOLE[0], UNDONE], {"a": "DONE", "b": "FAILED"}, "a is DONE and has booked"),
        ([*WHOLE, ("b", "hotel", "booked")], {"a": "DONE", "b": "FAILED"}, "b is FAILED and has"),
        ([UNDONE], {"a": "FAILED", "b": "FAILED"}, "a is FAILED"),
        ([*WHOLE], {"a": "DONE"}, "b is missing"),
        ([*WHOLE, ("c", "car", "booked")], {"a": "DONE", "b": "FAILED"}, "asked for by nobody"),
    ],
)
def test_the_ledger_notices_what_must_not_be(
    tmp_path: Path, bookings: list[tuple[str, str, str]], states: dict[str, str], said: str
) -> None:
    heads = {name: replace(HEAD, saga_id=name, state=state) for name, state in states.items()}
    wrong = ledger_with(tmp_path, *bookings).differences(heads, {"a": True, "b": False})

    assert bool(wrong) == bool(said)
    assert said in "; ".join(wrong)
