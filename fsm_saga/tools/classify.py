"""What it means that a tool raised: certainly no effect, or perhaps one.

A tool that raises has refused the call, with one kind of exception: an error that leaves open
whether the effect happened. That is ``OutcomeUnknown``, every time-out, every cancellation that
the tool brought upon itself, every lost or failed connection, a server's own failure (5xx), and
whatever says that the interpreter gave out or was to be left in the middle. A connection that was
refused counts as lost as well: the runner cannot see whether it was the tool's first request or
its second.

Rules belong to classes. The method resolution order of the exception is walked from the class
itself to its bases, and the first class with a rule that speaks decides; what the tool declared
(``unknown=``, ``rejected=``) goes before ours at the same class, so a declaration about a base
class does not silence what is known of a class below it. Errors of other libraries are known by
package and name: none of them is imported.

What an exception was raised ``from``, or while handling, is judged as well: authors turn a
time-out into an error of their own without thinking of what it leaves open. ``raise ... from
None`` cuts the chain, and so does a class that the tool declares as ``rejected``. Two kinds of
exception wrap others and are opened: an exception group, in which one doubtful member makes the
whole doubtful, and the errors of ``urllib`` and ``sqlalchemy`` that carry the real one.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fsm_saga.errors import InvariantBrokenError, OutcomeUnknown, StoreUnavailableError

_ErrorClasses = tuple[type[BaseException], ...]

_Judge = Callable[[object], bool]
"""Judges what a wrapper holds, with the same declarations."""

_Rule = Callable[[Any, _Judge], bool]
"""Says True where the effect may have happened, else leaves it to the next class."""


def is_doubtful(
    error: BaseException,
    *,
    unknown: _ErrorClasses = (),
    rejected: _ErrorClasses = (),
) -> bool:
    """Return whether the effect may have happened, although the tool raised ``error``.

    Args:
        error: What the tool raised.
        unknown: Classes that the tool declares to be doubtful.
        rejected: Classes that the tool declares to be refusals.

    Example:
        >>> is_doubtful(ValueError("no seat left")), is_doubtful(TimeoutError())
        (False, True)
        >>> is_doubtful(ConnectionRefusedError(), rejected=(ConnectionRefusedError,))
        False
    """
    try:
        return _judge(error, unknown, rejected)
    except BaseException:  # noqa: BLE001  # boundary: its properties may fail, it may hold itself
        return True


def _judge(error: BaseException, unknown: _ErrorClasses, rejected: _ErrorClasses) -> bool:
    def judge_held(held: object) -> bool:
        return isinstance(held, BaseException) and _judge(held, unknown, rejected)

    for kind in type(error).__mro__:
        if kind in unknown:
            return True
        if kind in rejected:
            return False
        rule = _rule_of(kind)
        if rule is not None and rule(error, judge_held):
            return True
    behind = error.__cause__
    if behind is None and not error.__suppress_context__:
        behind = error.__context__
    return behind is not None and judge_held(behind)


def _rule_of(kind: type) -> _Rule | None:
    name = kind.__name__
    if kind in _BY_CLASS:
        return _BY_CLASS[kind]
    if name in _DOUBTFUL_NAMES or _TIME_OUT.search(name):
        return _always
    return _BY_PACKAGE.get(kind.__module__.partition(".")[0], {}).get(name)


def _always(_error: Any, _judge: _Judge) -> bool:
    return True


def _leaves_the_program(error: BaseException, _judge: _Judge) -> bool:
    """What is no ``Exception`` is made to end a program, not to refuse a call."""
    return not isinstance(error, Exception)


def _lost_connection(error: OSError, _judge: _Judge) -> bool:
    return error.errno in _CONNECTION_ERRNOS


def _any_member(error: BaseExceptionGroup[BaseException], judge: _Judge) -> bool:
    return any(judge(member) for member in error.exceptions)


def _reason(error: Any, judge: _Judge) -> bool:
    """Open a ``urllib.error.URLError``; its reason is an exception, or a text about a URL."""
    return judge(getattr(error, "reason", None))


def _driver_error(error: Any, judge: _Judge) -> bool:
    """Open an error of ``sqlalchemy``, which wraps the one of the database's driver."""
    is_lost = getattr(error, "connection_invalidated", False) is True
    return is_lost or judge(getattr(error, "orig", None))


def _killed(error: Any, _judge: _Judge) -> bool:
    """A program that a signal ended was stopped in the middle; one that exited has answered."""
    code = getattr(error, "returncode", None)
    return isinstance(code, int) and code < 0


