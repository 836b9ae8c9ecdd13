"""Whatever comes to the travel agency's door is answered in JSON, and what is wrong is refused."""

from __future__ import annotations

import http.client
import json
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from examples.travel.ledger import Ledger
from examples.travel.process import HOST, REPOSITORY, Agency, open_agency
from examples.travel.service import AgencyServer
from tests.docs.travel import FLIGHT, HOTEL, TRANSFER


@pytest.fixture
def agency(tmp_path: Path) -> Iterator[Agency]:
    with open_agency(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def shared_agency(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agency]:
    """One agency for all the tests that must leave its books as they found them."""
    with open_agency(tmp_path_factory.mktemp("shared")) as running:
        yield running


@pytest.fixture
def untouched_agency(shared_agency: Agency) -> Iterator[Agency]:
    before = shared_agency.ledger()
    yield shared_agency
    assert shared_agency.ledger() == before


def raw_exchange(agency: Agency, request: bytes) -> tuple[int, dict[str, Any]]:
    """Send bytes as they are, and return the status and the JSON body of the answer."""
    with socket.create_connection((HOST, agency.port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(connection)
        try:
            response.begin()
            assert response.getheader("Content-Type") == "application/json"
            return response.status, json.loads(response.read())
        finally:
            response.close()


def post_bytes(
    agency: Agency, body: bytes, *, key: str | None = None
) -> tuple[int, dict[str, Any]]:
    key = uuid4().hex if key is None else key
    head = f"POST /flights/book HTTP/1.1\r\nHost: x\r\nIdempotency-Key: {key}\r\n"
    return raw_exchange(agency, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


@pytest.mark.parametrize(
    ("path", "params", "status", "said"),
    [
        ("/flights/book", FLIGHT | {"flight": "XX1"}, 404, "XX1 is not on sale on 2026-02-01"),
        ("/flights/book", FLIGHT | {"date": "2031-01-01"}, 404, "CA1234 is not on sale"),
        ("/flights/book", FLIGHT | {"traveller": "Nobody"}, 404, "no account of 'Nobody'"),
        ("/flights/book", FLIGHT | {"traveller": "Poor Poet"}, 402, "'Poor Poet' has 5000 cents"),
        ("/flights/book", FLIGHT | {"date": "20260201"}, 400, "date '20260201' is not a day"),
        ("/flights/book", FLIGHT | {"date": "2026-02-30"}, 400, "is not a day"),
        ("/flights/book", FLIGHT | {"seat": "1A"}, 400, "unknown fields ['seat']"),
        ("/flights/book", {"flight": "CA1234"}, 400, "missing fields ['date', 'traveller']"),
        ("/flights/book", FLIGHT | {"flight": ""}, 400, "'flight' must be a text"),
        ("/flights/book", FLIGHT | {"flight": "x" * 201}, 400, "'flight' must be a text"),
        ("/hotels/book", HOTEL | {"check_out": "2026-02-01"}, 400, "check_out must be"),
        ("/hotels/book", HOTEL | {"check_out": "2026-01-01"}, 400, "check_out must be"),
        ("/hotels/book", HOTEL | {"check_out": "9999-12-31"}, 400, "check_out must be"),
        ("/transfers/book", TRANSFER | {"pickup_at": "soon"}, 400, "pickup_at 'soon' is not a day"),
        ("/flights/cancel", {}, 400, "name the order_id"),
        ("/flights/cancel", {"order_id": "FL-9999"}, 404, "no order 'FL-9999'"),
        ("/flights/cancel", {"order_id": "FL-1", "undoes": "z"}, 409, "was not made by"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    untouched_agency: Agency, path: str, params: dict[str, str], status: int, said: str
) -> None:
    answer_status, reply = untouched_agency.post(path, req_id=uuid4().hex, **params)

    assert answer_status == status
    assert said in reply["error"]


NOT_JSON = "the body is not proper JSON"
NO_OBJECT = "the body must be a JSON object"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", NOT_JSON),
        (b"{", NOT_JSON),
        (b"null", NO_OBJECT),
        (b"[]", NO_OBJECT),
        (b'"x"', NO_OBJECT),
        (b"42", NO_OBJECT),
        (b"{}{}", NOT_JSON),
        (b"\xef\xbb\xbf{}", NOT_JSON),
        ('{"flight": "CA1234"}'.encode("utf-16"), NOT_JSON),
        (b'{"flight": "\xff"}', NOT_JSON),
        (b'{"flight": "\\ud800"}', NOT_JSON),
        (b'{"flight": NaN}', NOT_JSON),
        (b'{"flight": 1e999}', NOT_JSON),
        (b'{"flight": "a", "flight": "b"}', "a name occurs twice"),
        (b'{"flight": ' + b"9" * 5000 + b"}", NOT_JSON),
        (b"[" * 16_000, NOT_JSON),
        (json.dumps(FLIGHT | {"flight": {"a": ["CA1234"]}}).encode(), "'flight' must be a text"),
        (json.dumps(FLIGHT | {"flight": True}).encode(), "'flight' must be a text"),
        (json.dumps(FLIGHT | {"date": None}).encode(), "'date' must be a text"),
    ],
)
def test_a_body_that_is_no_proper_object_is_refused(
    untouched_agency: Agency, body: bytes, said: str
) -> None:
    status, reply = post_bytes(untouched_agency, body)

    assert status == 400
    assert set(reply) == {"error"}
    assert said in reply["error"]


def test_a_body_that_was_cut_off_is_refused_though_it_reads_well(untouched_agency: Agency) -> None:
    body = json.dumps(FLIGHT).encode()
    head = f"POST /flights/book HTTP/1.1\r\nHost: x\r\nIdempotency-Key: {uuid4().hex}\r\n"
    length = f"Content-Length: {len(body) + 1}\r\n\r\n"

    status, reply = raw_exchange(untouched_agency, (head + length).encode() + body)

    assert status == 400
    assert "the body ended after" in reply["error"]


@pytest.mark.parametrize("size", [16_385, 900_000, 5_000_000_000])
def test_a_body_that_is_too_large_is_refused_before_it_is_kept(
    untouched_agency: Agency, size: int
) -> None:
    head = f"POST /flights/book HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"

    status, reply = raw_exchange(untouched_agency, head.encode() + b" " * min(size, 900_000))

    assert status == 413
    assert str(size) in reply["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("", 411),
        ("Transfer-Encoding: chunked\r\n", 411),
        ("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", 411),
        ("Content-Length: two\r\n", 400),
        ("Content-Length: -2\r\n", 400),
        ("Content-Length: 2\r\nContent-Length: 2\r\n", 400),
    ],
)
def test_a_body_of_unclear_length_is_refused(
    untouched_agency: Agency, headers: str, status: int
) -> None:
    head = f"POST /flights/book HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\n{headers}\r\n"

    assert raw_exchange(untouched_agency, head.encode() + b"{}")[0] == status


@pytest.mark.parametrize("key", ["", "a b", "x" * 201, "\u00e9", "a\tb"])
def test_a_call_without_a_usable_key_is_refused(untouched_agency: Agency, key: str) -> None:
    before = untouched_agency.calls()

    status, reply = post_bytes(untouched_agency, json.dumps(FLIGHT).encode(), key=key)

    assert status == 400
    assert "Idempotency-Key" in reply["error"]
    assert untouched_agency.calls() == before


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET / HTTP/1.1", 404),
        ("GET /ledger/ HTTP/1.1", 404),
        ("GET /../books.db HTTP/1.1", 404),
        ("GET /flights/book HTTP/1.1", 405),
        ("POST /ledger HTTP/1.1", 405),
        ("POST /flights/steal HTTP/1.1", 404),
        ("PUT /flights/book HTTP/1.1", 405),
        ("DELETE /calls HTTP/1.1", 405),
        ("BREW /calls HTTP/1.1", 501),
        ("GET /calls HTTP/9.9", 505),
        ("nonsense", 400),
        (f"GET /{'a' * 70_000} HTTP/1.1", 414),
    ],
)
def test_a_path_or_method_that_does_not_exist_is_answered_in_json(
    untouched_agency: Agency, request_line: str, status: int
) -> None:
    answer_status, reply = raw_exchange(
        untouched_agency, f"{request_line}\r\nHost: x\r\n\r\n".encode()
    )

    assert answer_status == status
    assert set(reply) == {"error"}


def test_one_connection_carries_good_calls_after_a_refused_one(agency: Agency) -> None:
    connection = http.client.HTTPConnection(HOST, agency.port, timeout=10)
    try:
        statuses = []
        for body in (b"{", json.dumps(FLIGHT).encode()):
            connection.request("POST", "/flights/book", body, {"Idempotency-Key": "a"})
            response = connection.getresponse()
            statuses.append(response.status)
            response.read()
            assert not response.will_close
    finally:
        connection.close()

    assert statuses == [400, 200]


def test_a_replayed_answer_says_so(agency: Agency) -> None:
    connection = http.client.HTTPConnection(HOST, agency.port, timeout=10)
    try:
        replayed = []
        for _ in range(2):
            connection.request(
                "POST", "/flights/book", json.dumps(FLIGHT).encode(), {"Idempotency-Key": "a"}
            )
            response = connection.getresponse()
            response.read()
            replayed.append(response.getheader("Idempotent-Replayed"))
    finally:
        connection.close()

    assert replayed == [None, "true"]


def test_books_that_cannot_be_written_give_503_and_are_asked_again(
    agency: Agency, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "books.db", isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        status, reply = agency.post("/flights/book", req_id="a", **FLIGHT)
        other.execute("ROLLBACK")
    finally:
        other.close()

    assert status == 503
    assert "cannot be written" in reply["error"]
    assert agency.calls() == []
    assert agency.post("/flights/book", req_id="a", **FLIGHT)[0] == 200


def test_the_service_listens_on_the_loopback_interface_only(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path / "books.db"), hotel_rooms=1)
    try:
        with AgencyServer(0, ledger) as server:
            assert server.socket.getsockname() == ("127.0.0.1", server.server_port)
    finally:
        ledger.close()


def run_service(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "examples.travel.service", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_books_of_another_version_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "books.db"
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 7")
    db.close()
    before = path.read_bytes()

    ended = run_service("--db", str(path))

    assert ended.returncode == 2
    assert "has format 7; this service reads 1" in ended.stderr
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "books.db"
    path.write_text("dear diary, " * 100)

    ended = run_service("--db", str(path))

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "cannot be opened" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_that_is_taken_is_refused_in_one_line(agency: Agency, tmp_path: Path) -> None:
    ended = run_service("--db", str(tmp_path / "other.db"), "--port", str(agency.port))

    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1
    assert str(agency.port) in ended.stderr


def test_a_service_that_cannot_start_is_reported_with_its_words(tmp_path: Path) -> None:
    (tmp_path / "books.db").write_text("dear diary, " * 100)

    with (
        pytest.raises(RuntimeError, match="cannot be opened"),
        open_agency(tmp_path),
    ):
        pytest.fail("the service runs on a file that is no database")


def test_a_terminated_service_ends_without_complaint(tmp_path: Path) -> None:
    with open_agency(tmp_path) as agency:
        agency.process.terminate()
        assert agency.process.wait(10) == 0

    assert (tmp_path / "service.err").read_text() == ""
