from __future__ import annotations

import asyncio
import concurrent.futures
import concurrent.futures.process
import errno
import http.client
import io
import json
import multiprocessing
import socket
import sqlite3
import ssl
import subprocess
import urllib.error
from email.message import Message
from types import SimpleNamespace
from typing import Any

import pytest

from fsm_saga.errors import (
    CommandError,
    InvariantBrokenError,
    OutcomeUnknown,
    StoreUnavailableError,
)
from fsm_saga.tools.classify import is_doubtful


def foreign(module: str, *names: str, **facts: Any) -> Exception:
    """Return an exception of another library: its class and that class's bases, by name."""
    kind: type[Exception] = Exception
    for name in reversed(names):
        kind = type(name, (kind,), {"__module__": module})
    error = kind("it says")
    for name, value in facts.items():
        setattr(error, name, value)
    return error


def answered(status: int) -> Any:
    return SimpleNamespace(status_code=status)


def url_error(status: int) -> urllib.error.HTTPError:
    return urllib.error.HTTPError("http://x", status, "m", Message(), io.BytesIO())


def grpc_error(name: str) -> Exception:
    return foreign("grpc.aio", "AioRpcError", "RpcError", code=lambda: SimpleNamespace(name=name))


def botocore_error(status: float) -> Exception:
    metadata = {"ResponseMetadata": {"HTTPStatusCode": status}}
    return foreign("botocore.exceptions", "ClientError", response=metadata)


class SeatTakenError(Exception):
    pass


