"""The travel agency over HTTP: ``python -m examples.travel.service --db FILE --port 0``.

It listens on the loopback interface only and prints its port as one line. A caller gives each
POST an ``Idempotency-Key``; what that promises is said, and kept, in ``ledger.py``.

    POST /flights/book      {flight, date, traveller}
    POST /hotels/book       {hotel, check_in, check_out, traveller}
    POST /transfers/book    {pickup_at, drop_off, traveller}
    POST /<kind>/cancel     {order_id} and, from a coordinator, {undoes: the booking's key}
    GET  /ledger            balances, free seats, rooms and cars, orders
    GET  /calls             every call that was remembered, with its answer
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import socketserver
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

from examples.travel.bookings import TRADES, RefusedError
from examples.travel.ledger import Answer, Ledger

HOST = "127.0.0.1"
BODY_BYTES_MAX = 16_384
DRAIN_BYTES_MAX = 1_048_576
SOCKET_TIMEOUT_S = 10.0
READ_PATHS = ("/ledger", "/calls")
CALL_PATHS = tuple(f"/{kind}/{verb}" for kind in TRADES for verb in ("book", "cancel"))
KEY_PATTERN = re.compile(r"[!-~]{1,200}")


class AgencyServer(ThreadingHTTPServer):
    """One thread for each connection, one set of books for all."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, ledger: Ledger) -> None:
        """Bind the port, 0 for any free one, on the loopback interface."""
        self.ledger = ledger
        super().__init__((HOST, port), AgencyHandler)

    def server_bind(self) -> None:
        """Bind without asking a name server who the loopback interface is."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]


class AgencyHandler(BaseHTTPRequestHandler):
    """Reads one request, asks the ledger, answers in JSON whatever the request was."""

    protocol_version = "HTTP/1.1"
    timeout = SOCKET_TIMEOUT_S
    server: AgencyServer
    _allowed: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(READ_PATHS, "GET"),
        **dict.fromkeys(CALL_PATHS, "POST"),
    }

    def do_GET(self) -> None:
        """Answer ``/ledger`` or ``/calls``."""
        if not self._is_allowed():
            return
        self._drain()
        try:
            body = (
                self.server.ledger.snapshot()
                if self.path == "/ledger"
                else {"calls": self.server.ledger.calls()}
            )
        except sqlite3.Error as error:
            self._answer(Answer(status=503, body={"error": f"the books cannot be read: {error}"}))
        else:
            self._answer(Answer(status=200, body=body))

    def do_POST(self) -> None:
        """Carry out a booking or a cancellation, or repeat the answer it got before."""
        if not self._is_allowed():
            return
        try:
            params = parse_object(self._read_body())
            answer = self.server.ledger.perform(self.path, req_id=self._read_key(), params=params)
        except RefusedError as refusal:
            answer = Answer(status=refusal.status, body={"error": str(refusal)})
        except sqlite3.Error as error:
            # Not remembered, so not an answer for good: 5xx tells the caller to ask again.
            answer = Answer(status=503, body={"error": f"the books cannot be written: {error}"})
        self._answer(answer)

    def do_PUT(self) -> None:
        """Refuse: nothing here is changed but by POST."""
        self._is_allowed()

    do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = do_PUT  # noqa: N815

    def _is_allowed(self) -> bool:
        allowed = self._allowed.get(self.path)
        if allowed == self.command:
            return True
        self._drain()
        if allowed is None:
            self._answer(Answer(status=404, body={"error": "there is nothing at this path"}))
        else:
            self._answer(
                Answer(status=405, body={"error": f"use {allowed}"}), extra={"Allow": allowed}
            )
        return False

    def _read_key(self) -> str:
        keys = self.headers.get_all("Idempotency-Key", [])
        if len(keys) != 1 or not KEY_PATTERN.fullmatch(keys[0]):
            raise RefusedError(400, "send one Idempotency-Key of 1 to 200 visible characters")
        return keys[0]

    def _read_body(self) -> bytes:
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or not lengths:
            self.close_connection = True
            raise RefusedError(411, "send a Content-Length")
        if len(lengths) > 1 or not re.fullmatch(r"[0-9]{1,10}", lengths[0]):
            self.close_connection = True
            raise RefusedError(400, "Content-Length must be one number")
        length = int(lengths[0])
        if length > BODY_BYTES_MAX:
            self._drain()
            raise RefusedError(413, f"the body may have {BODY_BYTES_MAX} bytes, not {length}")
        raw = self.rfile.read(length)
        if len(raw) < length:
            self.close_connection = True
            raise RefusedError(400, f"the body ended after {len(raw)} of {length} bytes")
        return raw

    def _drain(self) -> None:
        # Closing a socket with unread bytes resets it, and the caller would never see the answer.
        length = self.headers.get("Content-Length", "0")
        if length == "0" and "Transfer-Encoding" not in self.headers:
            return
        self.close_connection = True
        if re.fullmatch(r"[0-9]{1,10}", length):
            self.rfile.read(min(int(length), DRAIN_BYTES_MAX))

    def _answer(self, answer: Answer, *, extra: Mapping[str, str] | None = None) -> None:
        body = json.dumps(answer.body, ensure_ascii=False).encode()
        with suppress(ConnectionError):
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if answer.replayed:
                self.send_header("Idempotent-Replayed", "true")
            if self.close_connection:
                self.send_header("Connection", "close")
            for name, value in (extra or {}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
                self.wfile.flush()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what http.server itself refuses in JSON too."""
        del explain
        self.close_connection = True
        # Before the request line is understood this says HTTP/0.9, which has no headers.
        self.request_version = self.protocol_version
        self._answer(Answer(status=code, body={"error": message or HTTPStatus(code).phrase}))

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: ``GET /calls`` is the log."""


def parse_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in ``raw``.

    Raises:
        RefusedError: If it is not UTF-8, not JSON, has a name twice, holds a number or a
            character that cannot be stored, or is no object (400).
    """
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique_names)
        # Python reads NaN, 1e999 and lone surrogates, and could then not store them.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"the body is not proper JSON: {error}") from error
    if not isinstance(value, dict):
        raise RefusedError(400, "the body must be a JSON object")
    return value


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) < len(pairs):
        raise ValueError("a name occurs twice")
    return names


def _stop(signum: int, frame: FrameType | None) -> None:
    del signum, frame
    raise SystemExit(0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted or terminated; return the exit code."""
    parser = argparse.ArgumentParser(prog="examples.travel.service", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--db", type=Path, required=True, help="the SQLite file of the books")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port")
    parser.add_argument("--hotel-rooms", type=int, default=2, help="free each night, in new books")
    options = parser.parse_args(arguments)
    if options.hotel_rooms < 0 or not 0 <= options.port <= 65535:
        parser.error("--hotel-rooms must not be negative, --port must be 0 to 65535")
    try:
        ledger = Ledger(str(options.db), hotel_rooms=options.hotel_rooms)
    except (sqlite3.Error, ValueError) as error:
        sys.stderr.write(f"The books {str(options.db)!r} cannot be opened: {error}\n")
        return 2
    signal.signal(signal.SIGTERM, _stop)
    try:
        with AgencyServer(options.port, ledger) as server:
            sys.stdout.write(f"{server.server_port}\n")
            sys.stdout.flush()
            server.serve_forever(poll_interval=0.1)
    except OSError as error:
        sys.stderr.write(f"Port {options.port} of {HOST} cannot be used: {error}\n")
        return 2
    except KeyboardInterrupt:
        pass
    finally:
        ledger.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
