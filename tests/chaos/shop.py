"""The world outside: a shop behind HTTP that keeps its word, and knows what is true.

It dedupes by ``req_id``, remembers its refusals, and leaves a tombstone for an undo that comes
before what it undoes. What the coordinators believe is held against what is written down here.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

HOST = "127.0.0.1"
OK, REFUSED, FENCED = 200, 422, 409
WORK_S = 0.1
"""How long each call takes: so there are sagas under way whenever a fault strikes."""


@dataclass(slots=True)
class Books:
    """What was asked and done.

    Attributes:
        answers: The first answer to each ``req_id``, as status and body.
        effects: The ``req_id`` of every effect that is in the world, by saga and step.
        tombstones: What was undone, or is never to be done.
        asked: How often each ``req_id`` came.
        came: How many calls came from each coordinator, by its name.
        sent: How many of them were for each saga, by that name and the saga.
        sagas: Every saga for which something was asked.
        wrong: What no engine may ever do, in words.
    """

    answers: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    effects: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    tombstones: set[str] = field(default_factory=set)
    asked: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    came: Counter[str] = field(default_factory=Counter)
    sent: Counter[tuple[str, str]] = field(default_factory=Counter)
    sagas: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    @property
    def repeats(self) -> int:
        """How many calls came that had come before."""
        return self.came.total() - len(self.asked)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a caller who went away: that is what happens here."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Shop:
    """The shop's server; as a context manager it runs."""

    def __init__(self) -> None:
        self.books = Books()
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"shop": self})
        self._server = _Server((HOST, 0), handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)

    def answer(self, path: str, said: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Carry out a call, once, and return what every copy of it is answered with."""
        req_id = said["req_id"]
        with self._lock:
            books = self.books
            books.asked[req_id] += 1
            books.came[said["from"]] += 1
            books.sent[said["from"], said["saga_id"]] += 1
            books.sagas.add(said["saga_id"])
            text = json.dumps(said["params"], sort_keys=True)
            if books.params.setdefault(req_id, text) != text:
                books.wrong.append(f"{req_id} came with {books.params[req_id]} and with {text}")
            known = books.answers.get(req_id)
            if known is None:
                do = self._do if path == "/do" else self._undo
                known = books.answers[req_id] = do(said)
            return known

    def _do(self, said: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        req_id, place = said["req_id"], (said["saga_id"], str(said["step_id"]))
        if req_id in self.books.tombstones:
            return FENCED, {"error": "it was undone before it came"}
        if said["params"].get("is_sold_out"):
            return REFUSED, {"error": "there is none left"}
        if self.books.effects[place]:
            self.books.wrong.append(f"{place} took effect again, as {req_id}")
        self.books.effects[place].append(req_id)
        return OK, {"id": req_id}

    def _undo(self, said: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        undone, place = said["undoes"], (said["saga_id"], str(said["step_id"]))
        self.books.tombstones.add(undone)
        if undone in self.books.effects[place]:
            self.books.effects[place].remove(undone)
        return OK, {}


class _Handler(BaseHTTPRequestHandler):
    shop: Shop
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_POST(self) -> None:  # the name that http.server looks for
        length = int(self.headers["Content-Length"])
        sent = self.rfile.read(length)
        if len(sent) < length:
            self.close_connection = True  # the rest was lost on its way
            return
        status, body = self.shop.answer(self.path, json.loads(sent))
        time.sleep(WORK_S)
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *arguments: Any) -> None:  # its name there
        """Say nothing."""