DOUBTFUL = [
    OutcomeUnknown(),
    StoreUnavailableError("m"),
    InvariantBrokenError("m"),
    TimeoutError(),
    TimeoutError("timed out"),
    concurrent.futures.TimeoutError(),
    asyncio.CancelledError(),
    concurrent.futures.CancelledError(),
    concurrent.futures.process.BrokenProcessPool(),
    asyncio.IncompleteReadError(b"", 3),
    EOFError("closed by the other side"),
    multiprocessing.TimeoutError(),
    ConnectionError(),
    ConnectionResetError(),
    ConnectionAbortedError(),
    ConnectionRefusedError(),
    BrokenPipeError(),
    InterruptedError(errno.EINTR, "m"),
    BlockingIOError(errno.EAGAIN, "m"),
    OSError(errno.ENETUNREACH, "m"),
    OSError(errno.EHOSTUNREACH, "m"),
    OSError(errno.ETIMEDOUT, "m"),
    OSError(errno.ENOTCONN, "m"),
    socket.gaierror(socket.EAI_NONAME, "m"),
    ssl.SSLError(1, "m"),
    ssl.SSLZeroReturnError(6, "m"),
    http.client.RemoteDisconnected("m"),
    http.client.IncompleteRead(b""),
    http.client.BadStatusLine("m"),
    urllib.error.URLError(TimeoutError()),
    urllib.error.URLError(ConnectionResetError()),
    urllib.error.URLError(urllib.error.URLError(TimeoutError())),
    url_error(500),
    url_error(503),
    url_error(408),
    subprocess.TimeoutExpired("cmd", 3),
    subprocess.CalledProcessError(-9, "cmd"),
    MemoryError(),
    RecursionError(),
    SystemError(),
    SystemExit(0),
    GeneratorExit(),
    KeyboardInterrupt(),
    ExceptionGroup("g", [ValueError(), TimeoutError()]),
    ExceptionGroup("g", [ExceptionGroup("h", [ConnectionResetError()])]),
    BaseExceptionGroup("g", [asyncio.CancelledError()]),
    foreign("httpx", "ReadTimeout", "TimeoutException", "TransportError", "RequestError"),
    foreign("httpx", "ConnectError", "NetworkError", "TransportError", "RequestError"),
    foreign("httpx", "DecodingError", "RequestError", "HTTPError"),
    foreign("httpx", "HTTPStatusError", "HTTPError", response=answered(502)),
    foreign("requests.exceptions", "ConnectionError", "RequestException"),
    foreign("requests.exceptions", "ReadTimeout", "Timeout", "RequestException"),
    foreign("requests.exceptions", "ChunkedEncodingError", "RequestException"),
    foreign("requests.exceptions", "HTTPError", "RequestException", response=answered(500)),
    foreign("requests.exceptions", "HTTPError", "RequestException", response=None),
    foreign("aiohttp.client_exceptions", "ClientConnectorError", "ClientConnectionError"),
    foreign("aiohttp.client_exceptions", "ServerTimeoutError", "ServerConnectionError"),
    foreign("aiohttp.client_exceptions", "ClientPayloadError", "ClientError"),
    foreign("aiohttp.client_exceptions", "ClientResponseError", "ClientError", status=504),
    foreign("aiohttp.client_exceptions", "ContentTypeError", "ClientResponseError", status=200),
    foreign("urllib3.exceptions", "MaxRetryError", "RequestError", "HTTPError"),
    foreign("openai", "APITimeoutError", "APIConnectionError", "APIError"),
    foreign("openai", "InternalServerError", "APIStatusError", status_code=500),
    foreign("stripe", "APIError", "StripeError", http_status=500),
    foreign("botocore.exceptions", "ReadTimeoutError", "HTTPClientError"),
    botocore_error(503),
    botocore_error(404.0),
    grpc_error("UNAVAILABLE"),
    grpc_error("DEADLINE_EXCEEDED"),
    grpc_error("UNKNOWN"),
    foreign("google.api_core.exceptions", "ServerError", "GoogleAPICallError", code=503),
    foreign("redis.exceptions", "ConnectionError", "RedisError"),
    foreign("psycopg", "OperationalError", "DatabaseError", sqlstate=None),
    foreign("psycopg", "OperationalError", "DatabaseError", sqlstate="57P01"),
    foreign("psycopg", "OperationalError", "DatabaseError", sqlstate="08006"),
    foreign("psycopg2", "OperationalError", "DatabaseError", pgcode="57P01"),
    foreign("psycopg2", "OperationalError", "DatabaseError"),
    foreign("asyncpg.exceptions", "ConnectionDoesNotExistError", "PostgresConnectionError"),
    foreign("sqlalchemy.exc", "OperationalError", "DBAPIError", orig=TimeoutError()),
    foreign("sqlalchemy.exc", "InternalError", "DBAPIError", connection_invalidated=True),
    foreign("pymongo.errors", "AutoReconnect", "ConnectionFailure"),
    foreign("websockets.exceptions", "ConnectionClosedError", "ConnectionClosed"),
    foreign("anyio", "BrokenResourceError"),
    foreign("smtplib", "SMTPServerDisconnected", "SMTPException"),
    foreign("shop", "SupplierTimeoutError"),
]
REFUSED = [
    SeatTakenError("m"),
    ValueError(),
    TypeError(),
    KeyError("order_id"),
    LookupError(),
    AttributeError(),
    ZeroDivisionError(),
    AssertionError(),
    RuntimeError(),
    NotImplementedError(),
    StopAsyncIteration(),
    UnicodeDecodeError("utf-8", b"", 0, 1, "m"),
    json.JSONDecodeError("m", "", 0),
    FileNotFoundError(errno.ENOENT, "m"),
    PermissionError(errno.EACCES, "m"),
    OSError(errno.ENOSPC, "m"),
    OSError("without a number"),
    sqlite3.OperationalError("no such table"),
    subprocess.CalledProcessError(1, "cmd"),
    subprocess.CalledProcessError(0, "cmd"),
    foreign("subprocess", "CalledProcessError"),
    foreign("urllib.error", "URLError"),
    foreign("sqlalchemy.exc", "StatementError", "DBAPIError"),
    foreign("psycopg2", "SerializationFailure", "OperationalError", pgcode="40001"),
    http.client.InvalidURL("m"),
    urllib.error.URLError("unknown url type"),
    urllib.error.URLError(FileNotFoundError(errno.ENOENT, "m")),
    url_error(404),
    url_error(409),
    url_error(429),
    ExceptionGroup("g", [ValueError(), SeatTakenError()]),
    CommandError("m"),
    foreign("httpx", "HTTPStatusError", "HTTPError", response=answered(422)),
    foreign("httpx", "InvalidURL"),
    foreign("requests.exceptions", "HTTPError", "RequestException", response=answered(400)),
    foreign("aiohttp.client_exceptions", "ClientResponseError", "ClientError", status=409),
    foreign("openai", "BadRequestError", "APIStatusError", status_code=400),
    foreign("stripe", "CardError", "StripeError", http_status=402),
    botocore_error(400),
    grpc_error("INVALID_ARGUMENT"),
    grpc_error("ALREADY_EXISTS"),
    foreign("grpc", "RpcError", code=SimpleNamespace(name="NOT_FOUND")),
    foreign("google.api_core.exceptions", "NotFound", "GoogleAPICallError", code=404),
    foreign("psycopg", "SerializationFailure", "OperationalError", sqlstate="40001"),
    foreign("sqlalchemy.exc", "IntegrityError", "DBAPIError", orig=sqlite3.IntegrityError()),
    foreign("shop", "MissedConnectionError"),
    foreign("shop", "HTTPError", response=answered(500)),
]