def _database_lost(error: Any, _judge: _Judge) -> bool:
    """Classes 08 and 57P are lost connections; an error without a class never got an answer."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return not isinstance(state, str) or state.startswith(("08", "57P"))


def _grpc_status(error: Any, _judge: _Judge) -> bool:
    code = getattr(error, "code", None)
    name = getattr(code() if callable(code) else code, "name", None)
    return name not in _GRPC_REFUSALS


def _http_status(error: Any, _judge: _Judge) -> bool:
    """4xx is the server's refusal; all else, a malformed 200 included, says nothing of the effect.

    408 is a time-out. 425 and 429 mean "not now": nothing was done.
    """
    status = _status(error)
    is_refusal = (
        status is not None
        and HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
        and status != HTTPStatus.REQUEST_TIMEOUT
    )
    return not is_refusal


def _status(error: Any) -> int | None:
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):  # botocore
        metadata = response.get("ResponseMetadata")
        status = metadata.get("HTTPStatusCode") if isinstance(metadata, Mapping) else None
        return status if isinstance(status, int) else None
    for holder in (error, response):
        for name in ("status_code", "http_status", "status", "code"):
            status = getattr(holder, name, None)
            if isinstance(status, int):
                return status
    return None


_CONNECTION_ERRNOS = frozenset(
    getattr(errno, name)
    for name in (
        "EAGAIN",
        "ECONNABORTED",
        "ECONNREFUSED",
        "ECONNRESET",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "EINTR",
        "ENETDOWN",
        "ENETRESET",
        "ENETUNREACH",
        "ENOTCONN",
        "EPIPE",
        "ESHUTDOWN",
        "ETIMEDOUT",
        "EWOULDBLOCK",
    )
    if hasattr(errno, name)
)

_BY_CLASS: Mapping[type, _Rule] = {
    OutcomeUnknown: _always,
    StoreUnavailableError: _always,
    InvariantBrokenError: _always,
    TimeoutError: _always,
    ConnectionError: _always,
    OSError: _lost_connection,
    EOFError: _always,
    MemoryError: _always,
    RecursionError: _always,
    SystemError: _always,
    SystemExit: _always,
    KeyboardInterrupt: _always,
    GeneratorExit: _always,
    BaseExceptionGroup: _any_member,
    BaseException: _leaves_the_program,
}

# Whatever is called like this, in whichever library, is about time or a connection.
_TIME_OUT = re.compile(r"(?:Timeout|TimeoutError|TimeoutException|TimeoutExpired|TimedOut)$")
_DOUBTFUL_NAMES = frozenset(
    {
        "APIConnectionError",
        "CancelledError",
        "ClientConnectionError",
        "ConnectError",
        "ConnectionClosed",
        "ConnectionClosedError",
        "ConnectionError",
        "ConnectionFailure",
        "ConnectionLost",
        "DeadlineExceeded",
        "NetworkError",
        "ReadError",
        "RemoteProtocolError",
        "ServerDisconnectedError",
        "TransportError",
        "WriteError",
    }
)

_GRPC_REFUSALS = frozenset(
    {
        "ALREADY_EXISTS",
        "FAILED_PRECONDITION",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "OUT_OF_RANGE",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "UNAUTHENTICATED",
        "UNIMPLEMENTED",
    }
)

_SQL_DRIVER: Mapping[str, _Rule] = {
    "InterfaceError": _database_lost,
    "OperationalError": _database_lost,
    "PostgresConnectionError": _always,
}

# By top-level package, as the class's own module names it.
_BY_PACKAGE: Mapping[str, Mapping[str, _Rule]] = {
    "aiohttp": {"ClientPayloadError": _always, "ClientResponseError": _http_status},
    "anthropic": {"APIStatusError": _http_status},
    "anyio": {"BrokenResourceError": _always, "EndOfStream": _always},
    "asyncpg": _SQL_DRIVER,
    "botocore": {"ClientError": _http_status, "HTTPClientError": _always},
    "concurrent": {"BrokenExecutor": _always},
    "google": {"GoogleAPICallError": _http_status, "RetryError": _always},
    "grpc": {"RpcError": _grpc_status},
    "http": {
        "BadStatusLine": _always,
        "IncompleteRead": _always,
        "LineTooLong": _always,
        "UnknownProtocol": _always,
    },
    "httpcore": {"ProtocolError": _always},
    "httpx": {"HTTPStatusError": _http_status, "RequestError": _always},
    "openai": {"APIStatusError": _http_status},
    "paramiko": {"SSHException": _always},
    "psycopg": _SQL_DRIVER,
    "psycopg2": _SQL_DRIVER,
    "pymongo": {"AutoReconnect": _always},
    "pymysql": _SQL_DRIVER,
    "requests": {
        "ChunkedEncodingError": _always,
        "ContentDecodingError": _always,
        "HTTPError": _http_status,
        "JSONDecodeError": _always,
    },
    "smtplib": {"SMTPServerDisconnected": _always},
    "socket": {"gaierror": _always, "herror": _always},
    "sqlalchemy": {"DBAPIError": _driver_error},
    "ssl": {"SSLError": _always},
    "stripe": {"StripeError": _http_status},
    "subprocess": {"CalledProcessError": _killed},
    "urllib": {"HTTPError": _http_status, "URLError": _reason},
    "urllib3": {
        "MaxRetryError": _always,
        "NewConnectionError": _always,
        "ProtocolError": _always,
        "ProxyError": _always,
        "SSLError": _always,
    },
}
