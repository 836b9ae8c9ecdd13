"""Real processes on the loopback: members of etcd, and coordinators. Each is stopped by its pid."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(__file__).with_name("tools.py")
START_S = 60.0
STOP_S = 15.0
POLL_S = 0.05
LOG_LINES = 15


class ProcessFailedError(Exception):
    """A process ended, or did not answer; the message has the end of its log."""


class Process:
    """One process, with a folder of its own and a log in it."""

    def __init__(
        self,
        name: str,
        folder: Path,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it."""
        self.name = name
        folder.mkdir(parents=True)
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  # commands of this example
                command,
                cwd=folder,
                env=os.environ | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the demo, which then stops this one
            )

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """True until it has ended."""
        return self._process.poll() is None

    def check_running(self) -> None:
        """Return if it runs.

        Raises:
            ProcessFailedError: It has ended.
        """
        if not self.is_running:
            raise ProcessFailedError(
                f"{self.name} has ended with exit code {self._process.returncode}.\n{self.log()}"
            )

    def kill(self) -> None:
        """End it as ``kill -9`` does, and return when it is gone."""
        self._process.kill()
        self._process.wait(STOP_S)

    def ask_to_stop(self) -> None:
        """Tell it to stop, and do not wait."""
        self._process.terminate()

    def stop(self) -> None:
        """Return when it is gone: by itself if it can, else by force."""
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def log(self) -> str:
        """Return the last lines of its log."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"  {self.name}: {line}" for line in lines[-LOG_LINES:])


@contextmanager
def open_etcd(program: Path, folder: Path, names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Run a cluster of etcd, and give the addresses of its members.

    Raises:
        ProcessFailedError: A member did not start.
    """
    ports = free_ports(2 * len(names))
    clients = dict(zip(names, ports[: len(names)], strict=True))
    peers = {
        name: f"http://{HOST}:{port}" for name, port in zip(names, ports[len(names) :], strict=True)
    }
    with ExitStack() as running:
        members = []
        for name, port in clients.items():
            url = f"http://{HOST}:{port}"
            options = {
                "name": name,
                "data-dir": str(folder / name / "data"),
                "listen-client-urls": url,
                "advertise-client-urls": url,
                "listen-peer-urls": peers[name],
                "initial-advertise-peer-urls": peers[name],
                "initial-cluster": ",".join(f"{each}={peers[each]}" for each in names),
                # More patient than its default, for machines that do other things besides.
                "heartbeat-interval": "200",
                "election-timeout": "2000",
                "log-level": "warn",
            }
            command = [str(program), *(f"--{key}={value}" for key, value in options.items())]
            members.append(Process(name, folder / name, command))
            # Without a majority the last of them would wait for one: nothing of it is kept.
            running.callback(members[-1].kill)
        for member, port in zip(members, clients.values(), strict=True):
            _wait_healthy(member, f"http://{HOST}:{port}/health")
        yield tuple(f"{HOST}:{port}" for port in clients.values())


def start_coordinator(
    name: str, folder: Path, *, store: str, shards: int, lease_ttl_s: float, ledger: Path
) -> Process:
    """Start ``fsm-saga serve`` with the example's tools."""
    command = [
        *(sys.executable, "-m", "fsm_saga", "serve"),
        *("--store", store, "--shards", str(shards), "--tools", str(TOOLS)),
        *("--name", name, "--lease-ttl", f"{lease_ttl_s:g}"),
    ]
    environment = {"PYTHONPATH": str(ROOT), "CLUSTER_LEDGER": str(ledger)}
    return Process(name, folder / name, command, environment)


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback on which nothing listens now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [int(each.getsockname()[1]) for each in sockets]


def _wait_healthy(member: Process, url: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    give_up_at = time.monotonic() + START_S
    while time.monotonic() < give_up_at:
        member.check_running()
        try:
            with opener.open(url, timeout=2.0) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pass
        time.sleep(POLL_S)
    raise ProcessFailedError(f"{member.name} did not answer in {START_S:g} s.\n{member.log()}")