def name_of(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__name__}"


@pytest.mark.parametrize("error", DOUBTFUL, ids=name_of)
def test_an_error_that_leaves_the_effect_open_is_doubtful(error: BaseException) -> None:
    assert is_doubtful(error)


@pytest.mark.parametrize("error", REFUSED, ids=name_of)
def test_every_other_error_is_a_refusal(error: BaseException) -> None:
    assert not is_doubtful(error)


def test_an_error_made_of_a_time_out_is_as_doubtful_as_the_time_out() -> None:
    translated = SeatTakenError()
    translated.__cause__ = TimeoutError()
    assert is_doubtful(translated)
    raised_meanwhile = SeatTakenError()
    raised_meanwhile.__context__ = TimeoutError()
    assert is_doubtful(raised_meanwhile)


def test_an_error_made_of_a_refusal_is_a_refusal() -> None:
    translated = SeatTakenError()
    translated.__cause__ = KeyError("seat")
    assert not is_doubtful(translated)


def test_from_none_and_a_declaration_cut_the_chain() -> None:
    cut = SeatTakenError()
    cut.__context__ = TimeoutError()
    cut.__suppress_context__ = True
    assert not is_doubtful(cut)
    declared = SeatTakenError()
    declared.__cause__ = TimeoutError()
    assert not is_doubtful(declared, rejected=(SeatTakenError,))
    doubt = OutcomeUnknown()
    doubt.__cause__ = SeatTakenError()
    assert is_doubtful(doubt)


def test_a_declared_class_is_doubtful_with_its_subclasses() -> None:
    assert is_doubtful(SeatTakenError(), unknown=(SeatTakenError,))
    assert is_doubtful(SeatTakenError(), unknown=(Exception,))
    assert not is_doubtful(ValueError(), unknown=(SeatTakenError,))


def test_a_declared_class_is_a_refusal_in_spite_of_the_usual_rules() -> None:
    assert not is_doubtful(ConnectionRefusedError(), rejected=(ConnectionRefusedError,))
    assert not is_doubtful(ConnectionRefusedError(), rejected=(ConnectionError,))
    assert is_doubtful(ConnectionResetError(), rejected=(ConnectionRefusedError,))


def test_a_declaration_about_a_base_class_does_not_silence_a_rule_below_it() -> None:
    for error in (OutcomeUnknown(), TimeoutError(), ConnectionResetError()):
        assert is_doubtful(error, rejected=(Exception,))
    assert not is_doubtful(OSError(errno.ENETUNREACH, "m"), rejected=(OSError,))


def test_the_nearest_of_two_declarations_decides_and_doubt_wins_a_tie() -> None:
    both = (SeatTakenError,)
    assert not is_doubtful(SeatTakenError(), unknown=(Exception,), rejected=both)
    assert is_doubtful(SeatTakenError(), unknown=both, rejected=(Exception,))
    assert is_doubtful(SeatTakenError(), unknown=both, rejected=both)


def test_declarations_hold_inside_of_groups_and_wrappers() -> None:
    refused = (ConnectionRefusedError,)
    group = ExceptionGroup("g", [ConnectionRefusedError()])
    assert not is_doubtful(group, rejected=refused)
    assert not is_doubtful(urllib.error.URLError(ConnectionRefusedError()), rejected=refused)
    assert is_doubtful(ExceptionGroup("g", [SeatTakenError()]), unknown=(SeatTakenError,))


def test_a_wrapper_that_holds_itself_is_doubtful() -> None:
    error = urllib.error.URLError("m")
    error.reason = error
    assert is_doubtful(error)


def test_an_exception_that_cannot_be_looked_at_is_doubtful() -> None:
    class BrokenError(Exception):
        __module__ = "httpx"

        @property
        def status_code(self) -> int:
            raise RuntimeError("no status")

    BrokenError.__name__ = "HTTPStatusError"
    assert is_doubtful(BrokenError())
