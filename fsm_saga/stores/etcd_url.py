"""What an ``etcd://`` URL says."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from fsm_saga.errors import StoreError

DEFAULT_PORT = 2379
DEFAULT_PREFIX = "fsm-saga"
PASSWORD_VARIABLE = "FSM_SAGA_ETCD_PASSWORD"  # noqa: S105  # the variable's name
TRANSPORTS = ("grpc", "etcd3")
_PATHS = ("ca", "cert", "key")
_OPTIONS = frozenset({*_PATHS, "tls", "transport"})
_FORM = (
    "The form is etcd://[user[:password]@]host:2379[,host:2379...]/prefix"
    "[?tls=1&ca=FILE&cert=FILE&key=FILE&transport=etcd3]; tls=1 or any of the files asks for TLS."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdUrl:
    """The parts of an ``etcd://`` URL.

    Attributes:
        shown: The URL without its password.
        endpoints: ``host:port`` of the members.
        prefix: What every key begins with; it ends with a slash.
        user: Who signs in, or None.
        password: From the URL, else from ``FSM_SAGA_ETCD_PASSWORD``.
        is_tls: True for an encrypted connection.
        ca: Certificates to trust; None for those of the system.
        cert: Our certificate.
        key: Its private key.
        transport: ``grpc`` for our own client, ``etcd3`` for the package of that name.
    """

    shown: str
    endpoints: tuple[str, ...]
    prefix: str
    user: str | None = None
    password: str | None = None
    is_tls: bool = False
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    transport: str = "grpc"


def parse_etcd_url(url: str) -> EtcdUrl:
    """Return the parts of an ``etcd://`` URL.

    Raises:
        StoreError: It is none that can be used; the password is not repeated.

    Example:
        >>> parse_etcd_url("etcd://me:secret@a,b:2380/travel").shown
        'etcd://me@a:2379,b:2380/travel'
    """
    try:
        parts = urlsplit(url)
        options = (
            dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True))
            if (parts.query)
            else {}
        )
    except ValueError as error:
        raise StoreError(f"The store was not opened: its URL cannot be read. {_FORM}") from error
    who, at, hosts = parts.netloc.rpartition("@")
    user, has_password, password = who.partition(":")
    endpoints = tuple(_endpoint(host) for host in hosts.split(","))
    prefix = unquote(parts.path).strip("/") or DEFAULT_PREFIX
    shown = f"etcd://{user + '@' if at else ''}{','.join(endpoints)}/{prefix}"
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown:
        raise StoreError(
            f"Store {shown!r} was not opened: {', '.join(map(repr, unknown))} is no option. {_FORM}"
        )
    transport = options.get("transport", "grpc")
    if transport not in TRANSPORTS:
        raise StoreError(
            f"Store {shown!r} was not opened: there is no transport {transport!r}; "
            f"it is one of {', '.join(TRANSPORTS)}."
        )
    files = {name: _file(options[name], name, shown) for name in _PATHS if name in options}
    if ("cert" in files) != ("key" in files):
        raise StoreError(
            f"Store {shown!r} was not opened: a certificate and its key go together. {_FORM}"
        )
    return EtcdUrl(
        shown=shown,
        endpoints=endpoints,
        prefix=f"{prefix}/",
        user=unquote(user) if at else None,
        password=unquote(password) if has_password else os.environ.get(PASSWORD_VARIABLE),
        is_tls=bool(files) or options.get("tls", "") in {"1", "true", "yes"},
        transport=transport,
        **files,
    )


def _endpoint(host: str) -> str:
    try:
        parts = urlsplit(f"//{host}")
        name, port = parts.hostname, parts.port or DEFAULT_PORT
    except ValueError:
        name, port = None, 0
    if not name or parts.path or parts.username is not None:
        raise StoreError(f"The store was not opened: {host!r} is no host. {_FORM}")
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def _file(path: str, name: str, shown: str) -> Path:
    found = Path(path).expanduser()
    if not found.is_file():
        raise StoreError(
            f"Store {shown!r} was not opened: there is no file {path!r}, which {name!r} names."
        )
    return found
