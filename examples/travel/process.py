"""The travel agency as a process of its own, and a small client to talk to it."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
CALL_TIMEOUT_S = 10.0
POLL_S = 0.05
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agency:
    """A running agency: where it listens, and the process that it is."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Return what belongs into ``TRAVEL_URL``."""
        return f"http://{HOST}:{self.port}"

    def post(self, path: str, *, req_id: str, **params: str) -> tuple[int, dict[str, Any]]:
        """Return the status and the body that a call was answered with."""
        body = json.dumps(params, ensure_ascii=False).encode()
        return self._exchange("POST", path, body=body, headers={"Idempotency-Key": req_id})

    def ledger(self) -> dict[str, Any]:
        """Return the agency's books."""
        return self._exchange("GET", "/ledger")[1]

    def calls(self) -> list[dict[str, Any]]:
        """Return every call that the agency remembers, oldest first."""
        calls: list[dict[str, Any]] = self._exchange("GET", "/calls")[1]["calls"]
        return calls

    def _exchange(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=CALL_TIMEOUT_S)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()


@contextmanager
def open_agency(directory: Path, *, hotel_rooms: int = 2, port: int = 0) -> Iterator[Agency]:
    """Run the agency with its books in ``directory``; stop it, by its own pid, on the way out.

    Raises:
        RuntimeError: If it ended, or did not say its port in time.
    """
    said = directory / "service.out"
    complained = directory / "service.err"
    command = [sys.executable, "-m", "examples.travel.service", "--db", str(directory / "books.db")]
    command += ["--port", str(port), "--hotel-rooms", str(hotel_rooms)]
    with said.open("wb") as out, complained.open("wb") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, cwd=REPOSITORY)  # noqa: S603  # our own module
    try:
        yield Agency(port=_wait_for_port(process, said, complained), process=process)
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_port(process: subprocess.Popen[bytes], said: Path, complained: Path) -> int:
    give_up_at = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < give_up_at:
        line = said.read_text()
        if line.endswith("\n"):
            return int(line)
        if process.poll() is not None:
            break
        time.sleep(POLL_S)
    raise RuntimeError(
        f"The travel service did not start (exit code {process.poll()}): "
        f"{complained.read_text().strip() or 'it said nothing'}"
    )
