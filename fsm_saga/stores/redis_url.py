"""What a ``redis://`` URL says."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from fsm_saga.errors import StoreError
from fsm_saga.stores.refusals import is_text

DEFAULT_PORT = 6379
DEFAULT_PREFIX = "fsm-saga"
PASSWORD_VARIABLE = "FSM_SAGA_REDIS_PASSWORD"  # noqa: S105  # the variable's name
SCHEMES = ("redis", "rediss")
_FILES = ("ca", "cert", "key")
_OPTIONS = frozenset({*_FILES, "prefix", "durability"})
_FORM = (
    "The form is redis://[[user]:password@]host[:6379][/0]"
    "[?prefix=NAME&durability=relaxed], or rediss:// with [&ca=FILE&cert=FILE&key=FILE]."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisUrl:
    """The parts of a ``redis://`` URL.

    Attributes:
        shown: The URL without its password.
        db: The number of the database.
        prefix: What every key begins with; it ends with a colon.
        user: Who signs in, or None for Redis's default user.
        password: From the URL, else from ``FSM_SAGA_REDIS_PASSWORD``.
        is_tls: True for an encrypted connection (``rediss://``).
        is_relaxed: True if a server that may lose what it has confirmed will do.
        ca: Certificates to trust; None for those of the system.
        cert: Our certificate.
        key: Its private key.
    """

    shown: str
    host: str
    port: int
    db: int
    prefix: str
    user: str | None = None
    password: str | None = None
    is_tls: bool = False
    is_relaxed: bool = False
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


def parse_redis_url(url: str) -> RedisUrl:
    """Return the parts of a ``redis://`` or ``rediss://`` URL.

    Raises:
        StoreError: It is none that can be used; the password is not repeated.

    Example:
        >>> parse_redis_url("redis://:secret@cache.example/2?prefix=trips").shown
        'redis://cache.example:6379/2?prefix=trips'
    """
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        host, port = parts.hostname, parts.port or DEFAULT_PORT
        db = int(parts.path.strip("/") or 0)
    except ValueError as error:
        raise StoreError(f"The store was not opened: its URL cannot be read. {_FORM}") from error
    if parts.scheme not in SCHEMES or not host or db < 0 or parts.fragment:
        raise StoreError(f"The store was not opened: its URL cannot be read. {_FORM}")
    options = dict(query)
    user = unquote(parts.username or "")
    shown = _shown(parts.scheme, user, host, port, db, options)
    _check_options(options, shown, is_tls=parts.scheme == "rediss")
    files = {name: _file(options[name], name, shown) for name in _FILES if name in options}
    password = parts.password
    return RedisUrl(
        shown=shown,
        host=host,
        port=port,
        db=db,
        prefix=f"{options.get('prefix', DEFAULT_PREFIX)}:",
        user=user or None,
        password=os.environ.get(PASSWORD_VARIABLE) if password is None else unquote(password),
        is_tls=parts.scheme == "rediss",
        is_relaxed=options.get("durability") == "relaxed",
        **files,
    )


def _shown(scheme: str, user: str, host: str, port: int, db: int, options: dict[str, str]) -> str:
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    kept = "&".join(f"{k}={v}" for k, v in options.items() if k in ("prefix", "durability"))
    return f"{scheme}://{user + '@' if user else ''}{place}/{db}{'?' if kept else ''}{kept}"


def _check_options(options: dict[str, str], shown: str, *, is_tls: bool) -> None:
    unknown = sorted(options.keys() - _OPTIONS)
    why = ""
    if unknown:
        why = f"{', '.join(map(repr, unknown))} is no option"
    elif not options.get("prefix", DEFAULT_PREFIX).strip(":") or not is_text(str(options)):
        why = "a prefix has to be a text that is not empty"
    elif options.get("durability", "relaxed") != "relaxed":
        why = f"durability is 'relaxed' or left out, not {options['durability']!r}"
    elif ("cert" in options) != ("key" in options):
        why = "a certificate and its key go together"
    elif not is_tls and any(name in options for name in _FILES):
        why = "certificates are for rediss://"
    if why:
        raise StoreError(f"Store {shown!r} was not opened: {why}. {_FORM}")


def _file(path: str, name: str, shown: str) -> Path:
    found = Path(path).expanduser()
    if not found.is_file():
        raise StoreError(
            f"Store {shown!r} was not opened: there is no file {path!r}, which {name!r} names."
        )
    return found
